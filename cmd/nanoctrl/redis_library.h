/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * nanoctrl/redis_library.h - our script in a Redis: how it is called there, and that it is there.
 * Redis 7 keeps it as a library of functions, an older one as a script.
 *
 * Threads: the loop's only.
 */
#ifndef NANOCTRL_REDIS_LIBRARY_H
#define NANOCTRL_REDIS_LIBRARY_H

#include "redis_conn.h"

/* The script, NUL-terminated; the build makes it of redis_script.lua and those that it names. */
extern const char redis_script[];

struct redis_library {
	struct redis_conn *conn;
	char *text;
	/* "FCALL" and a function, or "EVALSHA" and a digest; or "EVAL" and all of it */
	const char *how, *what;
	char sha[41];
};

/* -ENOMEM. CONN is set by whoever has it, before the library is loaded. */
int redis_library_init(struct redis_library *library);
void redis_library_free(struct redis_library *library);

/* Asks Redis to keep it; until that is answered it is sent whole. */
void redis_library_load(struct redis_library *library);
/* The connection is gone, and what is behind the next one may not have it. */
void redis_library_forget(struct redis_library *library);
bool redis_library_is_loaded(const struct redis_library *library);

/* The words of a call before its arguments. FRUGAL: it goes on when Redis has no memory left. */
void redis_library_call(const struct redis_library *library, bool frugal, const char *words[3]);

/* Does this answer say that it is no longer there? */
bool redis_library_is_gone(const redisReply *reply);

#endif
