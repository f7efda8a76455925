# SPDX-License-Identifier: BSD-3-Clause
# The C library, as far as Python calls it. include/slime/*.h is the reference.
from libc.stdint cimport int32_t, int64_t, uint8_t, uint32_t, uint64_t

cdef extern from "slime/slime.h" nogil:
    struct slime_error:
        int code
        char text[252]
    const char *slime_version()

    ctypedef struct slime_ctx
    struct slime_ctx_opts:
        uint32_t size
        uint32_t flags
        uint32_t spin_us
        uint32_t peer_timeout_ms
    enum:
        SLIME_CTX_NO_CMA
    int slime_ctx_create(const slime_ctx_opts *opts, slime_ctx **out, slime_error *err)
    void slime_ctx_destroy(slime_ctx *ctx)
    struct slime_device:
        char transport[16]
        char name[64]
        uint32_t port
        int32_t numa
        uint64_t bytes_per_s
        int32_t status
        char reason[252]
    int slime_ctx_devices(slime_ctx *ctx, slime_device *out, size_t cap)

    ctypedef struct slime_mr
    ctypedef struct slime_rmr
    enum:
        SLIME_ACCESS_REMOTE_READ
        SLIME_ACCESS_REMOTE_WRITE
    struct slime_mr_opts:
        uint32_t size
        uint32_t access
        int32_t kind
        int32_t device
        uint32_t flags
    enum:
        SLIME_MR_CHECKED
    enum:
        SLIME_MEM_HUGE
        SLIME_MEM_LOCK
    struct slime_mem_opts:
        uint32_t size
        uint32_t flags
        int32_t numa
    enum:
        SLIME_DESC_MAX
    struct slime_desc:
        uint32_t len
        uint8_t bytes[2048]
    int slime_mem_alloc(slime_ctx *ctx, size_t len, const slime_mem_opts *opts, void **out,
                        slime_error *err)
    void slime_mem_free(slime_ctx *ctx, void *addr)
    int slime_mr_register(slime_ctx *ctx, void *addr, size_t len, const slime_mr_opts *opts,
                          slime_mr **out, slime_error *err)
    void slime_mr_deregister(slime_mr *mr)
    int slime_mr_export(slime_mr *mr, slime_desc *out, slime_error *err)
    void slime_rmr_release(slime_rmr *rmr)

    ctypedef struct slime_op
    ctypedef struct slime_cq
    void slime_op_cancel(slime_op *op)
    void slime_op_release(slime_op *op)
    enum:
        SLIME_RESULT_IMM
    struct slime_result:
        uint64_t user_data
        uint64_t bytes
        int32_t status
        uint32_t imm
        uint32_t flags
    int slime_cq_create(slime_ctx *ctx, uint32_t depth, slime_cq **out, slime_error *err)
    int slime_cq_fd(slime_cq *cq)
    int slime_cq_take(slime_cq *cq, slime_result *res, size_t n)
    int slime_cq_wait(slime_cq *cq, slime_result *res, size_t n, int64_t timeout_ns)
    void slime_cq_destroy(slime_cq *cq)

    ctypedef struct slime_ep
    struct slime_ep_opts:
        uint32_t size
        uint32_t depth
        uint32_t lanes
        uint32_t flags
        const char *transport
        const char *device
    struct slime_seg:
        slime_mr *local
        slime_rmr *remote
        uint64_t local_off
        uint64_t remote_off
        uint64_t len
        uint64_t count
        uint64_t local_stride
        uint64_t remote_stride
    struct slime_span:
        slime_mr *mr
        uint64_t off
        uint64_t len
    enum:
        SLIME_SUBMIT_FENCE
    struct slime_submit:
        uint32_t size
        uint32_t flags
        slime_cq *cq
        uint64_t user_data
        void *stream
        int64_t timeout_ns
    struct slime_ep_info:
        uint32_t size
        uint32_t lanes
        const char *transport
        const char *device
        const char *because
        const char *peer
    ctypedef struct slime_xfer
    enum slime_dir:
        SLIME_DIR_READ
        SLIME_DIR_WRITE
    int slime_ep_create(slime_ctx *ctx, const slime_ep_opts *opts, slime_ep **out,
                        slime_error *err)
    int slime_ep_export(slime_ep *ep, slime_desc *out, slime_error *err)
    int slime_ep_connect(slime_ep *ep, const slime_desc *peer, int64_t timeout_ns,
                         slime_error *err)
    int slime_ep_import(slime_ep *ep, const slime_desc *desc, slime_rmr **out, slime_error *err)
    int slime_ep_read(slime_ep *ep, const slime_seg *segs, size_t n, const slime_submit *how,
                      slime_op **out)
    int slime_ep_write(slime_ep *ep, const slime_seg *segs, size_t n, const slime_submit *how,
                       slime_op **out)
    int slime_ep_write_imm(slime_ep *ep, const slime_seg *segs, size_t n, uint32_t imm,
                           const slime_submit *how, slime_op **out)
    int slime_ep_recv_imm(slime_ep *ep, const slime_submit *how, slime_op **out)
    int slime_ep_send(slime_ep *ep, const slime_span *src, const slime_submit *how,
                      slime_op **out)
    int slime_ep_recv(slime_ep *ep, const slime_span *dst, const slime_submit *how,
                      slime_op **out)
    int slime_xfer_prepare(slime_ep *ep, slime_dir dir, const slime_seg *segs, size_t n,
                           slime_xfer **out, slime_error *err)
    int slime_xfer_post(slime_xfer *xfer, const slime_submit *how, slime_op **out)
    void slime_xfer_release(slime_xfer *xfer)
    int slime_ep_get_info(slime_ep *ep, slime_ep_info *out)
    void slime_ep_close(slime_ep *ep)
    void slime_ep_destroy(slime_ep *ep)
