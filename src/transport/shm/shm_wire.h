/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * transport/shm/shm_wire.h - every byte that shm gives to or takes from a peer,
 * but the ring: parts of descriptions, and messages on the control socket.
 *
 * No I/O here. All of it is little-endian, of fixed length, and has a version;
 * the get functions return 0, or -EPROTO for anything but what put would write.
 */
#ifndef SL_SHM_WIRE_H
#define SL_SHM_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "transport/transport.h"

enum { SHM_ID_LEN = 16, SHM_MSG_MAX = 256, SHM_TEXT_MAX = 160 };

/* A process as others see it: two of the same time can only differ. */
struct shm_proc {
	uint32_t pid;   /* in its own namespace */
	uint64_t start; /* field 22 of /proc/PID/stat */
	uint64_t pidns; /* inode */
};

enum shm_flags {
	SHM_NO_CMA = 1 << 0, /* the context was told not to use it */
};

/* A connection: conn_pack(). */
struct shm_card {
	uint32_t flags; /* enum shm_flags */
	uint32_t uid;
	struct shm_proc proc;
	uint64_t netns, userns; /* inodes; 0: not known */
	uint8_t boot[SHM_ID_LEN];
	uint8_t door[SHM_ID_LEN]; /* name of the listening socket */
	uint8_t id[SHM_ID_LEN];
	uint8_t secret[SHM_ID_LEN];
};

/* A region: reg_pack(). */
struct shm_ticket {
	uint32_t access;
	bool shared; /* in memory that can be mapped: KEY, OFF */
	struct shm_proc proc;
	uint64_t addr, len, off;
	uint8_t key[SHM_ID_LEN];
	uint32_t live_slot; /* see shm_live.c */
	uint64_t live_number;
};

void sl_shm_card_put(const struct shm_card *card, struct sl_blob *out);
int sl_shm_card_get(const struct sl_blob *blob, struct shm_card *out);
void sl_shm_ticket_put(const struct shm_ticket *t, struct sl_blob *out);
int sl_shm_ticket_get(const struct sl_blob *blob, struct shm_ticket *out);

enum shm_msg_type {
	SHM_KNOCK = 1, /* connect() was called here, and it is you who dials */
	SHM_HELLO,     /* from who dials, with the ring and its regions */
	SHM_ACCEPT,    /* the answer, with its regions */
	SHM_COMMIT,    /* from who dialled: this is how it will be */
	SHM_CONFIRM,   /* so be it */
	SHM_REFUSE,    /* instead of any answer: shm will not do, and why */
	SHM_ASK,       /* for the memfd with KEY */
	SHM_GIVE,      /* here it is, or STATUS */
	SHM_BELL,      /* look at the ring */
};

/* One message. Only what the type has is written and read. */
struct shm_msg {
	enum shm_msg_type type;

	/* KNOCK, HELLO, ACCEPT: who talks to whom */
	uint8_t to[SHM_ID_LEN], to_secret[SHM_ID_LEN];
	uint8_t from[SHM_ID_LEN], from_secret[SHM_ID_LEN];
	uint32_t flags;
	/* HELLO, ACCEPT: read this to see whether you may */
	uint64_t nonce_addr;
	uint8_t nonce[SHM_ID_LEN];

	/* COMMIT: both read and write each other by CMA */
	bool cma;
	/* REFUSE: why, as an errno and in words (printable, when they came from outside); GIVE */
	int32_t status;
	char text[SHM_TEXT_MAX];

	/* ASK, GIVE */
	uint8_t key[SHM_ID_LEN];
};

/* Write MSG into BUF of SHM_MSG_MAX bytes; how many. */
size_t sl_shm_msg_put(const struct shm_msg *msg, uint8_t *buf);
int sl_shm_msg_get(const uint8_t *buf, size_t len, struct shm_msg *out);

#endif
