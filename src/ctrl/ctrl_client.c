/* SPDX-License-Identifier: BSD-3-Clause */
#include "ctrl/ctrl_client.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/http.h>
#include <event2/http_struct.h>
#include <event2/keyvalq_struct.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/queue.h>

#include "base/error.h"

enum {
	CONNS_MAX = 6 /* three of them may be long questions */,
	BODY_MAX = 64 << 20,
	HEADERS_MAX = 64 << 10
};

/* One kept-alive connection; busy while CALL is set. */
struct conn {
	struct sl_ctrl_client *client;
	struct evhttp_connection *evcon;
	struct sl_ctrl_call *call;
	bool used; /* it has answered before, so the server may have closed it since */
	LIST_ENTRY(conn) entry;
};

struct sl_ctrl_call {
	struct sl_ctrl_client *client;
	struct conn *conn; /* NULL: in the queue */
	enum evhttp_cmd_type method;
	char *path;
	char *body; /* NULL: none */
	int timeout_ms;
	bool again; /* this is the second try */
	enum evhttp_request_error error;
	bool failed;
	sl_ctrl_done *done; /* NULL: dropped */
	void *arg;
	TAILQ_ENTRY(sl_ctrl_call) entry;
};

struct sl_ctrl_client {
	struct event_base *loop;
	char *host;
	char *header_host;
	uint16_t port;
	char *authorization; /* NULL: none */
	const char *who;
	const char *unreached; /* what is said of WHO when nobody takes the call */
	bool listed, ending;
	LIST_ENTRY(sl_ctrl_client) entry;
	unsigned nconns;
	LIST_HEAD(, conn) conns;
	TAILQ_HEAD(, sl_ctrl_call) queue;
	struct event *pump; /* the queue may move on */
};

static void call_free(struct sl_ctrl_call *call)
{
	free(call->path);
	free(call->body);
	free(call);
}

static void conn_free(struct conn *c)
{
	LIST_REMOVE(c, entry);
	c->client->nconns--;
	evhttp_connection_free(c->evcon);
	free(c);
}

static void finish(struct sl_ctrl_call *call, const struct sl_ctrl_reply *reply)
{
	if (call->done)
		call->done(call->arg, reply);
	call_free(call);
}

static void fail(struct sl_ctrl_call *call, int code, const char *why)
{
	struct sl_ctrl_client *client = call->client;
	struct sl_ctrl_reply reply = {0};

	reply.status =
	    sl_fail(&reply.err, code, "%s at %s %s", client->who, client->header_host, why);
	finish(call, &reply);
}

/* The negative errno that a code of the API stands for. */
static int errno_of(const char *code, int http)
{
	static const struct {
		const char *name;
		int value;
	} names[] = {
	    {"EINVAL", EINVAL}, {"EACCES", EACCES},     {"ENOENT", ENOENT}, {"EEXIST", EEXIST},
	    {"ESTALE", ESTALE}, {"EMSGSIZE", EMSGSIZE}, {"EDQUOT", EDQUOT}, {"ENOSPC", ENOSPC},
	    {"EAGAIN", EAGAIN}, {"EIO", EIO},
	};

	for (size_t i = 0; code && i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(code, names[i].name) == 0)
			return -names[i].value;
	}
	if (http == HTTP_SERVUNAVAIL)
		return -EAGAIN;
	if (http == HTTP_NOTFOUND)
		return -ENOENT;
	return http == 401 || http == 403 ? -EACCES : -EIO;
}

static void answer(struct sl_ctrl_call *call, struct evhttp_request *req)
{
	struct evbuffer *in = evhttp_request_get_input_buffer(req);
	size_t len = evbuffer_get_length(in);
	struct sl_ctrl_reply reply = {.http = evhttp_request_get_response_code(req)};
	const char *text = len ? (const char *)evbuffer_pullup(in, -1) : NULL;
	json_error_t wrong;

	reply.body = text ? json_loadb(text, len, 0, &wrong) : NULL;
	if (reply.http < 200 || reply.http > 299) {
		const char *said = json_string_value(json_object_get(reply.body, "message"));
		const char *code = json_string_value(json_object_get(reply.body, "code"));

		reply.status = errno_of(code, reply.http);
		if (said)
			(void)sl_fail(&reply.err, reply.status, "%s", said);
		else
			(void)sl_fail(&reply.err, reply.status, "%s at %s answered %d to %s",
			              call->client->who, call->client->header_host, reply.http,
			              call->path);
	} else if (!json_is_object(reply.body) && !json_is_array(reply.body)) {
		reply.status = sl_fail(&reply.err, -EPROTO, "what answers at %s is not %s: no JSON",
		                       call->client->header_host, call->client->who);
	}
	if (call->done)
		call->done(call->arg, &reply);
	json_decref(reply.body);
	call_free(call);
}

