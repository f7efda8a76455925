/* SPDX-License-Identifier: BSD-3-Clause */
#include "agent/flight.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"

void sl_flight_init(struct sl_flight *flight)
{
	memset(flight, 0, sizeof(*flight));
	sl_lock_init(&flight->lock);
}

void sl_flight_free(struct sl_flight *flight)
{
	sl_lock_free(&flight->lock);
}

void sl_flight_note(struct sl_flight *flight, const char *fmt, ...)
{
	struct sl_flight_event *e;
	va_list ap;

	sl_lock_take(&flight->lock);
	e = &flight->event[flight->n++ % SL_FLIGHT_EVENTS];
	e->at_ns = sl_clock_ns();
	va_start(ap, fmt);
	(void)vsnprintf(e->text, sizeof(e->text), fmt, ap);
	va_end(ap);
	sl_lock_drop(&flight->lock);
}

unsigned sl_flight_read(struct sl_flight *flight, struct sl_flight_event *out)
{
	unsigned n;

	sl_lock_take(&flight->lock);
	n = flight->n < SL_FLIGHT_EVENTS ? (unsigned)flight->n : SL_FLIGHT_EVENTS;
	for (unsigned i = 0; i < n; i++)
		out[i] = flight->event[(flight->n - n + i) % SL_FLIGHT_EVENTS];
	sl_lock_drop(&flight->lock);
	return n;
}
