/* SPDX-License-Identifier: BSD-3-Clause */
#include "transport/rdma/rdma_frame.h"

#include <errno.h>
#include <string.h>

#include "base/wire.h"

enum {
	VERSION = 1,
	MTU_MIN = 1,
	MTU_MAX = 5,
	BITS_24 = (1 << 24) - 1,
	SHIFT_MIN = 8,
	SHIFT_MAX = 30
};

static const char magic[8] = "SLIMERD1";

static void put_mail(struct sl_wire *w, const struct rdma_mail *m)
{
	sl_wire_put(w, m->gid, sizeof(m->gid));
	sl_wire_put_uint(w, m->qpn, 4);
	sl_wire_put_uint(w, m->qkey, 4);
	sl_wire_put_uint(w, m->lid, 2);
	sl_wire_put_uint(w, m->mtu, 1);
	sl_wire_put_uint(w, m->reads, 1);
	sl_wire_put_uint(w, m->shift, 4);
}

static bool get_mail(struct sl_wire *w, struct rdma_mail *m)
{
	uint64_t shift;

	sl_wire_get(w, m->gid, sizeof(m->gid));
	m->qpn = (uint32_t)sl_wire_get_uint(w, 4);
	m->qkey = (uint32_t)sl_wire_get_uint(w, 4);
	m->lid = (uint16_t)sl_wire_get_uint(w, 2);
	m->mtu = (uint8_t)sl_wire_get_uint(w, 1);
	m->reads = (uint8_t)sl_wire_get_uint(w, 1);
	shift = sl_wire_get_uint(w, 4);
	m->shift = (uint8_t)shift;
	return m->qpn && m->qpn <= BITS_24 && m->mtu >= MTU_MIN && m->mtu <= MTU_MAX && m->reads &&
	       shift >= SHIFT_MIN && shift <= SHIFT_MAX &&
	       (m->lid || !sl_wire_is_zero(m->gid, sizeof(m->gid)));
}

static void put_name(struct sl_wire *w, const struct rdma_name *n)
{
	sl_wire_put_uint(w, n->id, 8);
	sl_wire_put(w, n->secret, sizeof(n->secret));
}

static void get_name(struct sl_wire *w, struct rdma_name *n)
{
	n->id = sl_wire_get_uint(w, 8);
	sl_wire_get(w, n->secret, sizeof(n->secret));
}

size_t sl_rdma_put_lane(uint8_t *out, const struct rdma_lane *lane)
{
	struct sl_wire w = sl_wire_on(out, RDMA_LANE_LEN);

	sl_wire_put_uint(&w, VERSION, 2);
	sl_wire_put_uint(&w, lane->has_mail, 2);
	put_name(&w, &lane->name);
	if (lane->has_mail)
		put_mail(&w, &lane->mail);
	return (size_t)(w.p - out);
}

int sl_rdma_get_lane(const uint8_t *in, size_t len, struct rdma_lane *out)
{
	uint8_t copy[RDMA_LANE_LEN];
	struct rdma_lane lane = {0};
	struct sl_wire w;
	uint64_t version, flags;

	if (len > sizeof(copy))
		return -EPROTO;
	memcpy(copy, in, len);
	w = sl_wire_on(copy, len);
	version = sl_wire_get_uint(&w, 2);
	flags = sl_wire_get_uint(&w, 2);
	get_name(&w, &lane.name);
	lane.has_mail = flags == 1;
	if (version != VERSION || flags > 1 || (lane.has_mail && !get_mail(&w, &lane.mail)))
		return -EPROTO;
	if (w.bad || sl_wire_left(&w))
		return -EPROTO;
	*out = lane;
	return 0;
}

void sl_rdma_put_region(uint8_t *out, const struct rdma_region *region)
{
	struct sl_wire w = sl_wire_on(out, RDMA_REGION_LEN);

	sl_wire_put_uint(&w, VERSION, 4);
	sl_wire_put_uint(&w, region->rkey, 4);
	sl_wire_put_uint(&w, region->addr, 8);
	sl_wire_put_uint(&w, region->len, 8);
}

int sl_rdma_get_region(const uint8_t *in, size_t len, struct rdma_region *out)
{
	uint8_t copy[RDMA_REGION_LEN];
	struct rdma_region region;
	struct sl_wire w;
	uint64_t version;

	if (len != sizeof(copy))
		return -EPROTO;
	memcpy(copy, in, len);
	w = sl_wire_on(copy, len);
	version = sl_wire_get_uint(&w, 4);
	region.rkey = (uint32_t)sl_wire_get_uint(&w, 4);
	region.addr = sl_wire_get_uint(&w, 8);
	region.len = sl_wire_get_uint(&w, 8);
	if (version != VERSION || region.addr + region.len < region.addr)
		return -EPROTO;
	*out = region;
	return 0;
}

