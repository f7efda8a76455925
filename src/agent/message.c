/* SPDX-License-Identifier: BSD-3-Clause */
#include "agent/message.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "agent/base64.h"
#include "base/error.h"
#include "base/random.h"

static const char *const type_names[] = {
    [SL_MSG_CALL] = "call",
    [SL_MSG_ANSWER] = "answer",
    [SL_MSG_REFUSE] = "refuse",
    [SL_MSG_BYE] = "bye",
};

char *sl_desc_text(const struct slime_desc *desc)
{
	return sl_base64_text(desc->bytes, desc->len);
}

int sl_desc_of_text(const char *text, size_t len, struct slime_desc *out, struct slime_error *err)
{
	long n = sl_base64_read(text, len, out->bytes, sizeof(out->bytes));

	if (n < 0)
		return sl_fail(err, -EPROTO,
		               "a description of %zu digits that is not base64, or too long", len);
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
