/* SPDX-License-Identifier: BSD-3-Clause */
/* transport/rdma/rdma_conn.c - a lane: made, described, connected, closed; and the table. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "transport/rdma/rdma_impl.h"
#include "transport/transports.h"

static int take_slot(struct sl_conn *conn, struct slime_error *err)
{
	struct sl_dom *dom = conn->dom;
	uint32_t n = dom->nslots ? 2 * dom->nslots : 64;
	struct rdma_slot *slots;
	uint32_t i = 0;

	while (i < dom->nslots && dom->slots[i].conn)
		i++;
	if (i == dom->nslots) {
		slots = n > RDMA_SLOTS_MAX ? NULL : realloc(dom->slots, n * sizeof(*slots));
		if (!slots)
			return sl_fail(err, -ENOMEM, "no memory for %u connections", n);
		memset(slots + dom->nslots, 0, (n - dom->nslots) * sizeof(*slots));
		dom->slots = slots;
		dom->nslots = n;
	}
	dom->slots[i].conn = conn;
	conn->slot = i;
	conn->wr_owner = rdma_wr_owner(i, ++dom->slots[i].used);
	return 0;
}

static int make_records(struct sl_conn *conn, struct slime_error *err)
{
	size_t len = (RDMA_WINDOW + conn->chan[RDMA_DATA].sq_cap) * (size_t)RDMA_RECORD_STEP;

	conn->records = calloc(1, len);
	for (int i = 0; i < RDMA_CHANS; i++) {
		struct rdma_chan *c = &conn->chan[i];

		while (c->placed_mask < c->sq_cap - 1)
			c->placed_mask = 2 * c->placed_mask + 1;
		c->placed = calloc(c->placed_mask + (size_t)1, sizeof(struct sl_op *));
		if (!c->placed || !conn->records)
			return sl_fail(err, -ENOMEM, "no memory for a connection");
	}
	errno = 0;
	conn->records_mr =
	    conn->dom->v->reg_mr(conn->dom->pd, conn->records, len, IBV_ACCESS_LOCAL_WRITE);
	if (!conn->records_mr)
		return sl_rdma_reg_failed(conn->dom, len, errno, err);
	return 0;
}

static uint32_t min_u32(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

/* What the queue pairs of CONN will hold. */
static void size_chans(struct sl_conn *conn)
{
	const struct rdma_env *env = &conn->dom->env;
	uint32_t most = (uint32_t)conn->dom->attr.orig_attr.max_qp_wr;
	uint32_t recvs = conn->depth < 16 ? 16 : conn->depth;

	conn->chan[RDMA_DATA].sq_cap = min_u32(env->send_wr, most);
	conn->chan[RDMA_DATA].rq_cap = min_u32(RDMA_WINDOW, most);
	conn->chan[RDMA_MSG].sq_cap = min_u32(RDMA_MSG_SENDS, most);
	conn->chan[RDMA_MSG].rq_cap = min_u32(min_u32(env->recv_wr, recvs), most);
	conn->max_sge = min_u32((uint32_t)conn->dom->attr.orig_attr.max_sge, RDMA_SGES);
}

static int make_ends(struct sl_conn *conn, struct slime_error *err)
{
	struct sl_dom *dom = conn->dom;
	struct ibv_ah_attr attr;
	uint32_t share = 0;
	int rc = sl_rdma_route(&dom->port, &dom->env, &conn->mail, &attr, err);
	char text[64];

	if (rc)
		return rc;
	errno = 0;
	conn->ah = dom->v->create_ah(dom->pd, &attr);
	if (!conn->ah && errno == ENOMEM)
		return sl_fail(err, -ENOMEM, "no memory for a way to the peer");
	if (!conn->ah) {
		sl_rdma_gid_text(conn->mail.gid, text, sizeof(text));
		return sl_fail(err, -EHOSTUNREACH, "there is no way from '%s' to %s", dom->name,
		               text);
	}
	size_chans(conn);
	for (int i = 0; i < RDMA_CHANS; i++)
		share += conn->chan[i].sq_cap + conn->chan[i].rq_cap;
	rc = sl_rdma_cq_take(dom, share, err);
	if (rc)
		return rc;
	conn->cq_share = share;
	rc = make_records(conn, err);
	for (int i = 0; !rc && i < RDMA_CHANS; i++)
		rc = sl_rdma_chan_open(conn, i, err);
	return rc;
}

