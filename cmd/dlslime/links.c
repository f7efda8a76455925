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
#include "terminal.h"
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

/* The columns of the table, in their order, and as wide as they like to be. */
enum { AGENT, PEER, OVER, STATE, RATE, RECONNECTS, AGE, COLUMNS };
static const int wide[COLUMNS] = {24, 24, 16, 12, 8, 10, 7};
enum { NAME_WISHED = 12, NAME_LEAST = 4, STATE_LEAST = 9 };

/*
 * How wide each is in a terminal of WIDTH; 0: there is no room for it. Names give way first, then
 * the columns that say least.
 */
static void fit(int width, int out[COLUMNS])
{
	static const int order[] = {AGE, RECONNECTS, OVER, RATE};
	int used = COLUMNS - 1, room;

	memcpy(out, wide, sizeof(wide));
	for (int c = 0; c < COLUMNS; c++)
		used += wide[c];
	if (!width || used < width)
		return;
	used -= wide[AGENT] + wide[PEER];
	for (size_t i = 0;
	     i < sizeof(order) / sizeof(order[0]) && width - 1 - used < 2 * NAME_WISHED; i++) {
		used -= out[order[i]] + 1;
		out[order[i]] = 0;
	}
	if (width - 1 - used < 2 * NAME_LEAST) {
		used -= out[STATE] - STATE_LEAST;
		out[STATE] = STATE_LEAST;
	}
	if (width - 1 - used < 2) {
		used -= out[STATE] + 1;
		out[STATE] = 0;
	}
	room = width - 1 - used;
	room = room < 2 ? 2 : room;
	out[AGENT] = room - room / 2 < wide[AGENT] ? room - room / 2 : wide[AGENT];
	out[PEER] = room / 2 < wide[PEER] ? room / 2 : wide[PEER];
}

/* One cell after the other; what a terminal would obey is not in it. */
static void cell(const int widths[COLUMNS], int column, const char *text)
{
	char plain[600];

	if (!widths[column])
		return;
	(void)snprintf(plain, sizeof(plain), "%s", text);
	plain_text(plain);
	if (column)
		(void)putchar(' ');
	if (column >= RATE)
		(void)printf("%*s", widths[column], plain);
	else if (!isatty(STDOUT_FILENO)) /* for programs: whole */
		(void)printf("%-*s", widths[column], plain);
	else
		print_column(plain, widths[column]);
}

static void print_head(const int widths[COLUMNS])
{
	static const char *const heads[COLUMNS] = {"AGENT",  "PEER",       "OVER", "STATE",
	                                           "GBIT/S", "RECONNECTS", "AGE S"};

	for (int c = 0; c < COLUMNS; c++)
		cell(widths, c, heads[c]);
	(void)putchar('\n');
}

static void print_agent(json_t *snapshot, int64_t now_ms, const int widths[COLUMNS])
{
	json_t *links = json_object_get(snapshot, "connections");
	double gbps = json_number_value(json_object_get(snapshot, "ewma_bandwidth_bps")) / 1e9;
	json_int_t at = json_integer_value(json_object_get(snapshot, "reported_at_ms"));
	char rate[32], reconnects[32], age[32];
	json_t *link;
	size_t i;

	(void)snprintf(rate, sizeof(rate), "%.3f", gbps);
	(void)snprintf(age, sizeof(age), "%.1f", (double)(now_ms - at) / 1e3);
	json_array_foreach(links, i, link)
	{
		(void)snprintf(reconnects, sizeof(reconnects), "%lld",
		               (long long)json_integer_value(json_object_get(link, "reconnects")));
		cell(widths, AGENT, text_of(snapshot, "peer_id"));
		cell(widths, PEER, text_of(link, "peer"));
		cell(widths, OVER, text_of(link, "local_nic"));
		cell(widths, STATE, text_of(link, "state"));
		cell(widths, RATE, rate);
		cell(widths, RECONNECTS, reconnects);
		cell(widths, AGE, age);
		(void)putchar('\n');
	}
}

static int show(struct by_name *b)
{
	struct slime_error err;
	struct timespec wall;
	json_t *list, *one;
	int widths[COLUMNS];
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
	fit(terminal_width(STDOUT_FILENO), widths);
	print_head(widths);
	json_array_foreach(list, i, one)
	    print_agent(one, wall.tv_sec * 1000 + wall.tv_nsec / 1000000, widths);
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
