/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * transport/rdma/rdma_mail.c - the mailbox of a domain: datagrams of one kind, the state of a lane.
 *
 * Nothing here is reliable and nothing needs to be: a state says all there is to say,
 * so a lost one is made good by the next, and who needs an answer asks again.
 *
 * A datagram that cannot be sent, as the port is down or there is no way, may take the queue pair
 * to the error state. Its number is in descriptions, so it is not replaced: when it has given
 * everything back it is reset, and begins anew.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/log.h"
#include "base/random.h"
#include "transport/rdma/rdma_impl.h"

enum {
	IN_LEN = 192, /* the global route header, a state, and up to a round number */
	OUT_LEN = IN_LEN,
	BOX_LEN = RDMA_MAILS_IN * IN_LEN + RDMA_MAILS_OUT * OUT_LEN,
};
_Static_assert((int)RDMA_GRH_LEN + (int)RDMA_STATE_LEN <= (int)IN_LEN, "a mail fits its place");

static void post_in(struct sl_dom *dom, uint32_t place)
{
	struct rdma_mailbox *box = &dom->box;
	struct ibv_sge sge = {
	    .addr = (uintptr_t)(box->buf + (size_t)place * IN_LEN),
	    .length = RDMA_GRH_LEN + RDMA_STATE_LEN,
	    .lkey = box->mr->lkey,
	};
	struct ibv_recv_wr *bad,
	    wr = {
		.wr_id = rdma_wr_id(rdma_wr_owner(RDMA_SLOT_BOX, 0), 0, true, place),
		.sg_list = &sge,
		.num_sge = 1,
	    };

	if (!dom->v->post_recv(box->qp, &wr, &bad)) /* else one place less */
		box->in_posted++;
}

static int make_ready(struct sl_dom *dom)
{
	struct ibv_qp_attr attr = {
	    .qp_state = IBV_QPS_INIT,
	    .port_num = dom->port.number,
	    .qkey = dom->box.qkey,
	};
	int rc = dom->v->modify_qp(dom->box.qp, &attr,
	                           IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_QKEY);

	for (uint32_t i = 0; !rc && i < RDMA_MAILS_IN; i++)
		post_in(dom, i);
	attr.qp_state = IBV_QPS_RTR;
	if (!rc)
		rc = dom->v->modify_qp(dom->box.qp, &attr, IBV_QP_STATE);
	attr.qp_state = IBV_QPS_RTS;
	if (!rc)
		rc = dom->v->modify_qp(dom->box.qp, &attr, IBV_QP_STATE | IBV_QP_SQ_PSN);
	return rc;
}

static int make_qp(struct sl_dom *dom, struct slime_error *err)
{
	struct ibv_qp_init_attr init = {
	    .qp_type = IBV_QPT_UD,
	    .send_cq = dom->cq,
	    .recv_cq = dom->cq,
	    .sq_sig_all = 1,
	    .cap = {.max_send_wr = RDMA_MAILS_OUT,
	            .max_recv_wr = RDMA_MAILS_IN,
	            .max_send_sge = 1,
	            .max_recv_sge = 1},
	};

	dom->box.qp = dom->v->create_qp(dom->pd, &init);
	if (!dom->box.qp)
		return sl_fail(err, -(errno ? errno : EIO),
		               "'%s' gives no datagram queue pair: are too many in use?",
		               dom->name);
	if (make_ready(dom))
		return sl_fail(err, -EIO, "'%s' cannot make its datagram queue pair ready",
		               dom->name);
	return 0;
}

int sl_rdma_box_open(struct sl_dom *dom, struct slime_error *err)
{
	struct rdma_mailbox *box = &dom->box;
	int rc = sl_random(&box->qkey, sizeof(box->qkey));

	box->qkey &= INT32_MAX; /* the upper half is the kernel's */
	if (!rc)
		rc = sl_rdma_cq_take(dom, RDMA_MAILS_IN + RDMA_MAILS_OUT, err);
	if (rc)
		return rc;
	box->buf = calloc(1, BOX_LEN);
	if (!box->buf)
		return sl_fail(err, -ENOMEM, "no memory for a mailbox");
	errno = 0;
	box->mr = dom->v->reg_mr(dom->pd, box->buf, BOX_LEN, IBV_ACCESS_LOCAL_WRITE);
	if (!box->mr)
		return sl_rdma_reg_failed(dom, BOX_LEN, errno, err);
	return make_qp(dom, err);
}

/* Destroy what nothing is sent by any more. */
static void dig(struct sl_dom *dom)
{
	struct rdma_grave **at = &dom->box.graves;

	while (*at) {
		struct rdma_grave *g = *at;

		if (g->after > dom->box.out_done) {
			at = &g->next;
			continue;
		}
		*at = g->next;
		(void)dom->v->destroy_ah(g->ah);
		free(g);
	}
}

