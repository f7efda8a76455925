/* SPDX-License-Identifier: BSD-3-Clause */
/* nanoctrl/obs_source.c - fetch snapshots, from Redis or from a daemon. */
#include <errno.h>
#include <hiredis/hiredis.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <time.h>

#include "json_text.h"
#include "obs.h"
#include "redis_url.h"
#include "sentence.h"

enum { SCAN_COUNT = 200, PAGE_ROWS = 1000 };

static const struct timeval patience = {.tv_sec = 5};

int64_t obs_within(int64_t n)
{
	return n > OBS_INT_MAX ? OBS_INT_MAX : n < -OBS_INT_MAX ? -OBS_INT_MAX : n;
}

int64_t obs_int(const json_t *object, const char *name)
{
	const json_t *member = json_object_get(object, name);

	if (json_is_real(member) && fabs(json_real_value(member)) < (double)OBS_INT_MAX)
		return (int64_t)json_real_value(member);
	if (json_is_real(member))
		return json_real_value(member) < 0 ? -OBS_INT_MAX : OBS_INT_MAX;
	return obs_within(json_integer_value(member));
}

double obs_real(const json_t *object, const char *name)
{
	return json_number_value(json_object_get(object, name));
}

const char *obs_text(const json_t *object, const char *name)
{
	const char *text = json_text_whole(json_object_get(object, name));

	return text ? text : "";
}

