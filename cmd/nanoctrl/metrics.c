/* SPDX-License-Identifier: BSD-3-Clause */
#include "metrics.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "nanoctrl.h"
#include "router.h"
#include "server.h"

enum { MAX_SERIES = 64, PAGE_LIMIT = 64 * 1024 * 1024 };

/* What metric_add() and metric_time() were told, in the order of first use. */
static struct series {
	const char *name, *label;
	uint64_t n;
	struct histogram *times; /* NULL: a counter */
} series[MAX_SERIES];
static size_t n_series;

static const struct server *the_server;

void metrics_set_server(const struct server *server)
{
	the_server = server;
}

static struct series *find_series(const char *name, const char *label)
{
	label = label ? label : "";
	for (size_t i = 0; i < n_series; i++) {
		if (strcmp(series[i].name, name) == 0 && strcmp(series[i].label, label) == 0)
			return &series[i];
	}
	assert(n_series < MAX_SERIES); /* names and labels are constants of ours */
	series[n_series].name = name;
	series[n_series].label = label;
	return &series[n_series++];
}

void metric_add(const char *name, const char *label, uint64_t n)
{
	find_series(name, label)->n += n;
}

void metric_time(const char *name, const char *label, int64_t ns)
{
	struct series *found = find_series(name, label);

	if (!found->times)
		found->times = calloc(1, sizeof(*found->times));
	if (found->times)
		histogram_add(found->times, ns);
}

__attribute__((format(printf, 2, 3))) static int add(struct text *out, const char *fmt, ...)
{
	char line[1600];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= sizeof(line))
		return -EMSGSIZE;
	return text_add(out, line, (size_t)n, PAGE_LIMIT);
}

int metrics_head(struct text *out, const char *name, const char *type, const char *help)
{
	return add(out, "# HELP nanoctrl_%s %s\n# TYPE nanoctrl_%s %s\n", name, help, name, type);
}

int metrics_line(struct text *out, const char *name, const char *labels, uint64_t value)
{
	if (*labels)
		return add(out, "nanoctrl_%s{%s} %" PRIu64 "\n", name, labels, value);
	return add(out, "nanoctrl_%s %" PRIu64 "\n", name, value);
}

const char *metrics_escape(const char *text, char *out, size_t cap)
{
	size_t n = 0;

	for (; *text && n + 2 < cap; text++) {
		if (*text == '"' || *text == '\\')
			out[n++] = '\\';
		out[n++] = *text == '\n' ? ' ' : *text;
	}
	/* not in the middle of a character */
	while (n > 0 && !target_is_utf8(out, n))
		n--;
	out[n] = '\0';
	return out;
}

static int write_histogram(struct text *out, const char *name, const char *labels,
                           const struct histogram *h)
{
	const char *comma = *labels ? "," : "";
	const char *open = *labels ? "{" : "", *close = *labels ? "}" : "";
	uint64_t sum = 0;
	int rc = 0;

	for (size_t i = 0; i < HISTOGRAM_BUCKETS && rc == 0; i++) {
		sum += h->bucket[i];
		rc = add(out, "nanoctrl_%s_bucket{%s%sle=\"%g\"} %" PRIu64 "\n", name, labels,
		         comma, (double)histogram_bound_ns(i) / 1e9, sum);
	}
	if (rc == 0)
		rc = add(out, "nanoctrl_%s_bucket{%s%sle=\"+Inf\"} %" PRIu64 "\n", name, labels,
		         comma, h->n);
	if (rc == 0)
		rc = add(out, "nanoctrl_%s_sum%s%s%s %.9f\nnanoctrl_%s_count%s%s%s %" PRIu64 "\n",
		         name, open, labels, close, (double)h->sum_ns / 1e9, name, open, labels,
		         close, h->n);
	return rc;
}

static void labels_of(const struct route_entry *entry, char *out, size_t cap)
{
	(void)snprintf(out, cap, "method=\"%s\",route=\"%s\"",
	               entry->route ? entry->route->method : "",
	               entry->route ? entry->route->path : "(none)");
}

static int write_requests(struct text *out)
{
	const struct route_entry *entries;
	size_t n = router_entries(&entries);
	char labels[300], with_status[340];
	int rc = metrics_head(out, "requests_total", "counter", "Requests answered.");

	for (size_t i = 0; i < n; i++) {
		labels_of(&entries[i], labels, sizeof(labels));
		for (size_t k = 0; k < ROUTE_MAX_STATUSES && entries[i].count[k].status; k++) {
			(void)snprintf(with_status, sizeof(with_status), "%s,code=\"%d\"", labels,
			               entries[i].count[k].status);
			rc = rc ? rc
			        : metrics_line(out, "requests_total", with_status,
			                       entries[i].count[k].n);
		}
	}
	rc = rc ? rc
	        : metrics_head(out, "request_seconds", "histogram",
	                       "From the first byte of a request to its answer.");
	for (size_t i = 0; i < n && rc == 0; i++) {
		labels_of(&entries[i], labels, sizeof(labels));
		if (entries[i].latency->n)
			rc = write_histogram(out, "request_seconds", labels, entries[i].latency);
	}
	return rc;
}

static int write_connections(struct text *out)
{
	int rc;

	if (!the_server)
		return 0;
	rc = metrics_head(out, "connections", "gauge", "Connections that are open.");
	rc = rc ? rc : metrics_line(out, "connections", "", the_server->n_conns);
	rc = rc ? rc
	        : metrics_head(out, "connections_accepted_total", "counter",
	                       "Connections that came.");
	rc = rc ? rc : metrics_line(out, "connections_accepted_total", "", the_server->n_accepted);
	rc = rc ? rc
	        : metrics_head(out, "connections_dropped_total", "counter",
	                       "Connections ended or turned away for want of room.");
	return rc ? rc : metrics_line(out, "connections_dropped_total", "", the_server->n_dropped);
}

/* Series of one name stand together, as the format wants it. */
static int write_series(struct text *out)
{
	int rc = 0;

	for (size_t i = 0; i < n_series && rc == 0; i++) {
		size_t first = 0;

		while (strcmp(series[first].name, series[i].name) != 0)
			first++;
		if (first < i)
			continue;
		rc = metrics_head(out, series[i].name, series[i].times ? "histogram" : "counter",
		                  "See docs/nanoctrl.md.");
		for (size_t k = i; k < n_series && rc == 0; k++) {
			if (strcmp(series[k].name, series[i].name) != 0)
				continue;
			rc = series[k].times
			         ? write_histogram(out, series[k].name, series[k].label,
			                           series[k].times)
			         : metrics_line(out, series[k].name, series[k].label, series[k].n);
		}
	}
	return rc;
}

static int write_process(struct text *out)
{
	unsigned long pages = 0;
	FILE *f = fopen("/proc/self/statm", "re");
	int rc = 0;

	if (f && fscanf(f, "%*u %lu", &pages) == 1) {
		rc = metrics_head(out, "resident_bytes", "gauge", "Memory of the daemon.");
		rc = rc ? rc
		        : metrics_line(out, "resident_bytes", "",
		                       (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE));
	}
	if (f)
		(void)fclose(f);
	return rc;
}

int metrics_write(struct text *out)
{
	int rc = write_requests(out);

	rc = rc ? rc : write_connections(out);
	rc = rc ? rc : write_series(out);
	return rc ? rc : write_process(out);
}
