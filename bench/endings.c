/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * How punctual bad news is: deadlines, a peer that was killed, one that is frozen.
 *
 *	endings tcp|shm
 *
 * ROUNDS peers are killed (10) and a third as many frozen.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "pair.h"

enum { LEN = 16 * MIB, DEADLINES = 200, IN_FLIGHT = 16, ROUNDS_MAX = 64, LIMIT_S = 140 };

static const uint32_t patient_ms = 600000;

static void serve(struct side *s, const char *transport)
{
	uint32_t peer_timeout_ms = 0;
	char byte;

	(void)take(s, &peer_timeout_ms, sizeof(peer_timeout_ms));
	side_context(s, 0, peer_timeout_ms);
	side_memory(s, LEN, false);
	side_connect(s, transport);
	for (;;)
		(void)take(s, &byte, 1);
}

/* Servers wait in the wings from the start: later on, this process has threads. */
static void open_side(struct side *s, const char *transport, uint32_t peer_timeout_ms)
{
	give(s, &peer_timeout_ms, sizeof(peer_timeout_ms));
	side_context(s, 0, peer_timeout_ms);
	side_memory(s, LEN, false);
	side_connect(s, transport);
}

static int start_read(struct side *s, int64_t timeout_ns, slime_op **op)
{
	struct slime_submit how = {.size = sizeof(how), .timeout_ns = timeout_ns};
	struct slime_seg seg = {.local = s->mr, .remote = s->rmr, .len = MIB};

	return slime_ep_read(s->ep, &seg, 1, &how, op);
}

static int start_recv(struct side *s, int64_t timeout_ns, slime_op **op)
{
	struct slime_submit how = {.size = sizeof(how), .timeout_ns = timeout_ns};
	struct slime_span span = {.mr = s->mr, .len = 64};

	return slime_ep_recv(s->ep, &span, &how, op);
}

static void figure_ms(const char *what, struct samples *s)
{
	static const struct {
		const char *metric;
		double share;
	} shares[] = {{"p50", 0.5}, {"p99", 0.99}, {"max", 1}};

	for (size_t i = 0; i < sizeof(shares) / sizeof(shares[0]); i++)
		figure(what, 0, s->n, shares[i].metric,
		       (double)samples_at(s, shares[i].share) / (double)ms_ns, "ms");
}

/* 1 to 10 ms, no two in a row alike. */
static void deadlines(struct side *s, const char *what,
                      int (*start)(struct side *, int64_t, slime_op **))
{
	struct samples late = {0};

	for (int i = 0; i < DEADLINES; i++) {
		int64_t timeout = ms_ns + i * 37 % 100 * 9 * ms_ns / 100;
		int64_t began = now_ns();
		slime_op *op;
		int rc;

		must_do(start(s, timeout, &op), "submit");
		rc = slime_op_wait(op, 10 * s_ns, NULL);
		samples_add(&late, now_ns() - began - timeout);
		if (rc != -ETIME) {
			fprintf(stderr, "error: %s: a deadline ended with %d\n", what, rc);
			exit(1);
		}
		slime_op_release(op);
	}
	figure_ms(what, &late);
	samples_free(&late);
}

/* From the signal to the last error of a receive and 16 reads that were under way. */
static int64_t bad_news_after(struct side *s, int sig)
{
	slime_op *ops[IN_FLIGHT + 1];
	int64_t began, took;
	int n = 0;

	must_do(start_recv(s, 0, &ops[n++]), "submit the receive");
	for (int i = 0; i < IN_FLIGHT; i++)
		must_do(start_read(s, 0, &ops[n++]), "submit a read");
	began = now_ns();
	if (kill(s->server, sig))
		must_do(-errno, "kill");
	for (int i = n - 1; i >= 0; i--) {
		int rc = slime_op_wait(ops[i], 30 * s_ns, NULL);

		if (rc != -ECONNRESET && !(i && rc == 0))
			must_do(rc ? rc : -EPROTO, "the end of an op");
		slime_op_release(ops[i]);
	}
	took = now_ns() - began;
	return took;
}

static void signalled(struct side *s, int n, const char *transport, const char *what, int sig)
{
	struct samples took = {0};

	for (int i = 0; i < n; i++) {
		open_side(&s[i], transport, 0);
		samples_add(&took, bad_news_after(&s[i], sig));
		(void)kill(s[i].server, SIGKILL);
		side_end(&s[i]);
	}
	figure_ms(what, &took);
	samples_free(&took);
}

int main(int argc, char **argv)
{
	int rounds = (int)env_number("ROUNDS", 10);
	static struct side s[ROUNDS_MAX];
	const char *transport = argv[1];
	bool shm = argc == 2 && strcmp(transport, "shm") == 0;
	char what[64];
	int frozen;

	if (argc != 2 || rounds < 1 || rounds > 40) {
		fprintf(stderr, "usage: endings tcp|shm, with ROUNDS from 1 to 40\n");
		return 2;
	}
	frozen = (rounds + 2) / 3;
	(void)alarm(LIMIT_S);
	for (int i = 0; i < rounds + frozen + 1; i++) {
		if (pair_fork(&s[i]))
			serve(&s[i], transport);
	}
	open_side(&s[0], transport, patient_ms);
	(void)snprintf(what, sizeof(what), "%s-deadline-lateness-recv", transport);
	deadlines(&s[0], what, start_recv);
	if (!shm) { /* over shm the caller copies, whatever the owner does */
		(void)kill(s[0].server, SIGSTOP);
		deadlines(&s[0], "tcp-deadline-lateness-read-of-frozen", start_read);
	}
	(void)kill(s[0].server, SIGKILL);
	side_end(&s[0]);
	(void)snprintf(what, sizeof(what), "%s-error-after-kill", transport);
	signalled(s + 1, rounds, transport, what, SIGKILL);
	(void)snprintf(what, sizeof(what), "%s-error-after-freeze", transport);
	signalled(s + 1 + rounds, frozen, transport, what, SIGSTOP);
	return 0;
}
