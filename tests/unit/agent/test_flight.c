/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "agent/flight.h"

static void the_last_events_are_kept_oldest_first(void **state)
{
	struct sl_flight_event out[SL_FLIGHT_EVENTS];
	struct sl_flight flight;
	char want[32];

	(void)state;
	sl_flight_init(&flight);
	assert_int_equal(sl_flight_read(&flight, out), 0);
	for (int i = 0; i < 5; i++)
		sl_flight_note(&flight, "event %d", i);
	assert_int_equal(sl_flight_read(&flight, out), 5);
	assert_string_equal(out[0].text, "event 0");
	assert_string_equal(out[4].text, "event 4");
	assert_true(out[0].at_ns <= out[4].at_ns);
	for (int i = 5; i < 3 * SL_FLIGHT_EVENTS; i++)
		sl_flight_note(&flight, "event %d", i);
	assert_int_equal(sl_flight_read(&flight, out), SL_FLIGHT_EVENTS);
	(void)snprintf(want, sizeof(want), "event %d", 2 * SL_FLIGHT_EVENTS);
	assert_string_equal(out[0].text, want);
	sl_flight_free(&flight);
}

static void a_long_text_is_cut(void **state)
{
	struct sl_flight_event out[SL_FLIGHT_EVENTS];
	struct sl_flight flight;
	char big[1000];

	(void)state;
	memset(big, 'x', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	sl_flight_init(&flight);
	sl_flight_note(&flight, "%s", big);
	assert_int_equal(sl_flight_read(&flight, out), 1);
	assert_int_equal(strlen(out[0].text), sizeof(out[0].text) - 1);
	sl_flight_free(&flight);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(the_last_events_are_kept_oldest_first),
	    cmocka_unit_test(a_long_text_is_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
