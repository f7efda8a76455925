/* SPDX-License-Identifier: BSD-3-Clause */
#include "sentence.h"

#include <stdarg.h>
#include <stdio.h>

#include "nanoctrl.h"

int refuse(struct slime_error *err, int code, const char *fmt, ...)
{
	struct slime_error text;
	va_list ap;

	if (!err)
		return code;
	/* into a copy: an argument may be ERR's own old text */
	text.code = code;
	va_start(ap, fmt);
	(void)vsnprintf(text.text, sizeof(text.text), fmt, ap);
	va_end(ap);
	*err = text;
	return code;
}

__attribute__((format(printf, 1, 0))) static void say_line(const char *fmt, va_list ap)
{
	char line[1200];

	(void)vsnprintf(line, sizeof(line), fmt, ap);
	/* names of files and peers are in it, which must not move the cursor */
	for (char *s = line; *s; s++) {
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			*s = '?';
	}
	(void)fprintf(stderr, "%s: %s\n", nanoctrl.persona->name, line);
}

void say(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say_line(fmt, ap);
	va_end(ap);
}

int say_usage(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say_line(fmt, ap);
	va_end(ap);
	(void)fprintf(stderr, "try '%s --help'\n", nanoctrl.persona->name);
	return EXIT_USAGE;
}
