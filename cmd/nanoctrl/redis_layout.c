/* SPDX-License-Identifier: BSD-3-Clause */
#include "redis_layout.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "json_span.h"
#include "json_text.h"
#include "redis_agent.h"
#include "sentence.h"

/* One letter each: in keys, arguments and answers. */
static const char class_letters[STORE_CLASSES + 1] = "eamtsiobl";
static const char verb_letters[] = "GPDTLARZCNS";

enum { ALL_ROWS = 1000000 };

/* Words. */

/* A position may be the largest of all. */
static void add_position(struct redis_words *w, uint64_t position)
{
	redis_words_add_number(w, position > INT64_MAX ? INT64_MAX : (int64_t)position);
}

static void add_key(struct redis_words *w, const struct store_key *key)
{
	redis_words_add(w, &class_letters[key->class], 1);
	redis_words_add_text(w, key->scope);
	redis_words_add_text(w, key->type);
	redis_words_add_text(w, key->id);
}

static void add_parent(struct redis_words *w, const struct store_key *parent)
{
	if (parent)
		add_key(w, parent);
	for (int i = 0; !parent && i < 4; i++)
		redis_words_add_text(w, "");
}

static void add_member(struct redis_words *w, const char *object, const char *name)
{
	struct json_span member = json_span_member(object, name);

	if (member.at && (member.len != 4 || memcmp(member.at, "null", 4) != 0))
		redis_words_add(w, member.at, member.len);
	else
		redis_words_add_text(w, "");
}

/* Who an entity is, as members of JSON: for those who are told in the reference's way. */
static void add_who(struct redis_words *w, const struct store_op *op)
{
	size_t len = 6 * (strlen(op->key.type) + strlen(op->key.id) + strlen(op->kind)) + 64;
	char *text = malloc(len), *at = text;

	if (!text) {
		w->broken = true;
		return;
	}
	at = json_quote(stpcpy(at, "\"entity_type\":"), op->key.type);
	at = json_quote(stpcpy(at, ",\"entity_id\":"), op->key.id);
	at = json_quote(stpcpy(at, ",\"kind\":"), op->kind);
	redis_words_add(w, text, (size_t)(at - text));
	free(text);
}

static void add_entity(struct redis_words *w, const struct store_op *op)
{
	redis_words_add_text(w, "");
	redis_words_add_number(w, 4);
	add_member(w, op->value, "endpoint");
	add_member(w, op->value, "metadata");
	add_member(w, op->value, "resource");
	add_who(w, op);
}

static void add_put(struct redis_words *w, const struct store_op *op)
{
	bool ours = op->key.class == STORE_BOX || op->key.class == STORE_LEASE;

	redis_words_add_text(w, op->kind);
	redis_words_add_text(w, op->owner);
	redis_words_add_number(w, op->ttl_ms);
	redis_words_add_number(w, op->quiet);
	add_parent(w, op->parent);
	redis_words_add_text(w, op->value);
	if (op->key.class == STORE_ENTITY) {
		add_entity(w, op);
	} else if (op->key.class == STORE_AGENT) {
		redis_add_agent(w, op->value);
	} else {
		redis_words_add_text(w, ours ? op->value : "");
		redis_words_add_number(w, 0);
	}
}

/* The members of a message of a stream, as its fields. */
static void add_message_fields(struct redis_words *w, const char *text)
{
	json_t *value = json_text_parse(text, strlen(text), 0, NULL), *member;
	size_t n = json_object_size(value);
	const char *name;

	redis_words_add_number(w, n ? 2 * (int64_t)n : 2);
	json_object_foreach(value, name, member)
	{
		redis_words_add_text(w, name);
		redis_add_json_or_text(w, member);
	}
	if (!n) {
		redis_words_add_text(w, "message");
		redis_words_add_text(w, text);
	}
	json_decref(value);
}

static void add_append(struct redis_words *w, const struct store_op *op)
{
	add_parent(w, op->parent);
	redis_words_add_number(w, op->key.class == STORE_BOX ? op->limit : 0);
	add_position(w, op->limit_bytes);
	redis_words_add_text(w, op->value);
	if (op->key.class == STORE_STREAM)
		add_message_fields(w, op->value);
	else
		redis_words_add_number(w, 0);
}

