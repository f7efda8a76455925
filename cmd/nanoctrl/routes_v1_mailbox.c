/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * routes_v1_mailbox.c - messages between agents. A box belongs to an incarnation of its agent and
 * goes with it; who writes and who reads is looked at in the same request that does it.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "agent.h"
#include "ask.h"
#include "call.h"
#include "fields.h"
#include "nanoctrl.h"
#include "routes.h"
#include "wait.h"

enum {
	MESSAGES_MAX = 256,
	MESSAGE_BYTES_MAX = 64 << 10,
	BOX_MESSAGES = 1024,
	BOX_BYTES = 4 << 20,
	READ_BYTES = 4 << 20,
	INCARNATION_TEXT = 24,
	GUESSES = 16384,
};

struct sending {
	struct store_key from, to;
	uint64_t from_incarnation, to_incarnation;
	bool any; /* whatever the receiver's incarnation is */
	unsigned tries;
	size_t n;
	const char **values;
};

static struct store_key box_key(const struct store_key *agent, uint64_t incarnation,
                                char text[INCARNATION_TEXT])
{
	(void)snprintf(text, INCARNATION_TEXT, "%" PRIu64, incarnation);
	return (struct store_key){STORE_BOX, agent->scope, text, agent->id};
}

/*
 * Which incarnation a receiver had when it was last written to: a guess that saves a look, for the
 * store takes no message for another. What two names have in common here is guessed wrong.
 */
static struct {
	uint64_t name, incarnation;
} guesses[GUESSES];

static uint64_t hash_of(const struct store_key *key)
{
	uint64_t scope = XXH3_64bits(key->scope, strlen(key->scope));

	return XXH3_64bits_withSeed(key->id, strlen(key->id), scope);
}

static uint64_t guess_incarnation(const struct store_key *key)
{
	uint64_t name = hash_of(key), at = name % GUESSES;

	return guesses[at].name == name ? guesses[at].incarnation : 0;
}

static void learn_incarnation(const struct store_key *key, uint64_t incarnation)
{
	uint64_t name = hash_of(key), at = name % GUESSES;

	guesses[at].name = name;
	guesses[at].incarnation = incarnation;
}

static void sent(struct call *call, const struct store_res *res)
{
	const struct sending *s = call_data(call);

	call_reply_json(call, 200,
	                json_pack("{s:I,s:I}", "position", (json_int_t)res[s->n + 1].number,
	                          "incarnation", (json_int_t)s->to_incarnation));
}

static void look_at_receiver(struct call *call);

static void not_sent(struct call *call, int status, size_t failed, const struct slime_error *err)
{
	struct sending *s = call_data(call);

	if (s->any && status == -ESTALE && failed == 1 && s->tries++ < 8)
		look_at_receiver(call); /* registered anew, since we looked */
	else if (status == -ENOSPC)
		call_reply_errno(call, status, "the mailbox is full: its agent does not read");
	else if (status == -ESTALE)
		call_reply_error(call, 410, "ESTALE",
		                 failed ? "the receiver has another incarnation by now"
		                        : "the sender has another incarnation by now");
	else if (status == -ENOENT)
		call_reply_error(call, failed ? 404 : 410, failed ? "ENOENT" : "ESTALE",
		                 failed ? "there is no such agent"
		                        : "the sender is no agent of this scope any more");
	else
		call_reply_errno(call, status, err->text);
}

static void send_messages(struct call *call)
{
	const struct sending *s = call_data(call);
	struct store_op *ops = call_alloc(call, s->n + 2, sizeof(*ops));
	char *incarnation = ops ? call_alloc(call, 1, INCARNATION_TEXT) : NULL;
	const struct quota *quota = &nanoctrl.quota;

	if (!incarnation)
		return;
	ops[0] = (struct store_op){.verb = STORE_GET, .key = s->from, .born = s->from_incarnation};
	ops[1] = (struct store_op){.verb = STORE_GET, .key = s->to, .born = s->to_incarnation};
	for (size_t i = 0; i < s->n; i++)
		ops[2 + i] = (struct store_op){
		    .verb = STORE_APPEND,
		    .key = box_key(&s->to, s->to_incarnation, incarnation),
		    .value = s->values[i],
		    .parent = &s->to,
		    .limit = quota->box_messages ? quota->box_messages : BOX_MESSAGES,
		    .limit_bytes = quota->box_bytes ? quota->box_bytes : BOX_BYTES,
		};
	ask_change(call, ops, s->n + 2, sent, not_sent);
}

