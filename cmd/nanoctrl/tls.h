/* SPDX-License-Identifier: BSD-3-Clause */
/* nanoctrl/tls.h - TLS of connections, by OpenSSL. The loop's thread only. */
#ifndef NANOCTRL_TLS_H
#define NANOCTRL_TLS_H

#include <stddef.h>
#include <sys/types.h>

#include <slime/base.h>

struct tls;      /* certificate and key */
struct tls_conn; /* of one connection */

/*
 * Read PEM files; CLIENT_CA NULL: clients need no certificate. -ENODEV: no OpenSSL; -EINVAL: a
 * file is not what it should be, the sentence names it.
 */
int tls_create(const char *cert, const char *key, const char *client_ca, struct tls **out,
               struct slime_error *err);
/*
 * For a client: whom it talks to must have a certificate of an authority that this system trusts
 * (or of those in the file that SSL_CERT_FILE names).
 */
int tls_create_client(struct tls **out, struct slime_error *err);
/* Connections that are open stay as they are. NULL is fine. */
void tls_destroy(struct tls *tls);

/* FD is not blocking and stays the caller's. NULL: no memory. */
struct tls_conn *tls_accept(struct tls *tls, int fd);
/* The other side: FD leads to HOST, in whose name the certificate must be. */
struct tls_conn *tls_connect(struct tls *tls, int fd, const char *host);
/* Says goodbye if that is possible at once. NULL is fine. */
void tls_close(struct tls_conn *conn);
/*
 * As recv() and send(): 0 is the peer's end, -EAGAIN: when FD is readable, -EINPROGRESS: when it
 * is writable. -EPROTO: this is no TLS, or not a client that we trust.
 */
ssize_t tls_read(struct tls_conn *conn, void *buf, size_t len);
ssize_t tls_write(struct tls_conn *conn, const void *buf, size_t len);
/* After -EPROTO: what OpenSSL says. Returns BUF. */
const char *tls_reason(char *buf, size_t len);

#endif
