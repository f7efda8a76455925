/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/fakes/fake_verbs_device.c - devices, contexts, protection domains, address handles. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "fakes/fake_verbs_impl.h"

struct ibv_device **fake_get_device_list(int *n)
{
	struct ibv_device **list = calloc(FAKE_DEVICES_MAX + 1, sizeof(struct ibv_device *));
	int have = 0, fault;

	fake_lock();
	fault = fake_fault_call_locked(NULL, "get_device_list");
	for (unsigned i = 0; list && i < fabric.config.n_devices; i++)
		if (!fabric.devices[i].removed)
			list[have++] = &fabric.devices[i].ibv;
	fake_unlock();
	if (fault) {
		free(list);
		errno = fault;
		return NULL;
	}
	if (n)
		*n = list ? have : 0;
	return list;
}

void fake_free_device_list(struct ibv_device **list)
{
	free(list);
}

const char *fake_get_device_name(struct ibv_device *device)
{
	return device->name;
}

static int begin(struct fake_device *dev)
{
	int rc;

	fake_lock();
	rc = fake_fault_call_locked(NULL, "open_device");
	if (!rc && dev->removed)
		rc = ENODEV;
	fake_unlock();
	return rc ? rc : fake_wire_begin();
}

struct ibv_context *fake_open_device(struct ibv_device *device)
{
	struct fake_device *dev = (struct fake_device *)device;
	struct fake_ctx *ctx = calloc(1, sizeof(*ctx));
	int rc = ctx ? 0 : ENOMEM;

	if (!rc) {
		ctx->ibv.async_fd = eventfd(0, EFD_CLOEXEC);
		rc = ctx->ibv.async_fd < 0 ? errno : begin(dev);
	}
	if (rc) {
		if (ctx && ctx->ibv.async_fd >= 0)
			(void)close(ctx->ibv.async_fd);
		free(ctx);
		errno = rc;
		return NULL;
	}
	ctx->dev = dev;
	ctx->ibv.device = device;
	ctx->ibv.cmd_fd = -1;
	ctx->ibv.num_comp_vectors = 2;
	TAILQ_INIT(&ctx->events);
	for (int p = 0; p < FAKE_PORTS_MAX; p++)
		ctx->ports[p].source.event.element.port_num = p + 1;
	fake_lock();
	TAILQ_INSERT_TAIL(&fabric.ctxs, ctx, link);
	fake_unlock();
	fake_bump(FAKE_CONTEXTS, 1);
	return &ctx->ibv;
}

int fake_close_device(struct ibv_context *ibv)
{
	struct fake_ctx *ctx = (struct fake_ctx *)ibv;
	bool busy;

	fake_lock();
	busy = ctx->children;
	if (!busy)
		TAILQ_REMOVE(&fabric.ctxs, ctx, link);
	fake_unlock();
	if (busy)
		return EBUSY;
	fake_wire_end();
	(void)close(ctx->ibv.async_fd);
	free(ctx);
	fake_bump(FAKE_CONTEXTS, -1);
	return 0;
}

int fake_query_device(struct ibv_context *ibv, struct ibv_device_attr_ex *attr)
{
	struct fake_ctx *ctx = (struct fake_ctx *)ibv;
	int rc;

	fake_lock();
	rc = fake_fault_call_locked(ctx, "query_device");
	if (!rc)
		*attr = (struct ibv_device_attr_ex){
		    .orig_attr = ctx->dev->config.attr,
		    .odp_caps = ctx->dev->config.odp,
		    .phys_port_cnt_ex = ctx->dev->config.attr.phys_port_cnt,
		};
	fake_unlock();
	return rc;
}

static const struct fake_port_config *port_of(const struct fake_ctx *ctx, uint8_t port)
{
	if (port < 1 || port > ctx->dev->config.attr.phys_port_cnt)
		return NULL;
	return &ctx->dev->config.ports[port - 1];
}

int fake_query_port(struct ibv_context *ibv, uint8_t port, struct ibv_port_attr *attr)
{
	struct fake_ctx *ctx = (struct fake_ctx *)ibv;
	const struct fake_port_config *c = port_of(ctx, port);
	bool ib = c && c->link_layer == IBV_LINK_LAYER_INFINIBAND;
	int rc;

	fake_lock();
	rc = fake_fault_call_locked(ctx, "query_port");
	if (!rc && !c)
		rc = EINVAL;
	if (!rc)
		*attr = (struct ibv_port_attr){
		    .state = c->state,
		    .max_mtu = IBV_MTU_4096,
		    .active_mtu = c->mtu,
		    .gid_tbl_len = FAKE_GIDS_MAX,
		    .max_msg_sz = c->max_msg,
		    .pkey_tbl_len = 1,
		    .lid = ib ? c->lid : 0,
		    .active_width = c->active_width,
		    .active_speed = c->active_speed,
		    .phys_state = c->state == IBV_PORT_ACTIVE ? 5 : 3,
		    .link_layer = c->link_layer,
		};
	fake_unlock();
	return rc;
}

