/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "transport/host_ring.h"

/* Both ends in this process, each with a mapping of its own. */
struct pair {
	struct sl_ring r, s; /* receiver, sender */
	char buf[SL_RING_POSTS][64];
};

static struct pair *open_pair(void)
{
	struct pair *p = calloc(1, sizeof(*p));
	int fd;

	assert_non_null(p);
	assert_int_equal(sl_ring_create(&p->r, &fd, NULL), 0);
	assert_int_equal(sl_ring_open(&p->s, fd, NULL), 0);
	(void)close(fd);
	return p;
}

static void close_pair(struct pair *p)
{
	sl_ring_close(&p->r);
	sl_ring_close(&p->s);
	free(p);
}

static int post(struct pair *p, int i, uint64_t len)
{
	struct sl_ring_buf buf = {.addr = 1000 + (uint64_t)i, .len = len, .off = 7, .key = {1, 2}};

	return sl_ring_post(&p->r, &buf, p->buf[i % SL_RING_POSTS], false);
}

static void expect_fill(struct pair *p, int place, int status, uint64_t bytes)
{
	struct sl_ring_got got;

	assert_int_equal(sl_ring_take(&p->r, &got), 1);
	assert_int_equal(got.place, place);
	assert_int_equal(got.status, status);
	assert_int_equal(got.bytes, bytes);
}

static void expect_none(struct pair *p)
{
	struct sl_ring_got got;

	assert_int_equal(sl_ring_take(&p->r, &got), 0);
}

static void a_receive_is_claimed_filled_and_taken(void **state)
{
	struct pair *p = open_pair();
	struct sl_ring_buf buf;
	int place = post(p, 3, 64);

	(void)state;
	assert_true(place >= 0);
	assert_false(sl_ring_has_fills(&p->r));
	assert_true(sl_ring_has_posts(&p->s));
	assert_int_equal(sl_ring_claim(&p->s, &buf), 1);
	assert_int_equal(buf.addr, 1003);
	assert_int_equal(buf.len, 64);
	assert_int_equal(buf.off, 7);
	assert_int_equal(buf.key[1], 2);
	expect_none(p);
	sl_ring_fill(&p->s, 0, 60);
	assert_true(sl_ring_has_fills(&p->r));
	expect_fill(p, place, 0, 60);
	expect_none(p);
	assert_int_equal(sl_ring_claim(&p->s, &buf), 0);
	close_pair(p);
}

static void places_come_back_in_order_for_ever(void **state)
{
	struct pair *p = open_pair();
	struct sl_ring_buf buf;

	(void)state;
	for (int i = 0; i < SL_RING_POSTS; i++)
		assert_true(post(p, i, 8) >= 0);
	assert_int_equal(post(p, 0, 8), -EAGAIN);
	for (int i = 0; i < 1000; i++) {
		assert_int_equal(sl_ring_claim(&p->s, &buf), 1);
		assert_int_equal(buf.addr, 1000 + i);
		sl_ring_fill(&p->s, 0, 8);
		expect_fill(p, i % SL_RING_POSTS, 0, 8);
		assert_int_equal(post(p, i + SL_RING_POSTS, 8), i % SL_RING_POSTS);
	}
	close_pair(p);
}

static void a_revoked_receive_is_skipped(void **state)
{
	struct pair *p = open_pair();
	struct sl_ring_buf buf;

	(void)state;
	for (int i = 0; i < 3; i++)
		assert_int_equal(post(p, i, 8), i);
	assert_int_equal(sl_ring_revoke(&p->r, 1), 1);
	assert_int_equal(sl_ring_claim(&p->s, &buf), 1);
	assert_int_equal(buf.addr, 1000);
	sl_ring_fill(&p->s, 0, 1);
	assert_int_equal(sl_ring_claim(&p->s, &buf), 1);
	assert_int_equal(buf.addr, 1002);
	sl_ring_fill(&p->s, 0, 3);
	expect_fill(p, 0, 0, 1);
	expect_fill(p, 2, 0, 3);
	expect_none(p);
	close_pair(p);
}

