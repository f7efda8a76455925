/* SPDX-License-Identifier: BSD-3-Clause */
#include "redis_layout.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "sentence.h"

/* One letter each: in keys, arguments and answers. */
static const char class_letters[STORE_CLASSES + 1] = "eamtsiobl";
static const char verb_letters[] = "GPDTLARZCNS";

enum { ALL_ROWS = 1000000 };

/* Words. */

static bool add_bytes(struct request *req, struct redis_words *w, const char *bytes, size_t len)
{
	if (w->n == w->cap) {
		int cap = w->cap ? 2 * w->cap : 32;
		const char **word = request_alloc(req, (size_t)cap * sizeof(*word));
		size_t *lens = request_alloc(req, (size_t)cap * sizeof(*lens));

		if (!word || !lens)
			return false;
		if (w->n) {
			memcpy(word, w->word, (size_t)w->n * sizeof(*word));
			memcpy(lens, w->len, (size_t)w->n * sizeof(*lens));
		}
		w->word = word;
		w->len = lens;
		w->cap = cap;
	}
	w->word[w->n] = bytes;
	w->len[w->n++] = len;
	return true;
}

static bool add(struct request *req, struct redis_words *w, const char *text)
{
	return add_bytes(req, w, text ? text : "", text ? strlen(text) : 0);
}

static bool add_number(struct request *req, struct redis_words *w, int64_t number)
{
	char text[24];
	int n = snprintf(text, sizeof(text), "%" PRId64, number);

	return add_bytes(req, w, request_text(req, text, (size_t)n), (size_t)n);
}

/* A position may be the largest of all. */
static bool add_position(struct request *req, struct redis_words *w, uint64_t position)
{
	return add_number(req, w, position > INT64_MAX ? INT64_MAX : (int64_t)position);
}

static bool add_key(struct request *req, struct redis_words *w, const struct store_key *key)
{
	const char *letter = request_text(req, &class_letters[key->class], 1);

	return letter && add(req, w, letter) && add(req, w, key->scope) && add(req, w, key->type) &&
	       add(req, w, key->id);
}

static bool add_parent(struct request *req, struct redis_words *w, const struct store_key *parent)
{
	if (parent)
		return add_key(req, w, parent);
	return add(req, w, "") && add(req, w, "") && add(req, w, "") && add(req, w, "");
}

/* JSON as text in the request's memory; what is not there or null: "". NULL: no memory. */
static const char *text_of(struct request *req, const json_t *json)
{
	char *dump =
	    json && !json_is_null(json) ? json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
	const char *text = dump ? request_text(req, dump, strlen(dump)) : "";

	free(dump);
	return text;
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
		return json_is_string(json) && json_string_length(json) > 0 &&
		       strlen(json_string_value(json)) == json_string_length(json);
	case AS_NUMBER:
		return json_is_integer(json);
	case AS_JSON:
		return json_is_object(json) || json_is_array(json);
	}
	return false;
}

/* Takes the fields out of VALUE; what is left is ours. */
static bool add_agent(struct request *req, struct redis_words *w, const char *text)
{
	json_t *value = json_loads(text, 0, NULL);
	const char *field[2 * AGENT_FIELDS + 2];
	int n = 0;
	bool ok;

	for (size_t i = 0; json_is_object(value) && i < AGENT_FIELDS; i++) {
		const json_t *member = json_object_get(value, agent_fields[i].name);

		if (!is_field(&agent_fields[i], member))
			continue;
		field[n++] = agent_fields[i].name;
		field[n++] = json_is_string(member) ? request_text(req, json_string_value(member),
		                                                   json_string_length(member))
		                                    : text_of(req, member);
		(void)json_object_del(value, agent_fields[i].name);
	}
	if (n == 0) { /* Redis knows no empty hash; an address that is empty is none */
		field[n++] = "addr";
		field[n++] = "";
	}
	ok = add(req, w, value ? text_of(req, value) : text) && add_number(req, w, n);
	for (int i = 0; i < n; i++)
		ok = ok && add(req, w, field[i]);
	json_decref(value);
	return ok;
}