/* "TYPE NUL ID", behind which a list goes on; "" at its beginning. */
static void add_behind(struct redis_words *w, const struct store_op *op,
                       const struct redis_page *page)
{
	size_t type_len, len;
	char *member;

	if (page && page->behind) {
		redis_words_add(w, page->behind, page->behind_len);
		return;
	}
	if (!op->key.id) {
		redis_words_add_text(w, "");
		return;
	}
	type_len = strlen(op->key.type);
	len = type_len + 1 + strlen(op->key.id);
	member = malloc(len + 1);
	if (!member) {
		w->broken = true;
		return;
	}
	memcpy(member, op->key.type, type_len + 1);
	memcpy(member + type_len + 1, op->key.id, len - type_len);
	redis_words_add(w, member, len);
	free(member);
}

static void add_list(struct redis_words *w, const struct store_op *op,
                     const struct redis_page *page)
{
	redis_words_add_number(w, op->key.type != NULL);
	redis_words_add_number(w, op->kind != NULL);
	redis_words_add_text(w, op->kind);
	add_behind(w, op, page);
	redis_words_add_number(w, page ? page->limit : op->limit ? op->limit : ALL_ROWS);
}

static void add_op(struct redis_words *w, const struct store_op *op, const struct redis_page *page)
{
	redis_words_add(w, &verb_letters[op->verb], 1);
	add_key(w, &op->key);
	redis_words_add_number(w, op->expect);
	add_position(w, op->born);
	switch (op->verb) {
	case STORE_PUT:
		add_put(w, op);
		break;
	case STORE_DEL:
		redis_words_add_number(w, op->quiet);
		break;
	case STORE_TOUCH:
		redis_words_add_number(w, op->ttl_ms);
		break;
	case STORE_LIST:
		add_list(w, op, page);
		break;
	case STORE_APPEND:
		add_append(w, op);
		break;
	case STORE_READ:
		add_position(w, op->position);
		redis_words_add_number(w, op->limit ? op->limit : ALL_ROWS);
		add_position(w, op->limit_bytes);
		break;
	case STORE_TRIM:
		add_position(w, op->position);
		break;
	case STORE_GET:
	case STORE_COUNT:
	case STORE_NEXT:
	case STORE_CENSUS:
		break;
	}
}

int redis_layout_encode(const struct request *req, const struct redis_page *page,
                        struct redis_words *scratch, struct redis_words *out)
{
	const struct redis_words before = *out;

	redis_words_empty(scratch);
	redis_words_add_number(scratch, req->writes);
	redis_words_add_number(scratch, (int64_t)req->n);
	for (size_t i = 0; i < req->n; i++)
		add_op(scratch, &req->ops[i], page);
	redis_words_add_number(out, scratch->n);
	redis_words_append(out, scratch);
	if (!out->broken)
		return 0;
	out->len = before.len;
	out->n = before.n;
	out->broken = false;
	return -ENOMEM;
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
	                 ? redis_agent_value(req, e[ROW_OURS], e[ROW_VALUE])
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

static const char *string_of(const redisReply *reply)
{
	return reply->type == REDIS_REPLY_STRING ? reply->str : "";
}

static int decode_identity(const redisReply *reply, struct store_key *out)
{
	const char *bytes = reply->type == REDIS_REPLY_STRING ? reply->str : NULL;
	const char *end = bytes ? bytes + reply->len : NULL, *at;

	if (!bytes || reply->len < 4 || !*bytes || !strchr(class_letters, bytes[0]))
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

static int decode_event_field(char name, const redisReply *value, struct store_event *out)
{
	switch (name) {
	case 'c':
		return decode_change(value, &out->change);
	case 'i':
		return decode_identity(value, &out->key);
	case 'k':
		out->kind = string_of(value);
		return 0;
	case 'b':
		out->born = number_of(value);
		return 0;
	case 't':
		out->ttl_ms = (int64_t)number_of(value);
		return 0;
	case 'v':
		out->value = string_of(value);
		return 0;
	default:
		return 0;
	}
}

int redis_layout_event(const redisReply *entry, struct store_event *out)
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
			rc = decode_event_field(fields->element[i]->str[0], fields->element[i + 1],
			                        out);
	return !rc && out->key.id && out->kind ? 0 : -EPROTO;
}
