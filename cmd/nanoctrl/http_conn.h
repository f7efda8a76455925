/* SPDX-License-Identifier: BSD-3-Clause */
/* nanoctrl/http_conn.h - HTTP/1.1 on a connection: its bytes to calls, answers to its bytes. */
#ifndef NANOCTRL_HTTP_CONN_H
#define NANOCTRL_HTTP_CONN_H

#include "conn.h"

/* Once, before any connection. */
void http_init(void);
void http_begin(struct conn *conn);
/* The connection goes away. */
void http_end(struct conn *conn);
/*
 * Look at BYTES; runs the calls that are complete, one after the other. Returns how many bytes
 * were used: fewer when a call is not answered at once, or the connection ends.
 */
size_t http_feed(struct conn *conn, const char *bytes, size_t len);
/* The request took too long: say so, if it has begun, and end. */
void http_time_out(struct conn *conn);

#endif