int64_t obs_now_ms(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_REALTIME, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

const char *obs_state(const json_t *snapshot, int64_t stale_ms, int64_t now_ms)
{
	const char *status = obs_text(snapshot, "status");

	if (!strcmp(status, "stopped") || !strcmp(status, "starting"))
		return status;
	return now_ms - obs_int(snapshot, "reported_at_ms") > stale_ms ? "stale" : "alive";
}

/* By peer_id, in place. */
static int compare(const void *a, const void *b)
{
	const json_t *const *x = a, *const *y = b;

	return strcmp(obs_text(*x, "peer_id"), obs_text(*y, "peer_id"));
}

/* Steals ARRAY. */
static json_t *sorted(json_t *array)
{
	size_t n = json_array_size(array), i;
	json_t **item = calloc(n ? n : 1, sizeof(*item)), *out = json_array(), *value;

	if (item && out) {
		json_array_foreach(array, i, value) item[i] = value;
		qsort(item, n, sizeof(*item), compare);
		for (i = 0; i < n; i++)
			(void)json_array_append(out, item[i]);
	}
	free(item);
	json_decref(array);
	return out;
}

/* Redis. */

static redisContext *connect_to(const char *text, struct slime_error *err)
{
	struct redis_url url;
	redisContext *c;
	char place[400];

	if (redis_url_parse(text, &url, err))
		return NULL;
	if (url.tls) {
		(void)refuse(err, -EOPNOTSUPP,
		             "this verb does not speak TLS to Redis; use --address");
		return NULL;
	}
	c = *url.host ? redisConnectWithTimeout(url.host, atoi(url.port), patience)
	              : redisConnectUnixWithTimeout(url.path, patience);
	redis_url_place(&url, place, sizeof(place));
	if (!c || c->err) {
		(void)refuse(err, -ECONNREFUSED, "no Redis at %.120s (%.80s)", place,
		             c ? c->errstr : "no memory");
		redisFree(c);
		return NULL;
	}
	(void)redisSetTimeout(c, patience);
	if (*url.password)
		freeReplyObject(*url.user ? redisCommand(c, "AUTH %s %s", url.user, url.password)
		                          : redisCommand(c, "AUTH %s", url.password));
	if (url.db)
		freeReplyObject(redisCommand(c, "SELECT %d", url.db));
	return c;
}

static redisReply *checked(redisContext *c, redisReply *reply, int type, struct slime_error *err)
{
	if (reply && reply->type == type)
		return reply;
	(void)refuse(err, -EIO, "Redis says: %.200s",
	             !reply                             ? c->errstr
	             : reply->type == REDIS_REPLY_ERROR ? reply->str
	                                                : "something else");
	freeReplyObject(reply);
	return NULL;
}

/* SCOPE with what SCAN would take for a pattern escaped. */
static char *pattern_of(const char *scope)
{
	size_t len = scope ? strlen(scope) : 0;
	char *pattern = malloc(2 * len + 16), *at = pattern;

	if (!pattern)
		return NULL;
	for (size_t i = 0; i < len; i++) {
		if (strchr("*?[]\\", scope[i]))
			*at++ = '\\';
		*at++ = scope[i];
	}
	(void)strcpy(at, len ? ":obs:peer:*" : "obs:peer:*");
	return pattern;
}

/* The values of KEYS, those that are JSON objects, behind the others. */
static bool add_values(redisContext *c, const redisReply *keys, json_t *out,
                       struct slime_error *err)
{
	const char **word = calloc(keys->elements + 1, sizeof(*word));
	size_t *len = calloc(keys->elements + 1, sizeof(*len));
	redisReply *values = NULL;

	if (word && len) {
		word[0] = "MGET";
		len[0] = 4;
		for (size_t i = 0; i < keys->elements; i++) {
			word[i + 1] = keys->element[i]->str;
			len[i + 1] = (size_t)keys->element[i]->len;
		}
		values = redisCommandArgv(c, (int)keys->elements + 1, word, len);
		values = checked(c, values, REDIS_REPLY_ARRAY, err);
	}
	free(word);
	free(len);
	for (size_t i = 0; values && i < values->elements; i++) {
		const redisReply *value = values->element[i];
		json_t *snapshot = value->type == REDIS_REPLY_STRING
		                       ? json_text_parse(value->str, (size_t)value->len, 0, NULL)
		                       : NULL;

		if (json_is_object(snapshot))
			(void)json_array_append(out, snapshot);
		json_decref(snapshot);
	}
	freeReplyObject(values);
	return values != NULL;
}

/* One step of SCAN; CURSOR is "0" when it was the last. */
static bool scan_on(redisContext *c, const char *pattern, char cursor[24], json_t *out,
                    struct slime_error *err)
{
	redisReply *reply =
	    redisCommand(c, "SCAN %s MATCH %s COUNT %d", cursor, pattern, SCAN_COUNT);
	bool ok;

	reply = checked(c, reply, REDIS_REPLY_ARRAY, err);
	if (!reply)
		return false;
	ok = reply->elements == 2 && reply->element[0]->len < 24;
	if (ok) {
		memcpy(cursor, reply->element[0]->str, (size_t)reply->element[0]->len + 1);
		if (reply->element[1]->elements)
			ok = add_values(c, reply->element[1], out, err);
	}
	freeReplyObject(reply);
	return ok;
}

static json_t *fetch_from_redis(const struct obs_place *place, struct slime_error *err)
{
	redisContext *c = connect_to(place->redis_url, err);
	char *pattern = pattern_of(place->scope), cursor[24] = "0";
	json_t *out = json_array();
	bool ok = c && pattern && out;

	do
		ok = ok && scan_on(c, pattern, cursor, out, err);
	while (ok && strcmp(cursor, "0"));
	free(pattern);
	if (c)
		redisFree(c);
	if (ok)
		return sorted(out);
	json_decref(out);
	return NULL;
}

/* A daemon. */

/* TEXT as part of a query. */
static void encode(const char *text, char *out, size_t cap)
{
	static const char plain[] =
	    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-._~";
	size_t n = 0;

	for (; *text && n + 4 < cap; text++)
		n += (size_t)snprintf(out + n, cap - n, strchr(plain, *text) ? "%c" : "%%%02X",
		                      (unsigned char)*text);
	out[n] = '\0';
}

static json_t *fetch_from_daemon(const struct obs_place *place, struct slime_error *err)
{
	json_t *out = json_array(), *page = NULL;
	char scope[1600], after[1600] = "", target[3400];

	encode(place->scope ? place->scope : "", scope, sizeof(scope));
	do {
		(void)snprintf(target, sizeof(target), "/v1/obs?scope=%s&limit=%d%s%s", scope,
		               PAGE_ROWS, *after ? "&after=" : "", after);
		json_decref(page);
		page = obs_http_get(place->address, place->token, target, err);
		if (!page) {
			json_decref(out);
			return NULL;
		}
		(void)json_array_extend(out, json_object_get(page, "snapshots"));
		encode(obs_text(page, "next"), after, sizeof(after));
	} while (*after);
	json_decref(page);
	return sorted(out);
}

json_t *obs_fetch(const struct obs_place *place, struct slime_error *err)
{
	return place->address ? fetch_from_daemon(place, err) : fetch_from_redis(place, err);
}
