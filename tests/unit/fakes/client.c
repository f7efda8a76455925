/* SPDX-License-Identifier: BSD-3-Clause */
#include "client.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

const struct sl_verbs *v;
struct end a, b;

static void end_begin(struct end *e, unsigned dev, const struct client_opts *opts)
{
	struct ibv_device **list = v->get_device_list(NULL);
	struct ibv_srq_init_attr srq = {.attr = {.max_wr = CLIENT_DEPTH, .max_sge = 4}};

	assert_non_null(list);
	e->ctx = v->open_device(list[dev]);
	assert_non_null(e->ctx);
	v->free_device_list(list);
	e->pd = v->alloc_pd(e->ctx);
	assert_non_null(e->pd);
	e->channel = v->create_comp_channel(e->ctx);
	assert_non_null(e->channel);
	e->cq = v->create_cq(e->ctx, opts->cqe ? opts->cqe : 2 * CLIENT_DEPTH, e, e->channel, 0);
	assert_non_null(e->cq);
	e->srq = opts->srq ? v->create_srq(e->pd, &srq) : NULL;
	e->mem = calloc(1, CLIENT_MEM);
	assert_non_null(e->mem);
	e->mr = v->reg_mr(e->pd, e->mem, CLIENT_MEM, ALL_RIGHTS);
	assert_non_null(e->mr);
	e->qp = qp_make(e, opts->type ? opts->type : IBV_QPT_RC);
	assert_non_null(e->qp);
}

void client_begin(const struct client_opts *opts)
{
	static const struct client_opts none;

	opts = opts ? opts : &none;
	v = fake_verbs_create(opts->config);
	end_begin(&a, 0, opts);
	end_begin(&b, 1, opts);
	if (opts->apart || opts->type == IBV_QPT_UD)
		return;
	qp_connect(&a, &b);
	qp_connect(&b, &a);
}

static void end_end(struct end *e)
{
	if (e->qp)
		assert_int_equal(v->destroy_qp(e->qp), 0);
	if (e->srq)
		assert_int_equal(v->destroy_srq(e->srq), 0);
	assert_int_equal(v->destroy_cq(e->cq), 0);
	assert_int_equal(v->destroy_comp_channel(e->channel), 0);
	if (e->mr)
		assert_int_equal(v->dereg_mr(e->mr), 0);
	assert_int_equal(v->dealloc_pd(e->pd), 0);
	assert_int_equal(v->close_device(e->ctx), 0);
	free(e->mem);
	memset(e, 0, sizeof(*e));
}

void client_end(void)
{
	end_end(&a);
	end_end(&b);
	assert_null(fake_verbs_leaks());
	assert_int_equal(fake_verbs_count(FAKE_MR_BYTES), 0);
	assert_int_equal(fake_verbs_count(FAKE_QUEUE_BYTES), 0);
	fake_verbs_destroy();
}

struct ibv_qp *qp_make(struct end *e, enum ibv_qp_type type)
{
	struct ibv_qp_init_attr init = {
	    .send_cq = e->cq,
	    .recv_cq = e->cq,
	    .srq = e->srq,
	    .cap = {.max_send_wr = CLIENT_DEPTH,
	            .max_recv_wr = CLIENT_DEPTH,
	            .max_send_sge = 4,
	            .max_recv_sge = 4,
	            .max_inline_data = CLIENT_INLINE},
	    .qp_type = type,
	};

	return v->create_qp(e->pd, &init);
}

struct ibv_gid_entry gid_of(struct ibv_context *ctx, uint32_t index)
{
	struct ibv_gid_entry gids[64];
	ssize_t n = v->query_gids(ctx, gids, 64);

	for (ssize_t i = 0; i < n; i++) {
		if (gids[i].port_num == 1 && gids[i].gid_index == index)
			return gids[i];
	}
	fail_msg("port 1 has no GID of index %u", index);
	return gids[0];
}

struct ibv_qp_attr attr_to(const struct end *peer)
{
	struct ibv_gid_entry gid = gid_of(peer->ctx, CLIENT_GID);

	return (struct ibv_qp_attr){
	    .path_mtu = IBV_MTU_1024,
	    .dest_qp_num = peer->qp->qp_num,
	    .rq_psn = 7,
	    .sq_psn = 7,
	    .max_rd_atomic = 4,
	    .max_dest_rd_atomic = 4,
	    .min_rnr_timer = 1,
	    .ah_attr = {.grh = {.dgid = gid.gid, .sgid_index = CLIENT_GID, .hop_limit = 64},
	                .is_global = 1,
	                .port_num = 1},
	    .timeout = 4,
	    .retry_cnt = 3,
	    .rnr_retry = 7,
	};
}

int qp_init(struct end *e)
{
	struct ibv_qp_attr attr = {
	    .qp_state = IBV_QPS_INIT,
	    .port_num = 1,
	    .qp_access_flags = IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ,
	    .qkey = 0x1234,
	};
	bool ud = e->qp->qp_type == IBV_QPT_UD;

	return v->modify_qp(e->qp, &attr,
	                    ud ? (MASK_INIT & ~IBV_QP_ACCESS_FLAGS) | IBV_QP_QKEY : MASK_INIT);
}

