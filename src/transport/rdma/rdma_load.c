/* SPDX-License-Identifier: BSD-3-Clause */
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <string.h>

#include "base/error.h"
#include "transport/rdma/rdma_verbs.h"

/*
 * What the library exports under other types than verbs.h gives its inline
 * functions, and what older ones lack (those may be NULL).
 */
static struct {
	int (*query_device)(struct ibv_context *ctx, struct ibv_device_attr *attr);
	int (*query_port)(struct ibv_context *ctx, uint8_t port, void *attr);
	ssize_t (*query_gid_table)(struct ibv_context *ctx, struct ibv_gid_entry *out, size_t cap,
	                           uint32_t flags, size_t size);
	struct ibv_mr *(*reg_mr_iova2)(struct ibv_pd *pd, void *addr, size_t len, uint64_t iova,
	                               unsigned access);
	struct ibv_mr *(*reg_mr)(struct ibv_pd *pd, void *addr, size_t len, int access);
	struct ibv_mr *(*reg_dmabuf_mr)(struct ibv_pd *pd, uint64_t off, size_t len, uint64_t iova,
	                                int fd, int access);
} lib;

static int load_query_device(struct ibv_context *ctx, struct ibv_device_attr_ex *attr)
{
	struct verbs_context *vctx = __extension__ verbs_get_ctx_op(ctx, query_device_ex);
	int rc = EOPNOTSUPP;

	memset(attr, 0, sizeof(*attr));
	if (vctx)
		rc = vctx->query_device_ex(ctx, NULL, attr, sizeof(*attr));
	if (rc == EOPNOTSUPP || rc == ENOSYS) {
		memset(attr, 0, sizeof(*attr));
		rc = lib.query_device(ctx, &attr->orig_attr);
	}
	attr->comp_mask = 0;
	return rc;
}

static int load_query_port(struct ibv_context *ctx, uint8_t port, struct ibv_port_attr *attr)
{
	struct verbs_context *vctx = __extension__ verbs_get_ctx_op(ctx, query_port);

	memset(attr, 0, sizeof(*attr));
	return vctx ? vctx->query_port(ctx, port, attr, sizeof(*attr))
	            : lib.query_port(ctx, port, attr);
}

static ssize_t load_query_gids(struct ibv_context *ctx, struct ibv_gid_entry *out, size_t cap)
{
	return lib.query_gid_table(ctx, out, cap, 0, sizeof(*out));
}

static struct ibv_mr *load_reg_mr(struct ibv_pd *pd, void *addr, size_t len, int access)
{
	if (lib.reg_mr_iova2)
		return lib.reg_mr_iova2(pd, addr, len, (uintptr_t)addr, (unsigned)access);
	return lib.reg_mr(pd, addr, len, access & ~IBV_ACCESS_OPTIONAL_RANGE);
}

static struct ibv_mr *load_reg_dmabuf_mr(struct ibv_pd *pd, uint64_t off, size_t len, uint64_t iova,
                                         int fd, int access)
{
	if (lib.reg_dmabuf_mr)
		return lib.reg_dmabuf_mr(pd, off, len, iova, fd, access);
	errno = EOPNOTSUPP;
	return NULL;
}

/* Those below are inline in verbs.h: they call the driver through the context. */

static int load_req_notify_cq(struct ibv_cq *cq, int solicited_only)
{
	return ibv_req_notify_cq(cq, solicited_only);
}

static int load_poll_cq(struct ibv_cq *cq, int n, struct ibv_wc *wc)
{
	return ibv_poll_cq(cq, n, wc);
}

static int load_post_srq_recv(struct ibv_srq *srq, struct ibv_recv_wr *wr, struct ibv_recv_wr **bad)
{
	return ibv_post_srq_recv(srq, wr, bad);
}

static int load_post_send(struct ibv_qp *qp, struct ibv_send_wr *wr, struct ibv_send_wr **bad)
{
	return ibv_post_send(qp, wr, bad);
}

static int load_post_recv(struct ibv_qp *qp, struct ibv_recv_wr *wr, struct ibv_recv_wr **bad)
{
	return ibv_post_recv(qp, wr, bad);
}

