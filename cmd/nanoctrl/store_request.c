/* SPDX-License-Identifier: BSD-3-Clause */
#include "store_request.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "sentence.h"

/* Memory that is freed as a whole: the newest chunk is the first. */
struct arena {
	struct arena *older;
	size_t used, cap;
	_Alignas(max_align_t) char bytes[];
};

enum { FIRST_CHUNK = 1024, CHUNK = 8192, OPS_MAX = 65536 };

static struct arena *add_chunk(struct arena *older, size_t cap)
{
	struct arena *a = malloc(sizeof(*a) + cap);

	if (a)
		*a = (struct arena){.older = older, .cap = cap};
	return a;
}

static void *take(struct arena **arena, size_t size)
{
	size_t need = (size + 15) / 16 * 16;
	struct arena *a = *arena;

	if (need < size)
		return NULL;
	if (a->cap - a->used < need) {
		a = add_chunk(a, need > CHUNK ? need : CHUNK);
		if (!a)
			return NULL;
		*arena = a;
	}
	a->used += need;
	return memset(a->bytes + a->used - need, 0, need);
}

void *request_alloc(struct request *req, size_t size)
{
	return take(&req->arena, size);
}

char *request_text(struct request *req, const char *bytes, size_t len)
{
	char *text = request_alloc(req, len + 1);

	if (text && len)
		memcpy(text, bytes, len);
	return text;
}

const char *class_name(enum store_class class)
{
	static const char *const names[STORE_CLASSES] = {"entity",      "agent",   "region",
	                                                 "topology",    "stream",  "inbox",
	                                                 "observation", "mailbox", "lease"};

	return names[class];
}

static bool is_box(enum store_class class)
{
	return class == STORE_BOX || class == STORE_STREAM || class == STORE_INBOX;
}

static bool is_written_only(enum store_class class)
{
	return class == STORE_STREAM || class == STORE_INBOX;
}

static int check_name(const char *what, const char *name, struct slime_error *err)
{
	if (name && strnlen(name, STORE_NAME_MAX + 1) > STORE_NAME_MAX)
		return refuse(err, -EMSGSIZE, "the %s is longer than %d bytes", what,
		              STORE_NAME_MAX);
	return 0;
}

static int check_key(const struct store_key *key, struct slime_error *err)
{
	int rc = check_name("scope", key->scope, err);

	if (!rc)
		rc = check_name("type", key->type, err);
	if (!rc)
		rc = check_name(key->class < STORE_CLASSES ? class_name(key->class) : "id", key->id,
		                err);
	if (!rc && key->class >= STORE_CLASSES)
		rc = refuse(err, -EINVAL, "there is no class %d", (int)key->class);
	return rc;
}

static int check_verb(const struct store_op *op, struct slime_error *err)
{
	bool many = op->verb == STORE_LIST || op->verb == STORE_COUNT || op->verb == STORE_CENSUS;
	bool value = op->verb == STORE_PUT || op->verb == STORE_APPEND;
	bool box = op->verb == STORE_APPEND || op->verb == STORE_READ || op->verb == STORE_TRIM;

	if ((unsigned)op->verb > STORE_CENSUS)
		return refuse(err, -EINVAL, "there is no operation %d", (int)op->verb);
	if (!many && (!op->key.id || !*op->key.id))
		return refuse(err, -EINVAL, "an operation names no %s", class_name(op->key.class));
	if (op->verb == STORE_LIST && op->key.id && !op->key.type)
		return refuse(err, -EINVAL, "a list goes on behind '%s' of no type", op->key.id);
	if (value && !op->value)
		return refuse(err, -EINVAL, "an operation has no value");
	if (value && strnlen(op->value, STORE_VALUE_MAX + 1) > STORE_VALUE_MAX)
		return refuse(err, -EMSGSIZE, "the value of %s '%s' is longer than %d bytes",
		              class_name(op->key.class), op->key.id, STORE_VALUE_MAX);
	if (box && !is_box(op->key.class))
		return refuse(err, -EINVAL, "a %s holds no messages", class_name(op->key.class));
	if (is_written_only(op->key.class) && op->verb != STORE_APPEND && op->verb != STORE_DEL)
		return refuse(err, -EINVAL, "a %s is only written", class_name(op->key.class));
	if (op->ttl_ms < 0 || op->expect < STORE_PRESENT)
		return refuse(err, -EINVAL, "ttl_ms or expect is out of range");
	return 0;
}

static int check_op(const struct store_op *op, struct slime_error *err)
{
	int rc = check_key(&op->key, err);

	if (!rc)
		rc = check_verb(op, err);
	if (!rc)
		rc = check_name("kind", op->kind, err);
	if (!rc)
		rc = check_name("owner", op->owner, err);
	if (!rc && op->parent)
		rc = check_key(op->parent, err);
	if (!rc && op->parent && !op->parent->id)
		rc = refuse(err, -EINVAL, "a parent has no id");
	return rc;
}

/* NULL becomes OTHERWISE, which may be NULL. False: no memory. */
static bool copy(struct request *req, const char **text, const char *otherwise)
{
	const char *from = *text ? *text : otherwise;

	*text = from ? request_text(req, from, strlen(from)) : NULL;
	return *text || !from;
}

