/* SPDX-License-Identifier: BSD-3-Clause */
/* agent/flight_text.c - the flight recorders of links, as people read them. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "agent/agent_impl.h"

static void write_link(slime_link *link, FILE *out)
{
	struct sl_flight_event event[SL_FLIGHT_EVENTS];
	unsigned n = sl_flight_read(&link->flight, event);
	int64_t now = sl_clock_ns();

	(void)fprintf(out, "link to '%s' is %s, %llu reconnects, %llu transfers, %llu failed\n",
	              link->peer, sl_link_state_name(link->state),
	              (unsigned long long)link->reconnects, (unsigned long long)link->transfers,
	              (unsigned long long)link->failed);
	for (unsigned i = 0; i < n; i++)
		(void)fprintf(out, "  %10.6f s ago  %s\n", (double)(now - event[i].at_ns) / 1e9,
		              event[i].text);
}

/* A link that comes and goes is worth a line now and then. */
enum { LOG_S = 10 };

void sl_flight_log(slime_link *link, const char *what)
{
	struct sl_flight_event event[SL_FLIGHT_EVENTS];
	unsigned n = sl_flight_read(&link->flight, event);
	int64_t now = sl_clock_ns();
	char line[512];
	bool quiet;

	sl_lock_take(&link->agent->lock);
	quiet = link->logged_ns && now - link->logged_ns < LOG_S * SL_NS_PER_S;
	if (!quiet)
		link->logged_ns = now;
	(void)snprintf(line, sizeof(line), "agent '%.100s': link to '%.100s': %s: %.200s",
	               link->agent->alias, link->peer, what, link->said);
	sl_lock_drop(&link->agent->lock);
	if (quiet)
		return;
	slime_log_write(SLIME_LOG_WARN, line);
	for (unsigned i = 0; i < n; i++) {
		(void)snprintf(line, sizeof(line), "link to '%.100s': %.3f s ago: %s", link->peer,
		               (double)(now - event[i].at_ns) / 1e9, event[i].text);
		slime_log_write(SLIME_LOG_INFO, line);
	}
}

int slime_link_flight(slime_link *link, char **out)
{
	size_t len;
	FILE *file = link && out ? open_memstream(out, &len) : NULL;

	if (!link || !out)
		return -EINVAL;
	if (!file)
		return -ENOMEM;
	sl_lock_take(&link->agent->lock);
	write_link(link, file);
	sl_lock_drop(&link->agent->lock);
	return fclose(file) ? -ENOMEM : 0;
}

int slime_agent_flight(slime_agent *agent, char **out)
{
	size_t len;
	FILE *file = agent && out ? open_memstream(out, &len) : NULL;
	slime_link *link;

	if (!agent || !out)
		return -EINVAL;
	if (!file)
		return -ENOMEM;
	(void)fprintf(file, "agent '%s', incarnation %llu\n", agent->alias,
	              (unsigned long long)atomic_load(&agent->incarnation));
	sl_lock_take(&agent->lock);
	TAILQ_FOREACH(link, &agent->links, entry)
	write_link(link, file);
	sl_lock_drop(&agent->lock);
	return fclose(file) ? -ENOMEM : 0;
}