static bool add_entity(struct request *req, struct redis_words *w, const struct store_op *op)
{
	json_t *value = json_loads(op->value, 0, NULL);
	const char *field[] = {
	    "entity_type", op->key.type,
	    "entity_id",   op->key.id,
	    "kind",        op->kind,
	    "endpoint",    text_of(req, json_object_get(value, "endpoint")),
	    "metadata",    text_of(req, json_object_get(value, "metadata")),
	    "resource",    text_of(req, json_object_get(value, "resource")),
	    "info",        op->value,
	};
	int n = sizeof(field) / sizeof(field[0]);
	bool ok = add(req, w, "") && add_number(req, w, n);

	for (int i = 0; i < n; i++)
		ok = ok && add(req, w, field[i]);
	json_decref(value);
	return ok;
}

static bool add_put(struct request *req, struct redis_words *w, const struct store_op *op)
{
	bool ours = op->key.class == STORE_BOX || op->key.class == STORE_LEASE;

	if (!add(req, w, op->kind) || !add(req, w, op->owner) || !add_number(req, w, op->ttl_ms) ||
	    !add_number(req, w, op->quiet) || !add_parent(req, w, op->parent) ||
	    !add(req, w, op->value))
		return false;
	if (op->key.class == STORE_ENTITY)
		return add_entity(req, w, op);
	if (op->key.class == STORE_AGENT)
		return add_agent(req, w, op->value);
	return add(req, w, ours ? op->value : "") && add_number(req, w, 0);
}

/* The members of a message of a stream, as its fields. */
static bool add_message_fields(struct request *req, struct redis_words *w, const char *text)
{
	json_t *value = json_loads(text, 0, NULL), *member;
	const char *name;
	bool ok = add_number(req, w,
	                     2 * (int64_t)(json_object_size(value) ? json_object_size(value) : 1));

	json_object_foreach(value, name, member)
	{
		const char *copy = request_text(req, name, strlen(name));

		ok = ok && copy && add(req, w, copy) &&
		     add(req, w,
		         json_is_string(member) ? request_text(req, json_string_value(member),
		                                               json_string_length(member))
		                                : text_of(req, member));
	}
	if (ok && !json_object_size(value))
		ok = add(req, w, "message") && add(req, w, text);
	json_decref(value);
	return ok;
}

static bool add_append(struct request *req, struct redis_words *w, const struct store_op *op)
{
	uint32_t limit = op->key.class == STORE_BOX ? op->limit : 0;

	if (!add_parent(req, w, op->parent) || !add_number(req, w, limit) ||
	    !add_position(req, w, op->limit_bytes) || !add(req, w, op->value))
		return false;
	return op->key.class == STORE_STREAM ? add_message_fields(req, w, op->value)
	                                     : add_number(req, w, 0);
}

/* "TYPE NUL ID", behind which a list goes on; "" at its beginning. */
static bool add_behind(struct request *req, struct redis_words *w, const struct store_op *op,
                       const struct redis_page *page)
{
	size_t type_len, len;
	char *member;

	if (page && page->behind)
		return add_bytes(req, w, page->behind, page->behind_len);
	if (!op->key.id)
		return add(req, w, "");
	type_len = strlen(op->key.type);
	len = type_len + 1 + strlen(op->key.id);
	member = request_alloc(req, len + 1);
	if (!member)
		return false;
	memcpy(member, op->key.type, type_len);
	memcpy(member + type_len + 1, op->key.id, len - type_len - 1);
	return add_bytes(req, w, member, len);
}

static bool add_list(struct request *req, struct redis_words *w, const struct store_op *op,
                     const struct redis_page *page)
{
	return add_number(req, w, op->key.type != NULL) && add_number(req, w, op->kind != NULL) &&
	       add(req, w, op->kind) && add_behind(req, w, op, page) &&
	       add_number(req, w,
	                  page        ? page->limit
	                  : op->limit ? op->limit
	                              : ALL_ROWS);
}