static void revoking_the_newest_again_and_again_uses_no_places_up(void **state)
{
	struct pair *p = open_pair();

	(void)state;
	for (int i = 0; i < 10 * SL_RING_POSTS; i++) {
		int place = post(p, 0, 8);

		assert_int_equal(place, 0);
		assert_int_equal(sl_ring_revoke(&p->r, (uint32_t)place), 1);
	}
	close_pair(p);
}

static void a_claimed_receive_is_not_revoked_but_the_sender_is_asked_to_stop(void **state)
{
	struct pair *p = open_pair();
	struct sl_ring_buf buf;

	(void)state;
	assert_int_equal(post(p, 0, 8), 0);
	assert_int_equal(sl_ring_claim(&p->s, &buf), 1);
	assert_false(sl_ring_stopped(&p->s));
	assert_int_equal(sl_ring_revoke(&p->r, 0), 0);
	assert_true(sl_ring_stopped(&p->s));
	sl_ring_fill(&p->s, -ECANCELED, 0);
	expect_fill(p, 0, -ECANCELED, 0);
	/* the next one at that place begins afresh */
	for (int i = 1; i <= SL_RING_POSTS; i++)
		assert_true(post(p, i, 8) >= 0);
	for (int i = 1; i <= SL_RING_POSTS; i++) {
		assert_int_equal(sl_ring_claim(&p->s, &buf), 1);
		assert_false(sl_ring_stopped(&p->s));
		sl_ring_fill(&p->s, 0, 8);
	}
	close_pair(p);
}

static void a_receive_given_back_can_be_revoked_or_claimed_again(void **state)
{
	struct pair *p = open_pair();
	struct sl_ring_buf buf;

	(void)state;
	assert_int_equal(post(p, 0, 8), 0);
	assert_int_equal(sl_ring_claim(&p->s, &buf), 1);
	sl_ring_unclaim(&p->s);
	assert_int_equal(sl_ring_claim(&p->s, &buf), 1);
	sl_ring_unclaim(&p->s);
	assert_int_equal(sl_ring_revoke(&p->r, 0), 1);
	assert_int_equal(sl_ring_claim(&p->s, &buf), 0);
	close_pair(p);
}

/* LEN bytes through the stream, SEED telling one message from the next. */
static void stream_message(struct pair *p, uint64_t len, int seed)
{
	char *src = malloc(len), *dst = calloc(1, len);
	struct sl_ring_buf buf = {.len = len};
	struct sl_ring_got got;
	uint64_t put = 0;

	assert_non_null(src);
	assert_non_null(dst);
	for (uint64_t i = 0; i < len; i++)
		src[i] = (char)(i * 7 + (uint64_t)seed);
	assert_true(sl_ring_post(&p->r, &buf, dst, false) >= 0);
	assert_int_equal(sl_ring_claim(&p->s, &buf), 1);
	while (put < len) {
		int64_t n = sl_ring_stream(&p->s, src + put, len - put, false);

		assert_true(n >= 0);
		put += (uint64_t)n;
		assert_int_equal(sl_ring_take(&p->r, &got), 0);
	}
	sl_ring_fill(&p->s, 0, len);
	assert_int_equal(sl_ring_take(&p->r, &got), 1);
	assert_int_equal(got.status, 0);
	assert_int_equal(got.bytes, len);
	assert_memory_equal(src, dst, len);
	free(src);
	free(dst);
}

static void a_stream_carries_messages_longer_than_itself(void **state)
{
	struct pair *p = open_pair();

	(void)state;
	stream_message(p, 10, 1);
	stream_message(p, SL_RING_STREAM, 2);
	stream_message(p, 5 * SL_RING_STREAM + 13, 3);
	close_pair(p);
}

static void a_full_stream_takes_no_more(void **state)
{
	static char bytes[SL_RING_STREAM + 1];
	struct pair *p = open_pair();
	struct sl_ring_buf buf = {.len = sizeof(bytes)};
	static char dst[sizeof(bytes)];
	struct sl_ring_got got;

	(void)state;
	assert_int_equal(sl_ring_post(&p->r, &buf, dst, false), 0);
	assert_int_equal(sl_ring_claim(&p->s, &buf), 1);
	assert_int_equal(sl_ring_stream(&p->s, bytes, sizeof(bytes), false), SL_RING_STREAM);
	assert_false(sl_ring_has_posts(&p->s));
	assert_int_equal(sl_ring_stream(&p->s, bytes, 1, false), 0);
	assert_true(sl_ring_has_fills(&p->r));
	assert_int_equal(sl_ring_take(&p->r, &got), 0);
	assert_true(sl_ring_has_posts(&p->s));
	assert_int_equal(sl_ring_stream(&p->s, bytes, 1, false), 1);
	close_pair(p);
}

