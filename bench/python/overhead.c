/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The calls that overhead.py makes, made in C: read N segments of 8 bytes over loopback, submit and
 * wait. Prints N and the microseconds of the median of 5 rounds, a line for each N.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <slime/slime.h>

enum { LEN = 1 << 20, MOST = 100000, ROUNDS = 5, AT_ONCE = 65536 };

static const int64_t forever = INT64_MAX;

static void must(int rc)
{
	if (rc) {
		fprintf(stderr, "a call failed: %s\n", strerror(-rc));
		exit(1);
	}
}

static double now_us(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}

static void read_all(slime_ep *ep, const struct slime_seg *segs, size_t n)
{
	slime_op *ops[MOST / AT_ONCE + 1];
	int nops = 0;

	for (size_t at = 0; at < n; at += AT_ONCE)
		must(slime_ep_read(ep, segs + at, n - at < AT_ONCE ? n - at : AT_ONCE, NULL,
		                   &ops[nops++]));
	while (nops) {
		must(slime_op_wait(ops[--nops], forever, NULL));
		slime_op_release(ops[nops]);
	}
}

static int ascending(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

int main(void)
{
	static const size_t sizes[] = {1, 64, MOST};
	static char mine[LEN], theirs[LEN];
	static struct slime_seg segs[MOST];
	struct slime_mr_opts shared = {.size = sizeof(shared), .access = SLIME_ACCESS_REMOTE};
	struct slime_desc a_desc, b_desc, mr_desc;
	slime_mr *local, *exported;
	slime_ep *a, *b;
	slime_rmr *rmr;
	slime_ctx *ctx;

	must(slime_ctx_create(NULL, &ctx, NULL));
	must(slime_mr_register(ctx, mine, LEN, NULL, &local, NULL));
	must(slime_mr_register(ctx, theirs, LEN, &shared, &exported, NULL));
	must(slime_ep_create(ctx, NULL, &a, NULL));
	must(slime_ep_create(ctx, NULL, &b, NULL));
	must(slime_ep_export(a, &a_desc, NULL));
	must(slime_ep_export(b, &b_desc, NULL));
	(void)slime_ep_connect(a, &b_desc, 0, NULL); /* starts */
	must(slime_ep_connect(b, &a_desc, forever, NULL));
	must(slime_mr_export(exported, &mr_desc, NULL));
	must(slime_ep_import(b, &mr_desc, &rmr, NULL));
	for (uint64_t i = 0; i < MOST; i++)
		segs[i] = (struct slime_seg){local, rmr, i * 8, i * 8, 8, 0, 0, 0};
	for (size_t s = 0; s < sizeof(sizes) / sizeof(*sizes); s++) {
		size_t times = 400000 / (sizes[s] + 20) + 20;
		double round[ROUNDS];

		for (int r = 0; r < ROUNDS; r++) {
			double begun = now_us();

			for (size_t i = 0; i < times; i++)
				read_all(b, segs, sizes[s]);
			round[r] = (now_us() - begun) / (double)times;
		}
		qsort(round, ROUNDS, sizeof(*round), ascending);
		printf("%zu %.3f\n", sizes[s], round[ROUNDS / 2]);
	}
	return 0;
}
