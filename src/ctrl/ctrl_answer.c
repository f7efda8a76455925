/* SPDX-License-Identifier: BSD-3-Clause */
#include "ctrl/ctrl_answer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { CHUNK_LINE_MAX = 1024 };

static int grow(char **bytes, size_t *cap, size_t want)
{
	size_t larger = *cap ? *cap : 512;
	char *moved;

	if (want <= *cap)
		return 0;
	while (larger < want)
		larger *= 2;
	moved = realloc(*bytes, larger);
	if (!moved)
		return -ENOMEM;
	*bytes = moved;
	*cap = larger;
	return 0;
}

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* "HTTP/1.1 200 OK", of which the words may be missing. */
static int take_status(struct sl_answer *a)
{
	const char *l = a->line;

	if (a->line_len < 12 || memcmp(l, "HTTP/1.", 7) != 0 || !is_digit(l[7]) || l[8] != ' ' ||
	    l[9] < '1' || l[9] > '5' || !is_digit(l[10]) || !is_digit(l[11]) ||
	    (l[12] && l[12] != ' '))
		return -EPROTO;
	a->http = (l[9] - '0') * 100 + (l[10] - '0') * 10 + l[11] - '0';
	a->keep = l[7] != '0';
	a->has_length = a->chunked = false;
	a->left = 0;
	a->state = SL_ANSWER_HEADER;
	return 0;
}

static int take_length(struct sl_answer *a, const char *value)
{
	size_t n = 0;

	if (!*value)
		return -EPROTO;
	for (; *value; value++) {
		if (!is_digit(*value))
			return -EPROTO;
		n = n * 10 + (size_t)(*value - '0');
		if (n > SL_ANSWER_BODY_MAX)
			return -EMSGSIZE;
	}
	if (a->has_length && a->left != n)
		return -EPROTO;
	a->has_length = true;
	a->left = n;
	return 0;
}

/* The whole of the head is known: what comes next? */
static void end_head(struct sl_answer *a)
{
	if (a->http < 200) {
		a->state = SL_ANSWER_STATUS; /* the answer proper comes after it */
	} else if (a->http == 204 || a->http == 304) {
		a->state = SL_ANSWER_DONE;
	} else if (a->chunked) {
		a->keep = a->keep && !a->has_length; /* both: somebody was lied to */
		a->state = SL_ANSWER_SIZE;
	} else if (a->has_length) {
		a->state = a->left ? SL_ANSWER_LENGTH : SL_ANSWER_DONE;
	} else {
		a->keep = false;
		a->state = SL_ANSWER_UNTIL_END;
	}
}

static int take_header(struct sl_answer *a)
{
	char *colon = strchr(a->line, ':');
	char *value, *end = a->line + a->line_len;

	if (!a->line_len) {
		end_head(a);
		return 0;
	}
	if (!colon || colon == a->line || strcspn(a->line, " \t") < (size_t)(colon - a->line))
		return -EPROTO;
	*colon = '\0';
	value = colon + 1 + strspn(colon + 1, " \t");
	while (end > value && (end[-1] == ' ' || end[-1] == '\t'))
		*--end = '\0';
	if (strcasecmp(a->line, "content-length") == 0)
		return take_length(a, value);
	if (strcasecmp(a->line, "transfer-encoding") == 0) {
		if (a->chunked || strcasecmp(value, "chunked") != 0)
			return -EPROTO;
		a->chunked = true;
	} else if (strcasecmp(a->line, "connection") == 0) {
		a->keep = strcasecmp(value, "close") != 0 &&
		          (a->keep || strcasecmp(value, "keep-alive") == 0);
	}
	return 0;
}

/* "1f;whatever" in hexadecimal digits. */
static int take_size(struct sl_answer *a)
{
	static const char digits[] = "0123456789abcdef";
	const char *c = a->line;
	size_t n = 0;

	for (; *c && *c != ';' && *c != ' ' && *c != '\t'; c++) {
		const char *digit = strchr(digits, *c >= 'A' && *c <= 'F' ? *c - 'A' + 'a' : *c);

		if (!digit)
			return -EPROTO;
		n = n * 16 + (size_t)(digit - digits);
		if (n > SL_ANSWER_BODY_MAX)
			return -EMSGSIZE;
	}
	if (c == a->line)
		return -EPROTO;
	a->left = n;
	a->state = n ? SL_ANSWER_CHUNK : SL_ANSWER_TRAILER;
	return 0;
}

