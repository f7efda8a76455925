/* SPDX-License-Identifier: BSD-3-Clause */
/* nanoctrl/cmd_obs.c - 'nanoctrl obs status|peers|nics|links': what agents report of themselves. */
#include <stdlib.h>
#include <string.h>

#include "obs.h"
#include "options.h"
#include "sentence.h"
#include "verbs.h"

struct view {
	struct obs_options options;
	int64_t now_ms;
	json_t *snapshots;
};

static const char usage[] =
    "obs status|peers|nics|links [OPTION]...\n"
    "\n"
    "What agents report of themselves: who is alive, what each moves, over which NICs.\n"
    "\n"
    "  --redis-url URL   the Redis that they write to\n"
    "  --address ADDR    ask a daemon instead: HOST:PORT or unix:PATH\n"
    "                    (neither: the daemon that 'start' has started here, else\n"
    "                    redis://127.0.0.1:6379)\n"
    "  --token TOKEN     for that daemon\n"
    "  --scope SCOPE     of one scope\n"
    "  --stale-ms MS     older reports are stale (45000)\n"
    "  --json            for programs\n";

static void print_json(json_t *json, size_t flags)
{
	char *text = json ? json_dumps(json, flags) : NULL;

	(void)puts(text ? text : "null");
	free(text);
	json_decref(json);
}

/* Sums over all peers. */
struct total {
	int64_t alive, stale, stopped, assign, batch, bytes, pending, errors;
	double bandwidth;
};

static struct total add_up(const struct view *v)
{
	struct total t = {0};
	const json_t *snapshot;
	size_t i;

	json_array_foreach(v->snapshots, i, snapshot)
	{
		const json_t *summary = json_object_get(snapshot, "summary");
		const char *state = obs_state(snapshot, v->options.stale_ms, v->now_ms);

		t.alive += !strcmp(state, "alive") || !strcmp(state, "starting");
		t.stale += !strcmp(state, "stale");
		t.stopped += !strcmp(state, "stopped");
		t.assign = obs_within(t.assign + obs_int(summary, "assign_total"));
		t.batch = obs_within(t.batch + obs_int(summary, "batch_total"));
		t.bytes = obs_within(t.bytes + obs_int(summary, "completed_bytes_total"));
		t.pending = obs_within(t.pending + obs_int(summary, "pending_ops"));
		t.errors = obs_within(t.errors + obs_int(summary, "error_total"));
		if (!strcmp(state, "alive"))
			t.bandwidth += obs_real(snapshot, "ewma_bandwidth_bps");
	}
	return t;
}

static void show_status(const struct view *v)
{
	struct total t = add_up(v);
	const char *scope = v->options.place.scope;
	char bytes[OBS_TEXT], rate[OBS_TEXT];

	if (v->options.json) {
		print_json(json_pack("{sI sI sI sI sf sI sI sI}", "alive", (json_int_t)t.alive,
		                     "assign_total", (json_int_t)t.assign, "completed_bytes_total",
		                     (json_int_t)t.bytes, "error_total", (json_int_t)t.errors,
		                     "ewma_bandwidth_bps", t.bandwidth, "pending_ops",
		                     (json_int_t)t.pending, "stale", (json_int_t)t.stale, "stopped",
		                     (json_int_t)t.stopped),
		           JSON_INDENT(2) | JSON_SORT_KEYS);
		return;
	}
	printf("%s: %s  Scope: %s\n", v->options.place.address ? "Daemon" : "Redis",
	       v->options.place.address ? v->options.place.address : v->options.place.redis_url,
	       scope && *scope ? scope : "(none)");
	printf("Peers: %lld alive, %lld stale, %lld stopped\n", (long long)t.alive,
	       (long long)t.stale, (long long)t.stopped);
	printf("Total: assign=%lld batch=%lld bytes=%s pending=%lld errors=%lld\n",
	       (long long)t.assign, (long long)t.batch, obs_bytes((double)t.bytes, bytes),
	       (long long)t.pending, (long long)t.errors);
	printf("Estimated BW: %s (EWMA)\n", obs_rate(t.bandwidth, rate));
}

static void print_table(struct obs_table *table)
{
	obs_table_print(table, stdout);
	obs_table_destroy(table);
}

/* The columns that peers and NICs share. */
static void add_traffic(struct obs_table *table, const json_t *counters, double bandwidth)
{
	char text[OBS_TEXT];

	obs_table_number(table, obs_int(counters, "assign_total"));
	obs_table_number(table, obs_int(counters, "batch_total"));
	obs_table_cell(table, obs_rate(bandwidth, text));
	obs_table_cell(table, obs_bytes((double)obs_int(counters, "completed_bytes_total"), text));
	obs_table_number(table, obs_int(counters, "pending_ops"));
	obs_table_number(table, obs_int(counters, "error_total"));
}

static int64_t age_of(const struct view *v, const json_t *snapshot)
{
	return v->now_ms - obs_int(snapshot, "reported_at_ms");
}

