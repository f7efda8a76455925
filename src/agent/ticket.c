/* SPDX-License-Identifier: BSD-3-Clause */
#include "agent/ticket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/base64.h"
#include "base/error.h"

static const char prefix[] = "dlslime-agent:";

char *sl_ticket_text(const struct sl_ticket *t)
{
	json_t *places = json_array();
	char *json, *code = NULL, *text = NULL;
	json_t *all;

	for (unsigned i = 0; i < t->nplaces; i++)
		(void)json_array_append_new(places, json_string(t->place[i]));
	all = json_pack("{si, ss, ss, ss, ss, so}", "v", 1, "alias", t->alias, "scope", t->scope,
	                "life", t->life, "secret", t->secret, "at", places);
	json = all ? json_dumps(all, JSON_COMPACT) : NULL;
	if (json)
		code = sl_base64_text(json, strlen(json));
	if (code && asprintf(&text, "%s%s", prefix, code) < 0)
		text = NULL;
	free(code);
	free(json);
	json_decref(all);
	return text;
}

/* Of at most CAP - 1 bytes, without what would not be a name. */
static bool take_text(json_t *in, size_t least, char *out, size_t cap)
{
	const char *text = json_string_value(in);
	size_t len = json_string_length(in);

	if (!text || len < least || len >= cap || strlen(text) != len)
		return false;
	for (size_t i = 0; i < len; i++) {
		if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
			return false;
	}
	memcpy(out, text, len + 1);
	return true;
}

static bool take_hex(json_t *in, char *out, size_t cap)
{
	return take_text(in, cap - 1, out, cap) && strspn(out, "0123456789abcdef") == cap - 1;
}

/* Labels of letters, digits, '-' and '_' with dots between them. */
static bool is_name(const char *host)
{
	static const char letters[] =
	    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";

	for (;;) {
		size_t n = strspn(host, letters);

		if (n < 1 || n > 63 || host[0] == '-' || (host[n] && host[n] != '.'))
			return false;
		if (!host[n] || !host[n + 1])
			return true;
		host += n + 1;
	}
}

/* With the name of an interface behind it, or without. */
static bool is_six(const char *host)
{
	char address[INET6_ADDRSTRLEN];
	struct in6_addr any;
	size_t n = strcspn(host, "%");

	if (n >= sizeof(address) ||
	    (host[n] && (!host[n + 1] || strpbrk(host + n + 1, "/?#@[]:% \\"))))
		return false;
	memcpy(address, host, n);
	address[n] = '\0';
	return inet_pton(AF_INET6, address, &any) == 1;
}

/* Digits and dots are no name: somebody has mistyped an address. */
static int read_host(const char *what, const char *place, bool bracket, const char *host,
                     bool *numeric, struct slime_error *err)
{
	struct in_addr any;

	*numeric = bracket || inet_pton(AF_INET, host, &any) == 1;
	if (bracket && !is_six(host))
		return sl_fail(err, -EINVAL, "%s '%.100s': in the brackets is no address of IPv6",
		               what, place);
	if (!bracket && strchr(host, ':'))
		return sl_fail(err, -EINVAL,
		               "%s '%.100s': an address of IPv6 stands in brackets, as [::1]:4000",
		               what, place);
	if (!*numeric && (!is_name(host) || !host[strspn(host, "0123456789.")]))
		return sl_fail(err, -EINVAL, "%s '%.100s' has neither an address nor a name in it",
		               what, place);
	return 0;
}

