/* SPDX-License-Identifier: BSD-3-Clause */
#include "ctrl/ctrl_client.h"

#include <errno.h>
#include <event2/buffer.h>
#include <event2/http.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/error.h"
#include "ctrl/ctrl_impl.h"

enum { WAYS_MAX = 6 /* three of them may be long questions */ };

static void pump_later(struct sl_ctrl_client *client)
{
	if (!TAILQ_EMPTY(&client->queue) || !TAILQ_EMPTY(&client->posts))
		event_active(client->pump, EV_TIMEOUT, 1);
}

void sl_ctrl_call_free(struct sl_ctrl_call *call)
{
	struct sl_ctrl_call *carried;

	while ((carried = TAILQ_FIRST(&call->carried))) {
		TAILQ_REMOVE(&call->carried, carried, entry);
		sl_ctrl_call_free(carried);
	}
	if (call->client->posting == call) {
		call->client->posting = NULL;
		pump_later(call->client);
	}
	json_decref(call->value);
	free(call->path);
	free(call->body);
	free(call);
}

static void way_free(struct sl_ctrl_way *w)
{
	LIST_REMOVE(w, entry);
	w->client->nways--;
	sl_conn_destroy(w->conn);
	free(w);
}

void sl_ctrl_finish(struct sl_ctrl_call *call, const struct sl_ctrl_reply *reply)
{
	if (call->done)
		call->done(call->arg, reply);
	sl_ctrl_call_free(call);
}

