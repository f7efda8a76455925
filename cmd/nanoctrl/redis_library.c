/* SPDX-License-Identifier: BSD-3-Clause */
#include "redis_library.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define REDIS_FRUGAL REDIS_LIBRARY "_frugal"

/* For FUNCTION LOAD. NULL: no memory. */
static char *library_text(void)
{
	static const char head[] =
	    "#!lua name=" REDIS_LIBRARY "\nlocal LIBRARY = '" REDIS_LIBRARY "'\n";
	size_t len = strlen(redis_script);
	char *text = malloc(sizeof(head) + len);

	if (text) {
		memcpy(text, head, sizeof(head) - 1);
		memcpy(text + sizeof(head) - 1, redis_script, len + 1);
	}
	return text;
}

int redis_library_init(struct redis_library *l)
{
	*l = (struct redis_library){.text = library_text()};
	redis_library_forget(l);
	return l->text ? 0 : -ENOMEM;
}

void redis_library_free(struct redis_library *l)
{
	free(l->text);
	l->text = NULL;
}

static void on_script(void *arg, const redisReply *reply, const char *reason)
{
	struct redis_library *l = arg;

	(void)reason;
	if (!reply || reply->type != REDIS_REPLY_STRING || reply->len != 40)
		return;
	memcpy(l->sha, reply->str, 41);
	l->how = "EVALSHA";
	l->what = l->sha;
}

static void on_library(void *arg, const redisReply *reply, const char *reason)
{
	static const char *const load[] = {"SCRIPT", "LOAD", redis_script};
	struct redis_library *l = arg;

	(void)reason;
	if (!reply)
		return;
	if (reply->type == REDIS_REPLY_ERROR) {
		(void)redis_conn_send(l->conn, 3, load, NULL, on_script, l);
		return;
	}
	l->how = "FCALL";
	l->what = REDIS_LIBRARY;
}

void redis_library_load(struct redis_library *l)
{
	const char *load[] = {"FUNCTION", "LOAD", "REPLACE", l->text};

	redis_library_forget(l);
	(void)redis_conn_send(l->conn, 4, load, NULL, on_library, l);
}

void redis_library_forget(struct redis_library *l)
{
	l->how = "EVAL";
	l->what = redis_script;
}

bool redis_library_is_loaded(const struct redis_library *l)
{
	return l->what != redis_script;
}

void redis_library_call(const struct redis_library *l, bool frugal, const char *words[3])
{
	words[0] = l->how;
	words[1] = frugal && !strcmp(l->how, "FCALL") ? REDIS_FRUGAL : l->what;
	words[2] = "0";
}

bool redis_library_is_gone(const redisReply *reply)
{
	return reply->type == REDIS_REPLY_ERROR &&
	       (!strncmp(reply->str, "NOSCRIPT", 8) || strstr(reply->str, "Function not found"));
}
