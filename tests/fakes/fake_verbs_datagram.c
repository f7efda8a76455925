/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/fakes/fake_verbs_datagram.c - UD: each message is one packet, which may get
 * lost, and the receive begins with 40 bytes of routing header.
 */
#include <arpa/inet.h>
#include <string.h>

#include "fakes/fake_verbs_impl.h"

enum { HEADER = 40 };

static const struct fake_port_config *port_of(const struct fake_device *dev,
                                              const struct ibv_ah_attr *path)
{
	return &dev->config.ports[path->port_num - 1];
}

static bool is_ipv4(const union ibv_gid *gid)
{
	return gid->global.subnet_prefix == 0 && gid->raw[10] == 0xff && gid->raw[11] == 0xff;
}

/* An IPv6 header; or 20 bytes of nothing and an IPv4 header, as RoCE v2 has it. */
static void make_header(struct fake_packet *p, const union ibv_gid *sgid)
{
	const struct ibv_global_route *grh = &p->to.grh;
	struct ibv_grh header = {
	    .version_tclass_flow = htonl(UINT32_C(6) << 28 | (uint32_t)grh->traffic_class << 20 |
	                                 (grh->flow_label & 0xfffff)),
	    .paylen = htons((uint16_t)p->len),
	    .hop_limit = grh->hop_limit,
	    .sgid = *sgid,
	    .dgid = grh->dgid,
	};

	if (!is_ipv4(sgid)) {
		memcpy(p->header, &header, sizeof(header));
		return;
	}
	memset(p->header, 0xee, HEADER);
	memset(p->header + 20, 0, 12);
	p->header[20] = 0x45;
	memcpy(p->header + 32, sgid->raw + 12, 4);
	memcpy(p->header + 36, grh->dgid.raw + 12, 4);
}

/* The header and the data into the receive; false: its memory is not allowed. */
static bool fill(struct fake_qp *qp, struct fake_packet *p)
{
	uint64_t at = p->to.is_global ? 0 : HEADER;

	while (at < HEADER + p->len) {
		bool header = at < HEADER;
		char *from = header ? (char *)p->header + at : p->data + (at - HEADER);
		uint64_t n = fake_sges_copy_locked(qp->ibv.pd, qp->rx_sge, qp->rx.num_sge, at, from,
		                                   (header ? HEADER : HEADER + p->len) - at, true);

		if (!n)
			return false;
		at += n;
	}
	return true;
}

static struct fake_qp *receiver_of(const struct fake_device *from, const struct fake_packet *p)
{
	uint8_t port;
	struct fake_device *dev = fake_route_locked(from, &p->to, &port);
	struct fake_qp *qp = dev ? fake_qp_find_locked(dev, p->to_qpn) : NULL;

	if (!qp || qp->ibv.qp_type != IBV_QPT_UD || qp->attr.port_num != port)
		return NULL;
	if (qp->attr.qp_state < IBV_QPS_RTR || qp->attr.qp_state == IBV_QPS_ERR)
		return NULL;
	return qp->attr.qkey == p->qkey ? qp : NULL;
}

static bool has_room(const struct fake_qp *qp, const struct fake_packet *p)
{
	const struct fake_srq *srq = (const struct fake_srq *)qp->ibv.srq;
	const struct fake_rq *rq = srq ? &srq->rq : &qp->rq;
	const struct fake_recv *next;

	if (rq->head == rq->tail)
		return false;
	next = &rq->ring[rq->head % rq->cap];
	return fake_sges_len(next->sge, next->num_sge) >= HEADER + p->len;
}

static void arrive(const struct fake_device *from, struct fake_packet *p)
{
	struct fake_qp *qp = receiver_of(from, p);
	struct ibv_wc wc = {
	    .opcode = IBV_WC_RECV,
	    .byte_len = (uint32_t)(HEADER + p->len),
	    .imm_data = p->imm,
	    .src_qp = p->from_qpn,
	    .slid = p->slid,
	    .sl = p->to.sl,
	    .wc_flags = (p->has_imm ? IBV_WC_WITH_IMM : 0u) | (p->to.is_global ? IBV_WC_GRH : 0u),
	};

	if (!qp || !has_room(qp, p) || !fake_rq_take_locked(qp)) {
		fake_bump(FAKE_LOST, 1);
		return;
	}
	if (!fill(qp, p)) {
		wc.status = IBV_WC_LOC_PROT_ERR;
		fake_qp_error_locked(qp);
	}
	fake_recv_done_locked(qp, &wc, p->solicited);
}

static bool gather(struct fake_qp *qp, const struct fake_send *wr, char *to)
{
	uint64_t at = 0, n;

	if (wr->flags & IBV_SEND_INLINE) {
		memcpy(to, wr->inlined, wr->len);
		return true;
	}
	for (; at < wr->len; at += n) {
		n = fake_sges_copy_locked(qp->ibv.pd, wr->sge, wr->num_sge, at, to + at,
		                          wr->len - at, false);
		if (!n)
			return false;
	}
	return true;
}

static void pass_on(struct fake_device *dev, struct fake_packet *p)
{
	int fault = fake_fault_datagram_locked(dev);
	bool late = dev->has_late;

	fake_bump(FAKE_DATAGRAMS, 1);
	if (fault == FAKE_OVERTAKE && !late) {
		dev->late = *p;
		dev->has_late = true;
		return;
	}
	if (fault == FAKE_DROP)
		fake_bump(FAKE_LOST, 1);
	else
		arrive(dev, p);
	if (fault == FAKE_DUPLICATE)
		arrive(dev, p);
	dev->has_late = false;
	if (late)
		arrive(dev, &dev->late);
}

enum fake_step fake_carry_datagram_locked(struct fake_qp *qp, struct fake_send *wr)
{
	const struct fake_port_config *port = port_of(qp->dev, &wr->to);
	struct fake_packet p = {
	    .to = wr->to,
	    .to_qpn = wr->to_qpn,
	    .from_qpn = qp->ibv.qp_num,
	    .qkey = wr->qkey & UINT32_C(1) << 31 ? qp->attr.qkey : wr->qkey,
	    .slid = port->link_layer == IBV_LINK_LAYER_INFINIBAND ? port->lid : 0,
	    .imm = wr->imm,
	    .has_imm = wr->opcode == IBV_WR_SEND_WITH_IMM,
	    .solicited = wr->flags & IBV_SEND_SOLICITED,
	    .len = wr->len,
	};
	enum ibv_wc_status status = IBV_WC_SUCCESS;

	if (wr->len > UINT64_C(128) << port->mtu)
		status = IBV_WC_LOC_LEN_ERR;
	else if (!gather(qp, wr, p.data))
		status = IBV_WC_LOC_PROT_ERR;
	if (status != IBV_WC_SUCCESS) {
		fake_carry_fail_locked(qp, status);
		return STEP_MOVED;
	}
	make_header(&p, &port->gids[wr->to.grh.sgid_index].gid);
	pass_on(qp->dev, &p);
	fake_carry_done_locked(qp, IBV_WC_SUCCESS);
	return STEP_MOVED;
}