static void pump_later(struct sl_ctrl_client *client)
{
	if (!TAILQ_EMPTY(&client->queue))
		event_active(client->pump, EV_TIMEOUT, 1);
}

static void no_answer(struct sl_ctrl_call *call, bool was_used)
{
	enum evhttp_request_error error = call->failed ? call->error : EVREQ_HTTP_EOF;

	if (!was_used && !call->failed) {
		fail(call, -ECONNREFUSED, call->client->unreached);
	} else if (error == EVREQ_HTTP_TIMEOUT) {
		fail(call, -ETIMEDOUT, "did not answer in time");
	} else if (error == EVREQ_HTTP_DATA_TOO_LONG) {
		fail(call, -EPROTO, "sent a longer answer than is accepted");
	} else if (error == EVREQ_HTTP_INVALID_HEADER) {
		fail(call, -EPROTO, "does not speak HTTP");
	} else if (was_used && !call->again && call->done) {
		call->again = true; /* it had closed the kept connection */
		call->failed = false;
		TAILQ_INSERT_HEAD(&call->client->queue, call, entry);
		pump_later(call->client);
	} else {
		fail(call, was_used ? -ECONNRESET : -ECONNREFUSED,
		     was_used ? "hung up" : call->client->unreached);
	}
}

/* REQ is NULL or without a code when there was no answer. */
static void on_done(struct evhttp_request *req, void *arg)
{
	struct sl_ctrl_call *call = arg;
	struct conn *c = call->conn;
	struct sl_ctrl_client *client = call->client;
	bool was_used = c->used;

	call->conn = NULL;
	c->call = NULL;
	if (req && evhttp_request_get_response_code(req)) {
		c->used = true;
		pump_later(client);
		answer(call, req);
		return;
	}
	/* libevent is inside this connection: it is left idle, and starts anew when used again */
	c->used = false;
	pump_later(client);
	no_answer(call, was_used);
}

static void on_error(enum evhttp_request_error error, void *arg)
{
	struct sl_ctrl_call *call = arg;

	call->failed = true;
	call->error = error;
}

static struct conn *conn_of(struct sl_ctrl_client *client)
{
	struct conn *c;

	LIST_FOREACH(c, &client->conns, entry)
	{
		if (!c->call)
			return c;
	}
	c = calloc(1, sizeof(*c));
	if (!c)
		return NULL;
	c->evcon = evhttp_connection_base_new(client->loop, NULL, client->host, client->port);
	if (!c->evcon) {
		free(c);
		return NULL;
	}
	evhttp_connection_set_max_body_size(c->evcon, BODY_MAX);
	evhttp_connection_set_max_headers_size(c->evcon, HEADERS_MAX);
	c->client = client;
	client->nconns++;
	LIST_INSERT_HEAD(&client->conns, c, entry);
	return c;
}

static int fill(struct sl_ctrl_call *call, struct evhttp_request *req)
{
	struct evkeyvalq *headers = evhttp_request_get_output_headers(req);
	int rc = evhttp_add_header(headers, "Host", call->client->header_host);

	if (call->client->authorization)
		rc |= evhttp_add_header(headers, "Authorization", call->client->authorization);
	if (call->body) {
		rc |= evhttp_add_header(headers, "Content-Type", "application/json");
		rc |= evbuffer_add(evhttp_request_get_output_buffer(req), call->body,
		                   strlen(call->body));
	}
	return rc ? -ENOMEM : 0;
}