static void free_ends(struct sl_conn *conn)
{
	struct sl_dom *dom = conn->dom;

	for (int i = 0; i < RDMA_CHANS; i++)
		sl_rdma_chan_free(conn, i);
	if (conn->connecting && !conn->ending)
		sl_rdma_tell(conn, RDMA_GONE);
	for (int i = 0; i < RDMA_CHANS; i++) {
		free(conn->chan[i].placed);
		conn->chan[i].placed = NULL;
	}
	if (conn->records_mr)
		(void)dom->v->dereg_mr(conn->records_mr);
	free(conn->records);
	sl_rdma_box_bury(dom, conn->ah);
	sl_rdma_cq_give(dom, conn->cq_share);
	if (conn->connecting)
		dom->slots[conn->slot].conn = NULL;
	conn->records_mr = NULL;
	conn->records = NULL;
	conn->ah = NULL;
	conn->cq_share = 0;
}

static int read_peer(struct sl_conn *conn, const struct sl_blob *blob, struct slime_error *err)
{
	struct rdma_lane lane;

	if (sl_rdma_get_lane(blob->bytes, blob->len, &lane))
		return sl_fail(err, -EPROTO, "an rdma address of %u bytes, or of another version",
		               blob->len);
	if (!lane.has_mail && !conn->first->connecting)
		return sl_fail(err, -EPROTO, "an rdma address that refers to one before it");
	conn->peer = lane.name;
	conn->mail = lane.has_mail ? lane.mail : conn->first->mail;
	conn->shift =
	    conn->mail.shift < conn->dom->chunk_shift ? conn->mail.shift : conn->dom->chunk_shift;
	return 0;
}

static int rdma_connect(struct sl_conn *conn, const struct sl_blob *peer, struct slime_error *err)
{
	struct sl_dom *dom = conn->dom;
	int rc = read_peer(conn, peer, err);

	if (!rc && dom->dead)
		rc = sl_fail(err, -ENODEV, "device '%s' is gone", dom->name);
	if (!rc)
		rc = take_slot(conn, err);
	if (rc)
		return rc;
	conn->connecting = true;
	atomic_fetch_add(&dom->nconns, 1);
	conn->alive_ns = conn->heard_ns = sl_clock_ns();
	rc = make_ends(conn, err);
	if (rc)
		return rc;
	conn->answer_by = conn->alive_ns + dom->env.first_answer_ns;
	sl_rdma_tick_by(dom, conn->alive_ns + rdma_tick_ns(dom));
	sl_rdma_tell_on(conn);
	sl_rdma_tell(conn, RDMA_PING);
	return 0;
}

static int rdma_conn_ready(struct sl_conn *conn, struct slime_error *err)
{
	if (!conn->connecting)
		return conn->called ? SL_CONN_CALLED : SL_CONN_WAITING;
	if (conn->refused)
		return sl_fail(err, conn->refused, "%s", conn->why.text);
	if (conn->ending)
		return sl_fail(err, conn->ending, "the peer hung up");
	return conn->ready ? SL_CONN_READY : SL_CONN_WAITING;
}

static void rdma_conn_name(struct sl_conn *conn, char *out, size_t cap)
{
	char ours[64], theirs[64];

	if (conn->dom->port.has_gid) {
		sl_rdma_gid_text(conn->dom->port.gid.gid.raw, ours, sizeof(ours));
		sl_rdma_gid_text(conn->mail.gid, theirs, sizeof(theirs));
	} else {
		(void)snprintf(ours, sizeof(ours), "LID %u", conn->dom->port.attr.lid);
		(void)snprintf(theirs, sizeof(theirs), "LID %u", conn->mail.lid);
	}
	(void)snprintf(out, cap, "%s, %s to %s", conn->dom->name, ours, theirs);
}

static int rdma_conn_create(struct sl_dom *dom, const struct sl_conn_opts *opts,
                            struct sl_conn **out, struct slime_error *err)
{
	struct sl_conn *conn = calloc(1, sizeof(*conn));
	struct sl_conn **bucket;

