/* SPDX-License-Identifier: BSD-3-Clause */
#include "progress_bar.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "chan.h"
#include "say.h"
#include "size.h"
#include "terminal.h"

static const int64_t draw_every_ns = 100000000;

enum { NAME_WIDTH = 16, NAME_LEAST = 6 };

void bar_begin(struct progress_bar *bar, const char *what, const char *name, uint64_t at)
{
	bar_clear(bar);
	bar->what = what;
	(void)snprintf(bar->name, sizeof(bar->name), "%s", name);
	plain_text(bar->name);
	bar->begun_ns = now_ns();
	bar->drawn_ns = bar->begun_ns;
	bar->begun_at = at;
}

/* What stands right of the name, the longest first: the first one that fits is taken. */
static int right_side(const struct progress_bar *bar, uint64_t at, uint64_t total, double seconds,
                      int room, char *out, size_t cap)
{
	double share = total ? (double)at / (double)total : 1;
	double rate = (double)(at - bar->begun_at) / seconds;
	char all[32];
	int n = snprintf(out, cap, " %3.0f %% of %s, %.2f GB/s, %.0f s left", share * 100,
	                 size_human(total, all, sizeof(all)), rate / 1e9,
	                 rate > 0 ? (double)(total - at) / rate : 0);

	if (n > room)
		n = snprintf(out, cap, " %3.0f %%, %.2f GB/s", share * 100, rate / 1e9);
	if (n > room)
		n = snprintf(out, cap, " %3.0f %%", share * 100);
	return n;
}

/* A line that is wider than the terminal would leave a line behind with every step. */
static void draw(const struct progress_bar *bar, uint64_t at, uint64_t total, double seconds,
                 int columns)
{
	double share = total ? (double)at / (double)total : 1;
	int what = (int)strlen(bar->what) + 1, room = columns - 1, name, width;
	char right[96];
	int n = right_side(bar, at, total, seconds, room - what - NAME_LEAST, right, sizeof(right));

	if (n > room - what - NAME_LEAST)
		what = 0;
	name = room - what - n;
	name = name > NAME_WIDTH ? NAME_WIDTH : name < 0 ? 0 : name;
	width = room - what - name - n - 3;
	(void)fprintf(stderr, "\r%s%s", what ? bar->what : "", what ? " " : "");
	(void)fprintf(stderr, "%.*s", text_fit(bar->name, name), bar->name);
	if (width > 4) {
		(void)fprintf(stderr, "\033[%dG [", what + name + 1);
		for (int i = 0; i < width; i++)
			(void)fputc(i < (int)(share * width) ? '#' : ' ', stderr);
		(void)fprintf(stderr, "]");
	}
	if (room > 0)
		(void)fprintf(stderr, "%.*s\033[K", room, right);
}

void bar_show(struct progress_bar *bar, uint64_t at, uint64_t total)
{
	int64_t now = now_ns();
	int columns = now - bar->drawn_ns < draw_every_ns ? 0 : terminal_width(STDERR_FILENO);

	if (!columns)
		return;
	bar->drawn_ns = now;
	bar->shown = true;
	draw(bar, at, total, (double)(now - bar->begun_ns) / 1e9, columns);
}

void bar_clear(struct progress_bar *bar)
{
	if (bar->shown)
		(void)fprintf(stderr, "\r\033[K");
	bar->shown = false;
}
