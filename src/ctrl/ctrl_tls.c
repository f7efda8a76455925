/* SPDX-License-Identifier: BSD-3-Clause */
#include "ctrl/ctrl_tls.h"

#include <arpa/inet.h>
#include <errno.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/error.h"
#include "ctrl/openssl_table.h"

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
	ERROR_ZERO_RETURN = 6,
	VERIFY_OK = 0,
	VERIFY_NOT_YET = 9,
	VERIFY_EXPIRED = 10,
	VERIFY_SELF_SIGNED = 18,
	VERIFY_NO_FIRST = 21, /* and what lies between: the chain leads to nobody whom we trust */
	VERIFY_HOSTNAME = 62,
	VERIFY_ADDRESS = 64,
	REASON_WRONG_VERSION = 267,
	REASON_UNEXPECTED_EOF = 294,
	REASON_HANDSHAKE_FAILURE = 1040, /* alerts of the peer's, from here on */
	REASON_BAD_CERTIFICATE = 1042,
	REASON_ACCESS_DENIED = 1049,
	REASON_CERTIFICATE_REQUIRED = 1116,
};

struct sl_tls {
	SSL_CTX *ctx;
	bool shows; /* a certificate */
};

struct sl_tls_conn {
	SSL *ssl;
	bool shows;
};

/* OpenSSL would ask at the terminal. */
static int no_passphrase(char *buf, int len, int writes, void *wanted)
{
	(void)buf;
	(void)len;
	(void)writes;
	*(bool *)wanted = true;
	return 0;
}

static int load_key(SSL_CTX *ctx, const char *key, struct slime_error *err)
{
	char reason[160];
	bool wanted = false;
	int rc;

	sl_openssl.SSL_CTX_set_default_passwd_cb(ctx, no_passphrase);
	sl_openssl.SSL_CTX_set_default_passwd_cb_userdata(ctx, &wanted);
	rc = sl_openssl.SSL_CTX_use_PrivateKey_file(ctx, key, FILETYPE_PEM);
	sl_openssl.SSL_CTX_set_default_passwd_cb_userdata(ctx, NULL);
	(void)sl_openssl_reason(reason, sizeof(reason));
	if (rc != 1 && wanted)
		return sl_fail(err, -EINVAL,
		               "the key '%s' is encrypted, and nobody is asked for its passphrase: "
		               "use one that is not",
		               key);
	if (rc != 1)
		return sl_fail(err, -EINVAL, "cannot use the key '%s': %s", key, reason);
	return 0;
}

static int load_files(SSL_CTX *ctx, const char *cert, const char *key, struct slime_error *err)
{
	char reason[160];
	int rc;

	if (sl_openssl.SSL_CTX_use_certificate_chain_file(ctx, cert) != 1)
		return sl_fail(err, -EINVAL, "cannot use the certificate '%s': %s", cert,
		               sl_openssl_reason(reason, sizeof(reason)));
	rc = load_key(ctx, key, err);
	if (rc < 0)
		return rc;
	if (sl_openssl.SSL_CTX_check_private_key(ctx) != 1)
		return sl_fail(err, -EINVAL, "the key '%s' does not belong to the certificate '%s'",
		               key, cert);
	return 0;
}

