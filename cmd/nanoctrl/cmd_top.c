/* SPDX-License-Identifier: BSD-3-Clause */
/* nanoctrl/cmd_top.c - 'nanoctrl top': agents, their links and rates, live in a terminal. */
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "nanoctrl.h"
#include "obs.h"
#include "sentence.h"
#include "verbs.h"

static const char usage[] =
    "top [OPTION]...\n"
    "\n"
    "Agents, their links and rates, until 'q' or Ctrl-C. Not on a terminal: once.\n"
    "\n"
    "  --address ADDR    of the daemon: HOST:PORT or unix:PATH (the one that 'start'\n"
    "                    has started here, else the usual port of this host)\n"
    "  --token TOKEN     for that daemon\n"
    "  --redis-url URL   read what agents write to Redis instead\n"
    "  --scope SCOPE     of one scope\n"
    "  --stale-ms MS     older reports are stale (45000)\n"
    "  --interval S      between two looks (1)\n"
    "  --once            print once and end\n";

static volatile sig_atomic_t ended;

static void on_signal(int signal)
{
	(void)signal;
	ended = 1;
}

static void on_resize(int signal)
{
	(void)signal;
}

/* The snapshot of the same session in BEFORE; NULL: there is none. */
static const json_t *earlier(const json_t *before, const json_t *snapshot)
{
	const json_t *other;
	size_t i;

	json_array_foreach(
	    before, i,
	    other) if (!strcmp(obs_text(other, "peer_id"), obs_text(snapshot, "peer_id")) &&
	               !strcmp(obs_text(other, "session_id"),
	                       obs_text(snapshot, "session_id"))) return other;
	return NULL;
}

/* Batches per second since BEFORE; negative: not known. */
static double batch_rate(const json_t *before, const json_t *snapshot)
{
	const json_t *other = earlier(before, snapshot);
	int64_t ms = obs_int(snapshot, "reported_at_ms") - obs_int(other, "reported_at_ms");
	int64_t n = obs_int(json_object_get(snapshot, "summary"), "batch_total") -
	            obs_int(json_object_get(other, "summary"), "batch_total");

	return other && ms > 0 && n >= 0 ? (double)n * 1000 / (double)ms : -1;
}

static void add_agent(struct obs_table *table, const json_t *snapshot, const json_t *before,
                      int64_t stale_ms)
{
	const json_t *summary = json_object_get(snapshot, "summary");
	int64_t now = obs_now_ms();
	double rate = batch_rate(before, snapshot);
	char text[OBS_TEXT];

	obs_table_cell(table, obs_text(snapshot, "peer_id"));
	obs_table_cell(table, obs_text(snapshot, "host"));
	obs_table_cell(table, obs_age(now - obs_int(snapshot, "reported_at_ms"), text));
	obs_table_cell(table, obs_state(snapshot, stale_ms, now));
	obs_table_number(table, (int64_t)json_array_size(json_object_get(snapshot, "connections")));
	obs_table_cell(table, obs_rate(obs_real(snapshot, "ewma_bandwidth_bps"), text));
	(void)snprintf(text, sizeof(text), rate < 0 ? "-" : "%.0f", rate);
	obs_table_cell(table, text);
	obs_table_cell(table, obs_bytes((double)obs_int(summary, "completed_bytes_total"), text));
	obs_table_number(table, obs_int(summary, "pending_ops"));
	obs_table_number(table, obs_int(summary, "error_total"));
}

static void print_agents(FILE *f, const json_t *snapshots, const json_t *before, int64_t stale_ms)
{
	struct obs_table *table =
	    obs_table_create("AGENT HOST >AGE STATE >LINKS >BW >OPS/S >BYTES >PENDING >ERRORS");
	const json_t *snapshot;
	double bandwidth = 0;
	char text[OBS_TEXT];
	size_t i;

	if (!table)
		return;
	json_array_foreach(snapshots, i, snapshot)
	{
		add_agent(table, snapshot, before, stale_ms);
		if (!strcmp(obs_state(snapshot, stale_ms, obs_now_ms()), "alive"))
			bandwidth += obs_real(snapshot, "ewma_bandwidth_bps");
	}
	(void)fprintf(f, "%zu agents, %s\n", json_array_size(snapshots), obs_rate(bandwidth, text));
	obs_table_print(table, f);
	obs_table_destroy(table);
}

/* A terminal that gives single keys; what it was is in OLD. */
static bool take_terminal(struct termios *old)
{
	struct termios raw;

	if (!isatty(STDIN_FILENO) || tcgetattr(STDIN_FILENO, old))
		return false;
	raw = *old;
	raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	return tcsetattr(STDIN_FILENO, TCSANOW, &raw) == 0;
}