void sl_rdma_box_bury(struct sl_dom *dom, struct ibv_ah *ah)
{
	struct rdma_grave *g = ah ? malloc(sizeof(*g)) : NULL;

	if (!g) {
		if (ah)
			(void)dom->v->destroy_ah(ah);
		return;
	}
	*g = (struct rdma_grave){.next = dom->box.graves, .ah = ah, .after = dom->box.out_posted};
	dom->box.graves = g;
	dig(dom);
}

void sl_rdma_box_close(struct sl_dom *dom)
{
	struct rdma_mailbox *box = &dom->box;

	if (box->qp)
		(void)dom->v->destroy_qp(box->qp);
	box->out_done = box->out_posted;
	dig(dom);
	if (box->mr)
		(void)dom->v->dereg_mr(box->mr);
	free(box->buf);
}

void sl_rdma_box_mail(const struct sl_dom *dom, struct rdma_mail *out)
{
	*out = (struct rdma_mail){
	    .qpn = dom->box.qp->qp_num,
	    .qkey = dom->box.qkey,
	    .lid = dom->port.attr.lid,
	    .mtu = (uint8_t)dom->port.attr.active_mtu,
	    .reads = (uint8_t)dom->env.reads_in,
	    .shift = dom->chunk_shift,
	};
	if (dom->port.has_gid)
		memcpy(out->gid, dom->port.gid.gid.raw, RDMA_GID_LEN);
}

void sl_rdma_box_send(struct sl_dom *dom, struct ibv_ah *ah, const struct rdma_mail *to,
                      struct rdma_state *state)
{
	struct rdma_mailbox *box = &dom->box;
	uint64_t place = box->out_posted % RDMA_MAILS_OUT;
	char *at = box->buf + (size_t)RDMA_MAILS_IN * IN_LEN + place * OUT_LEN;
	struct ibv_sge sge = {
	    .addr = (uintptr_t)at, .length = RDMA_STATE_LEN, .lkey = box->mr->lkey};
	struct ibv_send_wr *bad,
	    wr = {
		.wr_id = rdma_wr_id(rdma_wr_owner(RDMA_SLOT_BOX, 0), 0, false, place),
		.sg_list = &sge,
		.num_sge = 1,
		.opcode = IBV_WR_SEND,
		.send_flags = IBV_SEND_SIGNALED,
		.wr.ud = {.ah = ah, .remote_qpn = to->qpn, .remote_qkey = to->qkey},
	    };

	if (!ah || dom->dead || box->failed || box->out_posted - box->out_done >= RDMA_MAILS_OUT)
		return;
	sl_rdma_box_mail(dom, &state->mail);
	sl_rdma_put_state((uint8_t *)at, state);
	if (!dom->v->post_send(box->qp, &wr, &bad))
		box->out_posted++;
}

static void drain(struct sl_dom *dom)
{
	struct ibv_qp_attr attr = {.qp_state = IBV_QPS_ERR};

	if (dom->box.failed)
		return;
	dom->box.failed = true;
	(void)dom->v->modify_qp(dom->box.qp, &attr, IBV_QP_STATE);
}

static void revive(struct sl_dom *dom)
{
	struct rdma_mailbox *box = &dom->box;
	struct ibv_qp_attr attr = {.qp_state = IBV_QPS_RESET};

	if (box->in_posted || box->out_done < box->out_posted || dom->dead)
		return;
	if (dom->v->modify_qp(box->qp, &attr, IBV_QP_STATE) || make_ready(dom)) {
		sl_log(SLIME_LOG_ERROR,
		       "rdma: '%s' cannot make its datagram queue pair ready again", dom->name);
		return;
	}
	box->failed = false;
}

void sl_rdma_box_wc(struct sl_dom *dom, const struct ibv_wc *wc)
{
	uint32_t place = (uint32_t)wc->wr_id;
	bool recv = wc->wr_id >> 32 & 1;
	struct rdma_state state;
	const char *at;
	int rc;

	if (recv)
		dom->box.in_posted--;
	else
		dom->box.out_done++;
	if (!recv && dom->box.graves)
		dig(dom);
	if (wc->status != IBV_WC_SUCCESS)
		drain(dom);
	if (dom->box.failed)
		revive(dom);
	if (!recv || wc->status != IBV_WC_SUCCESS || place >= RDMA_MAILS_IN || dom->dead)
		return;
	at = dom->box.buf + (size_t)place * IN_LEN + RDMA_GRH_LEN;
	rc = wc->byte_len < RDMA_GRH_LEN
	         ? -EPROTO
	         : sl_rdma_get_state((const uint8_t *)at, wc->byte_len - RDMA_GRH_LEN, &state);
	if (!dom->box.failed)
		post_in(dom, place);
	if (!rc)
		sl_rdma_conn_state(dom, &state);
}