static struct sl_verbs real = {
    .query_device = load_query_device,
    .query_port = load_query_port,
    .query_gids = load_query_gids,
    .reg_mr = load_reg_mr,
    .reg_dmabuf_mr = load_reg_dmabuf_mr,
    .req_notify_cq = load_req_notify_cq,
    .poll_cq = load_poll_cq,
    .post_srq_recv = load_post_srq_recv,
    .post_send = load_post_send,
    .post_recv = load_post_recv,
};

/* Where the address of a symbol goes. A pointer to a function pointer, as bytes. */
static const struct {
	const char *name;
	void *slot;
	bool optional;
} symbols[] = {
    {"ibv_query_device", &lib.query_device, false},
    {"ibv_query_port", &lib.query_port, false},
    {"_ibv_query_gid_table", &lib.query_gid_table, false},
    {"ibv_reg_mr", &lib.reg_mr, false},
    {"ibv_reg_mr_iova2", &lib.reg_mr_iova2, true},
    {"ibv_reg_dmabuf_mr", &lib.reg_dmabuf_mr, true},
    {"ibv_get_device_list", &real.get_device_list, false},
    {"ibv_free_device_list", &real.free_device_list, false},
    {"ibv_get_device_name", &real.get_device_name, false},
    {"ibv_open_device", &real.open_device, false},
    {"ibv_close_device", &real.close_device, false},
    {"ibv_alloc_pd", &real.alloc_pd, false},
    {"ibv_dealloc_pd", &real.dealloc_pd, false},
    {"ibv_dereg_mr", &real.dereg_mr, false},
    {"ibv_create_comp_channel", &real.create_comp_channel, false},
    {"ibv_destroy_comp_channel", &real.destroy_comp_channel, false},
    {"ibv_create_cq", &real.create_cq, false},
    {"ibv_resize_cq", &real.resize_cq, false},
    {"ibv_destroy_cq", &real.destroy_cq, false},
    {"ibv_get_cq_event", &real.get_cq_event, false},
    {"ibv_ack_cq_events", &real.ack_cq_events, false},
    {"ibv_create_srq", &real.create_srq, false},
    {"ibv_modify_srq", &real.modify_srq, false},
    {"ibv_destroy_srq", &real.destroy_srq, false},
    {"ibv_create_qp", &real.create_qp, false},
    {"ibv_modify_qp", &real.modify_qp, false},
    {"ibv_query_qp", &real.query_qp, false},
    {"ibv_destroy_qp", &real.destroy_qp, false},
    {"ibv_create_ah", &real.create_ah, false},
    {"ibv_destroy_ah", &real.destroy_ah, false},
    {"ibv_get_async_event", &real.get_async_event, false},
    {"ibv_ack_async_event", &real.ack_async_event, false},
    {"ibv_wc_status_str", &real.wc_status_str, false},
};

static pthread_once_t once = PTHREAD_ONCE_INIT;
static struct slime_error failure; /* its code is 0 when the library is there */
static _Atomic(const struct sl_verbs *) chosen;

static void load_once(void)
{
	void *handle = dlopen("libibverbs.so.1", RTLD_NOW | RTLD_LOCAL);

	if (!handle) {
		(void)sl_fail(&failure, -ENODEV,
		              "libibverbs.so.1 cannot be opened: install libibverbs1 and "
		              "ibverbs-providers");
		return;
	}
	for (size_t i = 0; i < sizeof(symbols) / sizeof(symbols[0]); i++) {
		void *at = dlsym(handle, symbols[i].name);

		if (!at && !symbols[i].optional) {
			(void)sl_fail(&failure, -ENODEV,
			              "libibverbs.so.1 has no '%s': it is older than rdma-core 34",
			              symbols[i].name);
			return;
		}
		memcpy(symbols[i].slot, &at, sizeof(at));
	}
}

int sl_verbs_get(const struct sl_verbs **out, struct slime_error *err)
{
	const struct sl_verbs *verbs = atomic_load(&chosen);

	if (!verbs) {
		(void)pthread_once(&once, load_once);
		if (failure.code)
			return sl_fail(err, failure.code, "%s", failure.text);
		verbs = &real;
	}
	*out = verbs;
	return 0;
}

void sl_verbs_use(const struct sl_verbs *verbs)
{
	atomic_store(&chosen, verbs);
}
