/* SPDX-License-Identifier: BSD-3-Clause */
/* nanoctrl/obs_table.c - tables and units for a terminal. */
#include <stdlib.h>
#include <string.h>

#include "obs.h"

enum { COLUMNS_MAX = 16 };

struct obs_table {
	char *heads, *head[COLUMNS_MAX];
	bool right[COLUMNS_MAX];
	size_t width[COLUMNS_MAX], columns;
	char **cell;
	size_t n, cap;
	bool failed; /* no memory: what is there is printed */
};

/* On the screen: bytes that begin a character. */
static size_t width_of(const char *text)
{
	size_t n = 0;

	for (; *text; text++)
		n += ((unsigned char)*text & 0xc0) != 0x80;
	return n;
}

struct obs_table *obs_table_create(const char *heads)
{
	struct obs_table *t = calloc(1, sizeof(*t));
	char *save = NULL;

	if (!t)
		return NULL;
	t->heads = strdup(heads);
	for (char *head = t->heads ? strtok_r(t->heads, " ", &save) : NULL;
	     head && t->columns < COLUMNS_MAX; head = strtok_r(NULL, " ", &save)) {
		t->right[t->columns] = *head == '>';
		head += *head == '>';
		t->width[t->columns] = width_of(head);
		t->head[t->columns++] = head;
	}
	return t;
}

void obs_table_destroy(struct obs_table *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < t->n; i++)
		free(t->cell[i]);
	free(t->cell);
	free(t->heads);
	free(t);
}

void obs_table_cell(struct obs_table *t, const char *text)
{
	size_t column = t->n % t->columns;
	char *copy;

	if (t->n == t->cap) {
		size_t cap = t->cap ? 2 * t->cap : 64;
		char **cell = reallocarray(t->cell, cap, sizeof(*cell));

		t->failed = t->failed || !cell;
		if (!cell)
			return;
		t->cell = cell;
		t->cap = cap;
	}
	copy = strdup(text);
	t->failed = t->failed || !copy;
	if (t->failed)
		return;
	for (char *c = copy; *c; c++)
		if ((unsigned char)*c < 0x20 || *c == 0x7f)
			*c = '?';
	if (width_of(copy) > t->width[column])
		t->width[column] = width_of(copy);
	t->cell[t->n++] = copy;
}

void obs_table_number(struct obs_table *t, int64_t number)
{
	char text[OBS_TEXT];

	(void)snprintf(text, sizeof(text), "%lld", (long long)number);
	obs_table_cell(t, text);
}

static void print_line(const struct obs_table *t, FILE *f, const char *left, const char *line,
                       const char *cross, const char *right)
{
	(void)fputs(left, f);
	for (size_t c = 0; c < t->columns; c++) {
		for (size_t i = 0; i < t->width[c] + 2; i++)
			(void)fputs(line, f);
		(void)fputs(c + 1 < t->columns ? cross : right, f);
	}
	(void)fputc('\n', f);
}

static void print_row(const struct obs_table *t, FILE *f, char *const *cell)
{
	(void)fputs("│", f);
	for (size_t c = 0; c < t->columns; c++) {
		int pad = (int)(t->width[c] - width_of(cell[c]));

		(void)fprintf(f, " %*s%s%*s %s", t->right[c] ? pad : 0, "", cell[c],
		              t->right[c] ? 0 : pad, "", c + 1 < t->columns ? "┆" : "│");
	}
	(void)fputc('\n', f);
}

void obs_table_print(const struct obs_table *t, FILE *f)
{
	print_line(t, f, "┌", "─", "┬", "┐");
	print_row(t, f, t->head);
	for (size_t i = 0; i + t->columns <= t->n; i += t->columns) {
		if (i == 0)
			print_line(t, f, "╞", "═", "╪", "╡");
		else
			print_line(t, f, "├", "╌", "┼", "┤");
		print_row(t, f, t->cell + i);
	}
	print_line(t, f, "└", "─", "┴", "┘");
}

static const char *scaled(double value, double step, const char *const unit[5], char *buf)
{
	int i = 0;

	for (; i < 4 && value >= step; i++)
		value /= step;
	(void)snprintf(buf, OBS_TEXT, i ? "%.1f%s" : "%.0f%s", value > 0 ? value : 0.0, unit[i]);
	return buf;
}

const char *obs_bytes(double bytes, char buf[OBS_TEXT])
{
	static const char *const unit[] = {"B", "KB", "MB", "GB", "TB"};

	return scaled(bytes, 1024, unit, buf);
}

const char *obs_rate(double bps, char buf[OBS_TEXT])
{
	static const char *const unit[] = {"bps", "Kbps", "Mbps", "Gbps", "Tbps"};

	return scaled(bps, 1000, unit, buf);
}

const char *obs_age(int64_t ms, char buf[OBS_TEXT])
{
	long long age = ms > 0 ? ms : 0;

	if (age < 1000)
		(void)snprintf(buf, OBS_TEXT, "%lldms", age);
	else if (age < 60000)
		(void)snprintf(buf, OBS_TEXT, "%llds", age / 1000);
	else
		(void)snprintf(buf, OBS_TEXT, "%lldm", age / 60000);
	return buf;
}
