/* SPDX-License-Identifier: BSD-3-Clause */
#include "address.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "say.h"
#include "size.h"

static const char scheme[] = "slime:";

/* TEXT[0..LEN) is HOST:PORT. */
static int parse_part(const char *text, size_t len, struct address *out, struct slime_error *err)
{
	char part[HOST_MAX + 16];
	char *host = part;
	char *colon;
	uint64_t port;

	if (len >= sizeof(part))
		return refuse(err, -EINVAL, "an address of %zu characters is too long", len);
	memcpy(part, text, len);
	part[len] = '\0';
	colon = strrchr(part, ':');
	if (!colon || colon == part || (strchr(part, ':') != colon && part[0] != '['))
		return refuse(err, -EINVAL,
		              "'%s' is not HOST:PORT (an IPv6 host goes in brackets: [::1]:4711)",
		              part);
	*colon = '\0';
	if (number_parse("the port", colon + 1, 1, UINT16_MAX, &port, err) < 0)
		return -EINVAL;
	if (host[0] == '[') {
		if (colon - part < 3 || colon[-1] != ']')
			return refuse(err, -EINVAL, "'%s' is not a host in brackets", host);
		colon[-1] = '\0';
		host++;
	}
	len = strlen(host);
	if (len >= sizeof(out->host))
		return refuse(err, -EINVAL, "the host name is too long");
	memcpy(out->host, host, len + 1);
	out->port = (uint16_t)port;
	return 0;
}

int address_parse(const char *text, struct address *out, struct slime_error *err)
{
	struct address at;
	int rc = parse_part(text, strlen(text), &at, err);

	if (rc == 0)
		*out = at;
	return rc;
}

const char *address_format(const struct address *at, char *buf, size_t cap)
{
	int v6 = strchr(at->host, ':') != NULL;

	(void)snprintf(buf, cap, "%s%s%s:%u", v6 ? "[" : "", at->host, v6 ? "]" : "", at->port);
	return buf;
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

/* Two hex digits, -1 if they are not. Reads no further than a NUL. */
static int hex_byte(const char *s)
{
	int hi = hex_value(s[0]);
	int lo = hi < 0 ? -1 : hex_value(s[1]);

	return lo < 0 ? -1 : hi << 4 | lo;
}

static int parse_secret(const char *text, uint8_t out[SECRET_LEN])
{
	for (int i = 0; i < SECRET_LEN; i++) {
		int v = hex_byte(text + 2 * i);

		if (v < 0)
			return -EINVAL;
		out[i] = (uint8_t)v;
	}
	return text[2 * SECRET_LEN] == '/' ? 0 : -EINVAL;
}

/* A name that is one component of a path, whoever made the ticket. */
static int parse_name(const char *text, char out[NAME_BYTES_MAX])
{
	size_t n = 0;

	for (; *text; text++) {
		int c = (unsigned char)*text;

		if (c == '%') {
			c = hex_byte(text + 1);
			text += 2;
			if (c < 0)
				return -EINVAL;
		}
		if (c == 0 || c == '/' || n + 1 == NAME_BYTES_MAX)
			return -EINVAL;
		out[n++] = (char)c;
	}
	out[n] = '\0';
	return n == 0 || strcmp(out, ".") == 0 || strcmp(out, "..") == 0 ? -EINVAL : 0;
}

bool ticket_is(const char *text)
{
	return strncmp(text, scheme, strlen(scheme)) == 0;
}

int ticket_parse(const char *text, struct ticket *out, struct slime_error *err)
{
	struct ticket t = {0};
	const char *slash;
	int rc;

	if (!ticket_is(text))
		return refuse(err, -EINVAL, "'%.60s' is not a ticket: it does not start with '%s'",
		              text, scheme);
	text += strlen(scheme);
	slash = strchr(text, '/');
	if (!slash)
		return refuse(err, -EINVAL, "the ticket is cut off after its address");
	rc = parse_part(text, (size_t)(slash - text), &t.at, err);
	if (rc < 0)
		return rc;
	if (parse_secret(slash + 1, t.secret) < 0)
		return refuse(err, -EINVAL, "the ticket's secret is not %d hex digits",
		              2 * SECRET_LEN);
	if (parse_name(slash + 2 + (ptrdiff_t)2 * SECRET_LEN, t.name) < 0)
		return refuse(err, -EINVAL, "the ticket does not end with the name of a file");
	*out = t;
	return 0;
}

static int is_plain(char c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
	       (c && strchr("-._~", c));
}

const char *ticket_format(const struct ticket *t, char buf[TICKET_TEXT_MAX])
{
	char at[HOST_MAX + 16];
	char *p = buf;

	p += sprintf(p, "%s%s/", scheme, address_format(&t->at, at, sizeof(at)));
	for (int i = 0; i < SECRET_LEN; i++)
		p += sprintf(p, "%02x", t->secret[i]);
	*p++ = '/';
	for (const char *s = t->name; *s; s++) {
		if (is_plain(*s))
			*p++ = *s;
		else
			p += sprintf(p, "%%%02X", (unsigned char)*s);
	}
	*p = '\0';
	return buf;
}
