/* SPDX-License-Identifier: BSD-3-Clause */
#include "say.h"

#include <ctype.h>
#include <string.h>

void plain_text(char *text)
{
	for (char *s = text; *s; s++) {
		if ((unsigned char)*s < 0x20 || *s == 0x7f)
			*s = '?';
	}
}

__attribute__((format(printf, 1, 0))) static void say_line(const char *fmt, va_list ap)
{
	char line[1200];

	(void)vsnprintf(line, sizeof(line), fmt, ap);
	/* names of files and peers are in it, which must not move the cursor */
	plain_text(line);
	(void)fprintf(stderr, "dlslime: %s\n", line);
}

void say(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say_line(fmt, ap);
	va_end(ap);
}

int say_usage(const char *verb, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say_line(fmt, ap);
	va_end(ap);
	(void)fprintf(stderr, "try 'dlslime %s%s--help'\n", verb ? verb : "", verb ? " " : "");
	return EXIT_USAGE;
}

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

const char *errno_name(int code, char *buf, size_t cap)
{
	const char *name = strerror_r(-code, buf, cap);

	if (name != buf)
		(void)snprintf(buf, cap, "%s", name);
	if (cap > 1 && islower((unsigned char)buf[1]))
		buf[0] = (char)tolower((unsigned char)buf[0]);
	return buf;
}

/* Bytes of the UTF-8 character at S, 0 if it is none. */
static size_t utf8_len(const unsigned char *s)
{
	/* the least second byte refuses overlong forms, the greatest surrogates and what is past
	 * U+10FFFF */
	unsigned char lo = s[0] == 0xe0 ? 0xa0 : s[0] == 0xf0 ? 0x90 : 0x80;
	unsigned char hi = s[0] == 0xed ? 0x9f : s[0] == 0xf4 ? 0x8f : 0xbf;
	size_t n = s[0] < 0x80   ? 1
	           : s[0] < 0xc2 ? 0
	           : s[0] < 0xe0 ? 2
	           : s[0] < 0xf0 ? 3
	           : s[0] < 0xf5 ? 4
	                         : 0;

	if (n > 1 && (s[1] < lo || s[1] > hi))
		return 0;
	for (size_t i = 2; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80)
			return 0;
	}
	return n;
}

void print_json_string(FILE *f, const char *text)
{
	const unsigned char *s = (const unsigned char *)text;

	(void)fputc('"', f);
	while (*s) {
		size_t n = utf8_len(s);

		if (*s == '"' || *s == '\\')
			(void)fprintf(f, "\\%c", *s);
		else if (*s < 0x20 || *s == 0x7f)
			(void)fprintf(f, "\\u%04x", *s);
		else if (n == 0)
			(void)fputs("\\ufffd", f);
		else
			(void)fwrite(s, 1, n, f);
		s += n ? n : 1;
	}
	(void)fputc('"', f);
}