static void show_peers(const struct view *v)
{
	struct obs_table *table;
	const json_t *snapshot;
	char text[OBS_TEXT];
	size_t i;

	if (v->options.json) {
		print_json(json_incref(v->snapshots), JSON_INDENT(2) | JSON_SORT_KEYS);
		return;
	}
	table =
	    obs_table_create("PEER HOST PID AGE STATE >ASSIGN >BATCH >BW >BYTES >PENDING >ERRORS");
	if (!table)
		return;
	json_array_foreach(v->snapshots, i, snapshot)
	{
		obs_table_cell(table, obs_text(snapshot, "peer_id"));
		obs_table_cell(table, obs_text(snapshot, "host"));
		obs_table_number(table, obs_int(snapshot, "pid"));
		obs_table_cell(table, obs_age(age_of(v, snapshot), text));
		obs_table_cell(table, obs_state(snapshot, v->options.stale_ms, v->now_ms));
		add_traffic(table, json_object_get(snapshot, "summary"),
		            obs_real(snapshot, "ewma_bandwidth_bps"));
	}
	print_table(table);
}

/* Each object of the array MEMBER of each snapshot, with who reported it and how long ago. */
static json_t *gather(const struct view *v, const char *member, const char *who)
{
	json_t *all = json_array(), *object;
	const json_t *snapshot;
	size_t i, k;

	json_array_foreach(v->snapshots, i, snapshot)
	{
		json_array_foreach(json_object_get(snapshot, member), k, object)
		{
			json_t *copy = json_is_object(object) ? json_copy(object) : NULL;

			if (!copy)
				continue;
			(void)json_object_set_new(copy, who,
			                          json_string(obs_text(snapshot, "peer_id")));
			(void)json_object_set_new(copy, "age_ms",
			                          json_integer(age_of(v, snapshot)));
			(void)json_array_append_new(all, copy);
		}
	}
	return all;
}

static void show_nics(const struct view *v)
{
	json_t *nics = gather(v, "nics", "peer_id"), *nic;
	struct obs_table *table;
	char text[OBS_TEXT];
	size_t i;

	if (v->options.json) {
		print_json(nics, JSON_INDENT(2) | JSON_SORT_KEYS);
		return;
	}
	table =
	    obs_table_create("PEER NIC AGE >ASSIGN >BATCH >BW >BYTES >PENDING >ERRORS >POST_BYTES "
	                     ">POST_FAIL >CQ_ERR");
	json_array_foreach(nics, i, nic)
	{
		if (!table)
			break;
		obs_table_cell(table, obs_text(nic, "peer_id"));
		obs_table_cell(table, obs_text(nic, "nic"));
		obs_table_cell(table, obs_age(obs_int(nic, "age_ms"), text));
		add_traffic(table, nic, obs_real(nic, "ewma_bandwidth_bps"));
		obs_table_cell(table, obs_bytes((double)obs_int(nic, "post_bytes_total"), text));
		obs_table_number(table, obs_int(nic, "post_failures_total"));
		obs_table_number(table, obs_int(nic, "cq_errors_total"));
	}
	if (table)
		print_table(table);
	json_decref(nics);
}

static void show_links(const struct view *v)
{
	json_t *links = gather(v, "connections", "src_peer"), *link;
	struct obs_table *table;
	size_t i;

	if (v->options.json) {
		print_json(links, JSON_INDENT(2) | JSON_SORT_KEYS);
		return;
	}
	if (json_array_size(links) == 0) {
		puts("(no connections reported)");
		json_decref(links);
		return;
	}
	table =
	    obs_table_create("SRC_PEER SRC_NIC DST_PEER DST_NIC STATE >BW >BYTES >PENDING >ERRORS");
	json_array_foreach(links, i, link)
	{
		if (!table)
			break;
		obs_table_cell(table, obs_text(link, "src_peer"));
		obs_table_cell(table, obs_text(link, "local_nic"));
		obs_table_cell(table, obs_text(link, "peer"));
		obs_table_cell(table, obs_text(link, "remote_nic"));
		obs_table_cell(table, obs_text(link, "state"));
		for (int k = 0; k < 4; k++)
			obs_table_cell(table, "-");
	}
	if (table)
		print_table(table);
	puts("Note: traffic is counted by NIC, not by link; see 'obs nics'.");
	json_decref(links);
}

static const struct {
	const char *name;
	void (*show)(const struct view *view);
} views[] = {
    {"status", show_status}, {"peers", show_peers}, {"nics", show_nics}, {"links", show_links}};
enum { N_VIEWS = sizeof(views) / sizeof(views[0]) };

int verb_obs(int argc, char **argv)
{
	struct view v = {.options = {.usage = usage, .takes = OBS_TAKES_JSON}};
	void (*show)(const struct view *) = NULL;
	struct slime_error err;
	int first, rc = obs_options_parse(argc, argv, &v.options, &first);

	if (rc)
		return rc - 1;
	for (size_t i = 0; i < N_VIEWS && first < argc; i++)
		if (!strcmp(argv[first], views[i].name))
			show = views[i].show;
	if (!show || first + 1 != argc)
		return say_usage("obs takes one of status, peers, nics and links");
	if (!v.options.place.redis_url && !v.options.place.address)
		v.options.place.redis_url = "redis://127.0.0.1:6379";
	v.snapshots = obs_fetch(&v.options.place, &err);
	if (!v.snapshots) {
		say("%s", err.text);
		return EXIT_FAILED;
	}
	v.now_ms = obs_now_ms();
	if (json_array_size(v.snapshots) == 0 && !v.options.json && show != show_status)
		puts("(no obs snapshots found)");
	else
		show(&v);
	json_decref(v.snapshots);
	return EXIT_GOOD;
}
