/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "driver.h"

static struct fake_verbs_config config;

static int setup(void **state)
{
	(void)state;
	config_init(&config);
	(void)unsetenv("SLIME_VISIBLE_DEVICES");
	(void)unsetenv("SLIME_GID_INDEX");
	return 0;
}

static int opens(const char *device, char *out, struct slime_error *err)
{
	struct sl_dom_opts opts = {.device = device, .peer_timeout_ms = 1000};
	struct sl_dom *dom = NULL;
	int rc;

	fake_verbs_install(&config);
	rc = rdma->dom_open(&opts, &dom, err);
	if (!rc) {
		memcpy(out, dom->name, sizeof(dom->name));
		rdma->dom_close(dom);
	}
	assert_null(fake_verbs_leaks());
	fake_verbs_uninstall();
	return rc;
}

static void opens_as(const char *device, const char *name)
{
	struct slime_error err = {0};
	char got[80] = "";

	assert_int_equal(opens(device, got, &err), 0);
	assert_string_equal(got, name);
}

static void fails_with(const char *device, const char *words)
{
	struct slime_error err = {0};
	char got[80];

	assert_int_equal(opens(device, got, &err), -ENODEV);
	if (!strstr(err.text, words))
		fail_msg("'%s' is not in '%s'", words, err.text);
}

static void the_fastest_port_is_the_best(void **state)
{
	(void)state;
	opens_as(NULL, "fake0:1");
	config.devices[1].ports[0].active_speed = 128;
	config.devices[0].ports[0].active_speed = 32;
	opens_as(NULL, "fake1:1");
	config.devices[1].ports[0].state = IBV_PORT_DOWN;
	opens_as(NULL, "fake0:1");
	opens_as("fake0", "fake0:1");
}

static void a_second_port_is_another_one(void **state)
{
	(void)state;
	config.devices[0].attr.phys_port_cnt = 2;
	config.devices[0].ports[1] = config.devices[0].ports[0];
	config.devices[0].ports[1].gids[0].gid = fake_verbs_gid_link_local(99);
	config.devices[0].ports[1].active_speed = 1;
	opens_as("fake0:2", "fake0:2");
	opens_as("fake0", "fake0:1");
	fails_with("fake0:3", "no port 3");
}

static void an_unknown_device_is_an_error_that_lists_the_known_ones(void **state)
{
	(void)state;
	fails_with("mlx5_9", "only fake0, fake1");
	assert_int_equal(setenv("SLIME_VISIBLE_DEVICES", "fake1", 1), 0);
	fails_with("fake0", "only fake1");
	opens_as(NULL, "fake1:1");
	assert_int_equal(setenv("SLIME_VISIBLE_DEVICES", "other", 1), 0);
	fails_with(NULL, "no RDMA device is visible");
}

static void a_port_that_cannot_be_used_says_why(void **state)
{
	(void)state;
	config.devices[0].ports[0].state = IBV_PORT_INIT;
	fails_with("fake0", "subnet manager");
	config.devices[0].ports[0].state = IBV_PORT_ACTIVE;
	fails_with("fake0#7", "no GID of index 7");
	for (int i = 0; i < FAKE_GIDS_MAX; i++)
		config.devices[0].ports[0].gids[i].type = IBV_GID_TYPE_ROCE_V1;
	fails_with("fake0", "SLIME_GID_INDEX");
}

static void index_zero_can_be_asked_for(void **state)
{
	struct sl_dom *dom;

	(void)state;
	fake_verbs_install(&config);
	dom = dom_make("fake0#0");
	assert_int_equal(dom->port.gid.gid_index, 0);
	rdma->dom_close(dom);
	dom = dom_make("fake0");
	assert_int_not_equal(dom->port.gid.gid_index, 0);
	rdma->dom_close(dom);
	assert_int_equal(setenv("SLIME_GID_INDEX", "0", 1), 0);
	dom = dom_make("fake0");
	assert_int_equal(dom->port.gid.gid_index, 0);
	rdma->dom_close(dom);
	fake_verbs_uninstall();
}

static void a_probe_tells_each_port(void **state)
{
	struct sl_dev_info info[8];

	(void)state;
	config.devices[1].ports[0].state = IBV_PORT_DOWN;
	fake_verbs_install(&config);
	assert_int_equal(rdma->probe(info, 8, NULL), 2);
	assert_string_equal(info[0].name, "fake0");
	assert_true(info[0].up && info[0].bytes_per_s > 0);
	assert_false(info[1].up);
	assert_int_equal(rdma->probe(info, 1, NULL), 2);
	assert_null(fake_verbs_leaks());
	fake_verbs_uninstall();
	config.n_devices = 0;
	fake_verbs_install(&config);
	assert_int_equal(rdma->probe(info, 8, NULL), -ENODEV);
	fake_verbs_uninstall();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup(the_fastest_port_is_the_best, setup),
	    cmocka_unit_test_setup(a_second_port_is_another_one, setup),
	    cmocka_unit_test_setup(an_unknown_device_is_an_error_that_lists_the_known_ones, setup),
	    cmocka_unit_test_setup(a_port_that_cannot_be_used_says_why, setup),
	    cmocka_unit_test_setup(index_zero_can_be_asked_for, setup),
	    cmocka_unit_test_setup(a_probe_tells_each_port, setup),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
