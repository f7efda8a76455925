/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * nanoctrl/sqlite_worker.h - a thread with a connection to the database, which
 * runs requests in the order in which they come. One that writes puts all that
 * wait into one transaction, so they share one wait for the disk.
 *
 * Threads: submit and stop from the loop; FINISHED is called on the worker's.
 */
#ifndef NANOCTRL_SQLITE_WORKER_H
#define NANOCTRL_SQLITE_WORKER_H

#include <pthread.h>

#include "sqlite_db.h"

/* A request of the store's own: which lifetimes are in the file. */
struct sqlite_load {
	int64_t rowid; /* behind this record; then: the last one */
	int n;         /* at most; then: how many */
};

struct sqlite_worker {
	struct sqlite_db db; /* the worker's, once it runs */
	bool writes;
	void (*finished)(void *arg, struct request *list);
	void *arg;
	pthread_t thread;
	bool runs;

	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t work;
	struct request *queue, **last;
	bool stop;
};

/* DB is open; LIST goes to FINISHED in order. Negative errno: no thread. */
int sqlite_worker_start(struct sqlite_worker *w, void (*finished)(void *, struct request *),
                        void *arg);
void sqlite_worker_submit(struct sqlite_worker *w, struct request *req);
/* Finish what waits, end the thread, close the connection. Not running: only the latter. */
void sqlite_worker_stop(struct sqlite_worker *w);

#endif
