/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "driver.h"

static struct pair p;

static bool readable(struct sl_dom *dom)
{
	struct pollfd fd = {.fd = rdma->fd(dom), .events = POLLIN};

	return poll(&fd, 1, 0) == 1;
}

/* progress() until there is nothing to do, and arm. */
static void sleep_well(struct sl_dom *dom)
{
	int64_t wake = SL_NEVER;

	for (int i = 0;
	     i < 1000 && (rdma->progress(dom, 64) || rdma->arm(dom, &wake) || readable(dom)); i++)
		;
	assert_false(readable(dom));
}

static void a_sleeper_is_woken_by_a_completion(void **state)
{
	static struct job job;

	(void)state;
	pair_connected(&p, NULL);
	sleep_well(p.a.dom);
	sleep_well(p.b.dom);
	assert_false(readable(p.a.dom));
	start_one(&p.a, &job, SL_OP_WRITE, 0, 0, 100);
	assert_true(readable(p.a.dom));
	assert_false(readable(p.b.dom)); /* nothing for the target to do */
	UNTIL(&p, job.done);
	assert_int_equal(job.status, 0);
	sleep_well(p.a.dom);
	pair_end(&p);
}

static void a_close_from_another_thread_wakes_too(void **state)
{
	(void)state;
	pair_connected(&p, NULL);
	sleep_well(p.a.dom);
	rdma->conn_close(p.a.conn);
	assert_true(readable(p.a.dom));
	pair_end(&p);
}

static void what_came_before_arming_is_found_by_it(void **state)
{
	static struct job job;
	int64_t wake = SL_NEVER;

	(void)state;
	pair_connected(&p, NULL);
	sleep_well(p.a.dom);
	for (int i = 0; i < 3; i++) {
		start_one(&p.a, &job, SL_OP_WRITE, 0, 0, 100);
		assert_int_equal(rdma->arm(p.a.dom, &wake), 1);
		assert_int_equal(job.done, 0); /* found, not done: arm() ends no op */
		assert_true(rdma->progress(p.a.dom, 64) > 0);
		assert_int_equal(job.done, 1);
	}
	assert_true(wake != SL_NEVER); /* peers are looked after while there are any */
	pair_end(&p);
}

static void the_completion_queue_grows_and_has_an_end(void **state)
{
	struct slime_error err = {0};
	struct sl_dom *dom;
	static struct fake_verbs_config config;

	(void)state;
	config_init(&config);
	config.devices[0].attr.max_cqe = 4096;
	fake_verbs_install(&config);
	dom = dom_make("fake0");
	assert_true(dom->cq->cqe < 2000);
	assert_int_equal(sl_rdma_cq_take(dom, 2000, &err), 0);
	assert_true(dom->cq->cqe >= 2000);
	assert_int_equal(sl_rdma_cq_take(dom, 3000, &err), -ENOSPC);
	assert_non_null(strstr(err.text, "4096"));
	sl_rdma_cq_give(dom, 2000);
	assert_int_equal(sl_rdma_cq_take(dom, 3000, &err), -ENOSPC); /* may still hold the old */
	(void)rdma->progress(dom, 64);                               /* it is empty */
	assert_int_equal(sl_rdma_cq_take(dom, 3000, &err), 0);
	fake_verbs_fail_call("resize_cq", 1, ENOMEM);
	assert_int_equal(sl_rdma_cq_take(dom, 900, &err), 0); /* fits what there is */
	rdma->dom_close(dom);
	fake_verbs_uninstall();
}

static void a_device_that_fails_ends_its_connections(void **state)
{
	static struct job recv;

	(void)state;
	pair_connected(&p, NULL);
	start_one(&p.a, &recv, SL_OP_RECV, 0, 0, 100);
	fake_verbs_raise(0, IBV_EVENT_DEVICE_FATAL, 0);
	UNTIL(&p, recv.done);
	assert_int_equal(recv.status, -ENODEV);
	pair_end(&p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_sleeper_is_woken_by_a_completion),
	    cmocka_unit_test(a_close_from_another_thread_wakes_too),
	    cmocka_unit_test(what_came_before_arming_is_found_by_it),
	    cmocka_unit_test(the_completion_queue_grows_and_has_an_end),
	    cmocka_unit_test(a_device_that_fails_ends_its_connections),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
