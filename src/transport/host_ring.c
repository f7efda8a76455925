/* SPDX-License-Identifier: BSD-3-Clause */
#include "transport/host_ring.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/file.h"
#include "base/foreign.h"

enum { STATE_BITS = 4, STATE_MASK = (1 << STATE_BITS) - 1 };

struct shared {
	struct sl_ring_half half[2];
};

_Static_assert(sizeof(struct sl_ring_post) == 64, "a receive is a cache line");
_Static_assert((SL_RING_POSTS & (SL_RING_POSTS - 1)) == 0, "sequences wrap");
_Static_assert(ATOMIC_LLONG_LOCK_FREE == 2, "atomics work across processes");

static uint32_t word_of(uint32_t seq, enum sl_ring_state state)
{
	return seq << STATE_BITS | (uint32_t)state;
}

static struct sl_ring_post *post_at(struct sl_ring_half *half, uint32_t seq)
{
	return &half->post[seq % SL_RING_POSTS];
}

static bool swap_state(struct sl_ring_half *half, uint32_t seq, enum sl_ring_state from,
                       enum sl_ring_state to)
{
	uint32_t word = word_of(seq, from);

	return atomic_compare_exchange_strong(&post_at(half, seq)->word, &word, word_of(seq, to));
}

static void set_state(struct sl_ring_half *half, uint32_t seq, enum sl_ring_state state)
{
	atomic_store_explicit(&post_at(half, seq)->word, word_of(seq, state), memory_order_release);
}

/* The state of receive SEQ; -1 while its place is still another's, or holds nonsense. */
static int state_of(struct sl_ring_half *half, uint32_t seq)
{
	uint32_t word = atomic_load_explicit(&post_at(half, seq)->word, memory_order_acquire);
	int state = (int)(word & STATE_MASK);

	return word == word_of(seq, (enum sl_ring_state)state) ? state : -1;
}

static int map_ring(struct sl_ring *r, int fd, int side, struct slime_error *err)
{
	struct shared *s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (s == MAP_FAILED)
		return sl_fail(err, -errno, "cannot map the ring of a connection: %s",
		               strerror(errno));
	*r = (struct sl_ring){.map = s, .mine = &s->half[side], .theirs = &s->half[!side]};
	return 0;
}

int sl_ring_create(struct sl_ring *r, int *out_fd, struct slime_error *err)
{
	int fd = memfd_create("dlslime-ring", MFD_CLOEXEC | MFD_ALLOW_SEALING);
	int rc;

	if (fd < 0)
		return sl_fail(err, -errno, "cannot make the ring of a connection: %s",
		               strerror(errno));
	/* sealed: who maps it need not fear that it shrinks under his hands */
	rc = sl_file_resize(fd, sizeof(struct shared));
	if (!rc && fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL))
		rc = -errno;
	if (rc) {
		(void)sl_fail(err, rc, "cannot size the ring of a connection: %s", strerror(-rc));
		goto err_close;
	}
	rc = map_ring(r, fd, 0, err);
	if (rc)
		goto err_close;
	*out_fd = fd;
	return 0;

err_close:
	(void)close(fd);
	return rc;
}

int sl_ring_open(struct sl_ring *r, int fd, struct slime_error *err)
{
	int seals = fcntl(fd, F_GET_SEALS);
	struct stat st;

	if (seals < 0 || !(seals & F_SEAL_SHRINK) || fstat(fd, &st) ||
	    st.st_size != (off_t)sizeof(struct shared))
		return sl_fail(err, -EPROTO,
		               "the peer sent something else than the ring of a connection");
	return map_ring(r, fd, 1, err);
}

void sl_ring_close(struct sl_ring *r)
{
	if (r->map)
		(void)munmap(r->map, sizeof(struct shared));
	r->map = NULL;
}

/* Take back what was revoked last and was not seen by the sender, so that its place is free. */
static void unwind_posts(struct sl_ring *r)
{
	while (r->post_head != r->post_tail && r->revoked[(r->post_head - 1) % SL_RING_POSTS] &&
	       swap_state(r->mine, r->post_head - 1, SL_RING_REVOKED, SL_RING_FREE))
		r->post_head--;
}