static void receiver_known(struct call *call, const struct store_res *res)
{
	struct sending *s = call_data(call);

	s->to_incarnation = res->row->born;
	learn_incarnation(&s->to, s->to_incarnation);
	send_messages(call);
}

static void look_at_receiver(struct call *call)
{
	const struct sending *s = call_data(call);
	const struct store_op op = {.verb = STORE_GET, .key = s->to, .expect = STORE_PRESENT};

	ask(call, &op, 1, receiver_known, agent_failed);
}

static void check_messages(struct fields *f, const json_t *messages)
{
	size_t i;
	json_t *message;

	if (messages && !json_array_size(messages))
		fields_fault(f, 422, "EINVAL", "'messages' is empty");
	json_array_foreach(messages, i, message) if (!json_is_object(message))
	    fields_fault(f, 422, "EINVAL", "element %zu of 'messages' must be an object", i);
}

/* "{SENDER,"message":MESSAGE}"; NULL: no memory. */
static char *join(const char *sender, const char *message)
{
	char *value;

	return asprintf(&value, "%.*s,\"message\":%s}", (int)strlen(sender) - 1, sender, message) <
	               0
	           ? NULL
	           : value;
}

/* The messages as they are kept, with their sender. False: the call has been answered. */
static bool dump_messages(struct call *call, struct sending *s, const json_t *messages)
{
	const char *sender =
	    call_dump(call, json_pack("{s:s,s:I}", "from", s->from.id, "from_incarnation",
	                              (json_int_t)s->from_incarnation));
	size_t i;
	json_t *message;

	if (!sender)
		return false;
	json_array_foreach(messages, i, message)
	{
		char *text = json_dumps(message, JSON_COMPACT);
		bool large = text && strlen(text) > MESSAGE_BYTES_MAX;

		s->values[i] = text && !large ? call_keep(call, join(sender, text)) : NULL;
		free(text);
		if (s->values[i])
			continue;
		if (large)
			call_reply_error(call, 413, "EMSGSIZE",
			                 "element %zu of 'messages' is larger than 64 KiB", i);
		else
			call_reply_errno(call, -ENOMEM, "no memory");
		return false;
	}
	return true;
}

void v1_post_mailbox(struct call *call)
{
	struct fields f = fields_begin(call, FIELDS_V1);
	const char *scope = field_scope(&f, RIGHT_REGISTER);
	struct sending sending = {
	    .to = agent_key(scope, part_name(&f, "alias")),
	    .from = agent_key(scope, field_name(&f, "from")),
	    .from_incarnation = (uint64_t)field_int(&f, "from_incarnation", 1, INT64_MAX),
	    .to_incarnation = (uint64_t)field_int_or(&f, "to_incarnation", 1, INT64_MAX, 0),
	};
	const json_t *messages = field_list(&f, "messages", MESSAGES_MAX);
	struct sending *s;

	check_messages(&f, messages);
	if (!fields_end(&f))
		return;
	s = call_alloc(call, 1, sizeof(*s));
	if (!s)
		return;
	*s = sending;
	s->any = !s->to_incarnation;
	s->n = json_array_size(messages);
	s->values = call_alloc(call, s->n, sizeof(*s->values));
	if (!s->values || !dump_messages(call, s, messages))
		return;
	call_set_data(call, s);
	if (s->any)
		s->to_incarnation = guess_incarnation(&s->to);
	if (s->to_incarnation)
		send_messages(call);
	else
		look_at_receiver(call);
}

struct reading {
	struct wait wait; /* first: see wait.h */
	struct store_key agent;
	uint64_t incarnation, after, ack;
	uint32_t limit;
};

static void read_again(struct call *call);