/* The second message is in the stream before the first is taken out. */
static void streamed_messages_do_not_run_into_each_other(void **state)
{
	struct pair *p = open_pair();
	struct sl_ring_buf buf;

	(void)state;
	for (int i = 0; i < 3; i++)
		assert_int_equal(post(p, i, 64), i);
	for (int i = 0; i < 3; i++) {
		char text[8] = {(char)('a' + i), (char)('a' + i)};

		assert_int_equal(sl_ring_claim(&p->s, &buf), 1);
		assert_int_equal(sl_ring_stream(&p->s, text, 2, false), 2);
		sl_ring_fill(&p->s, 0, 2);
	}
	for (int i = 0; i < 3; i++)
		expect_fill(p, i, 0, 2);
	assert_string_equal(p->buf[0], "aa");
	assert_string_equal(p->buf[1], "bb");
	assert_string_equal(p->buf[2], "cc");
	close_pair(p);
}

static void a_half_streamed_receive_given_back_begins_again(void **state)
{
	struct pair *p = open_pair();
	struct sl_ring_buf buf;

	(void)state;
	assert_int_equal(post(p, 0, 4), 0);
	assert_int_equal(sl_ring_claim(&p->s, &buf), 1);
	assert_int_equal(sl_ring_stream(&p->s, "xxx", 3, false), 3);
	sl_ring_unclaim(&p->s);
	assert_int_equal(sl_ring_claim(&p->s, &buf), 0); /* not before the receiver agrees */
	expect_none(p);
	assert_int_equal(sl_ring_claim(&p->s, &buf), 1);
	assert_int_equal(sl_ring_stream(&p->s, "good", 4, false), 4);
	sl_ring_fill(&p->s, 0, 4);
	expect_fill(p, 0, 0, 4);
	assert_memory_equal(p->buf[0], "good", 4);
	close_pair(p);
}

static void notes_keep_their_order_and_their_number(void **state)
{
	struct pair *p = open_pair();
	uint64_t bytes;
	uint32_t imm;

	(void)state;
	assert_false(sl_ring_has_notes(&p->r));
	for (uint32_t round = 0; round < 10; round++) {
		for (uint32_t i = 0; i < SL_RING_NOTES; i++)
			assert_int_equal(sl_ring_note_put(&p->s, i, 1000 + i), 1);
		assert_int_equal(sl_ring_note_put(&p->s, 0, 0), 0);
		assert_false(sl_ring_has_room(&p->s));
		assert_true(sl_ring_has_notes(&p->r));
		for (uint32_t i = 0; i < SL_RING_NOTES; i++) {
			assert_int_equal(sl_ring_note_get(&p->r, &imm, &bytes), 1);
			assert_int_equal(imm, i);
			assert_int_equal(bytes, 1000 + i);
		}
		assert_int_equal(sl_ring_note_get(&p->r, &imm, &bytes), 0);
		assert_true(sl_ring_has_room(&p->s));
	}
	close_pair(p);
}

static void a_bell_is_rung_once_and_only_for_what_is_wanted(void **state)
{
	struct pair *p = open_pair();

	(void)state;
	assert_false(sl_ring_must_ring(&p->s, SL_RING_NEWS));
	sl_ring_want(&p->r, SL_RING_NEWS);
	assert_false(sl_ring_must_ring(&p->s, SL_RING_ROOM));
	assert_true(sl_ring_must_ring(&p->s, SL_RING_NEWS));
	assert_false(sl_ring_must_ring(&p->s, SL_RING_NEWS));
	sl_ring_want(&p->r, SL_RING_NEWS | SL_RING_ROOM);
	assert_true(sl_ring_wants(&p->r, SL_RING_NEWS | SL_RING_ROOM));
	assert_true(sl_ring_must_ring(&p->s, SL_RING_ROOM));
	assert_false(sl_ring_wants(&p->r, SL_RING_NEWS)); /* a bell is for all that is wanted */
	assert_false(sl_ring_must_ring(&p->s, SL_RING_NEWS | SL_RING_ROOM));
	close_pair(p);
}

