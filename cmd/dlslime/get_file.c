/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Blocks are read into SLOTS, several at once, and taken from there in order:
 * hashed, written to the part file, and the slot is free again. So what is
 * there is always a run from the start, and one number says how long it is.
 */
#include "get_file.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <slime/slime.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "progress_bar.h"
#include "say.h"

static const int64_t second = 1000000000;
static const int64_t silence_ns = 5000000000;

enum { BLOCK = 1 << 20, SLOTS = 16 };

/* What an attempt came to. */
enum outcome {
	COMPLETE,
	AGAIN,  /* at once, with a new connection */
	BROKEN, /* the connection; it may be better with a new one */
	HOPELESS,
};

struct get {
	struct get_opts *o;
	struct part_file *part;
	struct get_result *result;
	struct slime_error *err;
	struct progress_bar bar;
	slime_ctx *ctx;
	char *mem; /* SLOTS * BLOCK */
	slime_mr *mr;
	XXH3_state_t *hash; /* of the first DONE bytes */
	bool begun;         /* ID and DONE are known */
	bool met;           /* an attempt got as far as reading: later ones can */
	bool resumed;       /* some of DONE is from an earlier process */
	struct file_id id;
	uint64_t done;
	int64_t progress_ns; /* when DONE last grew */
	/* of this attempt */
	struct chan chan;
	slime_ep *ep; /* by ticket */
	slime_cq *cq;
	slime_rmr *rmr;    /* likewise */
	uint32_t underway; /* reads */
	char server_wish[SHARE_TRANSPORT_MAX];
	uint64_t issued; /* blocks asked for; those before are done or in a slot */
	uint32_t free_slots[SLOTS];
	uint32_t n_free;
	uint32_t slot_of[SLOTS]; /* block B, not done, is in slot_of[B % SLOTS] */
	bool arrived[SLOTS];     /* by B % SLOTS too */
	int64_t heard_ns;
	int64_t spoke_ns;
};

static uint64_t n_blocks(const struct get *g)
{
	return (g->id.size + BLOCK - 1) / BLOCK;
}

/* DONE ends within this block, or at its start. */
static uint64_t first_block(const struct get *g)
{
	return g->done / BLOCK;
}

static size_t block_len(const struct get *g, uint64_t block)
{
	uint64_t left = g->id.size - block * BLOCK;

	return left < BLOCK ? (size_t)left : BLOCK;
}

/* An error that the server sent is the end of it, unless it is only busy. */
static enum outcome outcome_of(const struct get *g, int rc)
{
	return g->chan.said && rc != -EBUSY ? HOPELESS : BROKEN;
}

static enum outcome interrupted(struct get *g)
{
	(void)refuse(g->err, -EINTR, "interrupted; the same command again goes on from here");
	return HOPELESS;
}

/* Whether the server has something to say, and lives. */
static enum outcome listen_to_server(struct get *g, int64_t timeout_ns)
{
	struct msg m;
	int rc = chan_expect(&g->chan, &m, SHARE_ALIVE, 0, timeout_ns, g->err);

	if (rc == 0)
		g->heard_ns = now_ns();
	if (rc == 0 || (rc == -ETIMEDOUT && now_ns() - g->heard_ns < silence_ns))
		return COMPLETE;
	if (rc == -ETIMEDOUT)
		(void)refuse(g->err, rc, "the server has been silent for %lld s",
		             (long long)(silence_ns / second));
	return outcome_of(g, rc);
}

static int send_plain(struct get *g, uint8_t type)
{
	struct msg m;

	msg_begin(&m, type);
	g->spoke_ns = now_ns();
	return chan_send(&g->chan, &m, second, g->err);
}

/* What is to be done now and then while other things go on. */
static enum outcome housekeeping(struct get *g)
{
	int64_t now = now_ns();

	bar_show(&g->bar, g->done, g->id.size);
	if (atomic_load(g->o->interrupted))
		return interrupted(g);
	if (now - g->heard_ns < second / 4 && now - g->spoke_ns < second)
		return COMPLETE;
	if (now - g->spoke_ns >= second && send_plain(g, SHARE_ALIVE) < 0)
		return BROKEN;
	return listen_to_server(g, 0);
}

