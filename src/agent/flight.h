/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * agent/flight.h - a flight recorder: the last events of one link, for when it is stuck.
 *
 * Writing costs a lock and a formatted line, so it is for changes of state and
 * for failures, not for transfers.
 */
#ifndef SL_FLIGHT_H
#define SL_FLIGHT_H

#include <stdint.h>

#include "base/lock.h"

enum { SL_FLIGHT_EVENTS = 32 };

struct sl_flight_event {
	int64_t at_ns; /* CLOCK_MONOTONIC */
	char text[120];
};

struct sl_flight {
	struct sl_lock lock;
	uint64_t n; /* ever noted */
	struct sl_flight_event event[SL_FLIGHT_EVENTS];
};

void sl_flight_init(struct sl_flight *flight);
void sl_flight_free(struct sl_flight *flight);
/* Any thread. */
void sl_flight_note(struct sl_flight *flight, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* Copy the events out, oldest first; returns how many. OUT has room for SL_FLIGHT_EVENTS. */
unsigned sl_flight_read(struct sl_flight *flight, struct sl_flight_event *out);

#endif