/* Behind what it was kept as: an object, as json_dumps() writes it. */
static int add_message(struct text *out, const struct store_row *row)
{
	char numbers[80];
	int n =
	    snprintf(numbers, sizeof(numbers), ",\"position\":%" PRIu64 ",\"at_ms\":%" PRId64 "}",
	             row->revision, row->at_ms);
	int rc = text_add(out, ",", out->bytes[out->len - 1] == '}', SIZE_MAX);

	if (!rc)
		rc = text_add(out, row->value, row->value_len - 1, SIZE_MAX);
	return rc ? rc : text_add(out, numbers, (size_t)n, SIZE_MAX);
}

static void reply_messages(struct call *call, const struct store_res *res)
{
	static const char head[] = "{\"messages\":[";
	struct text out = {0};
	int rc = text_add(&out, head, sizeof(head) - 1, SIZE_MAX);

	for (size_t i = 0; res && i < res->n && !rc; i++)
		rc = add_message(&out, &res->row[i]);
	if (!rc)
		rc = text_add(&out, "]}", 2, SIZE_MAX);
	if (rc)
		call_reply_errno(call, -ENOMEM, "no memory");
	else
		call_reply_text(call, 200, "application/json", out.bytes, out.len);
	text_free(&out);
}

static void reading_over(struct call *call)
{
	wait_end(call_data(call));
	reply_messages(call, NULL);
}

static void was_read(struct call *call, const struct store_res *res)
{
	struct reading *r = call_data(call);
	const struct store_res *messages = &res[2];

	r->ack = 0;
	if (!messages->n) {
		wait_more(&r->wait);
		return;
	}
	wait_end(&r->wait);
	reply_messages(call, messages);
}

static void not_read(struct call *call, int status, size_t failed, const struct slime_error *err)
{
	wait_end(call_data(call));
	agent_failed(call, status, failed, err);
}

static void read_again(struct call *call)
{
	const struct reading *r = call_data(call);
	char incarnation[INCARNATION_TEXT];
	const struct store_key box = box_key(&r->agent, r->incarnation, incarnation);
	const struct store_op ops[] = {
	    {.verb = STORE_GET, .key = r->agent, .born = r->incarnation},
	    {.verb = STORE_TRIM, .key = box, .position = r->ack},
	    {.verb = STORE_READ,
	     .key = box,
	     .position = r->after,
	     .limit = r->limit,
	     .limit_bytes = READ_BYTES},
	};

	ask(call, ops, 3, was_read, not_read);
}

static void may_read(struct call *call, const struct store_res *res)
{
	struct reading *r = call_data(call);
	const char *text = call_query(call, "wait_ms");
	int64_t wait_ms = 0;

	(void)res;
	if (text)
		(void)number_of(text, 0, WAIT_MAX_MS, &wait_ms);
	r->wait.attempt = read_again;
	r->wait.over = reading_over;
	if (wait_begin(&r->wait, call, wait_ms) ||
	    wait_for(&r->wait, BELL_MAIL, r->agent.scope, r->agent.id)) {
		wait_end(&r->wait);
		call_reply_errno(call, -ENOMEM, "no memory");
		return;
	}
	read_again(call);
}

void v1_get_mailbox(struct call *call)
{
	struct fields f = fields_begin(call, FIELDS_V1);
	struct reading reading = {
	    .agent = agent_key(field_scope(&f, RIGHT_REGISTER), part_name(&f, "alias")),
	    .incarnation = query_incarnation(&f),
	    .after = (uint64_t)query_int_or(&f, "after", 0, INT64_MAX, 0),
	    .ack = (uint64_t)query_int_or(&f, "ack", 0, INT64_MAX, 0),
	    .limit = (uint32_t)query_int_or(&f, "limit", 1, MESSAGES_MAX, MESSAGES_MAX),
	};
	const struct store_op op = {
	    .verb = STORE_GET, .key = reading.agent, .born = reading.incarnation};
	struct reading *r;

	(void)query_int_or(&f, "wait_ms", 0, WAIT_MAX_MS, 0);
	if (!fields_end(&f))
		return;
	r = call_alloc(call, 1, sizeof(*r));
	if (!r)
		return;
	*r = reading;
	call_set_data(call, r);
	if (*call_principal(call))
		ask_change(call, &op, 1, may_read, agent_failed);
	else
		may_read(call, NULL);
}
