/* SPDX-License-Identifier: BSD-3-Clause */
/* perf.h - what the parts of 'dlslime perf' tell each other. */
#ifndef DLSLIME_PERF_H
#define DLSLIME_PERF_H

#include "door.h"
#include "histogram.h"
#include "perf_shape.h"

struct perf_opts {
	struct perf_shape shape; /* of each thread */
	struct address at;       /* where the peer listens */
	const char *bind_to;
	uint16_t port;
	uint32_t threads;
	uint64_t footprint;
	uint64_t iters; /* of all threads together; 0: by time */
	double seconds;
	double warmup_seconds;
	int cpu;      /* -1: anywhere */
	int peer_cpu; /* local only */
	bool poll;
	bool json;
	bool help;
};

/* 0, or EXIT_USAGE after having said why. ACTION is "run", "local" or "serve". */
int perf_opts_parse(const char *action, int argc, char **argv, struct perf_opts *out);

struct perf_result {
	struct histogram latency; /* ns */
	uint64_t ops;
	uint64_t bytes;
	int64_t ns;
	uint64_t n_bad; /* operations whose bytes were wrong; counted when verifying */
	uint32_t lanes;
	char transport[16];
	char device[64];
	char because[1024];
};

/* As the whole 'perf run': connect to O->at, measure, disconnect. CTX is used, not taken. */
int perf_measure(slime_ctx *ctx, const struct perf_opts *o, struct perf_result *out,
                 struct slime_error *err);

void perf_report(const struct perf_opts *o, const struct perf_result *res);

/* Serve clients at DOOR with CTX until it is told to stop; as door_run(). */
int perf_serve(slime_ctx *ctx, struct door *door);

/*
 * Start a server of our own on this host, in a process that ends with this one.
 * Returns its pid. To be called before this process has any thread.
 */
int perf_fork_server(int cpu, struct address *out, struct slime_error *err);
void perf_end_server(int pid);

/* Keep the process, and the threads that it will make, on CPU. */
int perf_pin(int cpu, struct slime_error *err);

#endif