void sl_ctrl_fail(struct sl_ctrl_call *call, int code, const char *why)
{
	struct sl_ctrl_client *client = call->client;
	struct sl_ctrl_reply reply = {0};

	reply.status =
	    sl_fail(&reply.err, code, "%s at %s %s", client->who, client->header_host, why);
	sl_ctrl_finish(call, &reply);
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

void sl_ctrl_answer(struct sl_ctrl_call *call, int http, json_t *body)
{
	struct sl_ctrl_reply reply = {.http = http, .body = body};

	if (http < 200 || http > 299) {
		const char *said = json_string_value(json_object_get(body, "message"));
		const char *code = json_string_value(json_object_get(body, "code"));

		reply.status = errno_of(code, http);
		if (said)
			(void)sl_fail(&reply.err, reply.status, "%s", said);
		else
			(void)sl_fail(&reply.err, reply.status, "%s at %s answered %d to %s",
			              call->client->who, call->client->header_host, http,
			              call->path);
	} else if (!json_is_object(body) && !json_is_array(body)) {
		reply.status = sl_fail(&reply.err, -EPROTO, "what answers at %s is not %s: no JSON",
		                       call->client->header_host, call->client->who);
	}
	sl_ctrl_finish(call, &reply);
}

static void read_answer(struct sl_ctrl_call *call, const struct sl_answer *in)
{
	json_t *body = in->len ? json_loadb(in->body, in->len, JSON_ALLOW_NUL, NULL) : NULL;

	sl_ctrl_answer(call, in->http, body);
	json_decref(body);
}

static void on_done(void *arg, const struct sl_conn_result *result)
{
	struct sl_ctrl_call *call = arg;
	struct sl_ctrl_client *client = call->client;

	/* the connection is not done with this yet, so it is used again from the loop */
	call->way->call = NULL;
	call->way = NULL;
	pump_later(client);
	if (!result->status) {
		read_answer(call, result->answer);
	} else if (result->was_kept && !call->again && call->done) {
		call->again = true; /* it had closed the kept connection */
		TAILQ_INSERT_HEAD(&client->queue, call, entry);
		pump_later(client);
	} else {
		sl_ctrl_fail(call, result->status, result->why ? result->why : client->unreached);
	}
}

static struct sl_ctrl_way *way_of(struct sl_ctrl_client *client)
{
	struct sl_ctrl_way *w;

	LIST_FOREACH(w, &client->ways, entry)
	{
		if (!w->call)
			return w;
	}
	w = calloc(1, sizeof(*w));
	if (!w)
		return NULL;
	w->conn = sl_conn_create(&client->place);
	if (!w->conn) {
		free(w);
		return NULL;
	}
	w->client = client;
	client->nways++;
	LIST_INSERT_HEAD(&client->ways, w, entry);
	return w;
}

static int fill(const struct sl_ctrl_call *call, struct evbuffer *out)
{
	const struct sl_ctrl_client *client = call->client;
	int n = evbuffer_add_printf(out, "%s %s HTTP/1.1\r\nHost: %s\r\n", call->method, call->path,
	                            client->header_host);

	if (n >= 0 && client->token)
		n = evbuffer_add_printf(out, "Authorization: Bearer %s\r\n", client->token);
	if (n >= 0 && call->body)
		n = evbuffer_add_printf(out, "Content-Type: application/json\r\n");
	if (n >= 0 && (call->body || call->method[0] == 'P'))
		n = evbuffer_add_printf(out, "Content-Length: %zu\r\n",
		                        call->body ? strlen(call->body) : 0);
	if (n >= 0)
		n = evbuffer_add(out, "\r\n", 2);
	if (n >= 0 && call->body)
		n = evbuffer_add(out, call->body, strlen(call->body));
	return n < 0 ? -ENOMEM : 0;
}

static int start(struct sl_ctrl_call *call)
{
	struct sl_ctrl_way *w = way_of(call->client);
	struct evbuffer *out = w ? evbuffer_new() : NULL;
	int rc = out ? fill(call, out) : -ENOMEM;

	if (!rc)
		rc = sl_conn_ask(w->conn, out, call->timeout_ms, on_done, call);
	if (out)
		evbuffer_free(out);
	if (rc)
		return rc;
	w->call = call;
	call->way = w;
	return 0;
}

static bool all_busy(const struct sl_ctrl_client *client)
{
	const struct sl_ctrl_way *w;

	LIST_FOREACH(w, &client->ways, entry)
	{
		if (!w->call)
			return false;
	}
	return client->nways >= WAYS_MAX;
}

/* End every call. What their DONE asks next is ended as well. */
static void end_all(struct sl_ctrl_client *client)
{
	struct sl_ctrl_call *call;
	struct sl_ctrl_way *w;

	for (;;) {
		struct sl_ctrl_calls *list =
		    TAILQ_EMPTY(&client->queue) ? &client->posts : &client->queue;

		call = TAILQ_FIRST(list);
		if (call)
			TAILQ_REMOVE(list, call, entry);
		w = call ? NULL : LIST_FIRST(&client->ways);
		if (w) {
			call = w->call;
			way_free(w);
		} else if (!call) {
			return;
		}
		if (call)
			sl_ctrl_fail(call, -ECANCELED, "is not asked any more");
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
	sl_ctrl_gather(client);
	while ((call = TAILQ_FIRST(&client->queue)) && !all_busy(client)) {
		TAILQ_REMOVE(&client->queue, call, entry);
		if (start(call))
			sl_ctrl_fail(call, -ENOMEM, "could not be asked: no memory");
	}
}

struct sl_ctrl_call *sl_ctrl_call_new(struct sl_ctrl_client *client, const char *method,
                                      const char *path, json_t *body, int timeout_ms,
                                      sl_ctrl_done *done, void *arg)
{
	struct sl_ctrl_call *call = calloc(1, sizeof(*call));

	if (call) {
		call->client = client;
		call->method = method;
		call->timeout_ms = timeout_ms;
		call->done = done;
		call->arg = arg;
		call->path = strdup(path);
		call->body = body ? json_dumps(body, JSON_COMPACT) : NULL;
		TAILQ_INIT(&call->carried);
	}
	if (call && (!call->path || (body && !call->body))) {
		sl_ctrl_call_free(call);
		call = NULL;
	}
	json_decref(body);
	return call;
}

struct sl_ctrl_call *sl_ctrl_call(struct sl_ctrl_client *client, const char *method,
                                  const char *path, json_t *body, int timeout_ms,
                                  sl_ctrl_done *done, void *arg)
{
	struct sl_ctrl_call *call;

	if (!client) {
		json_decref(body);
		return NULL;
	}
	call = sl_ctrl_call_new(client, method, path, body, timeout_ms, done, arg);
	if (!call)
		return NULL;
	/* from the loop, so that DONE never comes from within this call */
	TAILQ_INSERT_TAIL(&client->queue, call, entry);
	event_active(client->pump, EV_TIMEOUT, 1);
	return call;
}

void sl_ctrl_drop(struct sl_ctrl_call *call)
{
	if (call->carrier || call->client->posting == call) {
		call->done = NULL; /* it goes its way: that costs less than a new connection */
		return;
	}
	if (call->way)
		way_free(call->way); /* with its request; the answer may be on the wire already */
	else
		TAILQ_REMOVE(call->waits ? &call->client->posts : &call->client->queue, call,
		             entry);
	sl_ctrl_call_free(call);
}

/* HOST:PORT of the url, as a Host header has it. */
static int set_address(struct sl_ctrl_client *client, const struct evhttp_uri *uri, const char *url,
                       struct slime_error *err)
{
	const char *host = evhttp_uri_get_host(uri);
	int port = evhttp_uri_get_port(uri);
	bool tls = strcasecmp(evhttp_uri_get_scheme(uri), "https") == 0;
	size_t len = host ? strlen(host) : 0;
	size_t cap = len + 8;

	if (!len)
		return sl_fail(err, -EINVAL, "'%s' has no host in it", url);
	if (port == 0 || port > UINT16_MAX)
		return sl_fail(err, -EINVAL, "'%s' has no such port in it", url);
	client->place.port = port < 0 ? (tls ? 443 : 80) : (unsigned)port;
	/* [::1] in a url and in a header, ::1 to connect to */
	client->host =
	    host[0] == '[' && host[len - 1] == ']' ? strndup(host + 1, len - 2) : strdup(host);
	client->header_host = malloc(cap);
	if (!client->host || !client->header_host)
		return sl_fail(err, -ENOMEM, "no memory for a client");
	client->place.host = client->host;
	(void)snprintf(client->header_host, cap, "%s:%u", host, client->place.port);
	return 0;
}

/* What only https needs is refused without it: who gives it means to be protected. */
static int set_tls(struct sl_ctrl_client *client, const struct sl_ctrl_opts *opts, bool tls,
                   struct slime_error *err)
{
	if (!tls && (opts->ca_file || opts->cert_file))
		return sl_fail(err, -EINVAL,
		               "'%.100s' is not https, so certificates are of no use to it",
		               opts->url);
	if (!opts->cert_file != !opts->key_file)
		return sl_fail(err, -EINVAL, "a certificate goes with a key, and a key with one");
	if (!tls)
		return 0;
	return sl_tls_create_client(opts->ca_file, opts->cert_file, opts->key_file,
	                            &client->place.tls, err);
}

/* It goes into a header, and is not to be the end of it. */
static int take_token(struct sl_ctrl_client *client, const char *token, struct slime_error *err)
{
	if (!token)
		return 0;
	for (const char *c = token; *c; c++) {
		if ((unsigned char)*c < ' ' || *c == 0x7f)
			return sl_fail(err, -EINVAL, "the token has a control character in it");
	}
	client->token = strdup(token);
	return client->token ? 0 : sl_fail(err, -ENOMEM, "no memory for a client");
}

static int parse_url(struct sl_ctrl_client *client, const struct sl_ctrl_opts *opts,
                     struct slime_error *err)
{
	const char *url = opts->url;
	char whole[1024];
	struct evhttp_uri *uri;
	int rc;

	if ((size_t)snprintf(whole, sizeof(whole), "%s%s", strstr(url, "://") ? "" : "http://",
	                     url) >= sizeof(whole))
		return sl_fail(err, -EINVAL, "the url of the control plane is too long");
	if (strncasecmp(whole, "http://", 7) != 0 && strncasecmp(whole, "https://", 8) != 0)
		return sl_fail(err, -EINVAL,
		               "'%.100s' is no url of the form http://host:port, or https", url);
	uri = evhttp_uri_parse_with_flags(whole, EVHTTP_URI_NONCONFORMANT);
	if (!uri)
		return sl_fail(err, -EINVAL, "'%.100s' is no url of the form http://host:port",
		               url);
	rc = set_address(client, uri, url, err);
	if (!rc)
		rc = set_tls(client, opts, strncasecmp(whole, "https://", 8) == 0, err);
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
	client->place.loop = opts->loop;
	client->batches = opts->batches;
	client->who = opts->who ? opts->who : "the control plane";
	client->unreached =
	    opts->who ? "cannot be reached"
		      : "cannot be reached: is nanoctrl running there ('nanoctrl start')?";
	if (opts->of) {
		LIST_INSERT_HEAD(opts->of, client, entry);
		client->listed = true;
	}
	LIST_INIT(&client->ways);
	TAILQ_INIT(&client->queue);
	TAILQ_INIT(&client->posts);
	rc = parse_url(client, opts, err);
	if (!rc)
		rc = take_token(client, opts->token, err);
	client->pump = event_new(opts->loop, -1, 0, on_pump, client);
	if (!rc && !client->pump)
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
	struct sl_ctrl_way *w;

	if (!client)
		return;
	if (client->listed)
		LIST_REMOVE(client, entry);
	while ((call = TAILQ_FIRST(&client->posts))) {
		TAILQ_REMOVE(&client->posts, call, entry);
		sl_ctrl_call_free(call);
	}
	while ((call = TAILQ_FIRST(&client->queue))) {
		TAILQ_REMOVE(&client->queue, call, entry);
		sl_ctrl_call_free(call);
	}
	while ((w = LIST_FIRST(&client->ways))) {
		if (w->call)
			sl_ctrl_call_free(w->call);
		way_free(w);
	}
	if (client->pump)
		event_free(client->pump);
	free(client->host);
	free(client->header_host);
	free(client->token);
	sl_tls_destroy(client->place.tls);
	free(client);
}

void sl_ctrl_end(struct sl_ctrl_client *client)
{
	client->ending = true;
	event_active(client->pump, EV_TIMEOUT, 1);
}

bool sl_ctrl_is_idle(const struct sl_ctrl_client *client)
{
	const struct sl_ctrl_way *w;

	LIST_FOREACH(w, &client->ways, entry)
	{
		if (w->call)
			return false;
	}
	return TAILQ_EMPTY(&client->queue) && TAILQ_EMPTY(&client->posts);
}

char *sl_ctrl_quote(const char *name)
{
	return evhttp_uriencode(name, -1, 0);
}
