/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * transport/host_ring.h - messages and immediates between two processes of a host.
 *
 * A ring is a few pages that both map. It holds, for each side: the receives
 * that it announces, for the other to fill in order; notes (immediates) that it
 * sends; a small stream of bytes for messages that the other cannot copy to
 * their place itself; a ping and its answer; and a word that says "I sleep".
 *
 * An announced receive goes through these states; who moves it stands aside:
 *
 *	FREE --post--> POSTED --claim--> CLAIMED --fill--> FILLED --take--> (next)
 *	 ^      R       |  ^       S      |  |       S               R
 *	 |              |  +---unclaim----+  +-stream--> STREAMING --fill--> STREAMED
 *	 |       revoke |  |       S              S       |            S
 *	 +--post (R)-- REVOKED  +--take (R)---- RESET <---+ unclaim S
 *	                | claim
 *	                v   S
 *	               SKIPPED --take--> (next)          R: receiver, S: sender
 *
 * So a receiver that takes a receive back either gets it at once, and nobody
 * writes there any more, or knows that the sender is copying and has been
 * asked to stop.
 *
 * Nothing here blocks, makes system calls (but to create and open), or trusts
 * what the other side wrote: nonsense is -EPROTO. Each side's calls take turns
 * (a lock of the caller's), but for the inline looks, which any thread may do.
 */
#ifndef SL_HOST_RING_H
#define SL_HOST_RING_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <slime/base.h>

enum {
	SL_RING_POSTS = 64,     /* receives announced at a time */
	SL_RING_NOTES = 64,     /* notes under way */
	SL_RING_STREAM = 32768, /* bytes under way */
	SL_RING_KEY = 16,
};

enum sl_ring_state {
	SL_RING_FREE,
	SL_RING_POSTED,
	SL_RING_CLAIMED,
	SL_RING_STREAMING,
	SL_RING_FILLED,
	SL_RING_STREAMED,
	SL_RING_REVOKED,
	SL_RING_SKIPPED,
	SL_RING_RESET,
};

/* What a sleeper wants to be woken for. */
enum {
	SL_RING_NEWS = 1 << 0, /* a note, a filled receive, bytes, a ping */
	SL_RING_ROOM = 1 << 1, /* a receive to fill, room for a note or for bytes */
};

/* In shared memory from here on. WORD is sequence << 4 | state; sequence % POSTS is the place. */
struct sl_ring_post {
	_Alignas(64) _Atomic uint32_t word;
	_Atomic uint32_t stop; /* the receiver wants it back */
	_Atomic uint64_t addr, len, off, key[2];
	_Atomic int32_t status;
	_Atomic uint64_t bytes; /* filled; streamed so far */
};

struct sl_ring_note {
	_Atomic uint64_t bytes;
	_Atomic uint32_t imm;
	_Atomic uint32_t unused;
};

/* One for each side. Lines of 64 bytes, by who writes them. */
struct sl_ring_half {
	_Alignas(64) _Atomic uint32_t note_head; /* this side */
	_Atomic uint32_t ping;
	_Alignas(64) _Atomic uint32_t note_tail; /* this side: how far it is with the other's */
	_Atomic uint32_t pong;
	_Atomic uint64_t stream_tail;
	_Alignas(64) _Atomic uint32_t asleep; /* this side sets bits, the other takes them */
	struct sl_ring_note note[SL_RING_NOTES];
	struct sl_ring_post post[SL_RING_POSTS];
	char stream[SL_RING_STREAM];
};
/* To here. */

/* A receive as the other side sees it. KEY and OFF: where in shared memory; KEY 0: in none. */
struct sl_ring_buf {
	uint64_t addr, len, off;
	uint64_t key[2];
};

/* One side's own view. */
struct sl_ring {
	struct sl_ring_half *mine, *theirs;
	void *map;

	/* as receiver */
	uint32_t post_head, post_tail; /* next to announce; oldest not finished */
	char *dst[SL_RING_POSTS];
	uint64_t dst_len[SL_RING_POSTS];
	bool dst_checked[SL_RING_POSTS]; /* as in sl_mem */
	bool revoked[SL_RING_POSTS];     /* by us: nobody else may */
	uint64_t got;                    /* streamed bytes of the oldest */
	bool hole;                       /* there was no place for some of them */
	uint32_t note_tail;
	uint64_t stream_tail;

	/* as sender */
	uint32_t next; /* the other's receive to claim next */
	bool claimed, streaming;
	uint64_t put; /* streamed bytes of the claimed one */
	uint32_t note_head;
	uint64_t stream_head;
};

/*
 * Make a ring; *OUT_FD goes to the other side's sl_ring_open() and is the
 * caller's to close. Give back with sl_ring_close().
 */
int sl_ring_create(struct sl_ring *r, int *out_fd, struct slime_error *err);

/* Map the ring behind FD, which stays the caller's. -EPROTO: FD is no ring. */
int sl_ring_open(struct sl_ring *r, int fd, struct slime_error *err);
void sl_ring_close(struct sl_ring *r);

/*
 * Receiver. post() announces BUF, whose bytes go to DST when they are streamed,
 * and returns its place, 0 .. SL_RING_POSTS - 1, or -EAGAIN. CHECKED: see sl_mem.
 */
int sl_ring_post(struct sl_ring *r, const struct sl_ring_buf *buf, char *dst, bool checked);

/*
 * 1: the receive at PLACE is the caller's again, nothing was or will be written
 * there. 0: the sender is copying and was asked to stop, or is done: take() and
 * try again.
 */
int sl_ring_revoke(struct sl_ring *r, uint32_t place);

struct sl_ring_got {
	uint32_t place;
	/*
	 * 0, -EMSGSIZE; -EREMOTEIO: the sender's memory is not there, -EFAULT: ours;
	 * -ECANCELED: the sender stopped as asked
	 */
	int status;
	uint64_t bytes;
};

/*
 * Move streamed bytes along, and end the oldest receive if it is over: 1 and
 * *OUT. 0: none. -EPROTO.
 */
int sl_ring_take(struct sl_ring *r, struct sl_ring_got *out);

/* Sender. claim() gives the next receive: 1, or 0 if there is none. One at a time. */
int sl_ring_claim(struct sl_ring *r, struct sl_ring_buf *out);

/* The receiver asks for the claimed one back: fill it with -ECANCELED soon. */
bool sl_ring_stopped(const struct sl_ring *r);

/* Put up to LEN bytes into the claimed receive by the stream. How many; -EPROTO, -EFAULT. */
int64_t sl_ring_stream(struct sl_ring *r, const char *src, uint64_t len, bool checked);

/* The claimed receive is over, or is given back as if it had never been claimed. */
void sl_ring_fill(struct sl_ring *r, int status, uint64_t bytes);
void sl_ring_unclaim(struct sl_ring *r);

/* Notes. put(): 1, 0: no room. get(): 1, 0: none. Either -EPROTO. */
int sl_ring_note_put(struct sl_ring *r, uint32_t imm, uint64_t bytes);
int sl_ring_note_get(struct sl_ring *r, uint32_t *out_imm, uint64_t *out_bytes);

/*
 * Bells. Before it sleeps a side wants(), then looks once more. After it gave
 * the other something, a side asks must_ring(), and if so rings a bell by its
 * own means; what was wanted is forgotten with that. wants(): is it not rung for yet?
 */
void sl_ring_want(struct sl_ring *r, uint32_t bits);
bool sl_ring_must_ring(struct sl_ring *r, uint32_t bits);

static inline bool sl_ring_wants(const struct sl_ring *r, uint32_t bits)
{
	return (atomic_load_explicit(&r->mine->asleep, memory_order_relaxed) & bits) == bits;
}

/* Is the other side there? ping(), later ponged(); the other calls pong() now and then. */
void sl_ring_ping(struct sl_ring *r);
bool sl_ring_ponged(const struct sl_ring *r);
void sl_ring_pong(struct sl_ring *r);

/* Cheap looks without a lock: notes or a ping; more of a receive; a receive to fill. */
static inline bool sl_ring_has_notes(const struct sl_ring *r)
{
	return atomic_load_explicit(&r->theirs->note_head, memory_order_acquire) !=
	       atomic_load_explicit(&r->mine->note_tail, memory_order_relaxed);
}

static inline bool sl_ring_has_ping(const struct sl_ring *r)
{
	return atomic_load_explicit(&r->theirs->ping, memory_order_relaxed) !=
	       atomic_load_explicit(&r->mine->pong, memory_order_relaxed);
}

/* With the caller's lock. */
bool sl_ring_has_fills(const struct sl_ring *r);
bool sl_ring_has_posts(const struct sl_ring *r);
bool sl_ring_has_room(const struct sl_ring *r);

#endif