static enum outcome take_grant(struct get *g, struct msg *m, struct slime_desc *ep,
                               struct slime_desc *mr, struct file_id *id)
{
	id->size = get_uint(m, 8);
	id->mtime_ns = get_uint(m, 8);
	if (g->o->named) {
		get_text(m, g->server_wish, sizeof(g->server_wish));
	} else {
		get_desc(m, ep);
		get_desc(m, mr);
	}
	if (msg_ok(m))
		return COMPLETE;
	(void)refuse(g->err, -EPROTO, "the server's answer cannot be read");
	return HOPELESS;
}

static enum outcome ask(struct get *g, struct slime_desc *ep, struct slime_desc *mr,
                        struct file_id *id)
{
	uint8_t hello[SHARE_HELLO_LEN];
	struct slime_desc mine = {0};
	struct msg m;
	int rc;

	/* a server that was started anew has another ticket under the same name */
	if (g->o->named && named_file_find(g->o->named, &g->o->ticket, g->err) < 0)
		return g->begun ? BROKEN : HOPELESS;
	memcpy(hello, SHARE_MAGIC, SHARE_MAGIC_LEN);
	memcpy(hello + SHARE_MAGIC_LEN, g->o->ticket.secret, SECRET_LEN);
	if (g->ep && slime_ep_export(g->ep, &mine, g->err) < 0)
		return HOPELESS;
	rc = chan_dial(&g->chan, &g->o->ticket.at, hello, sizeof(hello), 5 * second, g->err);
	if (rc < 0)
		return g->begun ? BROKEN : HOPELESS;
	msg_begin(&m, SHARE_ASK);
	put_text(&m, g->o->transport ? g->o->transport : "");
	put_desc(&m, &mine);
	rc = chan_send(&g->chan, &m, 5 * second, g->err);
	if (rc == 0)
		rc = chan_expect(&g->chan, &m, g->o->named ? SHARE_NAMED : SHARE_GRANT, 0,
		                 10 * second, g->err);
	if (rc == -ECONNRESET && !g->chan.said && g->o->named)
		return BROKEN;
	if (rc == -ECONNRESET && !g->chan.said) {
		(void)refuse(g->err, -EACCES,
		             "the server does not know this ticket: it was started anew since, or "
		             "the ticket is damaged; or it has just ended");
		return HOPELESS;
	}
	if (rc < 0)
		return outcome_of(g, rc);
	return take_grant(g, &m, ep, mr, id);
}

/*
 * The hash of what an earlier process left. It may take minutes, so no server is kept waiting:
 * the next attempt goes on from here.
 */
static enum outcome rehash(struct get *g)
{
	uint64_t at = 0;

	bar_begin(&g->bar, "checking", part_target(g->part), 0);
	while (at < g->done) {
		size_t len = g->done - at < BLOCK ? (size_t)(g->done - at) : BLOCK;

		if (atomic_load(g->o->interrupted))
			return interrupted(g);
		if (part_read(g->part, at, g->mem, len, g->err) < 0)
			return HOPELESS;
		(void)XXH3_128bits_update(g->hash, g->mem, len);
		at += len;
		bar_show(&g->bar, at, g->id.size);
	}
	g->progress_ns = now_ns();
	return AGAIN;
}

/* The server grants ID: go on from what there is of it. */
static enum outcome begin(struct get *g, const struct file_id *id)
{
	enum outcome out = COMPLETE;
	bool stale;
	int64_t there;

	if (g->begun) {
		if (g->id.size == id->size && g->id.mtime_ns == id->mtime_ns)
			return COMPLETE;
		(void)refuse(g->err, -ESTALE,
		             "the file was changed on the server while it was fetched; the same "
		             "command again fetches the new one");
		return HOPELESS;
	}
	there = part_begin(g->part, id, &stale, g->err);
	if (there < 0)
		return HOPELESS;
	if (stale)
		say("what there was of '%s' is of another version of the file: starting over",
		    part_target(g->part));
	/* a partial block at the end is read again */
	g->id = *id;
	g->done = (uint64_t)there == id->size ? id->size : (uint64_t)there / BLOCK * BLOCK;
	g->resumed = g->done > 0;
	g->result->bytes = id->size;
	g->result->resumed_from = g->done;
	(void)XXH3_128bits_reset(g->hash);
	if (g->resumed) {
		chan_close(&g->chan);
		out = rehash(g);
	}
	g->begun = out != HOPELESS;
	return out;
}