static bool add_op(struct request *req, struct redis_words *w, const struct store_op *op,
                   const struct redis_page *page)
{
	const char *verb = request_text(req, &verb_letters[op->verb], 1);

	if (!verb || !add(req, w, verb) || !add_key(req, w, &op->key) ||
	    !add_number(req, w, op->expect) || !add_position(req, w, op->born))
		return false;
	switch (op->verb) {
	case STORE_PUT:
		return add_put(req, w, op);
	case STORE_DEL:
		return add_number(req, w, op->quiet);
	case STORE_TOUCH:
		return add_number(req, w, op->ttl_ms);
	case STORE_LIST:
		return add_list(req, w, op, page);
	case STORE_APPEND:
		return add_append(req, w, op);
	case STORE_READ:
		return add_position(req, w, op->position) &&
		       add_number(req, w, op->limit ? op->limit : ALL_ROWS) &&
		       add_position(req, w, op->limit_bytes);
	case STORE_TRIM:
		return add_position(req, w, op->position);
	case STORE_GET:
	case STORE_COUNT:
	case STORE_NEXT:
	case STORE_CENSUS:
		break;
	}
	return true;
}

int redis_layout_encode(struct request *req, const struct redis_page *page, struct redis_words *out)
{
	bool ok = add(req, out, "") && add(req, out, "") && add(req, out, "0") &&
	          add(req, out, req->writes ? "1" : "0") && add_number(req, out, (int64_t)req->n);

	for (size_t i = 0; ok && i < req->n; i++)
		ok = add_op(req, out, &req->ops[i], page);
	return ok ? 0 : -ENOMEM;
}

/* Answers. */

static uint64_t number_of(const redisReply *reply)
{
	if (reply->type == REDIS_REPLY_INTEGER)
		return (uint64_t)reply->integer;
	return reply->type == REDIS_REPLY_STRING ? strtoull(reply->str, NULL, 10) : 0;
}

static const char *copy_of(struct request *req, const redisReply *reply)
{
	return reply->type == REDIS_REPLY_STRING ? request_text(req, reply->str, (size_t)reply->len)
	                                         : "";
}

static bool is_array(const redisReply *reply, size_t least)
{
	return reply && reply->type == REDIS_REPLY_ARRAY && reply->elements >= least;
}

static int class_of(const redisReply *reply)
{
	const char *at = reply->type == REDIS_REPLY_STRING && reply->len == 1
	                     ? strchr(class_letters, reply->str[0])
	                     : NULL;

	return at && *at ? (int)(at - class_letters) : -1;
}

/* A field of an agent's hash as JSON; what cannot be that is text. */
static json_t *field_json(const struct agent_field *field, const redisReply *value)
{
	json_t *json = NULL;

	if (field->as != AS_TEXT)
		json = json_loadb(value->str, (size_t)value->len, JSON_DECODE_ANY, NULL);
	return json ? json : json_stringn(value->str, (size_t)value->len);
}

static const struct agent_field *field_named(const redisReply *name)
{
	for (size_t i = 0; name->type == REDIS_REPLY_STRING && i < AGENT_FIELDS; i++)
		if (!strcmp(agent_fields[i].name, name->str))
			return &agent_fields[i];
	return NULL;
}

