/* SPDX-License-Identifier: BSD-3-Clause */
#include "json_text.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* The length of a number's text that may be beyond 64 bits; each such text grows by GROWTH. */
enum { LONG_DIGITS = 19, GROWTH = 2 };

static const double TWO_TO_63 = 9223372036854775808.0;

/* Behind a string; AT is behind its opening quote. */
static const char *skip_string(const char *at, const char *end)
{
	while (at < end && *at != '"')
		at += *at == '\\' && end - at > 1 ? 2 : 1;
	return at < end ? at + 1 : end;
}

static size_t span_of(const char *at, const char *end, const char *bytes)
{
	size_t n = 0;

	while (at + n < end && at[n] && strchr(bytes, at[n]))
		n++;
	return n;
}

/* Is the number of LEN bytes an integer that 64 bits with a sign do not hold? */
static bool is_beyond(const char *number, size_t len)
{
	bool minus = *number == '-';
	size_t digits = len - minus;

	if (digits < LONG_DIGITS || span_of(number + minus, number + len, "0123456789") != digits)
		return false;
	return digits > LONG_DIGITS ||
	       memcmp(number + minus, minus ? "9223372036854775808" : "9223372036854775807",
	              LONG_DIGITS) > 0;
}

/* A copy with "e0" behind each integer that is beyond 64 bits. NULL: no memory. */
static char *with_doubles(const char *bytes, size_t len, size_t *out_len)
{
	const char *at = bytes, *end = bytes + len;
	char *out = malloc(len + len / LONG_DIGITS * GROWTH + 1), *to = out;

	while (out && at < end) {
		const char *token = at;
		size_t n = span_of(at, end, "+-.0123456789eE");

		at = *token == '"' ? skip_string(at + 1, end) : n ? at + n : at + 1;
		to = mempcpy(to, token, (size_t)(at - token));
		if (n && is_beyond(token, n))
			to = mempcpy(to, "e0", GROWTH);
	}
	*out_len = out ? (size_t)(to - out) : 0;
	return out;
}

json_t *json_text_parse(const char *bytes, size_t len, size_t flags, json_error_t *error)
{
	json_error_t unheard;
	json_t *json;
	char *copy;

	if (!error)
		error = &unheard;
	flags |= JSON_ALLOW_NUL;
	json = json_loadb(bytes, len, flags, error);
	if (json || json_error_code(error) != json_error_numeric_overflow)
		return json;
	copy = with_doubles(bytes, len, &len);
	if (copy)
		json = json_loadb(copy, len, flags, error);
	free(copy);
	return json;
}

bool json_text_is_deeper(json_t *json, unsigned levels)
{
	const char *name;
	json_t *member;
	size_t i;

	if (!json_is_object(json) && !json_is_array(json))
		return false;
	if (!levels)
		return true;
	json_array_foreach(json, i, member)
	{
		if (json_text_is_deeper(member, levels - 1))
			return true;
	}
	json_object_foreach(json, name, member)
	{
		if (json_text_is_deeper(member, levels - 1))
			return true;
	}
	return false;
}

bool json_text_integer(const json_t *json, int64_t *out)
{
	double real = json_real_value(json);

	if (json_is_integer(json)) {
		*out = json_integer_value(json);
		return true;
	}
	if (!json_is_real(json) || real < -TWO_TO_63 || real >= TWO_TO_63 || real != trunc(real))
		return false;
	*out = (int64_t)real;
	return true;
}

const char *json_text_whole(const json_t *json)
{
	const char *text = json_string_value(json);

	return text && strlen(text) == json_string_length(json) ? text : NULL;
}
