/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * agent/observe.c - what this agent does, as a snapshot for those who look on.
 *
 * The document is the reference's, schema 1 (compat: peer-agent.md 3.8), so its
 * tools read it: counters since the context was made, per device, and the links.
 * Bandwidth is an exponential mean of what was completed, weight 0.3 a snapshot.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/agent_impl.h"

enum { NICS_MAX = 16, TEXT_MAX = 1600 };

static uint64_t sum(const uint64_t counts[SLIME_STAT_OPS])
{
	uint64_t total = 0;

	for (int i = 0; i < SLIME_STAT_OPS; i++)
		total += counts[i];
	return total;
}

static double smooth(double before, double now)
{
	return before > 0 ? 0.3 * now + 0.7 * before : now;
}

/* Bits per second since the last snapshot, BYTES in all so far. */
static double rate(struct sl_observed *o, uint64_t bytes, int64_t now)
{
	double seconds = (double)(now - o->at_ns) / 1e9;

	if (o->at_ns && seconds > 0)
		o->bps = smooth(o->bps, 8.0 * (double)(bytes - o->bytes) / seconds);
	o->bytes = bytes;
	o->at_ns = now;
	return o->bps;
}

static json_t *counters(const struct slime_stats *s)
{
	uint64_t submitted = sum(s->submitted), failed = sum(s->failed);
	uint64_t done = sum(s->completed);

	return json_pack("{sI, sI, sI, sI, sI, sI, sI}", "assign_total", (json_int_t)submitted,
	                 "batch_total", (json_int_t)submitted, "submitted_bytes_total",
	                 (json_int_t)sum(s->bytes_submitted), "completed_bytes_total",
	                 (json_int_t)sum(s->bytes_completed), "failed_bytes_total", (json_int_t)0,
	                 "pending_ops", (json_int_t)(submitted - done - failed), "error_total",
	                 (json_int_t)failed);
}

static json_t *nic(const struct slime_stats *s, double bps)
{
	json_t *out = counters(s);
	char name[96];

	(void)snprintf(name, sizeof(name), "%s%s%s", s->transport, s->device[0] ? ":" : "",
	               s->device);
	(void)json_object_set_new(out, "nic", json_string(name));
	(void)json_object_set_new(out, "nic_bdf", json_string(""));
	(void)json_object_set_new(out, "post_batch_total", json_integer((json_int_t)s->posts));
	(void)json_object_set_new(out, "post_wr_total", json_integer((json_int_t)s->posts));
	(void)json_object_set_new(out, "post_bytes_total", json_integer((json_int_t)s->post_bytes));
	(void)json_object_set_new(out, "post_failures_total",
	                          json_integer((json_int_t)s->post_failures));
	(void)json_object_set_new(out, "cq_errors_total",
	                          json_integer((json_int_t)s->completion_errors));
	(void)json_object_set_new(out, "ewma_bandwidth_bps", json_real(bps));
	return out;
}

static void add_counters(json_t *sum_of, json_t *one)
{
	const char *key;
	json_t *value;

	json_object_foreach(one, key, value)(void)
	    json_object_set_new(sum_of, key,
	                        json_integer(json_integer_value(value) +
	                                     json_integer_value(json_object_get(sum_of, key))));
}

static void add_regions(json_t *summary, const struct slime_stats *s)
{
	static const char *const counts[] = {"user_mr_count", "mr_count"};
	static const char *const bytes[] = {"user_mr_bytes", "mr_bytes"};

	for (int i = 0; i < 2; i++) {
		(void)json_object_set_new(summary, counts[i], json_integer((json_int_t)s->regions));
		(void)json_object_set_new(summary, bytes[i],
		                          json_integer((json_int_t)s->region_bytes));
	}
	(void)json_object_set_new(summary, "sys_mr_count", json_integer(0));
	(void)json_object_set_new(summary, "sys_mr_bytes", json_integer(0));
}

/* "a:shm->b:shm#qp1" in the manner of the reference. */
static json_t *connection(slime_agent *agent, slime_link *link)
{
	struct slime_link_info info = {.size = sizeof(info)};
	bool up;
	char id[TEXT_MAX], local[160];
	json_t *waited = json_array();

	(void)slime_link_get_info(link, &info);
	up = info.state == SLIME_LINK_UP;
	(void)snprintf(local, sizeof(local), "%s%s%s", info.transport, info.device[0] ? ":" : "",
	               info.device);
	(void)snprintf(id, sizeof(id), "%s:%s->%s#%s", agent->alias, local, info.peer, link->key);
	for (int i = 0; i < SLIME_LINK_WAITS; i++)
		(void)json_array_append_new(waited, json_integer((json_int_t)info.waited[i]));
	return json_pack("{ss, ss, ss, ss, ss, sb, sI, sI, sI, sI, so}", "conn_id", id, "peer",
	                 info.peer, "local_nic", local, "remote_nic", "", "state",
	                 up                                ? "connected"
	                 : info.state == SLIME_LINK_CLOSED ? "failed"
	                                                   : "connecting",
	                 "connected", up, "reconnects", (json_int_t)info.reconnects,
	                 "transfers_total", (json_int_t)info.transfers, "bytes_total",
	                 (json_int_t)info.bytes, "failed_total", (json_int_t)info.failed,
	                 "waited_us_log2", waited);
}

static json_t *connections(slime_agent *agent)
{
	json_t *list = json_array();
	slime_link *link;

	TAILQ_FOREACH(link, &agent->links, entry) /* the loop's own list */
	(void)json_array_append_new(list, connection(agent, link));
	return list;
}

json_t *sl_observe(slime_agent *agent)
{
	struct slime_stats stats[NICS_MAX];
	int n = slime_ctx_stats(agent->ctx, stats, NICS_MAX);
	int64_t now = sl_clock_ns();
	json_t *nics = json_array(), *summary = json_object();
	char host[256] = "", session[TEXT_MAX];
	struct timespec wall;
	uint64_t bytes = 0;

	for (int i = 0; i < n && i < NICS_MAX; i++) {
		json_t *one = counters(&stats[i]);
		uint64_t moved = sum(stats[i].bytes_completed);

		add_counters(summary, one);
		json_decref(one);
		add_regions(summary, &stats[i]);
		(void)json_array_append_new(
		    nics, nic(&stats[i], rate(&agent->observed[i + 1], moved, now)));
		bytes += moved;
	}
	(void)gethostname(host, sizeof(host) - 1);
	(void)clock_gettime(CLOCK_REALTIME, &wall);
	(void)snprintf(session, sizeof(session), "%s:%d:%s", agent->alias, (int)getpid(),
	               agent->life);
	return json_pack("{si, ss, ss, ss, si, sI, so, so, sf, so}", "schema_version", 1,
	                 "session_id", session, "peer_id", agent->alias, "host", host, "pid",
	                 (int)getpid(), "reported_at_ms",
	                 (json_int_t)(wall.tv_sec * 1000 + wall.tv_nsec / 1000000), "summary",
	                 summary, "nics", nics, "ewma_bandwidth_bps",
	                 rate(&agent->observed[0], bytes, now), "connections", connections(agent));
}
