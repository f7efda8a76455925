/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * base/lock.h - a mutex that clang's -Wthread-safety understands.
 *
 * Every lock of the library is one of these, so that what a lock guards can be
 * written where it is declared and is checked by the compiler.
 */
#ifndef SL_LOCK_H
#define SL_LOCK_H

#include <pthread.h>
#include <stdbool.h>

#if defined(__clang__)
#define SL_TSA(x) __attribute__((x))
#else
#define SL_TSA(x)
#endif

#define SL_GUARDED_BY(l) SL_TSA(guarded_by(l))
#define SL_REQUIRES(l)   SL_TSA(requires_capability(l))
#define SL_ACQUIRE(l)    SL_TSA(acquire_capability(l))
#define SL_RELEASE(l)    SL_TSA(release_capability(l))
#define SL_TRY(ok, l)    SL_TSA(try_acquire_capability(ok, l))
#define SL_UNCHECKED     SL_TSA(no_thread_safety_analysis)

struct SL_TSA(capability("mutex")) sl_lock {
	pthread_mutex_t mutex;
};

#define SL_LOCK_INIT                      \
	{                                 \
		PTHREAD_MUTEX_INITIALIZER \
	}

static inline void sl_lock_init(struct sl_lock *l)
{
	(void)pthread_mutex_init(&l->mutex, NULL); /* cannot fail without attributes */
}

static inline void sl_lock_free(struct sl_lock *l)
{
	(void)pthread_mutex_destroy(&l->mutex);
}

static inline void sl_lock_take(struct sl_lock *l) SL_ACQUIRE(*l) SL_UNCHECKED
{
	(void)pthread_mutex_lock(&l->mutex);
}

static inline bool sl_lock_try(struct sl_lock *l) SL_TRY(true, *l) SL_UNCHECKED
{
	return pthread_mutex_trylock(&l->mutex) == 0;
}

static inline void sl_lock_drop(struct sl_lock *l) SL_RELEASE(*l) SL_UNCHECKED
{
	(void)pthread_mutex_unlock(&l->mutex);
}

#endif
