/* SPDX-License-Identifier: BSD-3-Clause */
#include "terminal.h"

#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

int terminal_width(int fd)
{
	struct winsize ws = {0};

	if (!isatty(fd))
		return 0;
	return ioctl(fd, TIOCGWINSZ, &ws) < 0 || ws.ws_col == 0 ? 80 : ws.ws_col;
}

/* A byte that goes on with a character of UTF-8. */
static int goes_on(char c)
{
	return (c & 0xc0) == 0x80;
}

int text_fit(const char *text, int columns)
{
	int n = 0;

	for (; columns > 0 && text[n]; columns--) {
		n++;
		while (goes_on(text[n]))
			n++;
	}
	return n;
}

void print_column(const char *text, int columns)
{
	int bytes = text_fit(text, columns), used = 0;

	for (int i = 0; i < bytes; i++)
		used += !goes_on(text[i]);
	(void)printf("%.*s%*s", bytes, text, columns - used, "");
}
