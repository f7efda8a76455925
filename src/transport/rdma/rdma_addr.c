/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * transport/rdma/rdma_addr.c - names, GIDs and routes: rules without I/O.
 *
 * Over Ethernet a lane goes by GID: RoCE v2 with an IPv4 address if there is one,
 * else with a global IPv6 address; link-local addresses and RoCE v1 only when their
 * index is asked for. Over InfiniBand it goes by LID, with a GRH when the subnets differ.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/wire.h"
#include "transport/rdma/rdma_impl.h"

enum { HOP_LIMIT = 64 };

/* "#3" or ":2" at the end of TEXT: cut it off. False: what follows MARK is no such number. */
static bool cut_number(char *text, char mark, long least, long most, long *out)
{
	char *at = strrchr(text, mark);
	char *end;
	long v;

	if (!at)
		return true;
	v = strtol(at + 1, &end, 10);
	if (end == at + 1 || *end || v < least || v > most)
		return false;
	*at = '\0';
	*out = v;
	return true;
}

int sl_rdma_parse_name(const char *text, struct rdma_dev_name *out, struct slime_error *err)
{
	struct rdma_dev_name name = {.gid_index = -1};
	long port = 0, gid = -1;

	if (strlen(text) < sizeof(name.device)) {
		memcpy(name.device, text, strlen(text) + 1);
		if (cut_number(name.device, '#', 0, 65535, &gid) &&
		    cut_number(name.device, ':', 1, 255, &port) && name.device[0]) {
			name.port = (uint8_t)port;
			name.gid_index = (int)gid;
			*out = name;
			return 0;
		}
	}
	return sl_fail(err, -ENODEV,
	               "'%.80s' is no device: DEVICE, DEVICE:PORT or DEVICE:PORT#GIDINDEX", text);
}

bool sl_rdma_gid_is_v4(const uint8_t *gid)
{
	static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};

	return !memcmp(gid, mapped, sizeof(mapped));
}

static bool is_link_local(const uint8_t *gid)
{
	return gid[0] == 0xfe && (gid[1] & 0xc0) == 0x80;
}

int sl_rdma_gid_rank(const struct ibv_gid_entry *gid, uint8_t link_layer)
{
	const uint8_t *raw = gid->gid.raw;

	if (sl_wire_is_zero(raw, RDMA_GID_LEN))
		return 0;
	if (link_layer == IBV_LINK_LAYER_INFINIBAND)
		return 1;
	if (gid->gid_type != IBV_GID_TYPE_ROCE_V2 || is_link_local(raw))
		return 0;
	return sl_rdma_gid_is_v4(raw) ? 2 : 1;
}

void sl_rdma_gid_text(const uint8_t *gid, char *out, size_t cap)
{
	bool v4 = sl_rdma_gid_is_v4(gid);

	if (!inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? gid + 12 : gid, out, (socklen_t)cap))
		(void)snprintf(out, cap, "?");
}

/* Bytes in a second: what one pair of wires carries, times how many there are. */
uint64_t sl_rdma_line_rate(const struct ibv_port_attr *attr)
{
	static const struct {
		uint8_t code;
		uint16_t tenths; /* Gbit/s * 10, as sold */
	} speeds[] = {{1, 25},   {2, 50},   {4, 100},  {8, 100},
	              {16, 140}, {32, 250}, {64, 500}, {128, 1000}};
	static const uint8_t widths[][2] = {{1, 1}, {2, 4}, {4, 8}, {8, 12}, {16, 2}};
	uint64_t tenths = 0, wires = 0;

	for (size_t i = 0; i < sizeof(speeds) / sizeof(speeds[0]); i++) {
		if (speeds[i].code == attr->active_speed)
			tenths = speeds[i].tenths;
	}
	for (size_t i = 0; i < sizeof(widths) / sizeof(widths[0]); i++) {
		if (widths[i][0] == attr->active_width)
			wires = widths[i][1];
	}
	return tenths * wires * UINT64_C(100000000) / 8;
}

static int route_ethernet(const struct rdma_port *port, const struct rdma_mail *mail,
                          struct slime_error *err)
{
	char ours[64], theirs[64];

	sl_rdma_gid_text(port->gid.gid.raw, ours, sizeof(ours));
	sl_rdma_gid_text(mail->gid, theirs, sizeof(theirs));
	if (sl_wire_is_zero(mail->gid, RDMA_GID_LEN))
		return sl_fail(err, -EHOSTUNREACH, "the peer is on InfiniBand, we are on Ethernet");
	if (sl_rdma_gid_is_v4(port->gid.gid.raw) != sl_rdma_gid_is_v4(mail->gid))
		return sl_fail(err, -EHOSTUNREACH,
		               "our GID is %s and the peer's is %s: one is IPv4, the other IPv6",
		               ours, theirs);
	return 0;
}

int sl_rdma_route(const struct rdma_port *port, const struct rdma_env *env,
                  const struct rdma_mail *mail, struct ibv_ah_attr *out, struct slime_error *err)
{
	bool ethernet = port->attr.link_layer == IBV_LINK_LAYER_ETHERNET;
	bool has_gid = !sl_wire_is_zero(mail->gid, RDMA_GID_LEN);
	bool far = has_gid && memcmp(mail->gid, port->gid.gid.raw, 8) != 0;
	int rc = ethernet ? route_ethernet(port, mail, err) : 0;

	if (rc)
		return rc;
	if (!ethernet && !mail->lid)
		return sl_fail(err, -EHOSTUNREACH, "the peer is on Ethernet, we are on InfiniBand");
	*out = (struct ibv_ah_attr){
	    .dlid = mail->lid,
	    .sl = (uint8_t)env->service_level,
	    .port_num = port->number,
	};
	if (ethernet || (far && port->has_gid)) {
		out->is_global = 1;
		memcpy(out->grh.dgid.raw, mail->gid, RDMA_GID_LEN);
		out->grh.sgid_index = (uint8_t)port->gid.gid_index;
		out->grh.hop_limit = HOP_LIMIT;
		out->grh.traffic_class = (uint8_t)env->traffic_class;
	}
	return 0;
}
