/* SPDX-License-Identifier: BSD-3-Clause */
#include "server.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

struct event_base *loop;
struct evconnlistener *listener;
struct sl_ctrl_client *client;
static const struct script *script;
static unsigned nscript;
unsigned requests, connections;
char seen[4096];
static struct bufferevent *guest[GUESTS_MAX];
static unsigned guests;

static void hang_up(struct bufferevent *bev)
{
	for (unsigned i = 0; i < guests; i++) {
		if (guest[i] == bev)
			guest[i] = NULL;
	}
	bufferevent_free(bev);
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
	(void)arg;
	if (what & (BEV_EVENT_EOF | BEV_EVENT_ERROR))
		hang_up(bev);
}

static void on_sent(struct bufferevent *bev, void *arg)
{
	(void)arg;
	hang_up(bev);
}

/* A request is here when its body is: the tests send bodies that end in "}". */
static void on_read(struct bufferevent *bev, void *arg)
{
	struct evbuffer *in = bufferevent_get_input(bev);
	struct evbuffer_ptr end = evbuffer_search(in, "\r\n\r\n", 4, NULL);
	const struct script *s = &script[requests < nscript ? requests : nscript - 1];
	size_t n;

	(void)arg;
	if (end.pos < 0)
		return;
	n = (size_t)evbuffer_copyout(in, seen, sizeof(seen) - 1);
	seen[n] = '\0';
	if (strstr(seen, "Content-Length:") && seen[n - 1] != '}')
		return;
	(void)evbuffer_drain(in, n);
	requests++;
	if (s->silent)
		return;
	if (!s->answer) {
		hang_up(bev);
		return;
	}
	(void)bufferevent_write(bev, s->answer, strlen(s->answer));
	if (s->hang_up)
		bufferevent_setcb(bev, NULL, on_sent, on_event, NULL);
}

static void on_guest(struct evconnlistener *l, evutil_socket_t fd, struct sockaddr *sa, int len,
                     void *arg)
{
	struct bufferevent *bev = bufferevent_socket_new(loop, fd, BEV_OPT_CLOSE_ON_FREE);

	(void)l;
	(void)sa;
	(void)len;
	(void)arg;
	connections++;
	guest[guests++] = bev;
	bufferevent_setcb(bev, on_read, NULL, on_event, NULL);
	(void)bufferevent_enable(bev, EV_READ | EV_WRITE);
}

void serve(const struct script *what, unsigned n)
{
	script = what;
	nscript = n;
}

int server_setup(void **state)
{
	struct sockaddr_in sin = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(sin);
	struct sl_ctrl_opts opts = {.token = "s3cret", .batches = true};
	char url[64];

	(void)state;
	requests = connections = guests = 0;
	seen[0] = '\0';
	loop = event_base_new();
	listener = evconnlistener_new_bind(loop, on_guest, NULL, LEV_OPT_CLOSE_ON_FREE, 8,
	                                   (struct sockaddr *)&sin, sizeof(sin));
	assert_non_null(listener);
	assert_int_equal(
	    getsockname(evconnlistener_get_fd(listener), (struct sockaddr *)&sin, &len), 0);
	(void)snprintf(url, sizeof(url), "127.0.0.1:%u", ntohs(sin.sin_port));
	opts.loop = loop;
	opts.url = url;
	assert_int_equal(sl_ctrl_create(&opts, &client, NULL), 0);
	return 0;
}

int server_teardown(void **state)
{
	(void)state;
	sl_ctrl_destroy(client);
	if (listener)
		evconnlistener_free(listener);
	for (unsigned i = 0; i < guests; i++) {
		if (guest[i])
			bufferevent_free(guest[i]);
	}
	event_base_free(loop);
	return 0;
}

void on_done(void *arg, const struct sl_ctrl_reply *reply)
{
	struct outcome *o = arg;

	o->times++;
	o->status = reply->status;
	o->http = reply->http;
	o->n = json_integer_value(json_object_get(reply->body, "n"));
	(void)strcpy(o->text, reply->err.text);
	(void)event_base_loopbreak(loop);
}

struct outcome ask(const char *method, json_t *body, int timeout_ms)
{
	struct outcome o = {0};

	assert_non_null(
	    sl_ctrl_call(client, method, "/v1/agents?scope=", body, timeout_ms, on_done, &o));
	assert_int_equal(o.times, 0); /* never from within */
	while (!o.times)
		(void)event_base_loop(loop, EVLOOP_ONCE);
	assert_int_equal(o.times, 1);
	return o;
}