static enum outcome connect_ep(struct get *g, const struct slime_desc *ep,
                               const struct slime_desc *mr)
{
	struct msg m;
	int rc = slime_ep_connect(g->ep, ep, 10 * second, g->err);

	if (rc < 0) {
		(void)chan_both_sides(&g->chan, rc, SHARE_ALIVE, g->err);
		return g->met && rc != -EPROTO && rc != -EINVAL ? BROKEN : HOPELESS;
	}
	rc = chan_expect(&g->chan, &m, SHARE_CONNECTED, 0, 12 * second, g->err);
	if (rc < 0)
		return outcome_of(g, rc);
	if (mr->len && slime_ep_import(g->ep, mr, &g->rmr, g->err) < 0)
		return HOPELESS;
	if (!mr->len && g->id.size) {
		(void)refuse(g->err, -EPROTO, "the server granted no memory");
		return HOPELESS;
	}
	return COMPLETE;
}

/* The link, up within a while. */
static enum outcome connect_link(struct get *g)
{
	const char *wish = g->server_wish[0] ? g->server_wish : g->o->transport;
	int64_t until = now_ns() + 10 * second;
	int rc = named_file_connect(g->o->named, wish, SLOTS, g->err);

	if (rc < 0)
		return HOPELESS;
	for (;;) {
		enum outcome out;

		rc = named_file_wait(g->o->named, second / 10, g->err);
		if (rc == 0)
			return COMPLETE;
		if (rc != -ETIMEDOUT || now_ns() > until)
			return g->met && rc != -EINVAL ? BROKEN : HOPELESS;
		out = housekeeping(g);
		if (out != COMPLETE)
			return out;
	}
}

static int make_ep(struct get *g)
{
	const struct slime_ep_opts opts = {
	    .size = sizeof(opts), .depth = SLOTS, .transport = g->o->transport};

	return g->o->named ? 0 : slime_ep_create(g->ctx, &opts, &g->ep, g->err);
}

static enum outcome attempt_open(struct get *g)
{
	struct slime_desc ep;
	struct slime_desc mr;
	struct file_id id;
	enum outcome out;

	g->n_free = 0;
	while (g->n_free < SLOTS) {
		g->free_slots[g->n_free] = g->n_free;
		g->n_free++;
	}
	memset(g->arrived, 0, sizeof(g->arrived));
	g->heard_ns = now_ns();
	g->spoke_ns = g->heard_ns;
	if (make_ep(g) < 0 || slime_cq_create(g->ctx, SLOTS, &g->cq, g->err) < 0)
		return HOPELESS;
	out = ask(g, &ep, &mr, &id);
	g->heard_ns = now_ns();
	if (out == COMPLETE)
		out = begin(g, &id);
	if (out == COMPLETE)
		out = g->o->named ? connect_link(g) : connect_ep(g, &ep, &mr);
	g->issued = first_block(g);
	return out;
}

/* A closed link lets go of what is underway in its own time, and until then the slots are in use.
 */
static void drain(struct get *g)
{
	struct slime_result res[SLOTS];

	while (g->underway) {
		int n = slime_cq_wait(g->cq, res, SLOTS, second);

		if (n > 0)
			g->underway -= (uint32_t)n;
	}
}

static void attempt_close(struct get *g)
{
	chan_close(&g->chan);
	if (g->o->named) {
		named_file_close(g->o->named);
		drain(g);
	}
	g->underway = 0;
	slime_ep_destroy(g->ep);
	slime_cq_destroy(g->cq);
	slime_rmr_release(g->rmr);
	g->ep = NULL;
	g->cq = NULL;
	g->rmr = NULL;
}

static void keep_info(struct get *g)
{
	struct slime_ep_info info = {.size = sizeof(info)};
	struct get_result *r = g->result;

	slime_ep *ep = g->o->named ? named_file_ep(g->o->named) : g->ep;

	if (!ep || slime_ep_get_info(ep, &info) < 0)
		return;
	r->lanes = info.lanes;
	(void)snprintf(r->transport, sizeof(r->transport), "%s", info.transport);
	(void)snprintf(r->device, sizeof(r->device), "%s", info.device ? info.device : "");
	(void)snprintf(r->because, sizeof(r->because), "%s", info.because ? info.because : "");
}

