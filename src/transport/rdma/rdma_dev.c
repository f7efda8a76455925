/* SPDX-License-Identifier: BSD-3-Clause */
/* transport/rdma/rdma_dev.c - which devices and ports there are, and opening one. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/env.h"
#include "base/error.h"
#include "base/file.h"
#include "transport/rdma/rdma_impl.h"

static const char none[] =
    "no RDMA device is visible here: is its driver loaded, and in a container, is "
    "/dev/infiniband passed in? 'dlslime doctor' looks closer";

enum { GIDS_FIRST = 256, GIDS_MAX = 1 << 16 };

/* All GIDs of CTX, *N of them, to be freed; NULL: they cannot be had. */
static struct ibv_gid_entry *list_gids(const struct sl_verbs *v, struct ibv_context *ctx,
                                       ssize_t *n)
{
	for (size_t cap = GIDS_FIRST; cap <= GIDS_MAX; cap *= 4) {
		struct ibv_gid_entry *list = calloc(cap, sizeof(*list));

		*n = list ? v->query_gids(ctx, list, cap) : 0;
		if (*n >= 0)
			return list;
		free(list);
	}
	return NULL;
}

/* The best GID of a port, or the one that is asked for by index. */
static void choose_gid(const struct sl_verbs *v, struct ibv_context *ctx, struct rdma_port *port,
                       int index)
{
	ssize_t n;
	struct ibv_gid_entry *gids = list_gids(v, ctx, &n);
	int best = 0;

	port->has_gid = false;
	for (ssize_t i = 0; gids && i < n; i++) {
		int rank;

		if (gids[i].port_num != port->number ||
		    (index >= 0 && gids[i].gid_index != (uint32_t)index))
			continue;
		rank = index >= 0 ? 1 : sl_rdma_gid_rank(&gids[i], port->attr.link_layer);
		if (rank > best) {
			best = rank;
			port->gid = gids[i];
			port->has_gid = true;
		}
	}
	free(gids);
}

static const char *state_name(enum ibv_port_state state)
{
	switch (state) {
	case IBV_PORT_DOWN:
		return "down";
	case IBV_PORT_INIT:
		return "initializing: is a subnet manager running?";
	case IBV_PORT_ARMED:
		return "armed, not active yet";
	default:
		return "not active";
	}
}

/* Can PORT carry us? -ENODEV with the reason. */
static int check_port(const char *device, const struct rdma_port *port, int gid_index,
                      struct slime_error *err)
{
	bool ethernet = port->attr.link_layer == IBV_LINK_LAYER_ETHERNET;

	if (port->attr.state != IBV_PORT_ACTIVE)
		return sl_fail(err, -ENODEV, "port %u of '%s' is %s", port->number, device,
		               state_name(port->attr.state));
	if (port->has_gid || (!ethernet && gid_index < 0))
		return 0;
	if (gid_index >= 0)
		return sl_fail(err, -ENODEV, "port %u of '%s' has no GID of index %d", port->number,
		               device, gid_index);
	return sl_fail(err, -ENODEV,
	               "port %u of '%s' has no RoCE v2 GID with an IPv4 or global IPv6 address: "
	               "give its network interface one, or choose an index by SLIME_GID_INDEX",
	               port->number, device);
}

static int query_port(const struct sl_verbs *v, struct ibv_context *ctx, uint8_t number,
                      int gid_index, struct rdma_port *out)
{
	*out = (struct rdma_port){.number = number};
	if (v->query_port(ctx, number, &out->attr))
		return -ENODEV;
	choose_gid(v, ctx, out, gid_index);
	return 0;
}

