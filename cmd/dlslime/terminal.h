/* SPDX-License-Identifier: BSD-3-Clause */
/* terminal.h - how wide it is, and what fits into it. */
#ifndef DLSLIME_TERMINAL_H
#define DLSLIME_TERMINAL_H

/* Columns of the terminal that FD is; 0: it is none. */
int terminal_width(int fd);

/* Bytes of TEXT, in whole characters, that take COLUMNS at most. */
int text_fit(const char *text, int columns);

/* TEXT in COLUMNS exactly, cut or with blanks behind, to stdout. */
void print_column(const char *text, int columns);

#endif
