/* SPDX-License-Identifier: BSD-3-Clause */
/* progress_bar.h - how far it is, on stderr, if that is a terminal. One thread. */
#ifndef DLSLIME_PROGRESS_BAR_H
#define DLSLIME_PROGRESS_BAR_H

#include <stdbool.h>
#include <stdint.h>

struct progress_bar {
	const char *what; /* "getting" */
	char name[64];
	bool shown;
	int64_t begun_ns;
	int64_t drawn_ns;
	uint64_t begun_at;
};

/* AT bytes of it are there. */
void bar_begin(struct progress_bar *bar, const char *what, const char *name, uint64_t at);

/* Draw it anew if the last time is a while ago. */
void bar_show(struct progress_bar *bar, uint64_t at, uint64_t total);

/* Take it off the screen, to print something else. */
void bar_clear(struct progress_bar *bar);

#endif
