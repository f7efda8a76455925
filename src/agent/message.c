/* SPDX-License-Identifier: BSD-3-Clause */
#include "agent/message.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/random.h"

static const char *const type_names[] = {
    [SL_MSG_CALL] = "call",
    [SL_MSG_ANSWER] = "answer",
    [SL_MSG_REFUSE] = "refuse",
    [SL_MSG_BYE] = "bye",
};

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

char *sl_desc_text(const struct slime_desc *desc)
{
	size_t n = desc->len;
	char *text = malloc((n + 2) / 3 * 4 + 1);
	char *at = text;

	if (!text)
		return NULL;
	for (size_t i = 0; i < n; i += 3) {
		uint32_t b = (uint32_t)desc->bytes[i] << 16;

		b |= i + 1 < n ? (uint32_t)desc->bytes[i + 1] << 8 : 0;
		b |= i + 2 < n ? desc->bytes[i + 2] : 0;
		*at++ = digits[b >> 18];
		*at++ = digits[b >> 12 & 63];
		*at++ = i + 1 < n ? digits[b >> 6 & 63] : '=';
		*at++ = i + 2 < n ? digits[b & 63] : '=';
	}
	*at = '\0';
	return text;
}

/* The value of four digits, of which PADS are '='; -1: not base64. */
static int32_t quad(const char *in, unsigned pads)
{
	uint32_t b = 0;

	for (unsigned i = 0; i < 4; i++) {
		const char *d = i < 4 - pads && in[i] ? strchr(digits, in[i]) : digits;

		if (!d)
			return -1;
		b = b << 6 | (uint32_t)(d - digits);
	}
	return (int32_t)b;
}

int sl_desc_of_text(const char *text, size_t len, struct slime_desc *out, struct slime_error *err)
{
	unsigned pads = 0;
	size_t n = 0;

	while (pads < 2 && len > pads && text[len - 1 - pads] == '=')
		pads++;
	if (len % 4 || !len || len / 4 * 3 - pads > sizeof(out->bytes))
		return sl_fail(err, -EPROTO, "a description of %zu base64 digits", len);
	for (size_t i = 0; i < len; i += 4) {
		unsigned short_by = i + 4 == len ? pads : 0;
		int32_t b = memchr(text + i, '\0', 4) ? -1 : quad(text + i, short_by);

		if (b < 0)
			return sl_fail(err, -EPROTO, "a description that is not base64");
		for (unsigned k = 0; k < 3 - short_by; k++)
			out->bytes[n++] = (uint8_t)(b >> (16 - 8 * k));
	}
	out->len = (uint32_t)n;
	return 0;
}

int sl_hex_random(char *out, size_t len)
{
	uint8_t bytes[64];
	int rc = sl_random(bytes, (len + 1) / 2);

	if (rc)
		return rc;
	for (size_t i = 0; i < len; i++)
		out[i] = "0123456789abcdef"[bytes[i / 2] >> (i % 2 ? 0 : 4) & 15];
	out[len] = '\0';
	return 0;
}

json_t *sl_message_pack(const struct sl_message *msg)
{
	json_t *out = json_pack("{ss, ss, ss, sI, sI}", "type", type_names[msg->type], "life",
	                        msg->life, "link", msg->link, "attempt", (json_int_t)msg->attempt,
	                        "seq", (json_int_t)msg->seq);
	char *desc = NULL;
	int rc = out ? 0 : -1;

	if (msg->type == SL_MSG_CALL || msg->type == SL_MSG_ANSWER) {
		desc = sl_desc_text(&msg->desc);
		rc |= desc ? json_object_set_new(out, "desc", json_string(desc)) : -1;
	}
	if (msg->type == SL_MSG_CALL) {
		rc |= json_object_set_new(out, "key", json_string(msg->key));
		rc |= json_object_set_new(out, "transport", json_string(msg->transport));
		rc |= json_object_set_new(out, "lanes", json_integer(msg->lanes));
		rc |= json_object_set_new(out, "depth", json_integer(msg->depth));
	}
	if (msg->type == SL_MSG_REFUSE)
		rc |= json_object_set_new(out, "reason", json_string(msg->reason));
	free(desc);
	if (rc) {
		json_decref(out);
		return NULL;
	}
	return out;
}

/* Member NAME, a string shorter than CAP, into OUT. */
static bool text_of(json_t *in, const char *name, char *out, size_t cap)
{
	json_t *v = json_object_get(in, name);
	size_t len = json_string_length(v);

	if (!json_is_string(v) || len >= cap || strlen(json_string_value(v)) != len)
		return false;
	memcpy(out, json_string_value(v), len + 1);
	return true;
}

static bool hex_of(json_t *in, const char *name, char *out, size_t cap)
{
	return text_of(in, name, out, cap) && strlen(out) == cap - 1 &&
	       strspn(out, "0123456789abcdef") == cap - 1;
}

static bool count_of(json_t *in, const char *name, uint64_t most, uint64_t *out)
{
	json_t *v = json_object_get(in, name);
	json_int_t n = json_integer_value(v);

	if (!json_is_integer(v) || n < 0 || (uint64_t)n > most)
		return false;
	*out = (uint64_t)n;
	return true;
}

static bool read_call(json_t *in, struct sl_message *out)
{
	uint64_t lanes, depth;

	if (!text_of(in, "key", out->key, sizeof(out->key)) ||
	    !text_of(in, "transport", out->transport, sizeof(out->transport)) ||
	    !count_of(in, "lanes", 16, &lanes) || !count_of(in, "depth", 1 << 20, &depth))
		return false;
	out->lanes = (uint32_t)lanes;
	out->depth = (uint32_t)depth;
	return true;
}

int sl_message_read(json_t *in, struct sl_message *out, struct slime_error *err)
{
	const char *type = json_string_value(json_object_get(in, "type"));
	json_t *desc = json_object_get(in, "desc");
	bool good;

	memset(out, 0, sizeof(*out));
	for (enum sl_message_type t = SL_MSG_CALL; type && t <= SL_MSG_BYE; t++) {
		if (strcmp(type, type_names[t]) == 0)
			out->type = t;
	}
	if (!out->type)
		return sl_fail(err, -EPROTO, "a message of type '%.40s'", type ? type : "");
	good = hex_of(in, "life", out->life, sizeof(out->life)) &&
	       hex_of(in, "link", out->link, sizeof(out->link)) &&
	       count_of(in, "attempt", INT64_MAX, &out->attempt) &&
	       count_of(in, "seq", INT64_MAX, &out->seq);
	if (good && out->type == SL_MSG_CALL)
		good = read_call(in, out);
	if (good && out->type == SL_MSG_REFUSE)
		good = text_of(in, "reason", out->reason, sizeof(out->reason));
	if (!good)
		return sl_fail(err, -EPROTO, "a message '%s' with a member missing or wrong", type);
	if (out->type == SL_MSG_CALL || out->type == SL_MSG_ANSWER) {
		if (!json_is_string(desc))
			return sl_fail(err, -EPROTO, "a message '%s' without a description", type);
		return sl_desc_of_text(json_string_value(desc), json_string_length(desc),
		                       &out->desc, err);
	}
	return 0;
}
