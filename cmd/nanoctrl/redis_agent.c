/* SPDX-License-Identifier: BSD-3-Clause */
#include "redis_agent.h"

#include <stdlib.h>
#include <string.h>

#include "json_text.h"

void redis_add_json(struct redis_words *w, const json_t *json)
{
	char *dump;

	if (!json || json_is_null(json)) {
		redis_words_add_text(w, "");
		return;
	}
	dump = json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY);
	if (dump)
		redis_words_add_text(w, dump);
	else
		w->broken = true;
	free(dump);
}

void redis_add_json_or_text(struct redis_words *w, const json_t *json)
{
	if (json_is_string(json))
		redis_words_add(w, json_string_value(json), json_string_length(json));
	else
		redis_add_json(w, json);
}

/* The fields of the reference's hash of an agent, and what JSON has there. */
static const struct agent_field {
	const char *name;
	enum { AS_TEXT, AS_NUMBER, AS_JSON } as;
} agent_fields[] = {
    {"addr", AS_TEXT},      {"device", AS_TEXT},       {"link_type", AS_TEXT},
    {"ib_port", AS_NUMBER}, {"updated_at", AS_NUMBER}, {"memory_keys", AS_JSON},
    {"resource", AS_JSON},  {"topology", AS_JSON},
};
enum { AGENT_FIELDS = sizeof(agent_fields) / sizeof(agent_fields[0]) };

/* Can the member be a field, so that it comes back as it was? */
static bool is_field(const struct agent_field *field, const json_t *json)
{
	switch (field->as) {
	case AS_TEXT:
		return json_text_whole(json) && json_string_length(json) > 0;
	case AS_NUMBER:
		return json_is_integer(json);
	case AS_JSON:
		return json_is_object(json) || json_is_array(json);
	}
	return false;
}

void redis_add_agent(struct redis_words *w, const char *text)
{
	json_t *value = json_text_parse(text, strlen(text), 0, NULL), *member[AGENT_FIELDS];
	int n = 0;

	for (size_t i = 0; i < AGENT_FIELDS; i++) {
		member[i] = json_object_get(value, agent_fields[i].name);
		if (!is_field(&agent_fields[i], member[i])) {
			member[i] = NULL;
			continue;
		}
		(void)json_incref(member[i]);
		(void)json_object_del(value, agent_fields[i].name);
		n++;
	}
	if (value)
		redis_add_json(w, value);
	else
		redis_words_add_text(w, text);
	redis_words_add_number(w, n ? 2 * n : 2);
	for (size_t i = 0; i < AGENT_FIELDS; i++) {
		if (!member[i])
			continue;
		redis_words_add_text(w, agent_fields[i].name);
		redis_add_json_or_text(w, member[i]);
		json_decref(member[i]);
	}
	if (n == 0) { /* Redis knows no empty hash; an address that is empty is none */
		redis_words_add_text(w, "addr");
		redis_words_add_text(w, "");
	}
	json_decref(value);
}

/* JSON as text in the request's memory. NULL: no memory. */
static const char *text_of(struct request *req, const json_t *json)
{
	char *dump = json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY);
	const char *text = dump ? request_text(req, dump, strlen(dump)) : NULL;

	free(dump);
	return text;
}

/* A field of an agent's hash as JSON; what cannot be that is text. */
static json_t *field_json(const struct agent_field *field, const redisReply *value)
{
	json_t *json = NULL;

	if (field->as != AS_TEXT)
		json = json_text_parse(value->str, (size_t)value->len, JSON_DECODE_ANY, NULL);
	return json ? json : json_stringn(value->str, (size_t)value->len);
}

static const struct agent_field *field_named(const redisReply *name)
{
	for (size_t i = 0; name->type == REDIS_REPLY_STRING && i < AGENT_FIELDS; i++)
		if (!strcmp(agent_fields[i].name, name->str))
			return &agent_fields[i];
	return NULL;
}

const char *redis_agent_value(struct request *req, const redisReply *ours, const redisReply *hash)
{
	json_t *value = ours->type == REDIS_REPLY_STRING
	                    ? json_text_parse(ours->str, (size_t)ours->len, 0, NULL)
	                    : NULL;
	const char *text;

	if (!json_is_object(value)) {
		json_decref(value);
		value = json_object();
	}
	for (size_t i = 0; i + 1 < hash->elements; i += 2) {
		const struct agent_field *field = field_named(hash->element[i]);
		const redisReply *content = hash->element[i + 1];

		if (field && content->type == REDIS_REPLY_STRING && content->len > 0)
			(void)json_object_set_new(value, field->name, field_json(field, content));
	}
	text = text_of(req, value);
	json_decref(value);
	return text;
}
