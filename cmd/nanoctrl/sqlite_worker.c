/* SPDX-License-Identifier: BSD-3-Clause */
#include "sqlite_worker.h"

#include <errno.h>
#include <signal.h>

#include "sqlite_ops.h"

/* More than this in one transaction, and the first ones wait for long. */
enum { BATCH_MAX = 1024 };

static int run(struct sqlite_db *db, struct request *req)
{
	int n;

	if (!req->load)
		return sqlite_ops_run(db, req);
	n = sqlite_ops_lifetimes(db, req, &req->load->rowid, req->load->n);
	req->load->n = n < 0 ? 0 : n;
	return n < 0 ? n : 0;
}

static int fail_batch(struct sqlite_db *db, struct slime_error *err)
{
	int rc = sqlite_db_error(db, err);

	/* SQLite may have rolled back already. */
	if (!sqlite3_get_autocommit(db->sql))
		(void)sqlite_db_do(db, SQL_ROLLBACK);
	return rc;
}

/* REQ within the transaction. False: the database failed, nothing of the transaction holds. */
static bool run_one(struct sqlite_worker *w, struct request *req, struct slime_error *err)
{
	struct sqlite_db *db = &w->db;
	bool save = w->writes && req->n > 1;

	request_reset(req);
	if (save && sqlite_db_do(db, SQL_SAVE) != SQLITE_DONE) {
		(void)fail_batch(db, err);
		return false;
	}
	if (run(db, req) && req->broken) {
		*err = req->err;
		if (!sqlite3_get_autocommit(db->sql))
			(void)sqlite_db_do(db, SQL_ROLLBACK);
		return false;
	}
	if (!save)
		return true;
	if ((req->status && sqlite_db_do(db, SQL_UNDO) != SQLITE_DONE) ||
	    sqlite_db_do(db, SQL_RELEASE) != SQLITE_DONE) {
		(void)fail_batch(db, err);
		return false;
	}
	return true;
}

/* The revision is saved once for all. */
static bool commit(struct sqlite_worker *w, struct slime_error *err)
{
	struct sqlite_db *db = &w->db;
	uint64_t revision = db->revision;

	if (w->writes && revision != db->saved) {
		sqlite3_stmt *st = sqlite_db_use(db, SQL_SET_REVISION);
		int code;

		(void)sqlite3_bind_int64(st, 1, (int64_t)revision);
		code = sqlite3_step(st);
		(void)sqlite3_reset(st);
		if (code != SQLITE_DONE) {
			(void)fail_batch(db, err);
			return false;
		}
	}
	if (sqlite_db_do(db, SQL_COMMIT) != SQLITE_DONE) {
		(void)fail_batch(db, err);
		return false;
	}
	db->saved = revision;
	return true;
}

static bool run_transaction(struct sqlite_worker *w, struct request *list, struct slime_error *err)
{
	if (sqlite_db_do(&w->db, w->writes ? SQL_BEGIN_WRITE : SQL_BEGIN) != SQLITE_DONE) {
		(void)fail_batch(&w->db, err);
		return false;
	}
	for (struct request *req = list; req; req = req->next)
		if (!run_one(w, req, err))
			return false;
	return commit(w, err);
}

/* Alone, each of them shows whether it was the one that cannot be done. */
static void run_apart(struct sqlite_worker *w, struct request *list)
{
	for (struct request *req = list, *next; req; req = next) {
		struct slime_error err = {.code = -EIO, .text = "the database failed"};

		next = req->next;
		req->next = NULL;
		if (!run_transaction(w, req, &err)) {
			size_t failed = req->broken ? req->failed : 0;

			request_reset(req);
			req->broken = true;
			req->failed = failed;
			req->err = err;
			req->status = err.code;
		}
		req->next = next;
	}
}

/* Wait for requests; NULL: it is over. */
static struct request *take_batch(struct sqlite_worker *w)
{
	struct request *list, **at;

	(void)pthread_mutex_lock(&w->lock);
	while (!w->queue && !w->stop)
		(void)pthread_cond_wait(&w->work, &w->lock);
	list = w->queue;
	at = &list;
	for (int n = 0; *at && n < BATCH_MAX; n++)
		at = &(*at)->next;
	w->queue = *at;
	if (!w->queue)
		w->last = &w->queue;
	(void)pthread_mutex_unlock(&w->lock);
	*at = NULL;
	return list;
}

static void *work(void *arg)
{
	struct sqlite_worker *w = arg;
	struct request *list;

	(void)pthread_setname_np(pthread_self(), w->writes ? "sqlite write" : "sqlite read");
	while ((list = take_batch(w))) {
		struct slime_error err;

		if (!run_transaction(w, list, &err))
			run_apart(w, list);
		w->finished(w->arg, list);
	}
	return NULL;
}

int sqlite_worker_start(struct sqlite_worker *w, void (*finished)(void *, struct request *),
                        void *arg)
{
	sigset_t all, old;
	int rc;

	w->finished = finished;
	w->arg = arg;
	w->last = &w->queue;
	(void)pthread_mutex_init(&w->lock, NULL);
	(void)pthread_cond_init(&w->work, NULL);
	(void)sigfillset(&all);
	(void)pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&w->thread, NULL, work, w);
	(void)pthread_sigmask(SIG_SETMASK, &old, NULL);
	w->runs = rc == 0;
	return -rc;
}

void sqlite_worker_submit(struct sqlite_worker *w, struct request *req)
{
	req->next = NULL;
	(void)pthread_mutex_lock(&w->lock);
	*w->last = req;
	w->last = &req->next;
	(void)pthread_cond_signal(&w->work);
	(void)pthread_mutex_unlock(&w->lock);
}

void sqlite_worker_stop(struct sqlite_worker *w)
{
	if (w->runs) {
		(void)pthread_mutex_lock(&w->lock);
		w->stop = true;
		(void)pthread_cond_signal(&w->work);
		(void)pthread_mutex_unlock(&w->lock);
		(void)pthread_join(w->thread, NULL);
		w->runs = false;
	}
	sqlite_db_close(&w->db);
}
