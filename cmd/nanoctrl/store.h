/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * nanoctrl/store.h - what the daemon remembers, behind one table.
 *
 * Records live in classes. A record has an id within (class, scope, type), a
 * value (a JSON object as text), a kind to list by, and two numbers that grow in
 * the whole store: the revision of the change that made it what it is, and the
 * revision of the PUT that made it where none was, with which it was born. A
 * record with a TTL goes away when nobody touches it for so long. A record with a
 * parent, which has none itself, goes away with the parent at the latest, and to
 * touch the parent touches it. Boxes are bounded queues of messages.
 *
 * A request is an array of operations that takes effect in order, as a whole or
 * not at all, and is answered once, by a callback on the daemon's loop, never from
 * within store_run(): on SQLite after the commit that made it durable (many
 * requests share one), on Redis after its reply. Answers come in any order; what
 * is run after an answer sees what was answered.
 *
 * Threads: the loop's only. Nothing of one scope, class or type is ever reached
 * through the names of another, whatever bytes the names hold.
 */
#ifndef NANOCTRL_STORE_H
#define NANOCTRL_STORE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <slime/base.h>

struct event_base;
struct store;

/*
 * What a record is. On Redis the first six and OBS are laid out as agents of the
 * reference read and write them (compat: nanoctrl.md 4.3, peer-agent.md 3.4): of an
 * ENTITY's value the members kind, endpoint, metadata, resource are fields of its
 * hash; of an AGENT's addr, updated_at, memory_keys, resource, topology, device,
 * ib_port, link_type, which an agent may have changed there meanwhile. Any other
 * members come back as they were put.
 */
enum store_class {
	STORE_ENTITY, /* type: the entity type; kind: its kind */
	STORE_AGENT,  /* id: the alias */
	STORE_REGION, /* type: the alias of the agent; id: the region's name */
	STORE_SPEC,   /* id: the alias; the desired topology */
	STORE_STREAM, /* id: the alias; members of a message are strings. APPEND and DEL only, for
	                 agents that read Redis: SQLite keeps nothing */
	STORE_INBOX,  /* id: the alias; likewise */
	STORE_OBS,    /* id: the alias; a snapshot with a TTL */
	STORE_BOX,    /* a box, id: the alias; type: the incarnation in decimal */
	STORE_LEASE,  /* id: the name */
	STORE_CLASSES
};

struct store_key {
	enum store_class class;
	const char *scope; /* "": none */
	const char *type;  /* "" where the class has none */
	const char *id;
};

enum store_verb {
	STORE_GET,    /* found: the record */
	STORE_PUT,    /* the new revision; found: whether it was there before */
	STORE_DEL,    /* found: whether it was there; its children go too */
	STORE_TOUCH,  /* found: whether it was there; its TTL begins anew, its children's with it */
	STORE_LIST,   /* records of a class and scope, in order of type, then id (bytes) */
	STORE_APPEND, /* position of the message; makes the box if there is none */
	STORE_READ,   /* the messages behind a position; none where there is no box */
	STORE_TRIM,   /* forget the messages up to a position */
	STORE_COUNT,  /* how many records of a class and scope there are */
	STORE_NEXT,   /* the next number of the counter `id` of the scope, from 1 on */
	STORE_CENSUS, /* a row for each class and scope that have records: their number is its
	                 revision; the key of the operation is not looked at */
};

enum { STORE_NAME_MAX = 4096, STORE_VALUE_MAX = 16 << 20 }; /* bytes */

/* EXPECT: any number above these is the revision that the record must have. */
enum { STORE_ANY = 0, STORE_ABSENT = -1, STORE_PRESENT = -2 };

/* One operation. Everything is copied by store_run(). Zero in what a verb does not name. */
struct store_op {
	enum store_verb verb;
	/* LIST: type NULL for any; id: begin behind this one, needs a type; NULL: at the first */
	struct store_key key;
	/*
	 * GET PUT DEL TOUCH: what must hold, or the request ends with -EEXIST (ABSENT),
	 * -ENOENT (nothing there) or -ESTALE (another revision), nothing done.
	 */
	int64_t expect;
	uint64_t born;     /* likewise: the record must be there and born with this; 0: any */
	const char *kind;  /* PUT: "" for none. LIST: NULL for any */
	const char *value; /* PUT APPEND: a JSON object */
	const char *owner; /* PUT: who may change it, "" for anybody; carried, not looked at */
	/*
	 * PUT APPEND: what it lives no longer than, which must be there, else -ENOENT, and
	 * have no parent itself. APPEND: looked at whenever it is given, a box keeps its first.
	 */
	const struct store_key *parent;
	int64_t ttl_ms;       /* PUT: 0 for ever. TOUCH: this once; 0: as it was put */
	uint64_t position;    /* READ: behind this one. TRIM: up to this one */
	uint32_t limit;       /* LIST READ: at most so many; 0: all. APPEND: -ENOSPC when so many
	                         are there; 0: no limit */
	uint64_t limit_bytes; /* APPEND: -ENOSPC when it would hold more; READ: stop behind so
	                         many; 0: no limit */
	bool purge;           /* DEL of an agent: so go, in Redis, the keys that others have
	                         written for it: its regions and exchanges */
	bool quiet;           /* PUT DEL: no event, the revision grows all the same */
};