/* The value of an agent: OURS, and the fields of its hash. */
static const char *agent_value(struct request *req, const redisReply *ours, const redisReply *hash)
{
	json_t *value = ours->type == REDIS_REPLY_STRING ? json_loads(ours->str, 0, NULL) : NULL;
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

enum {
	ROW_CLASS,
	ROW_SCOPE,
	ROW_TYPE,
	ROW_ID,
	ROW_KIND,
	ROW_OWNER,
	ROW_REVISION,
	ROW_BORN,
	ROW_TTL,
	ROW_AT,
	ROW_OURS,
	ROW_VALUE,
	ROW_N
};

static bool decode_row(struct request *req, const redisReply *reply, struct store_row *out)
{
	redisReply *const *e = reply->element;

	if (!is_array(reply, ROW_N) || class_of(e[ROW_CLASS]) < 0)
		return false;
	out->key.class = (enum store_class)class_of(e[ROW_CLASS]);
	out->key.scope = copy_of(req, e[ROW_SCOPE]);
	out->key.type = copy_of(req, e[ROW_TYPE]);
	out->key.id = copy_of(req, e[ROW_ID]);
	out->kind = copy_of(req, e[ROW_KIND]);
	out->owner = copy_of(req, e[ROW_OWNER]);
	out->revision = number_of(e[ROW_REVISION]);
	out->born = number_of(e[ROW_BORN]);
	out->ttl_ms = (int64_t)number_of(e[ROW_TTL]);
	out->at_ms = (int64_t)number_of(e[ROW_AT]);
	out->value = e[ROW_VALUE]->type == REDIS_REPLY_ARRAY
	                 ? agent_value(req, e[ROW_OURS], e[ROW_VALUE])
	                 : copy_of(req, e[ROW_VALUE]);
	out->value_len = out->value ? strlen(out->value) : 0;
	return out->key.scope && out->key.type && out->key.id && out->kind && out->owner &&
	       out->value;
}

/* The rows of REPLY behind those of RES. */
static int decode_rows(struct request *req, const redisReply *reply, struct store_res *res)
{
	struct store_row *row = request_alloc(req, (res->n + reply->elements + 1) * sizeof(*row));

	if (!row)
		return -ENOMEM;
	if (res->n)
		memcpy(row, res->row, res->n * sizeof(*row));
	for (size_t i = 0; i < reply->elements; i++)
		if (!decode_row(req, reply->element[i], &row[res->n++]))
			return -EPROTO;
	res->row = row;
	return 0;
}

static int decode_result(struct request *req, size_t i, const redisReply *reply,
                         struct redis_page *last)
{
	struct store_res *res = &req->res[i];
	int rc = 0;

	if (!is_array(reply, 2))
		return -EPROTO;
	res->found = number_of(reply->element[0]) != 0;
	if (!res->number)
		res->number = number_of(reply->element[1]);
	if (reply->elements > 2 && is_array(reply->element[2], 0))
		rc = decode_rows(req, reply->element[2], res);
	if (!rc && last && reply->elements > 3 && reply->element[3]->type == REDIS_REPLY_STRING) {
		const redisReply *behind = reply->element[3];

		last->behind_len = (size_t)behind->len;
		last->behind =
		    behind->len ? request_text(req, behind->str, last->behind_len) : NULL;
	}
	return rc;
}

/* The script's word for why operation I cannot be. */
static int decode_refusal(struct request *req, const char *word, size_t i)
{
	const struct store_op *op = &req->ops[i];
	const struct store_key *parent = op->parent ? op->parent : &op->key;
	const char *class = class_name(op->key.class);

	if (!strcmp(word, "exists"))
		return request_fail(req, i, -EEXIST, "%s '%.128s' exists", class, op->key.id);
	if (!strcmp(word, "absent"))
		return request_fail(req, i, -ENOENT, "there is no %s '%.128s'", class, op->key.id);
	if (!strcmp(word, "stale"))
		return request_fail(req, i, -ESTALE, "%s '%.128s' is another one by now", class,
		                    op->key.id);
	if (!strcmp(word, "clash"))
		return request_fail(req, i, -EEXIST,
		                    "%s '%.128s' would be the same key in Redis as something else, "
		                    "for the colons in its names",
		                    class, op->key.id);
	if (!strcmp(word, "no parent"))
		return request_fail(req, i, -ENOENT, "there is no %s '%.128s'",
		                    class_name(parent->class), parent->id);
	if (!strcmp(word, "grandparent"))
		return request_fail(req, i, -EINVAL, "%s '%.128s' has a parent and can be none",
		                    class_name(parent->class), parent->id);
	if (!strcmp(word, "parent"))
		return request_fail(req, i, -EINVAL, "%s '%.128s' is a parent and can have none",
		                    class, op->key.id);
	if (!strcmp(word, "full"))
		return request_fail(req, i, -ENOSPC, "mailbox '%.128s' is full", op->key.id);
	return request_fail(req, i, -EIO, "Redis says '%.64s', which is none of our words", word);
}

void redis_layout_decode(struct request *req, const redisReply *reply, struct redis_page *last)
{
	int rc = 0;

	if (reply->type == REDIS_REPLY_ERROR) {
		req->status = redis_layout_error(reply->str, &req->err);
		return;
	}
	if (!is_array(reply, 2) || reply->element[0]->type != REDIS_REPLY_STRING) {
		rc = -EPROTO;
	} else if (strcmp(reply->element[0]->str, "ok")) {
		size_t i = (size_t)number_of(reply->element[1]);

		(void)decode_refusal(req, reply->element[0]->str, i < req->n ? i : 0);
		return;
	} else if (!is_array(reply->element[1], req->n)) {
		rc = -EPROTO;
	}
	for (size_t i = 0; !rc && i < req->n; i++)
		rc = decode_result(req, i, reply->element[1]->element[i], last);
	if (rc == -ENOMEM)
		(void)request_fail(req, 0, rc, "no memory for the answer of Redis");
	else if (rc)
		(void)request_fail(req, 0, -EIO, "Redis gave an answer that is none of ours");
}

int redis_layout_error(const char *text, struct slime_error *err)
{
	static const char *const later[] = {"LOADING",  "BUSY",       "MASTERDOWN",  "READONLY",
	                                    "TRYAGAIN", "NOREPLICAS", "CLUSTERDOWN", "NOSCRIPT"};

	if (strstr(text, "OOM ") || !strncmp(text, "MISCONF", 7))
		return refuse(err, -EDQUOT, "Redis takes nothing more: %.200s", text);
	for (size_t i = 0; i < sizeof(later) / sizeof(later[0]); i++)
		if (!strncmp(text, later[i], strlen(later[i])))
			return refuse(err, -EAGAIN, "Redis cannot now: %.200s", text);
	return refuse(err, -EIO, "Redis: %.230s", text);
}

/* Events. */

static int decode_identity(struct request *req, const redisReply *reply, struct store_key *out)
{
	const char *bytes = reply->type == REDIS_REPLY_STRING ? copy_of(req, reply) : NULL;
	const char *end = bytes ? bytes + reply->len : NULL, *at;

	if (!bytes || reply->len < 4 || !strchr(class_letters, bytes[0]))
		return -EPROTO;
	out->class = (enum store_class)(strchr(class_letters, bytes[0]) - class_letters);
	out->scope = bytes + 1;
	at = out->scope + strlen(out->scope) + 1;
	out->type = at;
	at = at < end ? at + strlen(at) + 1 : end;
	out->id = at;
	return at < end ? 0 : -EPROTO;
}

static int decode_change(const redisReply *reply, enum store_change *out)
{
	static const char letters[] = "pdxa";
	const char *at = reply->type == REDIS_REPLY_STRING && reply->len == 1
	                     ? strchr(letters, reply->str[0])
	                     : NULL;

	if (!at)
		return -EPROTO;
	*out = (enum store_change)(at - letters);
	return 0;
}

static int decode_event_field(struct request *req, char name, const redisReply *value,
                              struct store_event *out)
{
	switch (name) {
	case 'c':
		return decode_change(value, &out->change);
	case 'i':
		return decode_identity(req, value, &out->key);
	case 'k':
		out->kind = copy_of(req, value);
		return 0;
	case 'b':
		out->born = number_of(value);
		return 0;
	case 't':
		out->ttl_ms = (int64_t)number_of(value);
		return 0;
	case 'v':
		out->value = copy_of(req, value);
		return 0;
	default:
		return 0;
	}
}

int redis_layout_event(struct request *req, const redisReply *entry, struct store_event *out)
{
	const redisReply *fields;
	int rc = 0;

	*out = (struct store_event){.kind = ""};
	if (!is_array(entry, 2) || !is_array(entry->element[1], 2))
		return -EPROTO;
	out->revision = number_of(entry->element[0]); /* "REVISION-0" */
	fields = entry->element[1];
	for (size_t i = 0; !rc && i + 1 < fields->elements; i += 2)
		if (fields->element[i]->type == REDIS_REPLY_STRING)
			rc = decode_event_field(req, fields->element[i]->str[0],
			                        fields->element[i + 1], out);
	return !rc && out->key.id && out->kind ? 0 : -EPROTO;
}