static void a_ping_is_answered_by_a_pong(void **state)
{
	struct pair *p = open_pair();

	(void)state;
	assert_true(sl_ring_ponged(&p->s));
	sl_ring_ping(&p->s);
	assert_false(sl_ring_ponged(&p->s));
	assert_true(sl_ring_has_ping(&p->r));
	sl_ring_pong(&p->r);
	assert_false(sl_ring_has_ping(&p->r));
	assert_true(sl_ring_ponged(&p->s));
	close_pair(p);
}

static int sealed_memfd(off_t len, int seals)
{
	int fd = memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	assert_true(fd >= 0);
	assert_int_equal(ftruncate(fd, len), 0);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, seals), 0);
	return fd;
}

static void only_a_sealed_memfd_of_the_right_size_is_a_ring(void **state)
{
	const off_t len = 2 * (off_t)sizeof(struct sl_ring_half);
	struct slime_error err = {0};
	struct sl_ring r;
	int fds[2];
	int fd;

	(void)state;
	fd = sealed_memfd(len, 0);
	assert_int_equal(sl_ring_open(&r, fd, &err), -EPROTO);
	assert_true(err.text[0]);
	(void)close(fd);
	fd = sealed_memfd(len - 1, F_SEAL_SHRINK);
	assert_int_equal(sl_ring_open(&r, fd, NULL), -EPROTO);
	(void)close(fd);
	assert_int_equal(pipe(fds), 0);
	assert_int_equal(sl_ring_open(&r, fds[0], NULL), -EPROTO);
	(void)close(fds[0]);
	(void)close(fds[1]);
	assert_int_equal(sl_ring_open(&r, -1, NULL), -EPROTO);
	fd = sealed_memfd(len, F_SEAL_SHRINK);
	assert_int_equal(sl_ring_open(&r, fd, NULL), 0);
	sl_ring_close(&r);
	(void)close(fd);
}

static void nonsense_about_a_receive_is_a_protocol_error(void **state)
{
	static const struct {
		uint32_t state;
		int status;
		uint64_t bytes;
	} bad[] = {
	    {SL_RING_FILLED, 0, 9},          /* more than was asked for */
	    {SL_RING_FILLED, 5, 0},          /* no errno */
	    {SL_RING_FILLED, -ECANCELED, 0}, /* nobody asked to stop */
	    {SL_RING_STREAMING, 0, 9},       /* too much */
	    {SL_RING_STREAMED, 0, UINT64_MAX},
	};

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct pair *p = open_pair();
		struct sl_ring_got got;
		struct sl_ring_post *at = &p->s.theirs->post[0];

		assert_int_equal(post(p, 0, 8), 0);
		atomic_store(&at->status, bad[i].status);
		atomic_store(&at->bytes, bad[i].bytes);
		atomic_store(&at->word, bad[i].state);
		assert_int_equal(sl_ring_take(&p->r, &got), -EPROTO);
		close_pair(p);
	}
}

/* 40 of the 64 bytes of the first receive are here. */
static struct pair *open_pair_and_stream(void)
{
	struct pair *p = open_pair();
	struct sl_ring_buf buf;
	struct sl_ring_got got;

	assert_int_equal(post(p, 0, 64), 0);
	assert_int_equal(sl_ring_claim(&p->s, &buf), 1);
	assert_int_equal(sl_ring_stream(&p->s, p->buf[5], 40, false), 40);
	assert_int_equal(sl_ring_take(&p->r, &got), 0);
	return p;
}

static void only_what_was_revoked_can_be_skipped(void **state)
{
	struct pair *p = open_pair_and_stream();
	struct sl_ring_post *at = p->s.theirs->post;
	struct sl_ring_got got;

	(void)state;
	assert_int_equal(post(p, 1, 8), 1);
	atomic_store(&at[1].bytes, 42);
	atomic_store(&at[1].word, 1 << 4 | SL_RING_STREAMING);
	atomic_store(&at[0].word, SL_RING_SKIPPED);
	assert_int_equal(sl_ring_take(&p->r, &got), -EPROTO);
	close_pair(p);
}

