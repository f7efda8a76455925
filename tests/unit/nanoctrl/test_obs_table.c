/* SPDX-License-Identifier: BSD-3-Clause */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "obs.h"

static void units_are_those_of_the_reference(void **state)
{
	char text[OBS_TEXT];

	(void)state;
	assert_string_equal(obs_rate(1.25e9, text), "1.2Gbps");
	assert_string_equal(obs_rate(0, text), "0bps");
	assert_string_equal(obs_rate(-0.0, text), "0bps");
	assert_string_equal(obs_rate(5e17, text), "500000.0Tbps");
	assert_string_equal(obs_bytes(1023, text), "1023B");
	assert_string_equal(obs_bytes(1536, text), "1.5KB");
	assert_string_equal(obs_age(999, text), "999ms");
	assert_string_equal(obs_age(61000, text), "1m");
	assert_string_equal(obs_age(-5, text), "0ms");
}

static void columns_are_as_wide_as_what_they_hold(void **state)
{
	struct obs_table *table = obs_table_create("NAME >N");
	char *text = NULL;
	size_t len;
	FILE *f = open_memstream(&text, &len);

	(void)state;
	obs_table_cell(table, "\xc3\xa9t\xc3\xa9");
	obs_table_number(table, 12345);
	obs_table_cell(table, "a\x1b[2Jb\n");
	obs_table_number(table, 1);
	obs_table_print(table, f);
	assert_int_equal(fclose(f), 0);
	assert_string_equal(text, "┌─────────┬───────┐\n"
	                          "│ NAME    ┆     N │\n"
	                          "╞═════════╪═══════╡\n"
	                          "│ été     ┆ 12345 │\n"
	                          "├╌╌╌╌╌╌╌╌╌┼╌╌╌╌╌╌╌┤\n"
	                          "│ a?[2Jb? ┆     1 │\n"
	                          "└─────────┴───────┘\n");
	free(text);
	obs_table_destroy(table);
}

static void what_is_missing_or_of_another_type_is_nothing(void **state)
{
	json_t *json = json_pack("{s:s, s:f, s:[]}", "a", "text", "b", 1.5, "c");

	(void)state;
	assert_int_equal(obs_int(json, "a"), 0);
	assert_int_equal(obs_int(json, "b"), 1);
	assert_int_equal(obs_int(NULL, "b"), 0);
	assert_string_equal(obs_text(json, "b"), "");
	assert_string_equal(obs_text(json, "c"), "");
	assert_string_equal(obs_state(json, 45000, 1000), "alive");
	assert_string_equal(obs_state(json, 45000, 46000), "stale");
	json_decref(json);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(units_are_those_of_the_reference),
	    cmocka_unit_test(columns_are_as_wide_as_what_they_hold),
	    cmocka_unit_test(what_is_missing_or_of_another_type_is_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
