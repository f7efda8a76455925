/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include "log.h"
#include "metrics.h"
#include "notify.h"
#include "options.h"
#include "router.h"
#include "routes_ops.h"
#include "sentence.h"
#include "server.h"
#include "tokens.h"
#include "verbs.h"

/* What one run of the daemon has. */
struct service {
	struct options options;
	struct server *server;
	struct event *sigterm, *sigint, *sighup, *deadline;
	bool stopping;
	char db[512];
};

static void on_drained(void *arg)
{
	(void)arg;
	(void)event_base_loopexit(nanoctrl.loop, NULL);
}

static void on_deadline(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	log_line(SLIME_LOG_WARN, "some requests did not end in time and are cut off");
	(void)event_base_loopexit(nanoctrl.loop, NULL);
}

static void on_stop(evutil_socket_t number, short what, void *arg)
{
	struct service *service = arg;
	const struct timeval patience = {.tv_sec = (time_t)service->options.drain_s};

	(void)what;
	if (service->stopping) {
		on_deadline(-1, 0, service);
		return;
	}
	service->stopping = true;
	log_line(SLIME_LOG_INFO, "stopping: %s", strsignal((int)number));
	notify_supervisor("STOPPING=1");
	ops_drain();
	(void)event_add(service->deadline, &patience);
	server_drain(service->server, on_drained, NULL);
}

static int load_tls(const struct options *options, struct sl_tls **out, struct slime_error *err)
{
	*out = NULL;
	if (!options->tls_cert)
		return 0;
	return sl_tls_create(options->tls_cert, options->tls_key, options->tls_client_ca, out, err);
}

static int load_tokens(const struct options *options, struct slime_error *err)
{
	struct tokens *tokens;
	int rc;

	if (!options->token_file)
		return 0;
	rc = tokens_load(options->token_file, &tokens, err);
	if (rc == 0)
		router_set_tokens(tokens);
	return rc;
}

/* Log, tokens and certificate anew; what is wrong with one of them stays as it was. */
static void on_hangup(evutil_socket_t fd, short what, void *arg)
{
	struct service *service = arg;
	struct slime_error err;
	struct sl_tls *tls;

	(void)fd;
	(void)what;
	log_reopen();
	log_line(SLIME_LOG_INFO, "reading tokens and certificates again");
	if (load_tokens(&service->options, &err) < 0)
		log_line(SLIME_LOG_ERROR, "the tokens stay as they were: %s", err.text);
	if (load_tls(&service->options, &tls, &err) < 0)
		log_line(SLIME_LOG_ERROR, "the certificate stays as it was: %s", err.text);
	else if (tls)
		server_set_tls(service->server, tls);
}

static void on_store_health(void *arg, bool up, const char *reason)
{
	(void)arg;
	ops_store_health(up, reason);
	log_line(up ? SLIME_LOG_INFO : SLIME_LOG_ERROR, "the store is %s: %s", up ? "up" : "down",
	         reason ? reason : "");
}

static void on_store_event(void *arg, const struct store_event *event)
{
	(void)arg;
	if (event->change == STORE_HAS_EXPIRED)
		metric_add("expiries_total", NULL, 1);
	watch_event(nanoctrl.watch, event);
}

static void on_store_gap(void *arg, uint64_t revision)
{
	(void)arg;
	watch_gap(nanoctrl.watch, revision);
}

static void on_store_timed(void *arg, const char *op, int64_t ns)
{
	(void)arg;
	metric_time("store_seconds",
	            strcmp(op, "read") == 0    ? "op=\"read\""
	            : strcmp(op, "write") == 0 ? "op=\"write\""
	                                       : "op=\"touch\"",
	            ns);
}

static int open_store(struct service *service, struct slime_error *err)
{
	struct options *options = &service->options;
	const struct store_table *table = options->redis_url ? &store_redis : &store_sqlite;
	struct store_opts opts = {.loop = nanoctrl.loop,
	                          .where = options->redis_url ? options->redis_url : options->db,
	                          .event = on_store_event,
	                          .gap = on_store_gap,
	                          .health = on_store_health,
	                          .timed = on_store_timed};
	int rc;

	if (!opts.where) {
		rc = options_default_db(service->db, sizeof(service->db), err);
		if (rc < 0)
			return rc;
		opts.where = service->db;
	}
	rc = table->open(&opts, &nanoctrl.store, err);
	if (rc < 0)
		return rc;
	/* what was before this start cannot be told one by one */
	watch_gap(nanoctrl.watch, table->revision(nanoctrl.store));
	return 0;
}

static bool is_loopback(const char *address)
{
	return strncmp(address, "unix:", 5) == 0 || strstr(address, "//127.") ||
	       strstr(address, "//[::1]");
}

static void warn_of_strangers(const struct service *service)
{
	const struct options *options = &service->options;

	for (size_t i = 0; i < service->server->n_listening; i++) {
		const char *address = server_address(service->server, i);

		if (is_loopback(address))
			continue;
		if (!options->token_file && !options->tls_client_ca)
			log_line(SLIME_LOG_WARN,
			         "everybody who reaches %s may do everything: see --token-file",
			         address);
		else if (!options->tls_cert)
			log_line(SLIME_LOG_WARN,
			         "tokens can be read on the way to %s: see --tls-cert", address);
	}
}