/* The fastest port of CTX that will do, of those with NUMBER (0: any). */
static int best_port(const struct sl_verbs *v, struct ibv_context *ctx, const char *device,
                     uint8_t number, int gid_index, struct rdma_port *out, struct slime_error *err)
{
	struct ibv_device_attr_ex attr;
	struct rdma_port port;
	uint64_t best = 0;
	int rc = -ENODEV;

	if (v->query_device(ctx, &attr))
		return sl_fail(err, -ENODEV, "device '%s' does not answer", device);
	if (number > attr.orig_attr.phys_port_cnt)
		return sl_fail(err, -ENODEV, "device '%s' has %u ports, so no port %u", device,
		               attr.orig_attr.phys_port_cnt, number);
	for (uint8_t i = 1; i <= attr.orig_attr.phys_port_cnt; i++) {
		uint64_t rate;

		if ((number && i != number) || query_port(v, ctx, i, gid_index, &port) ||
		    check_port(device, &port, gid_index, rc == -ENODEV ? err : NULL))
			continue;
		rate = sl_rdma_line_rate(&port.attr) + 1;
		if (rate > best) {
			best = rate;
			*out = port;
			rc = 0;
		}
	}
	return rc;
}

static int32_t numa_of(const char *device)
{
	char path[128], text[16];

	(void)snprintf(path, sizeof(path), "/sys/class/infiniband/%.63s/device/numa_node", device);
	return sl_file_read(path, text, sizeof(text)) ? -1 : (int32_t)strtol(text, NULL, 10);
}

static void fill_info(const char *device, const struct rdma_port *port, bool several,
                      struct sl_dev_info *out)
{
	*out = (struct sl_dev_info){
	    .port = port->number,
	    .numa = numa_of(device),
	    .bytes_per_s = sl_rdma_line_rate(&port->attr),
	    .up = check_port(device, port, -1, NULL) == 0,
	};
	if (several)
		(void)snprintf(out->name, sizeof(out->name), "%.50s:%u", device, port->number);
	else
		(void)snprintf(out->name, sizeof(out->name), "%s", device);
}

static void probe_device(const struct sl_verbs *v, struct ibv_device *device,
                         struct sl_dev_info *out, size_t cap, int *n)
{
	const char *name = v->get_device_name(device);
	struct ibv_context *ctx = v->open_device(device);
	struct ibv_device_attr_ex attr;
	struct rdma_port port;

	if (!ctx)
		return;
	if (v->query_device(ctx, &attr))
		attr.orig_attr.phys_port_cnt = 0;
	for (uint8_t i = 1; i <= attr.orig_attr.phys_port_cnt; i++) {
		if (query_port(v, ctx, i, (int)sl_env_int(SL_ENV_GID_INDEX), &port))
			continue;
		if ((size_t)*n < cap)
			fill_info(name, &port, attr.orig_attr.phys_port_cnt > 1, &out[*n]);
		++*n;
	}
	(void)v->close_device(ctx);
}

/* The devices, *N of them and at least one, to be freed; NULL and a sentence in ERR. */
static struct ibv_device **list_devices(const struct sl_verbs *v, int *n, struct slime_error *err)
{
	struct ibv_device **list;
	char text[64];
	int e;

	errno = 0;
	list = v->get_device_list(n);
	if (list && *n)
		return list;
	e = errno ? errno : EIO;
	if (list)
		v->free_device_list(list);
	if (list || e == ENOSYS) /* as libibverbs says it without the kernel's part */
		(void)sl_fail(err, -ENODEV, "%s", none);
	else
		(void)sl_fail(err, -e, "the RDMA devices cannot be listed: %s",
		              sl_error_name(-e, text, sizeof(text)));
	return NULL;
}

int sl_rdma_probe(struct sl_dev_info *out, size_t cap, struct slime_error *err)
{
	struct slime_error why = {0};
	const struct sl_verbs *v;
	struct ibv_device **list;
	int rc = sl_verbs_get(&v, err);
	int n = 0, found = 0;

	if (rc)
		return rc;
	list = list_devices(v, &n, &why);
	if (!list)
		return sl_fail(err, why.code, "%s", why.text);
	for (int i = 0; i < n; i++) {
		if (sl_env_lists(SL_ENV_VISIBLE_DEVICES, v->get_device_name(list[i])))
			probe_device(v, list[i], out, cap, &found);
	}
	v->free_device_list(list);
	return found ? found : sl_fail(err, -ENODEV, "%s", none);
}