static void a_receive_that_the_sender_revokes_keeps_its_place(void **state)
{
	struct pair *p = open_pair();

	(void)state;
	assert_int_equal(post(p, 0, 64), 0);
	atomic_store(&p->s.theirs->post[0].word, SL_RING_REVOKED);
	assert_int_equal(post(p, 1, 8), 1);
	close_pair(p);
}

/* The sender declares a half-streamed receive to be untouched, and it is taken back. */
static void bytes_streamed_for_one_receive_are_not_the_next_ones(void **state)
{
	struct pair *p = open_pair_and_stream();
	struct sl_ring_post *at = p->s.theirs->post;
	struct sl_ring_got got;

	(void)state;
	atomic_store(&at[0].word, SL_RING_POSTED);
	assert_int_equal(sl_ring_revoke(&p->r, 0), 1);
	assert_int_equal(post(p, 0, 8), 0);
	atomic_store(&at[0].bytes, 42);
	atomic_store(&at[0].word, SL_RING_STREAMING);
	assert_int_equal(sl_ring_take(&p->r, &got), -EPROTO);
	close_pair(p);
}

static void nonsense_in_counters_is_a_protocol_error(void **state)
{
	struct pair *p = open_pair();
	struct sl_ring_buf buf;
	struct sl_ring_got got;
	uint64_t bytes;
	uint32_t imm;

	(void)state;
	atomic_store(&p->s.mine->note_head, SL_RING_NOTES + 1);
	assert_int_equal(sl_ring_note_get(&p->r, &imm, &bytes), -EPROTO);
	atomic_store(&p->r.mine->note_tail, 1);
	assert_int_equal(sl_ring_note_put(&p->s, 1, 1), -EPROTO);
	assert_int_equal(post(p, 0, 8), 0);
	assert_int_equal(sl_ring_claim(&p->s, &buf), 1);
	atomic_store(&p->r.mine->stream_tail, 1);
	assert_int_equal(sl_ring_stream(&p->s, "x", 1, false), -EPROTO);
	atomic_store(&p->s.theirs->post[0].word, 77 << 4 | SL_RING_FILLED);
	assert_int_equal(sl_ring_take(&p->r, &got), -EPROTO);
	close_pair(p);
}

/* Random words all over shared memory: any answer will do, but no crash and no overrun. */
static void noise_in_shared_memory_does_no_harm(void **state)
{
	struct pair *p = open_pair();
	uint32_t *words = p->r.map;
	size_t n = 2 * sizeof(struct sl_ring_half) / sizeof(*words);
	unsigned seed = 1;
	char guard[64];

	(void)state;
	memset(guard, 0x5a, sizeof(guard));
	for (int i = 0; i < 20000; i++) {
		struct sl_ring_got got;
		struct sl_ring_buf buf;
		uint64_t bytes;
		uint32_t imm;

		for (int k = 0; k < 8; k++) {
			size_t at = (size_t)rand_r(&seed) % n;

			words[at] = rand_r(&seed) % 3 ? (uint32_t)rand_r(&seed) % 2048
			                              : (uint32_t)rand_r(&seed);
		}
		(void)post(p, i, 64);
		(void)sl_ring_take(&p->r, &got);
		(void)sl_ring_revoke(&p->r, (uint32_t)i % SL_RING_POSTS);
		(void)sl_ring_note_get(&p->r, &imm, &bytes);
		(void)sl_ring_note_put(&p->s, imm, bytes);
		if (p->s.claimed || sl_ring_claim(&p->s, &buf)) {
			(void)sl_ring_stream(&p->s, guard, sizeof(guard), false);
			if (i % 2)
				sl_ring_fill(&p->s, 0, 8);
			else
				sl_ring_unclaim(&p->s);
		}
		(void)sl_ring_has_fills(&p->r);
		(void)sl_ring_has_posts(&p->s);
	}
	close_pair(p);
}

enum { RACES = 20000 };

/* What both threads of the race share beside the ring. */
struct race {
	struct pair *p;
	_Atomic uint64_t slot[SL_RING_POSTS]; /* the "memory" of each receive */
	_Atomic bool stop;
	uint64_t sent;
};