static bool copy_key(struct request *req, struct store_key *key, bool any)
{
	return copy(req, &key->scope, "") && copy(req, &key->type, any ? NULL : "") &&
	       copy(req, &key->id, any ? NULL : "");
}

static bool copy_op(struct request *req, struct store_op *op)
{
	bool list = op->verb == STORE_LIST;

	if (op->parent) {
		struct store_key *parent = request_alloc(req, sizeof(*parent));

		if (!parent)
			return false;
		*parent = *op->parent;
		if (!copy_key(req, parent, false))
			return false;
		op->parent = parent;
	}
	return copy_key(req, &op->key, list) && copy(req, &op->kind, list ? NULL : "") &&
	       copy(req, &op->value, NULL) && copy(req, &op->owner, "");
}

static void sort_verb(struct request *req, enum store_verb verb)
{
	switch (verb) {
	case STORE_TOUCH:
		break;
	case STORE_GET:
	case STORE_LIST:
	case STORE_READ:
	case STORE_COUNT:
	case STORE_CENSUS:
		req->reads = true;
		break;
	case STORE_PUT:
	case STORE_DEL:
	case STORE_APPEND:
	case STORE_TRIM:
	case STORE_NEXT:
		req->writes = true;
		break;
	}
}

static int64_t now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static struct request *alloc_request(size_t n)
{
	struct arena *arena = add_chunk(NULL, FIRST_CHUNK);
	struct request *req = arena ? take(&arena, sizeof(*req)) : NULL;

	if (!req) {
		free(arena);
		return NULL;
	}
	req->arena = arena;
	req->n = n;
	req->began_ns = now_ns();
	request_reset(req);
	req->ops = request_alloc(req, n * sizeof(*req->ops));
	req->res = request_alloc(req, n * sizeof(*req->res));
	if (req->ops && req->res)
		return req;
	request_destroy(req);
	return NULL;
}

int request_create(const struct store_op *ops, size_t n, store_done *done, void *arg,
                   struct request **out, struct slime_error *err)
{
	struct request *req;

	if (n == 0 || n > OPS_MAX)
		return refuse(err, -EINVAL, "a request of %zu operations: 1 to %d are taken", n,
		              OPS_MAX);
	for (size_t i = 0; i < n; i++) {
		int rc = check_op(&ops[i], err);

		if (rc)
			return rc;
	}
	req = alloc_request(n);
	if (!req)
		return refuse(err, -ENOMEM, "no memory for a request to the store");
	memcpy(req->ops, ops, n * sizeof(*ops));
	for (size_t i = 0; i < n; i++) {
		if (!copy_op(req, &req->ops[i])) {
			request_destroy(req);
			return refuse(err, -ENOMEM, "no memory for a request to the store");
		}
		sort_verb(req, ops[i].verb);
	}
	req->done = done;
	req->arg = arg;
	*out = req;
	return 0;
}

void request_destroy(struct request *req)
{
	struct arena *a = req ? req->arena : NULL;

	while (a) {
		struct arena *older = a->older;

		free(a);
		a = older;
	}
}

int request_fail(struct request *req, size_t i, int code, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(req->err.text, sizeof(req->err.text), fmt, ap);
	va_end(ap);
	req->err.code = code;
	req->failed = i;
	return req->status = code;
}

void request_reset(struct request *req)
{
	req->status = 0;
	req->failed = 0;
	req->broken = false;
	req->changes = NULL;
	req->last_change = &req->changes;
	req->lives = NULL;
	req->last_life = &req->lives;
}

void request_answer(struct request *req, const struct store_opts *opts)
{
	const char *what = req->writes ? "write" : req->reads ? "read" : "touch";

	if (opts->timed)
		opts->timed(opts->arg, what, now_ns() - req->began_ns);
	if (req->done)
		req->done(req->arg, req->status, req->failed, req->status ? NULL : req->res,
		          req->status ? &req->err : NULL);
	request_destroy(req);
}

struct change *request_change(struct request *req)
{
	struct change *c = request_alloc(req, sizeof(*c));

	if (c) {
		*req->last_change = c;
		req->last_change = &c->next;
	}
	return c;
}

struct life *request_life(struct request *req)
{
	struct life *l = request_alloc(req, sizeof(*l));

	if (l) {
		*req->last_life = l;
		req->last_life = &l->next;
	}
	return l;
}

int request_expect(struct request *req, size_t i, bool found, uint64_t revision, uint64_t born)
{
	const struct store_op *op = &req->ops[i];
	const char *class = class_name(op->key.class);

	if (found && op->expect == STORE_ABSENT)
		return request_fail(req, i, -EEXIST, "%s '%.128s' exists", class, op->key.id);
	if (!found && (op->expect > 0 || op->expect == STORE_PRESENT || op->born))
		return request_fail(req, i, -ENOENT, "there is no %s '%.128s'", class, op->key.id);
	if ((op->expect > 0 && (uint64_t)op->expect != revision) || (op->born && op->born != born))
		return request_fail(req, i, -ESTALE, "%s '%.128s' is another one by now", class,
		                    op->key.id);
	return 0;
}