/* "mlx5_0, mlx5_1" */
static void list_names(const struct sl_dom *dom, struct ibv_device **list, int n, char *out,
                       size_t cap)
{
	size_t len = 0;

	*out = '\0';
	for (int i = 0; i < n && len < cap; i++) {
		const char *name = dom->v->get_device_name(list[i]);

		if (sl_env_lists(SL_ENV_VISIBLE_DEVICES, name))
			len +=
			    (size_t)snprintf(out + len, cap - len, "%s%s", len ? ", " : "", name);
	}
}

static void keep(struct sl_dom *dom, struct ibv_context *ctx, const char *device,
                 const struct rdma_port *port)
{
	if (dom->ctx)
		(void)dom->v->close_device(dom->ctx);
	dom->ctx = ctx;
	dom->port = *port;
	(void)snprintf(dom->name, sizeof(dom->name), "%.63s:%u", device, port->number);
}

/* Open DEVICE; take it if it will do and is faster than what DOM has. */
static int try_device(struct sl_dom *dom, struct ibv_device *device,
                      const struct rdma_dev_name *wanted, struct slime_error *err)
{
	const char *name = dom->v->get_device_name(device);
	struct ibv_context *ctx = dom->v->open_device(device);
	struct rdma_port port;
	int rc;

	if (!ctx)
		return sl_fail(err, -ENODEV,
		               "device '%s' cannot be opened: may this user write "
		               "/dev/infiniband/uverbs*?",
		               name);
	rc = best_port(dom->v, ctx, name, wanted->port, wanted->gid_index, &port, err);
	if (!rc &&
	    (!dom->ctx || sl_rdma_line_rate(&port.attr) > sl_rdma_line_rate(&dom->port.attr)))
		keep(dom, ctx, name, &port);
	else
		(void)dom->v->close_device(ctx);
	return rc;
}

static int choose(struct sl_dom *dom, struct ibv_device **list, int n,
                  const struct rdma_dev_name *wanted, struct slime_error *err)
{
	struct slime_error why = {0};
	char names[160];
	int rc = -ENODEV;

	for (int i = 0; i < n; i++) {
		const char *name = dom->v->get_device_name(list[i]);
		struct slime_error e = {0};

		if (!sl_env_lists(SL_ENV_VISIBLE_DEVICES, name) ||
		    (wanted->device[0] && strcmp(wanted->device, name)))
			continue;
		rc = try_device(dom, list[i], wanted, &e);
		if (rc && !why.code)
			why = e;
	}
	if (dom->ctx)
		return 0;
	if (why.code)
		return sl_fail(err, why.code, "%s", why.text);
	list_names(dom, list, n, names, sizeof(names));
	if (!names[0])
		return sl_fail(err, -ENODEV, "%s", none);
	return sl_fail(err, -ENODEV, "there is no RDMA device '%s', only %s", wanted->device,
	               names);
}

int sl_rdma_dev_open(struct sl_dom *dom, const char *name, struct slime_error *err)
{
	struct rdma_dev_name wanted = {.gid_index = -1};
	struct slime_error why = {0};
	struct ibv_device **list;
	int n = 0;
	int rc = name ? sl_rdma_parse_name(name, &wanted, err) : 0;

	if (rc)
		return rc;
	if (wanted.gid_index < 0)
		wanted.gid_index = dom->env.gid_index;
	list = list_devices(dom->v, &n, &why);
	if (!list)
		return sl_fail(err, why.code, "%s", why.text);
	rc = choose(dom, list, n, &wanted, err);
	dom->v->free_device_list(list);
	if (!rc && dom->v->query_device(dom->ctx, &dom->attr)) {
		(void)dom->v->close_device(dom->ctx);
		dom->ctx = NULL;
		rc = sl_fail(err, -ENODEV, "device '%s' does not answer", dom->name);
	}
	return rc;
}