static int listen_everywhere(struct service *service, struct slime_error *err)
{
	const struct options *options = &service->options;
	char where[300];
	int rc = 0;

	for (size_t i = 0; i < options->n_listen && rc == 0; i++)
		rc = server_listen(service->server, options->listen[i], err);
	if (options->n_listen)
		return rc;
	(void)snprintf(where, sizeof(where), strchr(options->host, ':') ? "[%s]:%u" : "%s:%u",
	               options->host, options->port);
	return server_listen(service->server, where, err);
}

static int start_server(struct service *service, struct slime_error *err)
{
	static const struct route *const tables[] = {routes_compat, routes_v1, routes_ops, NULL};
	struct sl_tls *tls = NULL;
	int rc = router_init(tables);

	if (rc < 0)
		return refuse(err, rc, "no memory for the routes");
	rc = load_tokens(&service->options, err);
	if (rc == 0)
		rc = load_tls(&service->options, &tls, err);
	if (rc == 0)
		rc = server_create(nanoctrl.loop, &service->options.server, tls, &service->server,
		                   err);
	if (rc == 0)
		rc = listen_everywhere(service, err);
	metrics_set_server(service->server);
	return rc;
}

static struct event *add_signal(int number, event_callback_fn on_signal, struct service *service)
{
	struct event *event = evsignal_new(nanoctrl.loop, number, on_signal, service);

	if (event)
		(void)event_add(event, NULL);
	return event;
}

/* A connection needs a descriptor: take as many as we may have, and keep some for ourselves. */
static void raise_limits(struct options *options)
{
	enum { OURS = 64 };
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
		return;
	limit.rlim_cur = limit.rlim_max;
	(void)setrlimit(RLIMIT_NOFILE, &limit);
	(void)getrlimit(RLIMIT_NOFILE, &limit);
	if (limit.rlim_cur != RLIM_INFINITY && limit.rlim_cur > 2 * OURS &&
	    options->server.connection_limit > limit.rlim_cur - OURS) {
		log_line(
		    SLIME_LOG_WARN, "at most %llu connections: the limit of descriptors is %llu",
		    (unsigned long long)limit.rlim_cur - OURS, (unsigned long long)limit.rlim_cur);
		options->server.connection_limit = limit.rlim_cur - OURS;
	}
}

static int set_up(struct service *service, struct slime_error *err)
{
	struct options *options = &service->options;
	int rc;

	nanoctrl.loop = event_base_new();
	if (!nanoctrl.loop)
		return refuse(err, -ENOMEM, "no memory for the event loop");
	rc = log_open(nanoctrl.loop, options->log_file, options->log_level, err);
	if (rc < 0)
		return rc;
	raise_limits(options);
	nanoctrl.quota = options->quota;
	nanoctrl.public_redis = options_env("REDIS_ADVERTISE");
	nanoctrl.watch = watch_create(nanoctrl.loop);
	service->sigterm = add_signal(SIGTERM, on_stop, service);
	service->sigint = add_signal(SIGINT, on_stop, service);
	service->sighup = add_signal(SIGHUP, on_hangup, service);
	service->deadline = evtimer_new(nanoctrl.loop, on_deadline, service);
	if (!nanoctrl.watch || !service->sigterm || !service->sigint || !service->sighup ||
	    !service->deadline)
		return refuse(err, -ENOMEM, "no memory");
	rc = open_store(service, err);
	return rc < 0 ? rc : start_server(service, err);
}

static void free_event(struct event *event)
{
	if (event)
		event_free(event);
}

static void tear_down(struct service *service)
{
	metrics_set_server(NULL);
	if (nanoctrl.watch)
		watch_destroy(nanoctrl.watch);
	nanoctrl.watch = NULL;
	server_destroy(service->server);
	if (nanoctrl.store)
		nanoctrl.store->table->close(nanoctrl.store);
	nanoctrl.store = NULL;
	router_fini();
	free_event(service->sigterm);
	free_event(service->sigint);
	free_event(service->sighup);
	free_event(service->deadline);
	log_close();
	if (nanoctrl.loop)
		event_base_free(nanoctrl.loop);
	nanoctrl.loop = NULL;
}

static void say_ready(const struct service *service)
{
	const struct server *server = service->server;

	for (size_t i = 0; i < server->n_listening; i++)
		log_line(SLIME_LOG_INFO, "listening on %s", server_address(server, i));
	log_line(SLIME_LOG_INFO, "%s %s is ready, its state is in %s", nanoctrl.persona->name,
	         NANOCTRL_VERSION, nanoctrl.store->table->name);
	warn_of_strangers(service);
	(void)printf("ready");
	for (size_t i = 0; i < server->n_listening; i++)
		(void)printf(" %s", server_address(server, i));
	(void)printf("\n");
	(void)fflush(stdout);
	notify_supervisor("READY=1");
}

int verb_server(int argc, char **argv)
{
	struct service *service = calloc(1, sizeof(*service));
	struct slime_error err;
	int status = EXIT_FAILED;

	if (!service)
		return EXIT_FAILED;
	status = options_parse(argc, argv, OPTIONS_SERVER, &service->options) - 1;
	if (status >= 0) {
		free(service);
		return status;
	}
	(void)signal(SIGPIPE, SIG_IGN);
	status = EXIT_FAILED;
	if (set_up(service, &err) < 0) {
		say("%s", err.text);
	} else {
		say_ready(service);
		(void)event_base_dispatch(nanoctrl.loop);
		log_line(SLIME_LOG_INFO, "stopped");
		status = EXIT_GOOD;
	}
	tear_down(service);
	free(service);
	return status;
}
