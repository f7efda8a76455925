/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/error.h"

#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int sl_fail(struct slime_error *err, int code, const char *fmt, ...)
{
	va_list ap;

	if (!err)
		return code;
	err->code = code;
	va_start(ap, fmt);
	(void)vsnprintf(err->text, sizeof(err->text), fmt, ap);
	va_end(ap);
	return code;
}

const char *sl_error_name(int code, char *buf, size_t cap)
{
	const char *s = strerror_r(-code, buf, cap); /* the GNU one: S may not be BUF */

	if (s != buf)
		(void)snprintf(buf, cap, "%s", s);
	/* "Connection refused" in the middle of a sentence; "RPC ..." stays */
	if (cap > 1 && !isupper((unsigned char)buf[1]))
		buf[0] = (char)tolower((unsigned char)buf[0]);
	return buf;
}
