/* SPDX-License-Identifier: BSD-3-Clause */
#include "redis_url.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sentence.h"

static int hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)tolower((unsigned char)c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* LEN bytes with %XX into OUT. False: too long, a wrong %XX, or a NUL. */
static bool decode(const char *from, size_t len, char *out, size_t cap)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		char c = from[i];

		if (c == '%') {
			if (i + 2 >= len || hex(from[i + 1]) < 0 || hex(from[i + 2]) < 0)
				return false;
			c = (char)(hex(from[i + 1]) * 16 + hex(from[i + 2]));
			i += 2;
		}
		if (!c || n + 1 >= cap)
			return false;
		out[n++] = c;
	}
	out[n] = '\0';
	return true;
}

/* "[USER]:PASSWORD@" or "PASSWORD@" at *TEXT, before END. */
static bool take_user(const char **text, const char *end, struct redis_url *out)
{
	const char *at = memrchr(*text, '@', (size_t)(end - *text)), *begin = *text, *colon;

	if (!at)
		return true;
	*text = at + 1;
	colon = memchr(begin, ':', (size_t)(at - begin));
	if (!colon)
		return decode(begin, (size_t)(at - begin), out->password, sizeof(out->password));
	return decode(begin, (size_t)(colon - begin), out->user, sizeof(out->user)) &&
	       decode(colon + 1, (size_t)(at - colon - 1), out->password, sizeof(out->password));
}

static bool take_number(const char *text, long max, long *out)
{
	char *end;

	if (!isdigit((unsigned char)*text))
		return false;
	errno = 0;
	*out = strtol(text, &end, 10);
	return !errno && !*end && *out <= max;
}

static bool take_host(const char *text, const char *end, struct redis_url *out)
{
	const char *host = text, *host_end, *port;
	char number[8];
	long value = 6379;

	if (*text == '[') {
		host++;
		host_end = memchr(text, ']', (size_t)(end - text));
		if (!host_end)
			return false;
		port = host_end + 1;
	} else {
		host_end = memchr(text, ':', (size_t)(end - text));
		if (!host_end)
			host_end = end;
		port = host_end;
	}
	if (host_end == host || !decode(host, (size_t)(host_end - host), out->host, 256))
		return false;
	if (port != end &&
	    (*port != ':' || !decode(port + 1, (size_t)(end - port - 1), number, 7) ||
	     !take_number(number, 65535, &value)))
		return false;
	(void)snprintf(out->port, sizeof(out->port), "%ld", value);
	return value > 0;
}

static bool take_tcp(const char *text, struct redis_url *out)
{
	const char *end = text + strcspn(text, "/?#");
	long db = 0;

	if (!take_user(&text, end, out) || !take_host(text, end, out))
		return false;
	if (*end == '/' && end[1] && !take_number(end + 1, 1000000, &db))
		return false;
	out->db = (int)db;
	return *end == '/' || !*end;
}

static bool take_unix(const char *text, struct redis_url *out)
{
	const char *end = text + strcspn(text, "?"), *slash = text + strcspn(text, "/");
	long db = 0;

	if (slash > end || !take_user(&text, slash, out) || text != slash)
		return false;
	if (*end && (strncmp(end, "?db=", 4) || !take_number(end + 4, 1000000, &db)))
		return false;
	out->db = (int)db;
	return end > text && decode(text, (size_t)(end - text), out->path, sizeof(out->path));
}

int redis_url_parse(const char *text, struct redis_url *out, struct slime_error *err)
{
	struct redis_url url = {0};
	bool ok;

	if (!strncmp(text, "redis://", 8)) {
		ok = take_tcp(text + 8, &url);
	} else if (!strncmp(text, "rediss://", 9)) {
		url.tls = true;
		ok = take_tcp(text + 9, &url);
	} else if (!strncmp(text, "unix://", 7)) {
		ok = take_unix(text + 7, &url);
	} else if (!strncmp(text, "redis+unix://", 13)) {
		ok = take_unix(text + 13, &url);
	} else {
		return refuse(err, -EINVAL,
		              "a Redis url begins with redis://, rediss:// or unix://, as in "
		              "redis://127.0.0.1:6379/0");
	}
	if (!ok)
		return refuse(err, -EINVAL,
		              "the Redis url is not of the form "
		              "redis://[[USER]:PASSWORD@]HOST[:PORT][/DB] or "
		              "unix://[[USER]:PASSWORD@]/PATH[?db=DB]");
	*out = url;
	return 0;
}

const char *redis_url_place(const struct redis_url *url, char *buf, size_t cap)
{
	if (!*url->host)
		(void)snprintf(buf, cap, "unix:%s", url->path);
	else if (strchr(url->host, ':'))
		(void)snprintf(buf, cap, "[%s]:%s", url->host, url->port);
	else
		(void)snprintf(buf, cap, "%s:%s", url->host, url->port);
	return buf;
}