int sl_ring_post(struct sl_ring *r, const struct sl_ring_buf *buf, char *dst, bool checked)
{
	struct sl_ring_post *p;
	uint32_t place;

	unwind_posts(r);
	if (r->post_head - r->post_tail >= SL_RING_POSTS)
		return -EAGAIN;
	place = r->post_head % SL_RING_POSTS;
	p = &r->mine->post[place];
	r->dst[place] = dst;
	r->dst_len[place] = buf->len;
	r->dst_checked[place] = checked;
	r->revoked[place] = false;
	atomic_store_explicit(&p->stop, 0, memory_order_relaxed);
	atomic_store_explicit(&p->bytes, 0, memory_order_relaxed);
	atomic_store_explicit(&p->addr, buf->addr, memory_order_relaxed);
	atomic_store_explicit(&p->len, buf->len, memory_order_relaxed);
	atomic_store_explicit(&p->off, buf->off, memory_order_relaxed);
	atomic_store_explicit(&p->key[0], buf->key[0], memory_order_relaxed);
	atomic_store_explicit(&p->key[1], buf->key[1], memory_order_relaxed);
	set_state(r->mine, r->post_head++, SL_RING_POSTED);
	return (int)place;
}

int sl_ring_revoke(struct sl_ring *r, uint32_t place)
{
	uint32_t seq = r->post_tail + (place - r->post_tail) % SL_RING_POSTS;

	if (swap_state(r->mine, seq, SL_RING_POSTED, SL_RING_REVOKED)) {
		r->revoked[place] = true;
		return 1;
	}
	atomic_store_explicit(&r->mine->post[place].stop, 1, memory_order_relaxed);
	return 0;
}

/* False: SRC or DST is not there. */
static bool copy(char *dst, const char *src, uint64_t len, bool checked)
{
	if (checked)
		return sl_foreign_copy(dst, src, len) == SL_HOLE_NONE;
	memcpy(dst, src, len);
	return true;
}

/* Move the bytes that are there to the oldest receive. What follows them is the next one's. */
static int drain_stream(struct sl_ring *r)
{
	uint32_t place = r->post_tail % SL_RING_POSTS;
	uint64_t total = atomic_load_explicit(&r->mine->post[place].bytes, memory_order_acquire);
	uint64_t n = total - r->got;

	if (n > SL_RING_STREAM || r->got > r->dst_len[place] || n > r->dst_len[place] - r->got)
		return -EPROTO;
	while (n) {
		uint64_t at = r->stream_tail % SL_RING_STREAM;
		uint64_t run = n < SL_RING_STREAM - at ? n : SL_RING_STREAM - at;

		if (!copy(r->dst[place] + r->got, r->theirs->stream + at, run,
		          r->dst_checked[place]))
			r->hole = true; /* told at the end */
		r->got += run;
		r->stream_tail += run;
		n -= run;
	}
	atomic_store_explicit(&r->mine->stream_tail, r->stream_tail, memory_order_release);
	return 0;
}

/* The sender said how the oldest receive ended; believe only what can be. */
static int end_oldest(struct sl_ring *r, bool streamed, struct sl_ring_got *out)
{
	uint32_t place = r->post_tail % SL_RING_POSTS;
	struct sl_ring_post *p = &r->mine->post[place];

	out->place = place;
	out->status = atomic_load_explicit(&p->status, memory_order_relaxed);
	out->bytes = atomic_load_explicit(&p->bytes, memory_order_relaxed);
	if (out->bytes > r->dst_len[place] || (streamed && out->bytes != r->got))
		return -EPROTO;
	if (out->status && out->status != -EMSGSIZE && out->status != -EREMOTEIO &&
	    out->status != -EFAULT &&
	    !(out->status == -ECANCELED && atomic_load_explicit(&p->stop, memory_order_relaxed)))
		return -EPROTO;
	if (r->hole && !out->status)
		out->status = -EFAULT;
	r->got = 0;
	r->hole = false;
	r->post_tail++;
	return 1;
}