/*
 * A read failed. If that is because the file is not what it was, the server
 * says so; else the connection is to blame.
 */
static enum outcome why_failed(struct get *g, int status)
{
	struct slime_error theirs = {0};
	char name[64];
	struct msg m;
	int rc;

	(void)refuse(g->err, status, "reading failed: %s", errno_name(status, name, sizeof(name)));
	msg_begin(&m, SHARE_SAME);
	if (chan_send(&g->chan, &m, second, NULL) < 0)
		return BROKEN;
	rc = chan_expect(&g->chan, &m, SHARE_SAME, SHARE_ALIVE, 3 * second, &theirs);
	if (rc == 0 || !g->chan.said)
		return BROKEN;
	*g->err = theirs;
	return HOPELESS;
}

static enum outcome issue(struct get *g)
{
	uint64_t block = g->issued;
	uint32_t slot = g->free_slots[g->n_free - 1];
	const struct slime_seg seg = {.local = g->mr,
	                              .remote = g->rmr,
	                              .local_off = (uint64_t)slot * BLOCK,
	                              .remote_off = block * BLOCK,
	                              .len = block_len(g, block)};
	const struct slime_submit how = {.size = sizeof(how), .cq = g->cq, .user_data = block};
	int rc = g->o->named ? named_file_read(g->o->named, &seg, &how)
	                     : slime_ep_read(g->ep, &seg, 1, &how, NULL);

	if (rc < 0)
		return why_failed(g, rc);
	g->underway++;
	g->n_free--;
	g->slot_of[block % SLOTS] = slot;
	g->issued++;
	return COMPLETE;
}

/* Hash and write what has arrived at the front. */
static enum outcome take_front(struct get *g)
{
	uint64_t block = first_block(g);

	while (block < g->issued && g->arrived[block % SLOTS]) {
		uint32_t slot = g->slot_of[block % SLOTS];
		const char *bytes = g->mem + (size_t)slot * BLOCK;
		size_t len = block_len(g, block);
		int64_t start;

		(void)XXH3_128bits_update(g->hash, bytes, len);
		start = now_ns();
		if (part_write(g->part, g->done, bytes, len, g->err) < 0)
			return HOPELESS;
		g->progress_ns = now_ns();
		g->result->write_ns += g->progress_ns - start;
		g->done += len;
		part_advance(g->part, g->done);
		g->arrived[block % SLOTS] = false;
		g->free_slots[g->n_free++] = slot;
		block++;
	}
	return COMPLETE;
}

/* Take what is complete; wait for something if nothing more can be asked for. */
static enum outcome collect(struct get *g, bool wait)
{
	struct slime_result res[SLOTS];
	int n =
	    wait ? slime_cq_wait(g->cq, res, SLOTS, second / 10) : slime_cq_take(g->cq, res, SLOTS);

	if (n < 0 && n != -ETIMEDOUT)
		return why_failed(g, n);
	g->underway -= n > 0 ? (uint32_t)n : 0;
	for (int i = 0; i < n; i++) {
		if (res[i].status < 0)
			return why_failed(g, res[i].status);
		g->arrived[res[i].user_data % SLOTS] = true;
	}
	return take_front(g);
}

static enum outcome transfer(struct get *g)
{
	int64_t start = now_ns();
	enum outcome out = COMPLETE;

	bar_begin(&g->bar, "getting", g->o->ticket.name, g->done);
	while (out == COMPLETE && g->done < g->id.size) {
		bool more = g->n_free && g->issued < n_blocks(g);

		if (more)
			out = issue(g);
		if (out == COMPLETE)
			out = collect(g, !more);
		if (out == COMPLETE)
			out = housekeeping(g);
	}
	g->result->ns += now_ns() - start;
	return out;
}

/* The server's hash, and whether it is ours too. */
static enum outcome compare(struct get *g)
{
	XXH128_canonical_t ours;
	struct msg m;
	int rc;