/* A record or message as it comes back. Valid during the callback. */
struct store_row {
	struct store_key key;
	const char *kind, *value, *owner;
	size_t value_len;
	uint64_t revision; /* of a message: its position */
	uint64_t born;
	int64_t ttl_ms; /* as it was put; 0: for ever */
	int64_t at_ms;  /* unix time of the last PUT or APPEND */
};

struct store_res {
	bool found;
	uint64_t number; /* PUT DEL: revision; APPEND: position; COUNT NEXT: the number; LIST:
	                    revision of the store */
	size_t n;        /* GET LIST READ */
	const struct store_row *row;
};

/*
 * STATUS 0: RES holds a result for each operation, in order. Negative: nothing
 * was done, RES is NULL, ERR says why, and FAILED is the index of the operation that
 * could not be (0 where it is no operation's fault). -EEXIST -ENOENT -ESTALE
 * -ENOSPC (a box): as above. -EEXIST also on Redis, whatever is expected, where another
 * scope's or type's record has the same key ("a:b" + "c", "a" + "b:c"). -EDQUOT: no
 * space on the disk, or Redis is out of memory. -EAGAIN: the store cannot be
 * reached now; where the connection broke, it may have been done. -EIO: else.
 */
typedef void store_done(void *arg, int status, size_t failed, const struct store_res *res,
                        const struct slime_error *err);

enum store_change { STORE_WAS_PUT, STORE_WAS_DELETED, STORE_HAS_EXPIRED, STORE_WAS_APPENDED };

/*
 * Something changed, here or in another daemon on the same store. In order of
 * revision, and what a request changed is told before it is answered (by this
 * store's own callbacks, where the daemon is its own only writer: SQLite).
 */
struct store_event {
	enum store_change change;
	uint64_t revision;
	struct store_key key;
	const char *kind;
	const char *value; /* the new value; of what is gone, the last one where known, else NULL */
	uint64_t born;     /* of the record, 0 where it is not known; likewise: */
	int64_t ttl_ms;
};

struct store_opts {
	struct event_base *loop;
	const char *where; /* a file name or ":memory:"; a redis url */
	/* for each change: on the loop, never from within store_run() */
	void (*event)(void *arg, const struct store_event *event);
	/* revisions up to this one can no longer be told one by one: list again */
	void (*gap)(void *arg, uint64_t revision);
	/* reachable or not, told at each change of it; REASON is a sentence */
	void (*health)(void *arg, bool up, const char *reason);
	/* how long a request took: OP is "read", "write" or "touch"; may be NULL */
	void (*timed)(void *arg, const char *op, int64_t ns);
	void *arg;
};

struct store_table {
	const char *name; /* "sqlite", "redis" */
	/* May block: it is called once, before the loop runs. The sentence names file or server. */
	int (*open)(const struct store_opts *opts, struct store **out, struct slime_error *err);
	/*
	 * Nothing is done and DONE not called when it returns negative: -EAGAIN, -ENOMEM,
	 * -EINVAL, -EMSGSIZE (a name or value is longer than the store takes).
	 */
	int (*run)(struct store *store, const struct store_op *ops, size_t n, store_done *done,
	           void *arg, struct slime_error *err);
	/* Requests in flight are finished first (their callbacks run), then everything is freed. */
	void (*close)(struct store *store);
	uint64_t (*revision)(const struct store *store); /* the last one that is known here */
	/* "redis://host:port/0" as given, for agents of the reference; "" for sqlite */
	const char *(*where)(const struct store *store);
};

/* First member of each store. */
struct store {
	const struct store_table *table;
};

extern const struct store_table store_sqlite;
extern const struct store_table store_redis;

#endif
