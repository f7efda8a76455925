/* SPDX-License-Identifier: BSD-3-Clause */
#include "size.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "say.h"

static const char units[] = "KMGT";

/* Digits only: no sign, no space, which strtoull() would take. Returns where they end, or NULL. */
static const char *digits(const char *text, uint64_t *out)
{
	char *end;

	if (*text < '0' || *text > '9')
		return NULL;
	errno = 0;
	*out = strtoull(text, &end, 10);
	return errno ? NULL : end;
}

/* The power of two that SUFFIX stands for, -1 if it is none. */
static int suffix_shift(const char *suffix)
{
	const char *at;

	if (!*suffix)
		return 0;
	at = strchr(units, *suffix >= 'a' ? *suffix - ('a' - 'A') : *suffix);
	if (!at || !*at || (suffix[1] && strcasecmp(suffix + 1, "iB") != 0))
		return -1;
	return 10 * (int)(at - units + 1);
}

int size_parse(const char *what, const char *text, uint64_t min, uint64_t max, uint64_t *out,
               struct slime_error *err)
{
	char lo[32];
	char hi[32];
	uint64_t v = 0;
	const char *suffix = digits(text, &v);
	int shift = suffix ? suffix_shift(suffix) : -1;

	if (shift < 0)
		return refuse(err, -EINVAL, "%s: '%s' is not a size (write 4096, 64K, 1M or 1G)",
		              what, text);
	if (v > UINT64_MAX >> shift || v << shift < min || v << shift > max)
		return refuse(err, -ERANGE, "%s: '%s' is not within %s to %s", what, text,
		              size_exact(min, lo, sizeof(lo)), size_exact(max, hi, sizeof(hi)));
	*out = v << shift;
	return 0;
}

int number_parse(const char *what, const char *text, uint64_t min, uint64_t max, uint64_t *out,
                 struct slime_error *err)
{
	uint64_t v = 0;
	const char *end = digits(text, &v);

	if (!end || *end)
		return refuse(err, -EINVAL, "%s: '%s' is not a whole number", what, text);
	if (v < min || v > max)
		return refuse(err, -ERANGE, "%s: '%s' is not within %" PRIu64 " to %" PRIu64, what,
		              text, min, max);
	*out = v;
	return 0;
}

int seconds_parse(const char *what, const char *text, double min, double *out,
                  struct slime_error *err)
{
	const double day = 86400;
	char *end;
	double v = strtod(text, &end);

	if (end == text || *end || !isfinite(v) || strpbrk(text, "xX \t\n"))
		return refuse(err, -EINVAL, "%s: '%s' is not a number of seconds (write 2 or 0.5)",
		              what, text);
	if (v < min || v > day)
		return refuse(err, -ERANGE, "%s: '%s' is not within %g to %g seconds", what, text,
		              min, day);
	*out = v;
	return 0;
}

const char *size_exact(uint64_t bytes, char *buf, size_t cap)
{
	char suffix[2] = "";

	for (int unit = 0; units[unit] && bytes && bytes % 1024 == 0; unit++) {
		bytes /= 1024;
		suffix[0] = units[unit];
	}
	(void)snprintf(buf, cap, "%" PRIu64 "%s", bytes, suffix);
	return buf;
}

const char *size_human(uint64_t bytes, char *buf, size_t cap)
{
	double v = (double)bytes;
	int unit = 0;

	if (bytes < 1024) {
		(void)snprintf(buf, cap, "%" PRIu64 " B", bytes);
		return buf;
	}
	while (unit < 4 && v >= 1024) {
		v /= 1024;
		unit++;
	}
	(void)snprintf(buf, cap, "%.*f %ciB", v < 100 ? 1 : 0, v, units[unit - 1]);
	return buf;
}
