/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * transport/rdma/rdma_verbs.h - what the rdma transport asks of libibverbs, as a struct.
 *
 * libibverbs is opened at run time (rdma_load.c), so a machine without it runs
 * the same program; tests put a device in memory here (tests/fakes/fake_verbs.h).
 * Types and constants are those of <infiniband/verbs.h>. Each slot does what the
 * ibv_ function of its name does and returns what that returns (0 or an errno
 * value; NULL and errno); those that verbs.h defines inline (post, poll, ...) are
 * slots too, so that nothing of the transport calls verbs but through here.
 */
#ifndef SL_RDMA_VERBS_H
#define SL_RDMA_VERBS_H

#include <infiniband/verbs.h>

#include <slime/base.h>

struct sl_verbs {
	struct ibv_device **(*get_device_list)(int *n);
	void (*free_device_list)(struct ibv_device **list);
	const char *(*get_device_name)(struct ibv_device *device);
	struct ibv_context *(*open_device)(struct ibv_device *device);
	int (*close_device)(struct ibv_context *ctx);
	/* with odp_caps where the device tells them; attr->comp_mask is 0 on return */
	int (*query_device)(struct ibv_context *ctx, struct ibv_device_attr_ex *attr);
	int (*query_port)(struct ibv_context *ctx, uint8_t port, struct ibv_port_attr *attr);
	/* those of all ports, by one call, without empty ones: how many, or -errno; -EINVAL: more
	 * than CAP */
	ssize_t (*query_gids)(struct ibv_context *ctx, struct ibv_gid_entry *out, size_t cap);
	struct ibv_pd *(*alloc_pd)(struct ibv_context *ctx);
	int (*dealloc_pd)(struct ibv_pd *pd);
	/* ACCESS may hold IBV_ACCESS_RELAXED_ORDERING: dropped where the library is too old */
	struct ibv_mr *(*reg_mr)(struct ibv_pd *pd, void *addr, size_t len, int access);
	/* NULL and EOPNOTSUPP where the library is too old */
	struct ibv_mr *(*reg_dmabuf_mr)(struct ibv_pd *pd, uint64_t off, size_t len, uint64_t iova,
	                                int fd, int access);
	int (*dereg_mr)(struct ibv_mr *mr);
	struct ibv_comp_channel *(*create_comp_channel)(struct ibv_context *ctx);
	int (*destroy_comp_channel)(struct ibv_comp_channel *channel);
	struct ibv_cq *(*create_cq)(struct ibv_context *ctx, int cqe, void *cq_context,
	                            struct ibv_comp_channel *channel, int vector);
	int (*resize_cq)(struct ibv_cq *cq, int cqe);
	int (*destroy_cq)(struct ibv_cq *cq);
	int (*req_notify_cq)(struct ibv_cq *cq, int solicited_only);
	int (*get_cq_event)(struct ibv_comp_channel *channel, struct ibv_cq **cq,
	                    void **cq_context);
	void (*ack_cq_events)(struct ibv_cq *cq, unsigned n);
	int (*poll_cq)(struct ibv_cq *cq, int n, struct ibv_wc *wc);
	struct ibv_srq *(*create_srq)(struct ibv_pd *pd, struct ibv_srq_init_attr *attr);
	int (*modify_srq)(struct ibv_srq *srq, struct ibv_srq_attr *attr, int mask);
	int (*destroy_srq)(struct ibv_srq *srq);
	int (*post_srq_recv)(struct ibv_srq *srq, struct ibv_recv_wr *wr, struct ibv_recv_wr **bad);
	struct ibv_qp *(*create_qp)(struct ibv_pd *pd, struct ibv_qp_init_attr *attr);
	int (*modify_qp)(struct ibv_qp *qp, struct ibv_qp_attr *attr, int mask);
	int (*query_qp)(struct ibv_qp *qp, struct ibv_qp_attr *attr, int mask,
	                struct ibv_qp_init_attr *init);
	int (*destroy_qp)(struct ibv_qp *qp);
	struct ibv_ah *(*create_ah)(struct ibv_pd *pd, struct ibv_ah_attr *attr);
	int (*destroy_ah)(struct ibv_ah *ah);
	int (*post_send)(struct ibv_qp *qp, struct ibv_send_wr *wr, struct ibv_send_wr **bad);
	int (*post_recv)(struct ibv_qp *qp, struct ibv_recv_wr *wr, struct ibv_recv_wr **bad);
	/* ctx->async_fd tells; it is made non-blocking by who reads it */
	int (*get_async_event)(struct ibv_context *ctx, struct ibv_async_event *event);
	void (*ack_async_event)(struct ibv_async_event *event);
	const char *(*wc_status_str)(enum ibv_wc_status status);
};

/*
 * The table in use: libibverbs, opened by the first call and never closed, or what
 * sl_verbs_use() put in its place. -ENODEV with a sentence: the library is not
 * installed (which package to install) or lacks a symbol (which). Any thread.
 */
int sl_verbs_get(const struct sl_verbs **out, struct slime_error *err);

/* Tests: take VERBS for libibverbs from now on, NULL: the real one. Before any context exists. */
void sl_verbs_use(const struct sl_verbs *verbs);

#endif
