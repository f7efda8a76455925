/* SPDX-License-Identifier: BSD-3-Clause */
/* links.c - dlslime links: who is connected with whom, and how much moves. */
#include <errno.h>
#include <jansson.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "by_name.h"
#include "say.h"
#include "verbs.h"

static const char help[] = "usage: dlslime links [OPTION]...\n\n"
			   "Every agent's links and its rate, as the agents last told nanoctrl.\n\n"
			   "  --every S          again every S seconds, until interrupted\n";

static _Atomic int interrupted;

static void on_interrupt(int sig)
{
	(void)sig;
	atomic_store(&interrupted, 1);
}

static const char *text_of(json_t *in, const char *name)
{
	const char *text = json_string_value(json_object_get(in, name));

	return text ? text : "";
}

/* As a column: without what a terminal would obey. */
static void column(const char *text, int width)
{
	char plain[600];

	(void)snprintf(plain, sizeof(plain), "%s", text);
	plain_text(plain);
	(void)printf("%-*s ", width, plain);
}

static void print_agent(json_t *snapshot, int64_t now_ms)
{
	json_t *links = json_object_get(snapshot, "connections");
	double gbps = json_number_value(json_object_get(snapshot, "ewma_bandwidth_bps")) / 1e9;
	json_int_t at = json_integer_value(json_object_get(snapshot, "reported_at_ms"));
	json_t *link;
	size_t i;

	json_array_foreach(links, i, link)
	{
		column(text_of(snapshot, "peer_id"), 24);
		column(text_of(link, "peer"), 24);
		column(text_of(link, "local_nic"), 16);
		column(text_of(link, "state"), 11);
		(void)printf("%8.3f %10lld %7.1f\n", gbps,
		             (long long)json_integer_value(json_object_get(link, "reconnects")),
		             (double)(now_ms - at) / 1e3);
	}
}

static int show(struct by_name *b)
{
	struct slime_error err;
	struct timespec wall;
	json_t *list, *one;
	char *text;
	size_t i;

	if (slime_agent_snapshots(b->agent, &text, &err)) {
		say("%s", err.text);
		return EXIT_FAILED;
	}
	if (b->json) {
		(void)printf("%s\n", text);
		slime_text_free(text);
		return 0;
	}
	list = json_loads(text, 0, NULL);
	slime_text_free(text);
	(void)clock_gettime(CLOCK_REALTIME, &wall);
	(void)printf("%-24s %-24s %-16s %-11s %8s %10s %7s\n", "AGENT", "PEER", "OVER", "STATE",
	             "GBIT/S", "RECONNECTS", "AGE S");
	json_array_foreach(list, i, one)
	    print_agent(one, wall.tv_sec * 1000 + wall.tv_nsec / 1000000);
	json_decref(list);
	return 0;
}

int verb_links(int argc, char **argv)
{
	struct sigaction sa = {.sa_handler = on_interrupt};
	struct by_name b = {0};
	int first, rc;

	rc = by_name_options(&b, "links", help, "e", argc, argv, &first);
	if (rc)
		return rc < 0 ? EXIT_GOOD : rc;
	if (argc != first)
		return say_usage("links", "it takes no names");
	rc = by_name_open(&b);
	(void)sigaction(SIGINT, &sa, NULL);
	(void)sigaction(SIGTERM, &sa, NULL);
	while (!rc) {
		if (b.every_s > 0 && !b.json && isatty(STDOUT_FILENO))
			(void)printf("\033[H\033[J");
		rc = show(&b);
		(void)fflush(stdout);
		if (rc || b.every_s <= 0 || atomic_load(&interrupted))
			break;
		by_name_pause(b.every_s);
		if (atomic_load(&interrupted))
			break;
	}
	by_name_close(&b);
	return rc;
}
