/* SPDX-License-Identifier: BSD-3-Clause */
/* nanoctrl/metrics.h - what /metrics says, in the text form of Prometheus. The loop's thread only.
 */
#ifndef NANOCTRL_METRICS_H
#define NANOCTRL_METRICS_H

#include "call.h"
#include "histogram.h"

struct server;

/* Whose connections are counted; NULL: nobody's any more. */
void metrics_set_server(const struct server *server);
/* Everything but what only the store knows. -ENOMEM. */
int metrics_write(struct text *out);
/* A line with a number. LABELS: "a=\"b\",..." or "". NAME without prefix. */
int metrics_line(struct text *out, const char *name, const char *labels, uint64_t value);
/* The lines before the first of NAME: TYPE is "counter", "gauge" or "histogram". */
int metrics_head(struct text *out, const char *name, const char *type, const char *help);
/* TEXT as a label's value; what does not fit is cut. Returns OUT. */
const char *metrics_escape(const char *text, char *out, size_t cap);

#endif