static int start(struct sl_ctrl_call *call)
{
	struct conn *c = conn_of(call->client);
	struct timeval limit = {.tv_sec = call->timeout_ms / 1000,
	                        .tv_usec = call->timeout_ms % 1000 * 1000};
	struct evhttp_request *req = c ? evhttp_request_new(on_done, call) : NULL;

	if (!req)
		return -ENOMEM;
	evhttp_request_set_error_cb(req, on_error);
	if (fill(call, req)) {
		evhttp_request_free(req);
		return -ENOMEM;
	}
	evhttp_connection_set_timeout_tv(c->evcon, &limit);
	c->call = call;
	call->conn = c;
	/* it owns REQ from here, and frees it when it fails */
	if (evhttp_make_request(c->evcon, req, call->method, call->path)) {
		c->call = NULL;
		call->conn = NULL;
		return -ENOMEM;
	}
	return 0;
}

static bool all_busy(const struct sl_ctrl_client *client)
{
	const struct conn *c;

	LIST_FOREACH(c, &client->conns, entry)
	{
		if (!c->call)
			return false;
	}
	return client->nconns >= CONNS_MAX;
}

/* End every call. What their DONE asks next is ended as well. */
static void end_all(struct sl_ctrl_client *client)
{
	struct sl_ctrl_call *call;
	struct conn *c;

	for (;;) {
		call = TAILQ_FIRST(&client->queue);
		if (call)
			TAILQ_REMOVE(&client->queue, call, entry);
		c = call ? NULL : LIST_FIRST(&client->conns);
		if (c) {
			call = c->call;
			conn_free(c);
		} else if (!call) {
			return;
		}
		if (call)
			fail(call, -ECANCELED, "is not asked any more");
	}
}

static void on_pump(evutil_socket_t fd, short what, void *arg)
{
	struct sl_ctrl_client *client = arg;
	struct sl_ctrl_call *call;

	(void)fd;
	(void)what;
	if (client->ending) {
		end_all(client);
		sl_ctrl_destroy(client);
		return;
	}
	while ((call = TAILQ_FIRST(&client->queue)) && !all_busy(client)) {
		TAILQ_REMOVE(&client->queue, call, entry);
		if (start(call))
			fail(call, -ENOMEM, "could not be asked: no memory");
	}
}

static enum evhttp_cmd_type method_of(const char *name)
{
	if (strcmp(name, "POST") == 0)
		return EVHTTP_REQ_POST;
	if (strcmp(name, "PUT") == 0)
		return EVHTTP_REQ_PUT;
	return strcmp(name, "DELETE") == 0 ? EVHTTP_REQ_DELETE : EVHTTP_REQ_GET;
}

struct sl_ctrl_call *sl_ctrl_call(struct sl_ctrl_client *client, const char *method,
                                  const char *path, json_t *body, int timeout_ms,
                                  sl_ctrl_done *done, void *arg)
{
	struct sl_ctrl_call *call = client ? calloc(1, sizeof(*call)) : NULL;

	if (!call) {
		json_decref(body);
		return NULL;
	}
	call->client = client;
	call->method = method_of(method);
	call->path = strdup(path);
	call->body = body ? json_dumps(body, JSON_COMPACT) : NULL;
	call->timeout_ms = timeout_ms;
	call->done = done;
	call->arg = arg;
	if (!call->path || (body && !call->body)) {
		json_decref(body);
		call_free(call);
		return NULL;
	}
	json_decref(body);
	/* from the loop, so that DONE never comes from within this call */
	TAILQ_INSERT_TAIL(&client->queue, call, entry);
	event_active(client->pump, EV_TIMEOUT, 1);
	return call;
}

void sl_ctrl_drop(struct sl_ctrl_call *call)
{
	if (call->conn)
		conn_free(call->conn); /* with its request; the answer may be on the wire already */
	else
		TAILQ_REMOVE(&call->client->queue, call, entry);
	call_free(call);
}

/* HOST:PORT of the url, as a Host header has it. */
static int set_address(struct sl_ctrl_client *client, const struct evhttp_uri *uri, const char *url,
                       struct slime_error *err)
{
	const char *host = evhttp_uri_get_host(uri);
	int port = evhttp_uri_get_port(uri);
	size_t len = host ? strlen(host) : 0;
	size_t cap = len + 8;

