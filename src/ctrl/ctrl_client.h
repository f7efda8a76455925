/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ctrl/ctrl_client.h - calls to the control plane: JSON over HTTP or HTTPS, on a libevent loop.
 *
 * Calls go out at once, each on a kept-alive connection of its own, a new one if
 * all are busy, up to a limit; past that they queue. A call on a kept connection
 * that turns out to be closed is made once more on a new one, so every call must
 * do no harm when it is made twice.
 *
 * Threads: the loop's only.
 */
#ifndef SL_CTRL_CLIENT_H
#define SL_CTRL_CLIENT_H

#include <event2/event.h>
#include <jansson.h>
#include <stdbool.h>
#include <sys/queue.h>

#include <slime/base.h>

struct sl_ctrl_client;
struct sl_ctrl_call;
LIST_HEAD(sl_ctrl_clients, sl_ctrl_client);

struct sl_ctrl_opts {
	struct event_base *loop;
	const char *url;   /* "http://host:port", "https://host:port", "host:port" */
	const char *token; /* NULL: none */
	/* for https, PEM; NULL: the authorities that this system trusts; no certificate of ours */
	const char *ca_file, *cert_file, *key_file;
	const char *who;            /* in sentences, a constant; NULL: "the control plane" */
	struct sl_ctrl_clients *of; /* listed there until it is destroyed; NULL: nowhere */
	bool batches;               /* it takes many posts in one: /v1/batch */
};

/*
 * How a call ended. STATUS 0: BODY is what the server answered, a JSON object.
 * Negative: ERR is the sentence; BODY the server's error object, or NULL.
 * -ECONNREFUSED, -ETIMEDOUT, -ECONNRESET, -EPROTO (not JSON, too long, no TLS), -EACCES (a
 * certificate is not trusted, ours or theirs), -ECANCELED, or what
 * the server said: -ENOENT, -EEXIST, -ESTALE, -EACCES, -EINVAL, -ENOSPC, -EDQUOT, -EAGAIN, -EIO.
 */
struct sl_ctrl_reply {
	int status;
	int http; /* 0: there was no answer */
	json_t *body;
	struct slime_error err;
};
typedef void sl_ctrl_done(void *arg, const struct sl_ctrl_reply *reply);

/* -EINVAL: not such a url, or such files. -ENODEV: there is no OpenSSL here. -ENOMEM. */
int sl_ctrl_create(const struct sl_ctrl_opts *opts, struct sl_ctrl_client **out,
                   struct slime_error *err);
/* Ends every call without its DONE. NULL is fine. */
void sl_ctrl_destroy(struct sl_ctrl_client *client);
/*
 * Let the loop end every call with -ECANCELED, and then destroy it. From anywhere,
 * also from a DONE of its own; CLIENT is not to be used any more, a call may still be
 * dropped. If the loop does not come to it, whoever has the list of clients destroys it.
 */
void sl_ctrl_end(struct sl_ctrl_client *client);
/* Is nothing asked that was not answered? */
bool sl_ctrl_is_idle(const struct sl_ctrl_client *client);

/*
 * Ask METHOD ("GET", "POST", "PUT", "DELETE": a constant) of PATH, which has its query in
 * it and is copied. BODY is stolen, NULL for none. DONE comes once, from the loop,
 * never from within, unless the call is dropped before. Past TIMEOUT_MS it is
 * -ETIMEDOUT. Returns NULL when there is no memory, or CLIENT is NULL, and DONE is not called.
 */
struct sl_ctrl_call *sl_ctrl_call(struct sl_ctrl_client *client, const char *method,
                                  const char *path, json_t *body, int timeout_ms,
                                  sl_ctrl_done *done, void *arg);
/*
 * As sl_ctrl_call(), in turn: where the server takes batches, one such is underway at a time, and
 * of those that are asked meanwhile the ones with a body go together behind it.
 */
struct sl_ctrl_call *sl_ctrl_send(struct sl_ctrl_client *client, const char *method,
                                  const char *path, json_t *body, int timeout_ms,
                                  sl_ctrl_done *done, void *arg);
/* Forget it: DONE will not come. */
void sl_ctrl_drop(struct sl_ctrl_call *call);

/* NAME percent-encoded for a path or a query; malloc()ed. NULL: no memory. */
char *sl_ctrl_quote(const char *name);

#endif
