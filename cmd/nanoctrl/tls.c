/* SPDX-License-Identifier: BSD-3-Clause */
#include "tls.h"

#include <errno.h>
#include <limits.h>
#include <stdint.h>
#include <stdlib.h>

#include "openssl_table.h"
#include "sentence.h"

/* Constants of OpenSSL, in macros there. */
enum {
	FILETYPE_PEM = 1,
	CTRL_MODE = 33,
	CTRL_SET_TLSEXT_HOSTNAME = 55,
	CTRL_SET_MIN_PROTO_VERSION = 123,
	TLS_1_2 = 0x0303,
	MODE_PARTIAL_WRITE = 0x1,
	MODE_MOVING_BUFFER = 0x2,
	MODE_RELEASE_BUFFERS = 0x10, /* an idle connection keeps no 34 KB of them */
	VERIFY_PEER = 0x1,
	VERIFY_FAIL_IF_NO_PEER_CERT = 0x2,
	ERROR_WANT_READ = 2,
	ERROR_WANT_WRITE = 3,
	ERROR_SYSCALL = 5,
	ERROR_ZERO_RETURN = 6
};

struct tls {
	SSL_CTX *ctx;
};

struct tls_conn {
	SSL *ssl;
};

static int load_files(SSL_CTX *ctx, const char *cert, const char *key, struct slime_error *err)
{
	char reason[160];

	if (openssl.SSL_CTX_use_certificate_chain_file(ctx, cert) != 1)
		return refuse(err, -EINVAL, "cannot use the certificate '%s': %s", cert,
		              openssl_reason(reason, sizeof(reason)));
	if (openssl.SSL_CTX_use_PrivateKey_file(ctx, key, FILETYPE_PEM) != 1)
		return refuse(err, -EINVAL, "cannot use the key '%s': %s", key,
		              openssl_reason(reason, sizeof(reason)));
	if (openssl.SSL_CTX_check_private_key(ctx) != 1)
		return refuse(err, -EINVAL, "the key '%s' does not belong to the certificate '%s'",
		              key, cert);
	return 0;
}

static int trust_clients(SSL_CTX *ctx, const char *client_ca, struct slime_error *err)
{
	struct stack_of_names *names;
	char reason[160];

	names = openssl.SSL_load_client_CA_file(client_ca);
	if (!names || openssl.SSL_CTX_load_verify_locations(ctx, client_ca, NULL) != 1)
		return refuse(err, -EINVAL, "cannot use the clients' authority '%s': %s", client_ca,
		              openssl_reason(reason, sizeof(reason)));
	openssl.SSL_CTX_set_client_CA_list(ctx, names);
	openssl.SSL_CTX_set_verify(ctx, VERIFY_PEER | VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	return 0;
}

static int create(const SSL_METHOD *method, struct tls **out, struct slime_error *err)
{
	struct tls *tls = calloc(1, sizeof(*tls));

	if (tls)
		tls->ctx = openssl.SSL_CTX_new(method);
	if (!tls || !tls->ctx) {
		free(tls);
		return refuse(err, -ENOMEM, "no memory for TLS");
	}
	openssl.ERR_clear_error();
	(void)openssl.SSL_CTX_ctrl(tls->ctx, CTRL_SET_MIN_PROTO_VERSION, TLS_1_2, NULL);
	(void)openssl.SSL_CTX_ctrl(tls->ctx, CTRL_MODE,
	                           MODE_PARTIAL_WRITE | MODE_MOVING_BUFFER | MODE_RELEASE_BUFFERS,
	                           NULL);
	*out = tls;
	return 0;
}

int tls_create(const char *cert, const char *key, const char *client_ca, struct tls **out,
               struct slime_error *err)
{
	struct tls *tls;
	int rc = openssl_load(err);

	if (rc == 0)
		rc = create(openssl.TLS_server_method(), &tls, err);
	if (rc < 0)
		return rc;
	rc = load_files(tls->ctx, cert, key, err);
	if (rc == 0 && client_ca)
		rc = trust_clients(tls->ctx, client_ca, err);
	if (rc < 0) {
		tls_destroy(tls);
		return rc;
	}
	*out = tls;
	return 0;
}

int tls_create_client(struct tls **out, struct slime_error *err)
{
	int rc = openssl_load(err);

	if (rc == 0)
		rc = create(openssl.TLS_client_method(), out, err);
	if (rc < 0)
		return rc;
	(void)openssl.SSL_CTX_set_default_verify_paths((*out)->ctx);
	openssl.SSL_CTX_set_verify((*out)->ctx, VERIFY_PEER, NULL);
	return 0;
}

void tls_destroy(struct tls *tls)
{
	if (!tls)
		return;
	openssl.SSL_CTX_free(tls->ctx); /* connections hold references of their own */
	free(tls);
}

static struct tls_conn *create_conn(struct tls *tls, int fd)
{
	struct tls_conn *conn = calloc(1, sizeof(*conn));

	if (!conn)
		return NULL;
	conn->ssl = openssl.SSL_new(tls->ctx);
	if (!conn->ssl || openssl.SSL_set_fd(conn->ssl, fd) != 1) {
		if (conn->ssl)
			openssl.SSL_free(conn->ssl);
		free(conn);
		return NULL;
	}
	return conn;
}

struct tls_conn *tls_accept(struct tls *tls, int fd)
{
	struct tls_conn *conn = create_conn(tls, fd);

	if (conn)
		openssl.SSL_set_accept_state(conn->ssl);
	return conn;
}

struct tls_conn *tls_connect(struct tls *tls, int fd, const char *host)
{
	struct tls_conn *conn = create_conn(tls, fd);

	if (!conn)
		return NULL;
	if (openssl.SSL_set1_host(conn->ssl, host) != 1) {
		openssl.SSL_free(conn->ssl);
		free(conn);
		return NULL;
	}
	/* OpenSSL does not write to the name */
	(void)openssl.SSL_ctrl(conn->ssl, CTRL_SET_TLSEXT_HOSTNAME, 0, (void *)(uintptr_t)host);
	openssl.SSL_set_connect_state(conn->ssl);
	return conn;
}

void tls_close(struct tls_conn *conn)
{
	if (!conn)
		return;
	openssl.ERR_clear_error();
	(void)openssl.SSL_shutdown(conn->ssl);
	openssl.ERR_clear_error();
	openssl.SSL_free(conn->ssl);
	free(conn);
}

static ssize_t result_of(struct tls_conn *conn, int n)
{
	int error = errno;

	if (n > 0)
		return n;
	switch (openssl.SSL_get_error(conn->ssl, n)) {
	case ERROR_ZERO_RETURN:
		return 0;
	case ERROR_WANT_READ:
		return -EAGAIN;
	case ERROR_WANT_WRITE:
		return -EINPROGRESS;
	case ERROR_SYSCALL:
		return error ? -error : -ECONNRESET;
	default:
		return -EPROTO;
	}
}

ssize_t tls_read(struct tls_conn *conn, void *buf, size_t len)
{
	errno = 0;
	openssl.ERR_clear_error();
	return result_of(conn,
	                 openssl.SSL_read(conn->ssl, buf, len > INT_MAX ? INT_MAX : (int)len));
}

ssize_t tls_write(struct tls_conn *conn, const void *buf, size_t len)
{
	errno = 0;
	openssl.ERR_clear_error();
	return result_of(conn,
	                 openssl.SSL_write(conn->ssl, buf, len > INT_MAX ? INT_MAX : (int)len));
}

const char *tls_reason(char *buf, size_t len)
{
	return openssl_reason(buf, len);
}