void sl_rdma_put_state(uint8_t *out, const struct rdma_state *s)
{
	struct sl_wire w = sl_wire_on(out, RDMA_STATE_LEN);

	sl_wire_put(&w, magic, sizeof(magic));
	sl_wire_put_uint(&w, VERSION, 2);
	sl_wire_put_uint(&w, s->flags, 2);
	sl_wire_put_uint(&w, (uint32_t)s->status, 4);
	put_name(&w, &s->to);
	put_name(&w, &s->from);
	put_mail(&w, &s->mail);
	for (int i = 0; i < RDMA_CHANS; i++) {
		sl_wire_put_uint(&w, s->chan[i].gen, 4);
		sl_wire_put_uint(&w, s->chan[i].linked, 4);
		sl_wire_put_uint(&w, s->chan[i].qpn, 4);
		sl_wire_put_uint(&w, s->chan[i].psn, 4);
		sl_wire_put_uint(&w, s->chan[i].count, 8);
	}
}

static bool get_chan(struct sl_wire *w, struct rdma_chan_state *c)
{
	c->gen = (uint32_t)sl_wire_get_uint(w, 4);
	c->linked = (uint32_t)sl_wire_get_uint(w, 4);
	c->qpn = (uint32_t)sl_wire_get_uint(w, 4);
	c->psn = (uint32_t)sl_wire_get_uint(w, 4);
	c->count = sl_wire_get_uint(w, 8);
	return c->qpn <= BITS_24 && c->psn <= BITS_24;
}

int sl_rdma_get_state(const uint8_t *in, size_t len, struct rdma_state *out)
{
	static const uint16_t known = RDMA_CALLING | RDMA_PING | RDMA_GONE | RDMA_ROUNDABOUT;
	uint8_t copy[RDMA_STATE_LEN];
	struct rdma_state s;
	struct sl_wire w;
	uint64_t version;
	bool fine;

	if (len != sizeof(copy) || memcmp(in, magic, sizeof(magic)))
		return -EPROTO;
	memcpy(copy, in, len);
	w = sl_wire_on(copy, len);
	(void)sl_wire_skip(&w, sizeof(magic));
	version = sl_wire_get_uint(&w, 2);
	s.flags = (uint16_t)sl_wire_get_uint(&w, 2);
	s.status = (int32_t)(uint32_t)sl_wire_get_uint(&w, 4);
	get_name(&w, &s.to);
	get_name(&w, &s.from);
	fine = get_mail(&w, &s.mail);
	for (int i = 0; i < RDMA_CHANS; i++)
		fine = get_chan(&w, &s.chan[i]) && fine;
	if (!fine || version != VERSION || s.flags & ~known || s.status > 0 || s.status < -4095)
		return -EPROTO;
	*out = s;
	return 0;
}

void sl_rdma_put_record(uint8_t *out, const struct rdma_record *r)
{
	struct sl_wire w = sl_wire_on(out, RDMA_RECORD_LEN);

	sl_wire_put_uint(&w, r->type, 1);
	sl_wire_put_uint(&w, r->shift, 1);
	sl_wire_put_uint(&w, 0, 2);
	sl_wire_put_uint(&w, r->arg, 4);
	sl_wire_put_uint(&w, r->index, 8);
	sl_wire_put_uint(&w, r->len, 8);
}

int sl_rdma_get_record(const uint8_t *in, size_t len, struct rdma_record *out)
{
	uint8_t copy[RDMA_RECORD_LEN];
	struct rdma_record r;
	struct sl_wire w;
	bool fine;

	if (len != sizeof(copy))
		return -EPROTO;
	memcpy(copy, in, len);
	w = sl_wire_on(copy, len);
	r.type = (uint8_t)sl_wire_get_uint(&w, 1);
	r.shift = (uint8_t)sl_wire_get_uint(&w, 1);
	fine = sl_wire_get_uint(&w, 2) == 0;
	r.arg = (uint32_t)sl_wire_get_uint(&w, 4);
	r.index = sl_wire_get_uint(&w, 8);
	r.len = sl_wire_get_uint(&w, 8);
	if (r.type == RDMA_IMM)
		fine = fine && !r.shift && !r.index;
	else
		fine =
		    fine && r.type == RDMA_CREDIT && r.shift >= SHIFT_MIN && r.shift <= SHIFT_MAX;
	if (!fine)
		return -EPROTO;
	*out = r;
	return 0;
}
