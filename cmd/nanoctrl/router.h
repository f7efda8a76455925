/* SPDX-License-Identifier: BSD-3-Clause */
/* nanoctrl/router.h - which route a call is for, and whether it may run. The loop's thread only. */
#ifndef NANOCTRL_ROUTER_H
#define NANOCTRL_ROUTER_H

#include "call.h"
#include "histogram.h"

enum { ROUTE_MAX_PARTS = 6, ROUTE_MAX_STATUSES = 12 };

/* A route, and what was done for it. */
struct route_entry {
	const struct route *route; /* of what matches none: NULL */
	size_t n_parts;
	struct {
		const char *text; /* in the table; of "{x}": "x" */
		size_t len;
		bool is_name;
	} part[ROUTE_MAX_PARTS];
	struct histogram *latency;
	struct {
		int status; /* 0: free */
		uint64_t n;
	} count[ROUTE_MAX_STATUSES];
};

/* Take over TABLES, NULL at the end. -ENOMEM. Once. */
int router_init(const struct route *const *tables);
void router_fini(void);

/*
 * The head of CALL is complete: find its route and its token. What is wrong is kept in
 * call->refusal, so that the body can be skipped.
 */
void router_admit(struct call *call);
/* The whole of CALL is there: run it, or answer with the refusal. CALL may be gone afterwards. */
void router_run(struct call *call);
/* CALL was answered with STATUS and BYTES of body: count and log. */
void router_account(const struct call *call, int status, size_t bytes);
/* The entries, for /metrics: 0 .. n-1; the last is for what matches no route. */
size_t router_entries(const struct route_entry **out);

/* Who may what from now on; NULL: everybody all. The reference is stolen. */
void router_set_tokens(struct tokens *tokens);

#endif
