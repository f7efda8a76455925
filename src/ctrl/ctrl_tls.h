/* SPDX-License-Identifier: BSD-3-Clause */
/* ctrl/ctrl_tls.h - TLS of connections, by OpenSSL. One thread at a time. */
#ifndef SL_CTRL_TLS_H
#define SL_CTRL_TLS_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include <slime/base.h>

struct sl_tls;      /* certificate and key */
struct sl_tls_conn; /* of one connection */

/*
 * Read PEM files; CLIENT_CA NULL: clients need no certificate. -ENODEV: no OpenSSL; -EINVAL: a
 * file is not what it should be, the sentence names it.
 */
int sl_tls_create(const char *cert, const char *key, const char *client_ca, struct sl_tls **out,
                  struct slime_error *err);
/*
 * For a client: whom it talks to must have a certificate of an authority in the file CA; NULL:
 * of one that this system trusts (or of those in the file that SSL_CERT_FILE names). CERT and
 * KEY are what it shows of itself; NULL: nothing. Errors as above.
 */
int sl_tls_create_client(const char *ca, const char *cert, const char *key, struct sl_tls **out,
                         struct slime_error *err);
/* Connections that are open stay as they are. NULL is fine. */
void sl_tls_destroy(struct sl_tls *tls);

/* FD is not blocking and stays the caller's. NULL: no memory. */
struct sl_tls_conn *sl_tls_accept(struct sl_tls *tls, int fd);
/* The other side: FD leads to HOST, a name or an address, which the certificate must be for. */
struct sl_tls_conn *sl_tls_connect(struct sl_tls *tls, int fd, const char *host);
/* Says goodbye if that is possible at once. NULL is fine. */
void sl_tls_close(struct sl_tls_conn *conn);
/* Says nothing, so that no thread is told by SIGPIPE that nobody listens. NULL is fine. */
void sl_tls_drop(struct sl_tls_conn *conn);
/*
 * As recv() and send(), by TLS, or for CONN NULL by FD itself; errors are negative errnos. 0 is the
 * peer's end, -EAGAIN: when FD is readable, -EINPROGRESS: when it is writable. -EPROTO: this is no
 * TLS, or not somebody whom we trust.
 */
ssize_t sl_tls_recv(struct sl_tls_conn *conn, int fd, void *buf, size_t len);
ssize_t sl_tls_send(struct sl_tls_conn *conn, int fd, const void *buf, size_t len);
/* Of what these return: it is to be tried again. */
bool sl_tls_is_later(ssize_t n);
/*
 * After -EPROTO, on the same thread: why there is nothing to be said to the server, as what is said
 * of it: "has a certificate that has expired". -EACCES if it is for want of trust, else -EPROTO.
 */
int sl_tls_why(struct sl_tls_conn *conn, char *buf, size_t len);
/* Likewise, in OpenSSL's words. Returns BUF. */
const char *sl_tls_reason(char *buf, size_t len);

#endif
