/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * nanoctrl/redis_url.h - where a Redis is: a parser without I/O.
 *
 *	redis://[[USER]:PASSWORD@]HOST[:PORT][/DB]     rediss:// likewise, over TLS
 *	unix://[[USER]:PASSWORD@]/PATH[?db=DB]         redis+unix:// is the same
 *
 * HOST may be an IPv6 address in brackets; USER, PASSWORD and PATH may have %XX.
 */
#ifndef NANOCTRL_REDIS_URL_H
#define NANOCTRL_REDIS_URL_H

#include <stdbool.h>

#include <slime/base.h>

struct redis_url {
	char host[256]; /* "": a unix socket */
	char port[8];
	char path[108];
	char user[256], password[512]; /* "": none */
	int db;
	bool tls;
};

/* -EINVAL with a sentence, which does not repeat the password. */
int redis_url_parse(const char *text, struct redis_url *out, struct slime_error *err);

/* "HOST:PORT" or "unix:PATH", for sentences. Returns BUF. */
const char *redis_url_place(const struct redis_url *url, char *buf, size_t cap);

#endif
