/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/fakes/fake_verbs_wire.c - the wire: a thread that moves the work of all QPs on.
 *
 *	NOWHERE --work, state, event--> READY --a turn each--> READY, NOWHERE (nothing to do)
 *	WAITING <--hold, no answer, no receive--'
 *	   '--kick (something changed), or its time came--> READY
 *
 * A turn moves one piece, with the lock held; between turns it is free.
 */
#include <errno.h>
#include <semaphore.h>
#include <time.h>

#include "fakes/fake_verbs_impl.h"

static struct {
	pthread_mutex_t mutex; /* of begin() and end() */
	unsigned users;
	pthread_t thread;
	sem_t wake;
	/* under fabric.lock */
	bool stop, asleep;
} wire = {.mutex = PTHREAD_MUTEX_INITIALIZER};

void fake_lock(void)
{
	(void)pthread_rwlock_wrlock(&fabric.lock);
}

void fake_unlock(void)
{
	bool wake = wire.asleep && !TAILQ_EMPTY(&fabric.ready);

	if (fabric.config.synchronous)
		fake_wire_run_locked();
	if (wake)
		wire.asleep = false;
	(void)pthread_rwlock_unlock(&fabric.lock);
	if (wake)
		(void)sem_post(&wire.wake);
}

static void put(struct fake_qp *qp, enum fake_place place)
{
	fake_wire_leave_locked(qp);
	qp->place = place;
	if (place == READY)
		TAILQ_INSERT_TAIL(&fabric.ready, qp, link);
	else if (place == WAITING)
		TAILQ_INSERT_TAIL(&fabric.waiting, qp, link);
}

void fake_wire_leave_locked(struct fake_qp *qp)
{
	if (qp->place == READY)
		TAILQ_REMOVE(&fabric.ready, qp, link);
	else if (qp->place == WAITING)
		TAILQ_REMOVE(&fabric.waiting, qp, link);
	qp->place = NOWHERE;
}

void fake_wire_ready_locked(struct fake_qp *qp)
{
	if (qp->place == NOWHERE)
		put(qp, READY);
}

void fake_wire_kick_locked(void)
{
	struct fake_qp *qp;

	while ((qp = TAILQ_FIRST(&fabric.waiting)))
		put(qp, READY);
}

/* Those whose time has come are ready. Returns when the next one's comes, 0: never. */
static int64_t expire_locked(int64_t now)
{
	struct fake_qp *qp, *next;
	int64_t first = 0;

	for (qp = TAILQ_FIRST(&fabric.waiting); qp; qp = next) {
		next = TAILQ_NEXT(qp, link);
		if (!qp->wait_until)
			continue;
		if (qp->wait_until <= now)
			put(qp, READY);
		else if (!first || qp->wait_until < first)
			first = qp->wait_until;
	}
	return first;
}

/* One turn of the QP that is next; false: there is none. */
static bool turn_locked(void)
{
	static const enum fake_place then[] = {
	    [STEP_IDLE] = NOWHERE, [STEP_MOVED] = READY, [STEP_WAIT] = WAITING};
	struct fake_qp *qp = TAILQ_FIRST(&fabric.ready);

	if (!qp)
		return false;
	put(qp, then[fake_carry_locked(qp)]);
	return true;
}

void fake_wire_run_locked(void)
{
	(void)expire_locked(fake_now_ns());
	while (turn_locked())
		;
}

static void sleep_until(int64_t when)
{
	struct timespec ts = {.tv_sec = when / 1000000000, .tv_nsec = when % 1000000000};
	int rc;

	do {
		if (when)
			rc = sem_clockwait(&wire.wake, CLOCK_MONOTONIC, &ts);
		else
			rc = sem_wait(&wire.wake);
	} while (rc && errno == EINTR);
}

static void *wire_main(void *arg)
{
	(void)arg;
	(void)pthread_rwlock_wrlock(&fabric.lock);
	while (!wire.stop) {
		int64_t next = expire_locked(fake_now_ns());
		bool moved = turn_locked();

		wire.asleep = !moved;
		(void)pthread_rwlock_unlock(&fabric.lock);
		if (!moved)
			sleep_until(next);
		(void)pthread_rwlock_wrlock(&fabric.lock);
		wire.asleep = false;
	}
	(void)pthread_rwlock_unlock(&fabric.lock);
	return NULL;
}

int fake_wire_begin(void)
{
	int rc = 0;

	if (fabric.config.synchronous)
		return 0;
	(void)pthread_mutex_lock(&wire.mutex);
	if (!wire.users) {
		wire.stop = false;
		(void)sem_init(&wire.wake, 0, 0);
		rc = pthread_create(&wire.thread, NULL, wire_main, NULL);
	}
	wire.users += !rc;
	(void)pthread_mutex_unlock(&wire.mutex);
	return rc;
}

void fake_wire_end(void)
{
	if (fabric.config.synchronous)
		return;
	(void)pthread_mutex_lock(&wire.mutex);
	if (wire.users && !--wire.users) {
		fake_lock();
		wire.stop = true;
		fake_unlock();
		(void)sem_post(&wire.wake);
		(void)pthread_join(wire.thread, NULL);
		(void)sem_destroy(&wire.wake);
	}
	(void)pthread_mutex_unlock(&wire.mutex);
}