static void *race_sender(void *arg)
{
	struct race *race = arg;
	struct sl_ring *s = &race->p->s;
	struct sl_ring_buf buf;

	while (!atomic_load(&race->stop)) {
		if (!sl_ring_claim(s, &buf))
			continue;
		atomic_fetch_add(&race->slot[buf.addr], 1);
		if (sl_ring_stopped(s)) {
			sl_ring_fill(s, -ECANCELED, 0);
			continue;
		}
		sl_ring_fill(s, 0, 1);
		race->sent++;
	}
	return NULL;
}

/* Take what is over; place -> ended. Returns how many came filled. */
static uint64_t race_take(struct race *race, bool ended[SL_RING_POSTS])
{
	struct sl_ring_got got;
	uint64_t n = 0;
	int rc;

	while ((rc = sl_ring_take(&race->p->r, &got)) > 0) {
		ended[got.place] = true;
		n += got.status == 0;
	}
	assert_int_equal(rc, 0);
	return n;
}

/* A receive that was taken back is never written again, and every message arrives once. */
static void revoke_races_with_claim(void **state)
{
	struct race race = {.p = open_pair()};
	uint64_t received = 0, revoked = 0;
	pthread_t thread;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, race_sender, &race), 0);
	for (int i = 0; i < RACES; i++) {
		bool ended[SL_RING_POSTS] = {false};
		struct sl_ring_buf buf = {.len = 8};
		uint64_t seen;
		int place;

		buf.addr = (uint64_t)(i % SL_RING_POSTS);
		place = sl_ring_post(&race.p->r, &buf, NULL, false);
		assert_true(place >= 0);
		/* now and then for as long as it takes, else for a moment */
		for (int spin = 0; i % 64 == 0 || spin < i % 64 * 32; spin++)
			if (sl_ring_has_fills(&race.p->r))
				break;
		while (!ended[place] && !sl_ring_revoke(&race.p->r, (uint32_t)place))
			received += race_take(&race, ended);
		if (!ended[place]) {
			revoked++;
			seen = atomic_load(&race.slot[buf.addr]);
			for (int spin = 0; spin < 50; spin++)
				assert_int_equal(atomic_load(&race.slot[buf.addr]), seen);
		}
		received += race_take(&race, ended);
	}
	atomic_store(&race.stop, true);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_int_equal(received, race.sent);
	assert_true(received > 0);
	print_message("%llu received, %llu revoked\n", (unsigned long long)received,
	              (unsigned long long)revoked);
	close_pair(race.p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_receive_is_claimed_filled_and_taken),
	    cmocka_unit_test(places_come_back_in_order_for_ever),
	    cmocka_unit_test(a_revoked_receive_is_skipped),
	    cmocka_unit_test(revoking_the_newest_again_and_again_uses_no_places_up),
	    cmocka_unit_test(a_claimed_receive_is_not_revoked_but_the_sender_is_asked_to_stop),
	    cmocka_unit_test(a_receive_given_back_can_be_revoked_or_claimed_again),
	    cmocka_unit_test(a_stream_carries_messages_longer_than_itself),
	    cmocka_unit_test(a_full_stream_takes_no_more),
	    cmocka_unit_test(streamed_messages_do_not_run_into_each_other),
	    cmocka_unit_test(a_half_streamed_receive_given_back_begins_again),
	    cmocka_unit_test(notes_keep_their_order_and_their_number),
	    cmocka_unit_test(a_bell_is_rung_once_and_only_for_what_is_wanted),
	    cmocka_unit_test(a_ping_is_answered_by_a_pong),
	    cmocka_unit_test(only_a_sealed_memfd_of_the_right_size_is_a_ring),
	    cmocka_unit_test(nonsense_about_a_receive_is_a_protocol_error),
	    cmocka_unit_test(only_what_was_revoked_can_be_skipped),
	    cmocka_unit_test(a_receive_that_the_sender_revokes_keeps_its_place),
	    cmocka_unit_test(bytes_streamed_for_one_receive_are_not_the_next_ones),
	    cmocka_unit_test(nonsense_in_counters_is_a_protocol_error),
	    cmocka_unit_test(noise_in_shared_memory_does_no_harm),
	    cmocka_unit_test(revoke_races_with_claim),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
