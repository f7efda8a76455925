/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/fakes/fake_verbs_route.c - which port a path leads to.
 *
 * Ethernet: to the port with the GID, if its entry has the type of ours. InfiniBand:
 * to the port with the LID; into another subnet (the upper half of the GID) by GID,
 * for which there must be hops enough.
 */
#include <errno.h>
#include <string.h>

#include "fakes/fake_verbs_impl.h"

static bool equal(const union ibv_gid *a, const union ibv_gid *b)
{
	return !memcmp(a, b, sizeof(*a));
}

static bool has_gid(const struct fake_port_config *port, const union ibv_gid *gid,
                    enum ibv_gid_type type)
{
	for (int i = 0; i < FAKE_GIDS_MAX; i++)
		if (equal(&port->gids[i].gid, gid) && port->gids[i].type == type)
			return true;
	return false;
}

static bool is_ethernet(const struct fake_port_config *port)
{
	return port->link_layer == IBV_LINK_LAYER_ETHERNET;
}

static bool leads_to(const struct fake_port_config *from, const struct fake_port_config *to,
                     const struct ibv_ah_attr *path)
{
	const struct ibv_global_route *grh = &path->grh;

	if (to->link_layer != from->link_layer)
		return false;
	if (is_ethernet(from))
		return has_gid(to, &grh->dgid, from->gids[grh->sgid_index].type);
	if (to->gids[0].gid.global.subnet_prefix == from->gids[0].gid.global.subnet_prefix)
		return to->lid == path->dlid;
	return path->is_global && grh->hop_limit > 1 && has_gid(to, &grh->dgid, IBV_GID_TYPE_IB);
}

static const struct fake_port_config *port_of(const struct fake_device *dev, uint8_t port)
{
	return &dev->config.ports[port - 1];
}

static struct fake_device *find(const struct fake_device *dev, const struct ibv_ah_attr *path,
                                uint8_t *port)
{
	const struct fake_port_config *from = port_of(dev, path->port_num);

	for (unsigned d = 0; d < fabric.config.n_devices; d++)
		for (uint8_t p = 1; p <= fabric.devices[d].config.attr.phys_port_cnt; p++)
			if (leads_to(from, port_of(&fabric.devices[d], p), path)) {
				*port = p;
				return &fabric.devices[d];
			}
	return NULL;
}

int fake_route_check_locked(const struct fake_device *dev, const struct ibv_ah_attr *path)
{
	static const union ibv_gid empty;
	const struct fake_port_config *from;
	uint8_t port;

	if (path->port_num < 1 || path->port_num > dev->config.attr.phys_port_cnt)
		return EINVAL;
	from = port_of(dev, path->port_num);
	if (path->is_global && (path->grh.sgid_index >= FAKE_GIDS_MAX ||
	                        equal(&from->gids[path->grh.sgid_index].gid, &empty)))
		return EINVAL;
	if (!is_ethernet(from))
		return 0;
	if (!path->is_global)
		return EINVAL;
	return find(dev, path, &port) ? 0 : EHOSTUNREACH;
}

static bool is_up(const struct fake_device *dev, uint8_t port)
{
	return !dev->cut && !dev->removed && port_of(dev, port)->state == IBV_PORT_ACTIVE;
}

struct fake_device *fake_route_locked(const struct fake_device *dev, const struct ibv_ah_attr *path,
                                      uint8_t *port)
{
	struct fake_device *to = find(dev, path, port);

	if (!to || !is_up(dev, path->port_num) || !is_up(to, *port))
		return NULL;
	if (fabric.config.routed && to != dev && path->grh.hop_limit < 2)
		return NULL;
	return to;
}