/* A line is complete, without its end. */
static int take_line(struct sl_answer *a)
{
	int rc = 0;

	if (a->line_len && a->line[a->line_len - 1] == '\r')
		a->line_len--;
	a->line[a->line_len] = '\0';
	if (strlen(a->line) != a->line_len)
		return -EPROTO;
	if (a->state == SL_ANSWER_STATUS)
		rc = take_status(a);
	else if (a->state == SL_ANSWER_HEADER)
		rc = take_header(a);
	else if (a->state == SL_ANSWER_SIZE)
		rc = take_size(a);
	else if (a->line_len && a->state == SL_ANSWER_CHUNK_END)
		rc = -EPROTO;
	else if (a->state == SL_ANSWER_CHUNK_END)
		a->state = SL_ANSWER_SIZE;
	else if (!a->line_len)
		a->state = SL_ANSWER_DONE; /* the trailers are nobody's */
	a->line_len = 0;
	return rc;
}

/* Lines between chunks are as many as there are chunks, so each is looked at alone. */
static bool is_too_long(struct sl_answer *a, size_t more)
{
	if (a->state == SL_ANSWER_SIZE || a->state == SL_ANSWER_CHUNK_END)
		return a->line_len + more > CHUNK_LINE_MAX;
	a->head_len += more;
	return a->head_len > SL_ANSWER_HEAD_MAX;
}

static int feed_line(struct sl_answer *a, const char *bytes, size_t len, size_t *used)
{
	const char *end = memchr(bytes, '\n', len);
	size_t n = end ? (size_t)(end - bytes) : len;
	int rc;

	/* so much of what is no status line tells that it is none */
	if (a->state == SL_ANSWER_STATUS && !a->line_len && n && *bytes != 'H')
		return -EPROTO;
	*used = n + (end != NULL);
	if (is_too_long(a, *used))
		return -EMSGSIZE;
	rc = grow(&a->line, &a->line_cap, a->line_len + n + 1);
	if (rc)
		return rc;
	memcpy(a->line + a->line_len, bytes, n);
	a->line_len += n;
	return end ? take_line(a) : 0;
}

static int feed_body(struct sl_answer *a, const char *bytes, size_t len, size_t *used)
{
	bool endless = a->state == SL_ANSWER_UNTIL_END;
	size_t n = !endless && len > a->left ? a->left : len;
	int rc;

	if (n > SL_ANSWER_BODY_MAX - a->len)
		return -EMSGSIZE;
	rc = grow(&a->body, &a->body_cap, a->len + n);
	if (rc)
		return rc;
	memcpy(a->body + a->len, bytes, n);
	a->len += n;
	*used = n;
	if (endless)
		return 0;
	a->left -= n;
	if (!a->left)
		a->state = a->state == SL_ANSWER_LENGTH ? SL_ANSWER_DONE : SL_ANSWER_CHUNK_END;
	return 0;
}

int sl_answer_feed(struct sl_answer *a, const char *bytes, size_t len, size_t *used)
{
	int rc = 0;

	*used = 0;
	while (!rc && *used < len && a->state != SL_ANSWER_DONE) {
		bool in_body = a->state == SL_ANSWER_LENGTH || a->state == SL_ANSWER_CHUNK ||
		               a->state == SL_ANSWER_UNTIL_END;
		size_t n = 0;

		rc = (in_body ? feed_body : feed_line)(a, bytes + *used, len - *used, &n);
		*used += n;
	}
	return rc ? rc : a->state == SL_ANSWER_DONE;
}

int sl_answer_end(struct sl_answer *a)
{
	if (a->state == SL_ANSWER_UNTIL_END)
		a->state = SL_ANSWER_DONE;
	return a->state == SL_ANSWER_DONE;
}

void sl_answer_clear(struct sl_answer *a)
{
	free(a->line);
	free(a->body);
	memset(a, 0, sizeof(*a));
}