int sl_place_read(const char *what, const char *place, char host[static SL_TICKET_HOST],
                  unsigned *port, bool *numeric, struct slime_error *err)
{
	const char *colon = strrchr(place, ':');
	size_t len = colon ? (size_t)(colon - place) : 0;
	bool bracket = place[0] == '[';

	if (!len || !colon[1] || strspn(colon + 1, "0123456789") != strlen(colon + 1) ||
	    strlen(colon + 1) > 5 || strtoul(colon + 1, NULL, 10) > 65535)
		return sl_fail(err, -EINVAL, "%s '%.100s' is not of the form host:port", what,
		               place);
	if (bracket && place[len - 1] != ']')
		return sl_fail(err, -EINVAL, "%s '%.100s' has a bracket that is not closed", what,
		               place);
	if (len - 2 * bracket >= SL_TICKET_HOST)
		return sl_fail(err, -EINVAL, "%s '%.100s' has a host of more than %d characters",
		               what, place, SL_TICKET_HOST - 1);
	memcpy(host, place + bracket, len - 2 * bracket);
	host[len - 2 * bracket] = '\0';
	*port = (unsigned)strtoul(colon + 1, NULL, 10);
	return read_host(what, place, bracket, host, numeric, err);
}

/* Where the agent is: a port that there is, too. */
static int take_place(json_t *in, char *out, struct slime_error *err)
{
	char host[SL_TICKET_HOST];
	struct slime_error why;
	unsigned port;
	bool numeric;

	if (!take_text(in, 1, out, SL_TICKET_PLACE))
		return sl_fail(err, -EPROTO, "the ticket has an address that is none, or too long");
	if (sl_place_read("the ticket's address", out, host, &port, &numeric, &why))
		return sl_fail(err, -EPROTO, "%s", why.text);
	if (!port)
		return sl_fail(err, -EPROTO, "the ticket's address '%.100s' has the port 0", out);
	return 0;
}

static int take_all(json_t *in, struct sl_ticket *out, struct slime_error *err)
{
	json_t *places = json_object_get(in, "at"), *place;
	size_t i;

	if (!take_text(json_object_get(in, "alias"), 1, out->alias, sizeof(out->alias)) ||
	    !take_text(json_object_get(in, "scope"), 0, out->scope, sizeof(out->scope)) ||
	    !take_hex(json_object_get(in, "life"), out->life, sizeof(out->life)) ||
	    !take_hex(json_object_get(in, "secret"), out->secret, sizeof(out->secret)) ||
	    !json_array_size(places) || json_array_size(places) > SL_TICKET_PLACES)
		return sl_fail(err, -EPROTO, "the ticket is damaged: a member is missing or wrong");
	json_array_foreach(places, i, place)
	{
		int rc = take_place(place, out->place[i], err);

		if (rc)
			return rc;
	}
	out->nplaces = (unsigned)i;
	return 0;
}

int sl_ticket_read(const char *text, size_t len, struct sl_ticket *out, struct slime_error *err)
{
	char bytes[SL_TICKET_MAX];
	json_t *in;
	long n;
	int rc;

	while (len && strchr(" \t\r\n", text[len - 1]) && text[len - 1])
		len--;
	while (len && strchr(" \t\r\n", *text) && *text) {
		text++;
		len--;
	}
	if (len > SL_TICKET_MAX)
		return sl_fail(err, -EPROTO, "a ticket of %zu characters is too long", len);
	if (len < sizeof(prefix) || memcmp(text, prefix, sizeof(prefix) - 1) != 0)
		return sl_fail(err, -EPROTO, "it is no ticket of an agent: those begin with '%s'",
		               prefix);
	n = sl_base64_read(text + sizeof(prefix) - 1, len - sizeof(prefix) + 1, bytes,
	                   sizeof(bytes));
	in = n > 0 ? json_loadb(bytes, (size_t)n, 0, NULL) : NULL;
	if (!in)
		return sl_fail(err, -EPROTO, "the ticket is damaged: has it been cut?");
	memset(out, 0, sizeof(*out));
	if (json_integer_value(json_object_get(in, "v")) != 1)
		rc =
		    sl_fail(err, -EPROTO, "the ticket is of a version that this one does not know");
	else
		rc = take_all(in, out, err);
	json_decref(in);
	return rc;
}
