/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * transport/rdma/rdma_frame.h - the bytes that two rdma transports exchange, no I/O.
 *
 * Three kinds: what stands in a description (address, region), the state that two
 * ends of a lane tell each other through the mailboxes of their domains, and the
 * records that go over a lane. All little-endian; docs/wire.md has the tables.
 * A get returns 0 or -EPROTO and accepts only what its put would have written.
 */
#ifndef SL_RDMA_FRAME_H
#define SL_RDMA_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/random.h"

enum {
	RDMA_MAIL_LEN = 32,
	RDMA_NAME_LEN = 8 + SL_SECRET_LEN,
	RDMA_LANE_LEN = 4 + RDMA_MAIL_LEN + RDMA_NAME_LEN,
	RDMA_REGION_LEN = 24,
	RDMA_STATE_LEN = 144,
	RDMA_RECORD_LEN = 24,
	RDMA_GID_LEN = 16,
};

/* Where a domain's mailbox is. */
struct rdma_mail {
	uint8_t gid[RDMA_GID_LEN]; /* zeroes: reach it by LID alone */
	uint32_t qpn, qkey;
	uint16_t lid;
	uint8_t mtu;   /* enum ibv_mtu */
	uint8_t reads; /* how many reads it serves at once on a queue pair */
	uint8_t shift; /* one message has 2^shift bytes at most */
};

/* A connection: one end of a lane. */
struct rdma_name {
	uint64_t id;
	uint8_t secret[SL_SECRET_LEN];
};

/* In an endpoint's description: a lane. Lanes on the domain of lane 0 leave MAIL out. */
struct rdma_lane {
	bool has_mail;
	struct rdma_mail mail;
	struct rdma_name name;
};

/* In a region's description. */
struct rdma_region {
	uint64_t addr, len;
	uint32_t rkey;
};

enum rdma_state_flags {
	RDMA_CALLING = 1 << 0, /* connect() was called: the queue pairs below count */
	RDMA_PING = 1 << 1,    /* answer, even if you have nothing new to say */
	RDMA_GONE = 1 << 2,    /* for good: STATUS says why */
	/* It comes by way of another lane, as this one leads nowhere, and tells what was received;
	 * its queue pairs are not for connecting to. LINKED: the peer's newest that one was
	 * connected to. */
	RDMA_ROUNDABOUT = 1 << 3,
};

enum { RDMA_CHANS = 2 };

/* One queue pair of a lane. Each time it is made anew its generation grows by one, from 1. */
struct rdma_chan_state {
	uint32_t gen;    /* 0: there is none yet */
	uint32_t linked; /* the peer's generation that this one is connected to; 0: none */
	uint32_t qpn, psn;
	uint64_t count; /* what earlier generations received: immediates, or messages */
};

struct rdma_state {
	uint16_t flags;
	int32_t status;
	struct rdma_name to, from;
	struct rdma_mail mail; /* of who sends */
	struct rdma_chan_state chan[RDMA_CHANS];
};

enum rdma_record_type {
	RDMA_IMM = 1,    /* ARG is the immediate, LEN the bytes that it reports */
	RDMA_CREDIT = 2, /* receive INDEX of generation ARG takes LEN bytes in pieces of 2^SHIFT */
};

struct rdma_record {
	uint8_t type;
	uint8_t shift;
	uint32_t arg;
	uint64_t index;
	uint64_t len;
};

size_t sl_rdma_put_lane(uint8_t *out, const struct rdma_lane *lane);
int sl_rdma_get_lane(const uint8_t *in, size_t len, struct rdma_lane *out);

void sl_rdma_put_region(uint8_t *out, const struct rdma_region *region);
int sl_rdma_get_region(const uint8_t *in, size_t len, struct rdma_region *out);

void sl_rdma_put_state(uint8_t *out, const struct rdma_state *state);
int sl_rdma_get_state(const uint8_t *in, size_t len, struct rdma_state *out);

void sl_rdma_put_record(uint8_t *out, const struct rdma_record *record);
int sl_rdma_get_record(const uint8_t *in, size_t len, struct rdma_record *out);

#endif
