/* SPDX-License-Identifier: BSD-3-Clause */
#include "agent/ticket.h"

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

/* "host:port", with nothing in it that would lead elsewhere in a url. */
static bool take_place(json_t *in, char *out)
{
	const char *colon;
	char *end;
	long port;

	if (!take_text(in, 3, out, SL_TICKET_PLACE) || strpbrk(out, "/?#@ \\"))
		return false;
	colon = strrchr(out, ':');
	if (!colon || colon == out || colon[1] < '0' || colon[1] > '9')
		return false;
	port = strtol(colon + 1, &end, 10);
	return !*end && port > 0 && port <= 65535;
}

static bool take_all(json_t *in, struct sl_ticket *out)
{
	json_t *places = json_object_get(in, "at"), *place;
	size_t i;

	if (!take_text(json_object_get(in, "alias"), 1, out->alias, sizeof(out->alias)) ||
	    !take_text(json_object_get(in, "scope"), 0, out->scope, sizeof(out->scope)) ||
	    !take_hex(json_object_get(in, "life"), out->life, sizeof(out->life)) ||
	    !take_hex(json_object_get(in, "secret"), out->secret, sizeof(out->secret)) ||
	    !json_array_size(places) || json_array_size(places) > SL_TICKET_PLACES)
		return false;
	json_array_foreach(places, i, place)
	{
		if (!take_place(place, out->place[i]))
			return false;
	}
	out->nplaces = (unsigned)i;
	return true;
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
	else if (!take_all(in, out))
		rc = sl_fail(err, -EPROTO, "the ticket is damaged: a member is missing or wrong");
	else
		rc = 0;
	json_decref(in);
	return rc;
}
