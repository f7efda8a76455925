/* SPDX-License-Identifier: BSD-3-Clause */
#include "wait.h"

#include <errno.h>

static void end(struct wait *wait)
{
	wait->ended = true;
	if (!wait->busy)
		wait->over(wait->call);
}

static void rung(void *arg, enum ring ring)
{
	struct wait *wait = arg;

	if (ring == RING_END)
		wait_end(wait);
	if (ring != RING_NEWS)
		end(wait);
	else if (wait->busy)
		wait->again = true;
	else {
		wait->busy = true;
		wait->attempt(wait->call);
	}
}

static void gone(struct call *call, void *data)
{
	(void)call;
	end(data);
}

int wait_begin(struct wait *wait, struct call *call, int64_t wait_ms)
{
	wait->call = call;
	wait->busy = true;
	wait->ended = !wait_ms;
	call_set_data(call, wait);
	if (!wait_ms)
		return 0;
	wait->waiter = waiter_create(nanoctrl.watch, rung, wait);
	if (!wait->waiter)
		return -ENOMEM;
	waiter_deadline(wait->waiter, wait_ms);
	call_on_gone(call, gone);
	return 0;
}

int wait_for(struct wait *wait, enum bell bell, const char *scope, const char *name)
{
	return wait->waiter ? waiter_hear(wait->waiter, bell, scope, name) : 0;
}

void wait_more(struct wait *wait)
{
	wait->busy = false;
	if (wait->ended)
		wait->over(wait->call);
	else if (wait->again) {
		wait->again = false;
		wait->busy = true;
		wait->attempt(wait->call);
	}
}

void wait_end(struct wait *wait)
{
	waiter_destroy(wait->waiter);
	wait->waiter = NULL;
	call_on_gone(wait->call, NULL);
}