int qp_rtr(struct end *e, struct ibv_qp_attr attr)
{
	attr.qp_state = IBV_QPS_RTR;
	return v->modify_qp(e->qp, &attr,
	                    e->qp->qp_type == IBV_QPT_UD ? (int)IBV_QP_STATE : MASK_RTR);
}

int qp_rts(struct end *e, struct ibv_qp_attr attr)
{
	attr.qp_state = IBV_QPS_RTS;
	return v->modify_qp(e->qp, &attr,
	                    e->qp->qp_type == IBV_QPT_UD ? IBV_QP_STATE | IBV_QP_SQ_PSN : MASK_RTS);
}

void qp_connect(struct end *e, const struct end *peer)
{
	assert_int_equal(qp_init(e), 0);
	assert_int_equal(qp_rtr(e, attr_to(peer)), 0);
	assert_int_equal(qp_rts(e, attr_to(peer)), 0);
}

void qp_to(struct end *e, enum ibv_qp_state state)
{
	struct ibv_qp_attr attr = {.qp_state = state};

	assert_int_equal(v->modify_qp(e->qp, &attr, IBV_QP_STATE), 0);
}

struct ibv_sge sge_of(const struct end *e, uint64_t off, uint32_t len)
{
	return (struct ibv_sge){
	    .addr = (uintptr_t)e->mem + off, .length = len, .lkey = e->mr->lkey};
}

int post(struct end *e, const struct end *peer, enum ibv_wr_opcode opcode, uint64_t id,
         uint64_t off, uint64_t roff, uint32_t len, unsigned flags)
{
	struct ibv_sge sge = sge_of(e, off, len);
	struct ibv_send_wr *bad, wr = {
				     .wr_id = id,
				     .sg_list = &sge,
				     .num_sge = 1,
				     .opcode = opcode,
				     .send_flags = flags,
				     .imm_data = (uint32_t)id,
				 };

	wr.wr.rdma.remote_addr = (uintptr_t)peer->mem + roff;
	wr.wr.rdma.rkey = peer->mr ? peer->mr->rkey : 0;
	return v->post_send(e->qp, &wr, &bad);
}

int post_recv(struct end *e, uint64_t id, uint64_t off, uint32_t len)
{
	struct ibv_sge sge = sge_of(e, off, len);
	struct ibv_recv_wr *bad, wr = {.wr_id = id, .sg_list = &sge, .num_sge = 1};

	return e->srq ? v->post_srq_recv(e->srq, &wr, &bad) : v->post_recv(e->qp, &wr, &bad);
}

/* Sleeps on the channel, as a user would: an event is lost if one test hangs here. */
struct ibv_wc wc_next(struct end *e)
{
	struct pollfd fd = {.fd = e->channel->fd, .events = POLLIN};
	struct ibv_wc wc;
	struct ibv_cq *cq;
	void *context;

	while (!v->poll_cq(e->cq, 1, &wc)) {
		assert_int_equal(v->req_notify_cq(e->cq, 0), 0);
		if (v->poll_cq(e->cq, 1, &wc))
			break;
		if (poll(&fd, 1, 10000) != 1)
			fail_msg("no completion in 10 s");
		assert_int_equal(v->get_cq_event(e->channel, &cq, &context), 0);
		assert_ptr_equal(cq, e->cq);
		v->ack_cq_events(cq, 1);
	}
	return wc;
}

struct ibv_wc wc_expect(struct end *e, uint64_t id, enum ibv_wc_status status)
{
	struct ibv_wc wc = wc_next(e);

	if (wc.wr_id != id || wc.status != status)
		fail_msg("completion of %llu is '%s', not '%s' of %llu",
		         (unsigned long long)wc.wr_id, v->wc_status_str(wc.status),
		         v->wc_status_str(status), (unsigned long long)id);
	return wc;
}

void wc_none(struct end *e)
{
	struct ibv_wc wc;

	assert_int_equal(v->poll_cq(e->cq, 1, &wc), 0);
}

void event_expect(struct end *e, enum ibv_event_type type)
{
	struct pollfd fd = {.fd = e->ctx->async_fd, .events = POLLIN};
	struct ibv_async_event event;

	if (poll(&fd, 1, 10000) != 1)
		fail_msg("no event in 10 s");
	assert_int_equal(v->get_async_event(e->ctx, &event), 0);
	assert_int_equal(event.event_type, type);
	v->ack_async_event(&event);
}

void event_none(struct end *e)
{
	struct pollfd fd = {.fd = e->ctx->async_fd, .events = POLLIN};
	struct ibv_async_event event;

	assert_int_equal(poll(&fd, 1, 0), 0);
	assert_int_not_equal(fcntl(fd.fd, F_SETFL, fcntl(fd.fd, F_GETFL) | O_NONBLOCK), -1);
	assert_int_equal(v->get_async_event(e->ctx, &event), -1);
	assert_int_equal(errno, EAGAIN);
}

void fill(char *mem, size_t len, unsigned seed)
{
	for (size_t i = 0; i < len; i++)
		mem[i] = (char)((i * 2654435761u + seed * 40503u) >> 13);
}

void assert_filled(const char *mem, size_t len, unsigned seed)
{
	for (size_t i = 0; i < len; i++)
		if (mem[i] != (char)((i * 2654435761u + seed * 40503u) >> 13))
			fail_msg("byte %zu of %zu is wrong", i, len);
}