/* The first N characters of a line; 0: all of it. */
static void print_start(const char *line, size_t n)
{
	size_t i = 0, begun = 0;

	for (; line[i] && line[i] != '\n'; i++)
		if (((unsigned char)line[i] & 0xc0) != 0x80 && n && begun++ == n)
			break;
	(void)fwrite(line, 1, i, stdout);
}

/* As much of TEXT as fits on the screen, and how many lines do not; 0: of unknown size. */
static void print_fitting(const char *text, size_t columns, size_t rows)
{
	size_t lines = 0;
	char more[40];

	for (const char *at = text; (at = strchr(at, '\n')); at++)
		lines++;
	for (size_t row = 0; row < lines && (!rows || row < rows); row++) {
		bool last = rows && row + 1 == rows && lines > rows;

		(void)snprintf(more, sizeof(more), "%zu more lines", lines - row);
		(void)fputs(row ? "\n" : "", stdout);
		print_start(last ? more : text, columns);
		text = strchr(text, '\n') + 1;
	}
}

static void show_frame(const char *text)
{
	struct winsize size = {0};

	(void)ioctl(STDOUT_FILENO, TIOCGWINSZ, &size);
	(void)fputs("\x1b[H\x1b[2J", stdout);
	print_fitting(text, size.ws_col, size.ws_row);
	(void)fflush(stdout);
}

/* One look, as text; freed by the caller. NULL: no memory. */
static char *draw(const struct obs_options *o, const json_t *now, const json_t *before,
                  const struct slime_error *err)
{
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	if (!f)
		return NULL;
	if (now)
		print_agents(f, now, before, o->stale_ms);
	else
		(void)fprintf(f, "%s\n", err->text);
	if (fclose(f) == 0)
		return text;
	free(text);
	return NULL;
}

/* Wait for the next look; false: it is over. */
static bool wait_for_next(bool keys, int64_t ms)
{
	struct pollfd in = {.fd = keys ? STDIN_FILENO : -1, .events = POLLIN};
	char key = 0;

	if (poll(&in, 1, (int)ms) > 0 && (read(STDIN_FILENO, &key, 1) <= 0 || key == 'q'))
		return false;
	return !ended;
}

static void show_live(const struct obs_options *o)
{
	json_t *before = NULL, *now;
	struct slime_error err;
	struct termios old;
	bool keys = take_terminal(&old);
	char *frame;

	(void)fputs("\x1b[?1049h\x1b[?25l", stdout); /* another screen, no cursor */
	do {
		now = obs_fetch(&o->place, &err);
		frame = draw(o, now, before, &err);
		if (frame)
			show_frame(frame);
		free(frame);
		if (now) {
			json_decref(before);
			before = now;
		}
	} while (wait_for_next(keys, o->every_ms));
	json_decref(before);
	(void)fputs("\x1b[?25h\x1b[?1049l", stdout);
	(void)fflush(stdout);
	if (keys)
		(void)tcsetattr(STDIN_FILENO, TCSANOW, &old);
}

int verb_top(int argc, char **argv)
{
	const struct sigaction action = {.sa_handler = on_signal};
	const struct sigaction resized = {.sa_handler = on_resize};
	struct obs_options o = {.usage = usage, .takes = OBS_TAKES_TIME};
	char here[32];
	struct slime_error err;
	json_t *snapshots;
	int first, rc = obs_options_parse(argc, argv, &o, &first);

	if (rc)
		return rc - 1;
	if (first < argc)
		return say_usage("top takes no '%s'", argv[first]);
	(void)snprintf(here, sizeof(here), "127.0.0.1:%u", nanoctrl.persona->port);
	if (!o.place.address && !o.place.redis_url)
		o.place.address = here;
	snapshots = obs_fetch(&o.place, &err); /* who cannot be reached at all is said plainly */
	if (!snapshots) {
		say("%s", err.text);
		return EXIT_FAILED;
	}
	if (o.once || !isatty(STDOUT_FILENO)) {
		print_agents(stdout, snapshots, NULL, o.stale_ms);
	} else {
		(void)sigaction(SIGINT, &action, NULL);
		(void)sigaction(SIGTERM, &action, NULL);
		(void)sigaction(SIGWINCH, &resized, NULL); /* ends the wait for the next look */
		show_live(&o);
	}
	json_decref(snapshots);
	return EXIT_GOOD;
}
