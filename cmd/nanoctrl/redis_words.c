/* SPDX-License-Identifier: BSD-3-Clause */
#include "redis_words.h"

#include <stdlib.h>
#include <string.h>

enum { DIGITS = 20, FIRST = 4096 };

/* NULL: broken. */
static char *room_for(struct redis_words *w, size_t len)
{
	size_t cap = w->cap ? w->cap : FIRST;
	char *bytes;

	if (w->broken)
		return NULL;
	while (cap - w->len < len)
		cap *= 2;
	if (cap > w->cap) {
		bytes = realloc(w->bytes, cap);
		if (!bytes) {
			w->broken = true;
			return NULL;
		}
		w->bytes = bytes;
		w->cap = cap;
	}
	return w->bytes + w->len;
}

/* Behind TEXT's last digit is END. Returns the first one. */
static char *digits(char *end, uint64_t number)
{
	do
		*--end = (char)('0' + number % 10);
	while (number /= 10);
	return end;
}

void redis_words_add(struct redis_words *w, const char *bytes, size_t len)
{
	char text[DIGITS], *first = digits(text + DIGITS, len), *to = room_for(w, len + DIGITS + 5);

	if (!to)
		return;
	*to++ = '$';
	to = mempcpy(to, first, (size_t)(text + DIGITS - first));
	to = mempcpy(to, "\r\n", 2);
	if (len)
		to = mempcpy(to, bytes, len);
	to = mempcpy(to, "\r\n", 2);
	w->len = (size_t)(to - w->bytes);
	w->n++;
}

void redis_words_add_text(struct redis_words *w, const char *text)
{
	redis_words_add(w, text, text ? strlen(text) : 0);
}

void redis_words_add_number(struct redis_words *w, int64_t number)
{
	char text[DIGITS + 1], *end = text + sizeof(text);
	char *first = digits(end, number < 0 ? 0 - (uint64_t)number : (uint64_t)number);

	if (number < 0)
		*--first = '-';
	redis_words_add(w, first, (size_t)(end - first));
}

void redis_words_append(struct redis_words *w, const struct redis_words *more)
{
	char *to = room_for(w, more->len);

	w->broken = w->broken || more->broken;
	if (!to || more->broken)
		return;
	if (more->len)
		memcpy(to, more->bytes, more->len);
	w->len += more->len;
	w->n += more->n;
}

void redis_words_empty(struct redis_words *w)
{
	w->len = 0;
	w->n = 0;
	w->broken = false;
}

void redis_words_free(struct redis_words *w)
{
	free(w->bytes);
	*w = (struct redis_words){0};
}