/* The sender gave a half-streamed receive back: forget its bytes and announce it anew. */
static void reset_oldest(struct sl_ring *r)
{
	r->got = 0;
	r->hole = false;
	atomic_store_explicit(&post_at(r->mine, r->post_tail)->bytes, 0, memory_order_relaxed);
	set_state(r->mine, r->post_tail, SL_RING_POSTED);
}

int sl_ring_take(struct sl_ring *r, struct sl_ring_got *out)
{
	while (r->post_tail != r->post_head) {
		int state = state_of(r->mine, r->post_tail);
		int rc = 0;

		switch (state) {
		case SL_RING_STREAMING:
			return drain_stream(r);
		case SL_RING_STREAMED:
			rc = drain_stream(r);
			return rc ? rc : end_oldest(r, true, out);
		case SL_RING_FILLED:
			return end_oldest(r, false, out);
		case SL_RING_RESET:
			rc = drain_stream(r);
			if (!rc)
				reset_oldest(r);
			return rc;
		case SL_RING_SKIPPED:
			if (!r->revoked[r->post_tail % SL_RING_POSTS] || r->got)
				return -EPROTO;
			r->post_tail++;
			break;
		case SL_RING_FREE:
		case SL_RING_POSTED:
		case SL_RING_CLAIMED:
		case SL_RING_REVOKED:
			return 0;
		default:
			return -EPROTO;
		}
	}
	return 0;
}

int sl_ring_claim(struct sl_ring *r, struct sl_ring_buf *out)
{
	struct sl_ring_post *p;

	for (int i = 0; i < SL_RING_POSTS; i++) {
		if (!swap_state(r->theirs, r->next, SL_RING_REVOKED, SL_RING_SKIPPED))
			break;
		r->next++;
	}
	if (!swap_state(r->theirs, r->next, SL_RING_POSTED, SL_RING_CLAIMED))
		return 0;
	p = post_at(r->theirs, r->next);
	out->addr = atomic_load_explicit(&p->addr, memory_order_relaxed);
	out->len = atomic_load_explicit(&p->len, memory_order_relaxed);
	out->off = atomic_load_explicit(&p->off, memory_order_relaxed);
	out->key[0] = atomic_load_explicit(&p->key[0], memory_order_relaxed);
	out->key[1] = atomic_load_explicit(&p->key[1], memory_order_relaxed);
	r->claimed = true;
	r->streaming = false;
	r->put = 0;
	return 1;
}

bool sl_ring_stopped(const struct sl_ring *r)
{
	return atomic_load_explicit(&post_at(r->theirs, r->next)->stop, memory_order_relaxed);
}

int64_t sl_ring_stream(struct sl_ring *r, const char *src, uint64_t len, bool checked)
{
	uint64_t tail = atomic_load_explicit(&r->theirs->stream_tail, memory_order_acquire);
	uint64_t room = SL_RING_STREAM - (r->stream_head - tail);
	uint64_t n, left;

	if (room > SL_RING_STREAM)
		return -EPROTO;
	n = len < room ? len : room;
	for (left = n; left;) {
		uint64_t at = (r->stream_head + n - left) % SL_RING_STREAM;
		uint64_t run = left < SL_RING_STREAM - at ? left : SL_RING_STREAM - at;

		if (!copy(r->mine->stream + at, src, run, checked))
			return -EFAULT;
		src += run;
		left -= run;
	}
	r->stream_head += n;
	r->put += n;
	atomic_store_explicit(&post_at(r->theirs, r->next)->bytes, r->put, memory_order_release);
	if (!r->streaming)
		set_state(r->theirs, r->next, SL_RING_STREAMING);
	r->streaming = true;
	return (int64_t)n;
}

void sl_ring_fill(struct sl_ring *r, int status, uint64_t bytes)
{
	struct sl_ring_post *p = post_at(r->theirs, r->next);

	atomic_store_explicit(&p->status, status, memory_order_relaxed);
	atomic_store_explicit(&p->bytes, r->streaming ? r->put : bytes, memory_order_relaxed);
	set_state(r->theirs, r->next++, r->streaming ? SL_RING_STREAMED : SL_RING_FILLED);
	r->claimed = false;
}

void sl_ring_unclaim(struct sl_ring *r)
{
	set_state(r->theirs, r->next, r->streaming ? SL_RING_RESET : SL_RING_POSTED);
	r->claimed = false;
}