static int trust_clients(SSL_CTX *ctx, const char *client_ca, struct slime_error *err)
{
	struct stack_of_names *names;
	char reason[160];

	names = sl_openssl.SSL_load_client_CA_file(client_ca);
	if (!names || sl_openssl.SSL_CTX_load_verify_locations(ctx, client_ca, NULL) != 1)
		return sl_fail(err, -EINVAL, "cannot use the clients' authority '%s': %s",
		               client_ca, sl_openssl_reason(reason, sizeof(reason)));
	sl_openssl.SSL_CTX_set_client_CA_list(ctx, names);
	sl_openssl.SSL_CTX_set_verify(ctx, VERIFY_PEER | VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	return 0;
}

static int create(const SSL_METHOD *method, struct sl_tls **out, struct slime_error *err)
{
	struct sl_tls *tls = calloc(1, sizeof(*tls));

	if (tls)
		tls->ctx = sl_openssl.SSL_CTX_new(method);
	if (!tls || !tls->ctx) {
		free(tls);
		return sl_fail(err, -ENOMEM, "no memory for TLS");
	}
	sl_openssl.ERR_clear_error();
	(void)sl_openssl.SSL_CTX_ctrl(tls->ctx, CTRL_SET_MIN_PROTO_VERSION, TLS_1_2, NULL);
	(void)sl_openssl.SSL_CTX_ctrl(
	    tls->ctx, CTRL_MODE, MODE_PARTIAL_WRITE | MODE_MOVING_BUFFER | MODE_RELEASE_BUFFERS,
	    NULL);
	*out = tls;
	return 0;
}

int sl_tls_create(const char *cert, const char *key, const char *client_ca, struct sl_tls **out,
                  struct slime_error *err)
{
	struct sl_tls *tls;
	int rc = sl_openssl_load(err);

	if (rc == 0)
		rc = create(sl_openssl.TLS_server_method(), &tls, err);
	if (rc < 0)
		return rc;
	rc = load_files(tls->ctx, cert, key, err);
	if (rc == 0 && client_ca)
		rc = trust_clients(tls->ctx, client_ca, err);
	if (rc < 0) {
		sl_tls_destroy(tls);
		return rc;
	}
	*out = tls;
	return 0;
}

static int trust_server(SSL_CTX *ctx, const char *ca, struct slime_error *err)
{
	char reason[160];

	sl_openssl.SSL_CTX_set_verify(ctx, VERIFY_PEER, NULL);
	if (!ca)
		(void)sl_openssl.SSL_CTX_set_default_verify_paths(ctx);
	else if (sl_openssl.SSL_CTX_load_verify_locations(ctx, ca, NULL) != 1)
		return sl_fail(err, -EINVAL, "cannot use the authority '%s': %s", ca,
		               sl_openssl_reason(reason, sizeof(reason)));
	return 0;
}

int sl_tls_create_client(const char *ca, const char *cert, const char *key, struct sl_tls **out,
                         struct slime_error *err)
{
	struct sl_tls *tls;
	int rc = sl_openssl_load(err);

	if (rc == 0)
		rc = create(sl_openssl.TLS_client_method(), &tls, err);
	if (rc < 0)
		return rc;
	rc = trust_server(tls->ctx, ca, err);
	if (rc == 0 && cert)
		rc = load_files(tls->ctx, cert, key, err);
	if (rc < 0) {
		sl_tls_destroy(tls);
		return rc;
	}
	tls->shows = cert != NULL;
	*out = tls;
	return 0;
}

void sl_tls_destroy(struct sl_tls *tls)
{
	if (!tls)
		return;
	sl_openssl.SSL_CTX_free(tls->ctx); /* connections hold references of their own */
	free(tls);
}

static struct sl_tls_conn *create_conn(struct sl_tls *tls, int fd)
{
	struct sl_tls_conn *conn = calloc(1, sizeof(*conn));

	if (!conn)
		return NULL;
	conn->ssl = sl_openssl.SSL_new(tls->ctx);
	if (!conn->ssl || sl_openssl.SSL_set_fd(conn->ssl, fd) != 1) {
		if (conn->ssl)
			sl_openssl.SSL_free(conn->ssl);
		free(conn);
		return NULL;
	}
	return conn;
}

struct sl_tls_conn *sl_tls_accept(struct sl_tls *tls, int fd)
{
	struct sl_tls_conn *conn = create_conn(tls, fd);

	if (conn)
		sl_openssl.SSL_set_accept_state(conn->ssl);
	return conn;
}

static bool is_address(const char *host)
{
	struct in6_addr any;

	return inet_pton(AF_INET, host, &any) == 1 || inet_pton(AF_INET6, host, &any) == 1;
}

struct sl_tls_conn *sl_tls_connect(struct sl_tls *tls, int fd, const char *host)
{
	struct sl_tls_conn *conn = create_conn(tls, fd);
	int rc;

	if (!conn)
		return NULL;
	conn->shows = tls->shows;
	if (is_address(host)) {
		rc = sl_openssl.X509_VERIFY_PARAM_set1_ip_asc(sl_openssl.SSL_get0_param(conn->ssl),
		                                              host);
	} else {
		rc = sl_openssl.SSL_set1_host(conn->ssl, host);
		/* OpenSSL does not write to the name */
		(void)sl_openssl.SSL_ctrl(conn->ssl, CTRL_SET_TLSEXT_HOSTNAME, 0,
		                          (void *)(uintptr_t)host);
	}
	if (rc != 1) {
		sl_openssl.SSL_free(conn->ssl);
		free(conn);
		return NULL;
	}
	sl_openssl.SSL_set_connect_state(conn->ssl);
	return conn;
}

void sl_tls_close(struct sl_tls_conn *conn)
{
	if (!conn)
		return;
	sl_openssl.ERR_clear_error();
	(void)sl_openssl.SSL_shutdown(conn->ssl);
	sl_openssl.ERR_clear_error();
	sl_tls_drop(conn);
}

void sl_tls_drop(struct sl_tls_conn *conn)
{
	if (!conn)
		return;
	sl_openssl.SSL_free(conn->ssl);
	free(conn);
}

static ssize_t result_of(struct sl_tls_conn *conn, int n)
{
	int error = errno;

	if (n > 0)
		return n;
	switch (sl_openssl.SSL_get_error(conn->ssl, n)) {
	case ERROR_ZERO_RETURN:
		return 0;
	case ERROR_WANT_READ:
		return -EAGAIN;
	case ERROR_WANT_WRITE:
		return -EINPROGRESS;
	case ERROR_SYSCALL:
		return error ? -error : -ECONNRESET;
	default: /* 3 has a word of its own for what was 0 bytes and no error in 1.1 */
		return sl_openssl_reason_code() == REASON_UNEXPECTED_EOF ? -ECONNRESET : -EPROTO;
	}
}

ssize_t sl_tls_recv(struct sl_tls_conn *conn, int fd, void *buf, size_t len)
{
	ssize_t n;

	if (!conn) {
		n = recv(fd, buf, len, 0);
		return n < 0 ? -errno : n;
	}
	errno = 0;
	sl_openssl.ERR_clear_error();
	return result_of(conn,
	                 sl_openssl.SSL_read(conn->ssl, buf, len > INT_MAX ? INT_MAX : (int)len));
}

ssize_t sl_tls_send(struct sl_tls_conn *conn, int fd, const void *buf, size_t len)
{
	ssize_t n;

	if (!conn) {
		n = send(fd, buf, len, MSG_NOSIGNAL);
		return n < 0 ? -errno : n;
	}
	errno = 0;
	sl_openssl.ERR_clear_error();
	return result_of(conn,
	                 sl_openssl.SSL_write(conn->ssl, buf, len > INT_MAX ? INT_MAX : (int)len));
}

bool sl_tls_is_later(ssize_t n)
{
	return n == -EAGAIN || n == -EINPROGRESS || n == -EINTR;
}

/* Of a certificate that we do not trust. */
static void say_refused(long result, char *buf, size_t len)
{
	const char *why = NULL;

	if (result == VERIFY_EXPIRED)
		why = "has a certificate that has expired";
	else if (result == VERIFY_NOT_YET)
		why = "has a certificate that is not valid yet";
	else if (result == VERIFY_HOSTNAME || result == VERIFY_ADDRESS)
		why = "has a certificate for another host";
	else if (result >= VERIFY_SELF_SIGNED && result <= VERIFY_NO_FIRST)
		why = "has a certificate of an authority that is not trusted here";
	if (why)
		(void)snprintf(buf, len, "%s", why);
	else
		(void)snprintf(buf, len, "has a certificate that is no good: %s",
		               sl_openssl.X509_verify_cert_error_string(result));
}

int sl_tls_why(struct sl_tls_conn *conn, char *buf, size_t len)
{
	long result = sl_openssl.SSL_get_verify_result(conn->ssl);
	int code = sl_openssl_reason_code();
	char reason[160];
	bool denies = (code >= REASON_BAD_CERTIFICATE && code <= REASON_ACCESS_DENIED) ||
	              code == REASON_CERTIFICATE_REQUIRED || code == REASON_HANDSHAKE_FAILURE;

	(void)sl_openssl_reason(reason, sizeof(reason));
	if (result != VERIFY_OK)
		say_refused(result, buf, len);
	else if (code == REASON_CERTIFICATE_REQUIRED && !conn->shows)
		(void)snprintf(buf, len, "wants a client certificate, and there is none");
	else if (denies && conn->shows)
		(void)snprintf(buf, len, "does not take our client certificate: %s", reason);
	else if (code == REASON_WRONG_VERSION)
		(void)snprintf(buf, len, "does not speak TLS");
	else
		(void)snprintf(buf, len, "does not agree upon TLS: %s", reason);
	return result != VERIFY_OK || denies ? -EACCES : -EPROTO;
}

const char *sl_tls_reason(char *buf, size_t len)
{
	return sl_openssl_reason(buf, len);
}