	if (!len)
		return sl_fail(err, -EINVAL, "'%s' has no host in it", url);
	if (port == 0 || port > UINT16_MAX)
		return sl_fail(err, -EINVAL, "'%s' has no such port in it", url);
	client->port = port < 0 ? 80 : (uint16_t)port;
	/* [::1] in a url and in a header, ::1 to connect to */
	client->host =
	    host[0] == '[' && host[len - 1] == ']' ? strndup(host + 1, len - 2) : strdup(host);
	client->header_host = malloc(cap);
	if (!client->host || !client->header_host)
		return sl_fail(err, -ENOMEM, "no memory for a client");
	(void)snprintf(client->header_host, cap, "%s:%u", host, client->port);
	return 0;
}

static int parse_url(struct sl_ctrl_client *client, const char *url, struct slime_error *err)
{
	char whole[1024];
	struct evhttp_uri *uri;
	int rc;

	if ((size_t)snprintf(whole, sizeof(whole), "%s%s", strstr(url, "://") ? "" : "http://",
	                     url) >= sizeof(whole))
		return sl_fail(err, -EINVAL, "the url of the control plane is too long");
	if (strncasecmp(whole, "http://", 7) != 0)
		return sl_fail(err, -EINVAL, "'%.100s' is no url of the form http://host:port",
		               url);
	uri = evhttp_uri_parse_with_flags(whole, EVHTTP_URI_NONCONFORMANT);
	if (!uri)
		return sl_fail(err, -EINVAL, "'%.100s' is no url of the form http://host:port",
		               url);
	rc = set_address(client, uri, url, err);
	evhttp_uri_free(uri);
	return rc;
}

int sl_ctrl_create(const struct sl_ctrl_opts *opts, struct sl_ctrl_client **out,
                   struct slime_error *err)
{
	struct sl_ctrl_client *client = calloc(1, sizeof(*client));
	int rc;

	if (!client)
		return sl_fail(err, -ENOMEM, "no memory for a client");
	client->loop = opts->loop;
	client->who = opts->who ? opts->who : "the control plane";
	client->unreached =
	    opts->who ? "cannot be reached"
		      : "cannot be reached: is nanoctrl running there ('nanoctrl start')?";
	if (opts->of) {
		LIST_INSERT_HEAD(opts->of, client, entry);
		client->listed = true;
	}
	LIST_INIT(&client->conns);
	TAILQ_INIT(&client->queue);
	rc = parse_url(client, opts->url, err);
	client->pump = event_new(opts->loop, -1, 0, on_pump, client);
	if (!rc && opts->token && asprintf(&client->authorization, "Bearer %s", opts->token) < 0) {
		client->authorization = NULL;
		rc = -ENOMEM;
	}
	if (!rc && (!client->pump || (opts->token && !client->authorization)))
		rc = sl_fail(err, -ENOMEM, "no memory for a client");
	if (rc) {
		sl_ctrl_destroy(client);
		return rc;
	}
	*out = client;
	return 0;
}

void sl_ctrl_destroy(struct sl_ctrl_client *client)
{
	struct sl_ctrl_call *call;
	struct conn *c;

	if (!client)
		return;
	if (client->listed)
		LIST_REMOVE(client, entry);
	while ((call = TAILQ_FIRST(&client->queue))) {
		TAILQ_REMOVE(&client->queue, call, entry);
		call_free(call);
	}
	while ((c = LIST_FIRST(&client->conns))) {
		if (c->call)
			call_free(c->call);
		conn_free(c);
	}
	if (client->pump)
		event_free(client->pump);
	free(client->host);
	free(client->header_host);
	free(client->authorization);
	free(client);
}

void sl_ctrl_end(struct sl_ctrl_client *client)
{
	client->ending = true;
	event_active(client->pump, EV_TIMEOUT, 1);
}

bool sl_ctrl_is_idle(const struct sl_ctrl_client *client)
{
	const struct conn *c;

	LIST_FOREACH(c, &client->conns, entry)
	{
		if (c->call)
			return false;
	}
	return TAILQ_EMPTY(&client->queue);
}

char *sl_ctrl_quote(const char *name)
{
	return evhttp_uriencode(name, -1, 0);
}