int sl_ring_note_put(struct sl_ring *r, uint32_t imm, uint64_t bytes)
{
	uint32_t tail = atomic_load_explicit(&r->theirs->note_tail, memory_order_acquire);
	struct sl_ring_note *note = &r->mine->note[r->note_head % SL_RING_NOTES];

	if (r->note_head - tail > SL_RING_NOTES)
		return -EPROTO;
	if (r->note_head - tail == SL_RING_NOTES)
		return 0;
	atomic_store_explicit(&note->imm, imm, memory_order_relaxed);
	atomic_store_explicit(&note->bytes, bytes, memory_order_relaxed);
	atomic_store_explicit(&r->mine->note_head, ++r->note_head, memory_order_release);
	return 1;
}

int sl_ring_note_get(struct sl_ring *r, uint32_t *out_imm, uint64_t *out_bytes)
{
	uint32_t head = atomic_load_explicit(&r->theirs->note_head, memory_order_acquire);
	struct sl_ring_note *note = &r->theirs->note[r->note_tail % SL_RING_NOTES];

	if (head - r->note_tail > SL_RING_NOTES)
		return -EPROTO;
	if (head == r->note_tail)
		return 0;
	*out_imm = atomic_load_explicit(&note->imm, memory_order_relaxed);
	*out_bytes = atomic_load_explicit(&note->bytes, memory_order_relaxed);
	atomic_store_explicit(&r->mine->note_tail, ++r->note_tail, memory_order_release);
	return 1;
}

/* The fences pair: either the sleeper's next look sees what was given, or the giver sees the bit.
 */
void sl_ring_want(struct sl_ring *r, uint32_t bits)
{
	if ((atomic_load_explicit(&r->mine->asleep, memory_order_relaxed) & bits) != bits)
		atomic_fetch_or_explicit(&r->mine->asleep, bits, memory_order_relaxed);
	atomic_thread_fence(memory_order_seq_cst);
}

bool sl_ring_must_ring(struct sl_ring *r, uint32_t bits)
{
	atomic_thread_fence(memory_order_seq_cst);
	if (!(atomic_load_explicit(&r->theirs->asleep, memory_order_relaxed) & bits))
		return false;
	return atomic_exchange_explicit(&r->theirs->asleep, 0, memory_order_relaxed) & bits;
}

void sl_ring_ping(struct sl_ring *r)
{
	atomic_fetch_add_explicit(&r->mine->ping, 1, memory_order_relaxed);
}

bool sl_ring_ponged(const struct sl_ring *r)
{
	return atomic_load_explicit(&r->theirs->pong, memory_order_relaxed) ==
	       atomic_load_explicit(&r->mine->ping, memory_order_relaxed);
}

void sl_ring_pong(struct sl_ring *r)
{
	atomic_store_explicit(&r->mine->pong,
	                      atomic_load_explicit(&r->theirs->ping, memory_order_relaxed),
	                      memory_order_relaxed);
}

bool sl_ring_has_fills(const struct sl_ring *r)
{
	if (r->post_head == r->post_tail)
		return false;
	switch (state_of(r->mine, r->post_tail)) {
	case SL_RING_FREE:
	case SL_RING_POSTED:
	case SL_RING_CLAIMED:
	case SL_RING_REVOKED:
		return false;
	case SL_RING_STREAMING:
		return atomic_load_explicit(&post_at(r->mine, r->post_tail)->bytes,
		                            memory_order_relaxed) != r->got;
	default:
		return true;
	}
}

bool sl_ring_has_posts(const struct sl_ring *r)
{
	int state = state_of(r->theirs, r->next);

	if (r->claimed)
		return !r->streaming || sl_ring_stopped(r) ||
		       r->stream_head - atomic_load_explicit(&r->theirs->stream_tail,
		                                             memory_order_relaxed) !=
		           SL_RING_STREAM;
	return state == SL_RING_POSTED || state == SL_RING_REVOKED;
}

bool sl_ring_has_room(const struct sl_ring *r)
{
	return r->note_head - atomic_load_explicit(&r->theirs->note_tail, memory_order_relaxed) !=
	       SL_RING_NOTES;
}