	if (send_plain(g, SHARE_HASH) < 0)
		return BROKEN;
	bar_begin(&g->bar, "checking", g->o->ticket.name, g->done);
	do {
		rc = chan_recv(&g->chan, &m, silence_ns, g->err);
		if (atomic_load(g->o->interrupted))
			return interrupted(g);
		if (rc == 0 && send_plain(g, SHARE_ALIVE) < 0)
			return BROKEN;
		bar_show(&g->bar, g->done, g->id.size);
	} while (rc == 0 && m.type == SHARE_ALIVE);
	if (rc < 0)
		return BROKEN;
	if (m.type == MSG_ERROR) {
		(void)get_uint(&m, 4);
		get_text(&m, g->err->text, sizeof(g->err->text));
		return HOPELESS;
	}
	get_bytes(&m, g->result->hash, FILE_HASH_LEN);
	if (m.type != SHARE_HASH_IS || !msg_ok(&m)) {
		(void)refuse(g->err, -EPROTO, "the server's hash cannot be read");
		return HOPELESS;
	}
	XXH128_canonicalFromHash(&ours, XXH3_128bits_digest(g->hash));
	if (memcmp(ours.digest, g->result->hash, FILE_HASH_LEN) == 0)
		return COMPLETE;
	part_discard(g->part);
	if (g->resumed) {
		say("what there was of '%s' does not belong to this file: starting over",
		    part_target(g->part));
		g->begun = false;
		g->resumed = false;
		(void)refuse(g->err, -EILSEQ, "what there was of it was wrong");
		return BROKEN;
	}
	(void)refuse(g->err, -EILSEQ,
	             "the copy is not the file: it was changed on the server while it was fetched, "
	             "or damaged on the way; try again");
	return HOPELESS;
}

static enum outcome attempt(struct get *g)
{
	enum outcome out = attempt_open(g);

	if (out == COMPLETE) {
		g->met = true;
		keep_info(g);
		out = transfer(g);
	}
	if (out == COMPLETE)
		out = compare(g);
	attempt_close(g);
	return out;
}

/* Attempts until one succeeds, or is hopeless, or nothing has moved for too long. */
static int attempts(struct get *g)
{
	struct timespec pause = {.tv_nsec = 100000000};
	bool said = false;

	g->progress_ns = now_ns();
	for (;;) {
		enum outcome out = attempt(g);

		bar_clear(&g->bar);
		if (out == COMPLETE)
			return 0;
		if (out == AGAIN)
			continue;
		if (atomic_load(g->o->interrupted))
			out = interrupted(g);
		if (out == HOPELESS)
			return -1;
		if (now_ns() - g->progress_ns > g->o->timeout_ns)
			return refuse(
			    g->err, -ETIMEDOUT,
			    "gave up: %.200s; what is there is kept, the same command again "
			    "goes on from it",
			    g->err->text);
		if (!said)
			say("%s; trying again for %lld s", g->err->text,
			    (long long)(g->o->timeout_ns / second));
		said = true;
		(void)nanosleep(&pause, NULL);
		if (pause.tv_nsec < 800000000)
			pause.tv_nsec *= 2;
	}
}

int get_file(struct get_opts *o, struct part_file *part, struct get_result *out,
             struct slime_error *err)
{
	struct get g = {.o = o, .part = part, .result = out, .err = err, .chan.fd = -1};
	void *mem = NULL;
	int rc;

	memset(out, 0, sizeof(*out));
	g.hash = XXH3_createState();
	if (!g.hash)
		return refuse(err, -ENOMEM, "no memory");
	rc = 0;
	if (o->named)
		g.ctx = o->named->names->ctx;
	else
		rc = slime_ctx_create(NULL, &g.ctx, err);
	if (rc == 0)
		rc = slime_mem_alloc(g.ctx, (size_t)SLOTS * BLOCK, NULL, &mem, err);
	g.mem = mem;
	if (rc == 0)
		rc = slime_mr_register(g.ctx, g.mem, (size_t)SLOTS * BLOCK, NULL, &g.mr, err);
	if (rc == 0)
		rc = attempts(&g);
	slime_mr_deregister(g.mr);
	if (mem)
		slime_mem_free(g.ctx, mem);
	if (!o->named)
		slime_ctx_destroy(g.ctx);
	(void)XXH3_freeState(g.hash);
	return rc;
}