static ssize_t put_gids(const struct fake_ctx *ctx, struct ibv_gid_entry *out, size_t cap)
{
	static const union ibv_gid empty;
	size_t n = 0;

	for (uint8_t port = 1; port_of(ctx, port); port++) {
		for (uint32_t i = 0; i < FAKE_GIDS_MAX; i++) {
			const struct fake_port_config *c = port_of(ctx, port);

			if (!memcmp(&c->gids[i].gid, &empty, sizeof(empty)))
				continue;
			if (n == cap)
				return -EINVAL;
			out[n++] = (struct ibv_gid_entry){
			    .gid = c->gids[i].gid,
			    .gid_index = i,
			    .port_num = port,
			    .gid_type = c->gids[i].type,
			};
		}
	}
	return (ssize_t)n;
}

ssize_t fake_query_gids(struct ibv_context *ibv, struct ibv_gid_entry *out, size_t cap)
{
	struct fake_ctx *ctx = (struct fake_ctx *)ibv;
	ssize_t n;

	fake_lock();
	n = -fake_fault_call_locked(ctx, "query_gids");
	if (!n)
		n = put_gids(ctx, out, cap);
	fake_unlock();
	return n;
}

struct ibv_pd *fake_alloc_pd(struct ibv_context *ibv)
{
	struct fake_ctx *ctx = (struct fake_ctx *)ibv;
	struct fake_pd *pd = calloc(1, sizeof(*pd));
	int rc;

	fake_lock();
	rc = fake_fault_call_locked(ctx, "alloc_pd");
	if (!rc && !pd)
		rc = ENOMEM;
	ctx->children += !rc;
	fake_unlock();
	if (rc) {
		free(pd);
		errno = rc;
		return NULL;
	}
	pd->ibv.context = ibv;
	fake_bump(FAKE_PDS, 1);
	return &pd->ibv;
}

int fake_dealloc_pd(struct ibv_pd *ibv)
{
	struct fake_pd *pd = (struct fake_pd *)ibv;
	bool busy;

	fake_lock();
	busy = pd->children;
	((struct fake_ctx *)ibv->context)->children -= !busy;
	fake_unlock();
	if (busy)
		return EBUSY;
	free(pd);
	fake_bump(FAKE_PDS, -1);
	return 0;
}

struct ibv_ah *fake_create_ah(struct ibv_pd *pd, struct ibv_ah_attr *attr)
{
	struct fake_ctx *ctx = (struct fake_ctx *)pd->context;
	struct fake_ah *ah = calloc(1, sizeof(*ah));
	int rc;

	fake_lock();
	rc = fake_fault_call_locked(ctx, "create_ah");
	if (!rc && !ah)
		rc = ENOMEM;
	if (!rc)
		rc = fake_route_check_locked(ctx->dev, attr);
	((struct fake_pd *)pd)->children += !rc;
	fake_unlock();
	if (rc) {
		free(ah);
		errno = rc;
		return NULL;
	}
	ah->ibv = (struct ibv_ah){.context = pd->context, .pd = pd};
	ah->attr = *attr;
	fake_bump(FAKE_AHS, 1);
	return &ah->ibv;
}

int fake_destroy_ah(struct ibv_ah *ah)
{
	fake_lock();
	((struct fake_pd *)ah->pd)->children--;
	fake_unlock();
	free((struct fake_ah *)ah);
	fake_bump(FAKE_AHS, -1);
	return 0;
}

const char *fake_wc_status_str(enum ibv_wc_status status)
{
	static const char *const text[] = {
	    [IBV_WC_SUCCESS] = "success",
	    [IBV_WC_LOC_LEN_ERR] = "local length error",
	    [IBV_WC_LOC_QP_OP_ERR] = "local QP operation error",
	    [IBV_WC_LOC_PROT_ERR] = "local protection error",
	    [IBV_WC_WR_FLUSH_ERR] = "Work Request Flushed Error",
	    [IBV_WC_REM_INV_REQ_ERR] = "remote invalid request error",
	    [IBV_WC_REM_ACCESS_ERR] = "remote access error",
	    [IBV_WC_REM_OP_ERR] = "remote operation error",
	    [IBV_WC_RETRY_EXC_ERR] = "transport retry counter exceeded",
	    [IBV_WC_RNR_RETRY_EXC_ERR] = "RNR retry counter exceeded",
	    [IBV_WC_GENERAL_ERR] = "general error",
	};

	if ((unsigned)status >= sizeof(text) / sizeof(text[0]) || !text[status])
		return "unknown";
	return text[status];
}
