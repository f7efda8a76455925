/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/unit/fakes/client.h - a small user of verbs: what the tests of fake_verbs share.
 *
 * Two ends, each with a context, a PD, a channel, a CQ, memory and a QP. Everything
 * that is not what a test is about must succeed.
 */
#ifndef FAKES_CLIENT_H
#define FAKES_CLIENT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fakes/fake_verbs.h"

enum { CLIENT_MEM = 512 * 1024, CLIENT_DEPTH = 16, CLIENT_INLINE = 64, CLIENT_GID = 3 };

/* Remote rights, and what they need. */
enum { ALL_RIGHTS = IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ };

struct end {
	struct ibv_context *ctx;
	struct ibv_pd *pd;
	struct ibv_comp_channel *channel;
	struct ibv_cq *cq;
	struct ibv_srq *srq; /* NULL: receives of its own */
	struct ibv_mr *mr;
	struct ibv_qp *qp;
	char *mem;
};

/* The table under test; the two ends; what makes them. */
extern const struct sl_verbs *v;
extern struct end a, b;
struct client_opts {
	const struct fake_verbs_config *config;
	enum ibv_qp_type type; /* 0: RC */
	int cqe;               /* 0: room for all */
	bool srq;
	bool apart; /* QPs are in RESET */
};
void client_begin(const struct client_opts *opts);
/* Destroys everything; nothing may be left. */
void client_end(void);
/* Entry INDEX of the table of port 1; it must be there. */
struct ibv_gid_entry gid_of(struct ibv_context *ctx, uint32_t index);

struct ibv_qp *qp_make(struct end *e, enum ibv_qp_type type);
/* The attributes that connect E to PEER, for tests to spoil. */
struct ibv_qp_attr attr_to(const struct end *peer);
enum {
	MASK_INIT = IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS,
	MASK_RTR = IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN |
	           IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER,
	MASK_RTS = IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
	           IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC,
};
int qp_init(struct end *e);
int qp_rtr(struct end *e, struct ibv_qp_attr attr);
int qp_rts(struct end *e, struct ibv_qp_attr attr);
/* All the way, with the attributes of attr_to(). */
void qp_connect(struct end *e, const struct end *peer);
void qp_to(struct end *e, enum ibv_qp_state state);

struct ibv_sge sge_of(const struct end *e, uint64_t off, uint32_t len);
/* A request of LEN bytes at OFF here and ROFF there, signalled; posts it. */
int post(struct end *e, const struct end *peer, enum ibv_wr_opcode opcode, uint64_t id,
         uint64_t off, uint64_t roff, uint32_t len, unsigned flags);
int post_recv(struct end *e, uint64_t id, uint64_t off, uint32_t len);

/* The next completion; fails the test when none comes. */
struct ibv_wc wc_next(struct end *e);
/* The next one is that of ID, with STATUS. */
struct ibv_wc wc_expect(struct end *e, uint64_t id, enum ibv_wc_status status);
/* There is none now. */
void wc_none(struct end *e);
/* The next event; must be TYPE; acknowledged. */
void event_expect(struct end *e, enum ibv_event_type type);
void event_none(struct end *e);

void fill(char *mem, size_t len, unsigned seed);
void assert_filled(const char *mem, size_t len, unsigned seed);

#endif
