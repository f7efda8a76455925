/* SPDX-License-Identifier: BSD-3-Clause */
#include "target.h"

#include <errno.h>
#include <string.h>

#include "sentence.h"

/* Bytes of the UTF-8 character at S, of which there are LEN; 0 if it is none. */
static size_t utf8_len(const unsigned char *s, size_t len)
{
	/* the least second byte refuses overlong forms, the greatest surrogates and what is past
	 * U+10FFFF */
	unsigned char lo = s[0] == 0xe0 ? 0xa0 : s[0] == 0xf0 ? 0x90 : 0x80;
	unsigned char hi = s[0] == 0xed ? 0x9f : s[0] == 0xf4 ? 0x8f : 0xbf;
	size_t n = s[0] < 0x80 ? 1 : s[0] < 0xc2 ? 0 : s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;

	if (n == 0 || n > len || s[0] > 0xf4)
		return 0;
	if (n > 1 && (s[1] < lo || s[1] > hi))
		return 0;
	for (size_t i = 2; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	}
	return n;
}

bool target_is_utf8(const char *text, size_t len)
{
	const unsigned char *s = (const unsigned char *)text;

	for (size_t i = 0, n; i < len; i += n) {
		n = utf8_len(s + i, len - i);
		if (n == 0)
			return false;
	}
	return true;
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* "%41" to "A", in place; PLUS: "+" to a blank. */
static int decode(char *text, bool plus, struct slime_error *err)
{
	char *to = text;

	for (const char *from = text; *from; from++) {
		char c = *from;

		if (c == '+' && plus) {
			c = ' ';
		} else if (c == '%') {
			int high = hex_value(from[1]);
			int low = high < 0 ? -1 : hex_value(from[2]);

			if (low < 0)
				return refuse(err, -EINVAL,
				              "a '%%' in the path or query is not followed by two "
				              "hexadecimal digits");
			c = (char)(high * 16 + low);
			if (!c)
				return refuse(err, -EINVAL, "the path or query contains %%00");
			from += 2;
		}
		*to++ = c;
	}
	*to = '\0';
	if (!target_is_utf8(text, (size_t)(to - text)))
		return refuse(err, -EINVAL, "the path or query is not UTF-8");
	return 0;
}

/* The path of "http://host/path" as well as of "/path". */
static char *path_of(char *text)
{
	char *host;

	if (*text == '/')
		return text;
	host = strstr(text, "://");
	if (!host)
		return text;
	return host + 3 + strcspn(host + 3, "/?");
}

static int parse_queries(char *text, struct target *out, struct slime_error *err)
{
	int rc;

	while (text) {
		char *query = strsep(&text, "&");
		char *value = strchr(query, '=');

		if (!*query)
			continue;
		if (out->n_queries == TARGET_MAX_QUERIES)
			return refuse(err, -EINVAL, "the query has more than %d members",
			              TARGET_MAX_QUERIES);
		if (value)
			*value++ = '\0';
		rc = decode(query, true, err);
		if (rc == 0 && value)
			rc = decode(value, true, err);
		if (rc < 0)
			return rc;
		out->query[out->n_queries].name = query;
		out->query[out->n_queries++].value = value ? value : "";
	}
	return 0;
}

int target_parse(char *text, struct target *out, struct slime_error *err)
{
	char *path = path_of(text);
	char *query = strchr(path, '?');
	int rc;

	out->n_parts = 0;
	out->n_queries = 0;
	if (query)
		*query++ = '\0';
	if (*path == '/')
		path++;
	while (path) {
		char *part = strsep(&path, "/");

		if (out->n_parts == TARGET_MAX_PARTS)
			return refuse(err, -ENOENT, "there is no such path");
		/* after the cut: a '/' that was encoded is part of a name */
		rc = decode(part, false, err);
		if (rc < 0)
			return rc;
		out->part[out->n_parts++] = part;
	}
	return parse_queries(query, out, err);
}

const char *target_query(const struct target *target, const char *name)
{
	for (size_t i = 0; i < target->n_queries; i++) {
		if (strcmp(target->query[i].name, name) == 0)
			return target->query[i].value;
	}
	return NULL;
}