	if (!conn || sl_random(&conn->me, sizeof(conn->me))) {
		free(conn);
		return sl_fail(err, -ENOMEM, "no memory or no random bytes for a connection");
	}
	conn->dom = dom;
	conn->depth = opts->depth;
	conn->lane = opts->lane;
	conn->first = opts->first ? opts->first : conn;
	if (opts->first) {
		conn->next_lane = opts->first->next_lane;
		opts->first->next_lane = conn;
	}
	conn->ask_at = conn->answer_by = conn->late_at = SL_NEVER;
	sl_lock_init(&conn->lock);
	sl_rdma_home_init(conn);
	sl_lock_take(&dom->lock);
	bucket = &dom->by_id[conn->me.id % RDMA_BUCKETS];
	conn->next_same = *bucket;
	*bucket = conn;
	conn->next = dom->conns;
	dom->conns = conn;
	sl_lock_drop(&dom->lock);
	*out = conn;
	return 0;
}

static int rdma_conn_pack(const struct sl_conn *conn, struct sl_blob *out, struct slime_error *err)
{
	struct rdma_lane lane = {.has_mail = conn->first == conn || conn->first->dom != conn->dom,
	                         .name = conn->me};

	(void)err;
	if (lane.has_mail)
		sl_rdma_box_mail(conn->dom, &lane.mail);
	out->len = (uint32_t)sl_rdma_put_lane(out->bytes, &lane);
	return 0;
}

static void rdma_conn_close(struct sl_conn *conn)
{
	sl_lock_take(&conn->lock);
	conn->closed = true;
	sl_lock_drop(&conn->lock);
	sl_rdma_todo(conn);
}

static void unlink_conn(struct sl_conn **at, struct sl_conn *conn, size_t next)
{
	while (*at && *at != conn)
		at = (struct sl_conn **)(void *)((char *)*at + next);
	if (*at)
		*at = *(struct sl_conn **)(void *)((char *)conn + next);
}

static void rdma_conn_destroy(struct sl_conn *conn)
{
	struct sl_dom *dom = conn->dom;

	sl_lock_take(&dom->lock);
	unlink_conn(&dom->conns, conn, offsetof(struct sl_conn, next));
	unlink_conn(&dom->by_id[conn->me.id % RDMA_BUCKETS], conn,
	            offsetof(struct sl_conn, next_same));
	sl_lock_drop(&dom->lock);
	if (conn->first != conn)
		unlink_conn(&conn->first->next_lane, conn, offsetof(struct sl_conn, next_lane));
	if (conn->connecting)
		atomic_fetch_sub(&dom->nconns, 1);
	free_ends(conn);
	sl_imm_free(&conn->group.imms);
	free(conn->credits);
	sl_lock_free(&conn->group.lock);
	sl_lock_free(&conn->lock);
	free(conn);
}

const struct sl_transport sl_transport_rdma = {
    .name = "rdma",
    .caps = SL_CAP_REMOTE_HOST | SL_CAP_LANES | SL_CAP_RAILS,
    .kinds = 1u << SLIME_MEM_HOST | 1u << SLIME_MEM_CUDA | 1u << SLIME_MEM_ASCEND,
    .max_iov = UINT32_MAX,
    .max_len = UINT64_MAX,
    .probe = sl_rdma_probe,
    .dom_open = sl_rdma_dom_open,
    .dom_close = sl_rdma_dom_close,
    .dom_posts = sl_rdma_posts,
    .reg = sl_rdma_reg,
    .unreg = sl_rdma_unreg,
    .reg_pack = sl_rdma_reg_pack,
    .rreg_unpack = sl_rdma_rreg_unpack,
    .rreg_free = sl_rdma_rreg_free,
    .conn_create = rdma_conn_create,
    .conn_pack = rdma_conn_pack,
    .connect = rdma_connect,
    .conn_ready = rdma_conn_ready,
    .conn_close = rdma_conn_close,
    .conn_destroy = rdma_conn_destroy,
    .submit = sl_rdma_submit,
    .cancel = sl_rdma_cancel,
    .progress = sl_rdma_progress,
    .fd = sl_rdma_fd,
    .arm = sl_rdma_arm,
    .conn_name = rdma_conn_name,
};
