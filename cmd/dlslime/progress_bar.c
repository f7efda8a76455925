/* SPDX-License-Identifier: BSD-3-Clause */
#include "progress_bar.h"

#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "chan.h"
#include "say.h"
#include "size.h"

static const int64_t draw_every_ns = 100000000;

enum { NAME_WIDTH = 16 };

static int terminal_width(void)
{
	struct winsize ws = {0};

	if (ioctl(STDERR_FILENO, TIOCGWINSZ, &ws) < 0 || ws.ws_col == 0)
		return 80;
	return ws.ws_col;
}

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

static void draw(const struct progress_bar *bar, uint64_t at, uint64_t total, double seconds)
{
	double share = total ? (double)at / (double)total : 1;
	double rate = (double)(at - bar->begun_at) / seconds;
	char all[32];
	char right[96];
	int n = snprintf(right, sizeof(right), " %3.0f %% of %s, %.2f GB/s, %.0f s left",
	                 share * 100, size_human(total, all, sizeof(all)), rate / 1e9,
	                 rate > 0 ? (double)(total - at) / rate : 0);
	int width = terminal_width() - 1 - (int)strlen(bar->what) - 1 - NAME_WIDTH - 3 - n;
	int full = (int)(share * width);

	(void)fprintf(stderr, "\r%s %-*.*s", bar->what, NAME_WIDTH, NAME_WIDTH, bar->name);
	if (width > 4) {
		(void)fprintf(stderr, " [");
		for (int i = 0; i < width; i++)
			(void)fputc(i < full ? '#' : ' ', stderr);
		(void)fprintf(stderr, "]");
	}
	(void)fprintf(stderr, "%s\033[K", right);
}

void bar_show(struct progress_bar *bar, uint64_t at, uint64_t total)
{
	int64_t now = now_ns();

	if (now - bar->drawn_ns < draw_every_ns || !isatty(STDERR_FILENO))
		return;
	bar->drawn_ns = now;
	bar->shown = true;
	draw(bar, at, total, (double)(now - bar->begun_ns) / 1e9);
}

void bar_clear(struct progress_bar *bar)
{
	if (bar->shown)
		(void)fprintf(stderr, "\r\033[K");
	bar->shown = false;
}
