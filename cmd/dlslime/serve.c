/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#include <slime/slime.h>

#include "announce.h"
#include "by_name.h"
#include "door.h"
#include "say.h"
#include "served_file.h"
#include "size.h"
#include "verbs.h"

static const char help[] =
    "usage: dlslime serve FILE... [OPTION]...\n"
    "\n"
    "Lets others fetch the files, until SIGINT or SIGTERM. Prints a line for each FILE:\n"
    "its ticket for 'dlslime get', its size and its path. Who has the ticket can read\n"
    "that file and nothing else; treat it like a password. With a name they are found\n"
    "through nanoctrl as well, by everybody who may ask it: 'dlslime get PEER FILE'.\n"
    "\n"
    "  --bind ADDR       listen there only (default: every address of this host)\n"
    "  --port N          TCP port for the tickets (default: any that is free)\n"
    "  --transport NAME  move the bytes over this one only (default: the best for each reader)\n"
    "  --name PEER       be known to nanoctrl by this name, and the files by theirs\n"
    "  --ctrl URL        that nanoctrl (default: $DLSLIME_CTRL or http://127.0.0.1:3000)\n"
    "  --scope NAME      in this scope (default: none)\n"
    "  --token-file FILE with the token that is the first line of FILE\n"
    "  --ca, --cert, --key FILE  when it is https: as for 'dlslime peers'\n"
    "\n"
    "A file may change while it is served: who is reading it gets an error, who comes\n"
    "later the new content.\n";

static const int64_t second = 1000000000;

enum { READERS_MAX = 256, SILENCE_S = 30 };

struct server {
	slime_ctx *ctx;
	const char *transport; /* NULL: any */
	int n_files;
	struct served_file **files;
	uint8_t (*secrets)[SECRET_LEN];
	struct address at;         /* where the door is */
	struct by_name names;      /* its alias NULL: by ticket only */
	struct announce *announce; /* likewise NULL */
};

struct reader {
	struct server *server;
	int file;
	struct chan *chan;
	struct file_version *version;
	slime_ep *ep; /* NULL: it reads by name */
	bool wants_hash;
};

/* Takes as long whatever the bytes are. */
static bool same_secret(const uint8_t *a, const uint8_t *b)
{
	volatile uint8_t diff = 0;

	for (int i = 0; i < SECRET_LEN; i++)
		diff = (uint8_t)(diff | (a[i] ^ b[i]));
	return diff == 0;
}

/* Which file the hello is about. All are compared, for the same reason. */
static int know_reader(const uint8_t *hello, void *arg)
{
	const struct server *server = arg;
	int found = -EACCES;

	if (memcmp(hello, SHARE_MAGIC, SHARE_MAGIC_LEN) != 0)
		return -EPROTO;
	for (int i = 0; i < server->n_files; i++) {
		if (same_secret(hello + SHARE_MAGIC_LEN, server->secrets[i]))
			found = i;
	}
	return found;
}

static const char *ticket_of(const struct server *server, int i, char text[TICKET_TEXT_MAX])
{
	struct ticket t = {.at = server->at};

	memcpy(t.secret, server->secrets[i], SECRET_LEN);
	(void)snprintf(t.name, sizeof(t.name), "%s", served_file_name(server->files[i]));
	return ticket_format(&t, text);
}

/* File I is VERSION, and its readers by name are to find that. */
static int announce(struct server *server, int i, struct file_version *version,
                    struct slime_error *err)
{
	char text[TICKET_TEXT_MAX];

	return announce_file(server->announce, i, served_file_name(server->files[i]), version,
	                     ticket_of(server, i, text), err);
}

static int make_ep(struct reader *r, struct msg *ask, struct slime_desc *peer,
                   struct slime_error *err)
{
	char wish[SHARE_TRANSPORT_MAX];
	struct slime_ep_opts opts = {.size = sizeof(opts)};

	get_text(ask, wish, sizeof(wish));
	get_desc(ask, peer);
	if (!msg_ok(ask))
		return refuse(err, -EPROTO, "the reader's question cannot be read");
	if (r->server->transport && wish[0] && strcmp(wish, r->server->transport) != 0)
		return refuse(err, -EOPNOTSUPP, "this server serves over '%s' only, not over '%s'",
		              r->server->transport, wish);
	if (!peer->len && r->server->announce)
		return announce(r->server, r->file, r->version, err);
	opts.transport = r->server->transport ? r->server->transport : wish[0] ? wish : NULL;
	return slime_ep_create(r->server->ctx, &opts, &r->ep, err);
}

static int grant_by_name(struct reader *r, struct slime_error *err)
{
	struct msg m;

	msg_begin(&m, SHARE_NAMED);
	put_uint(&m, r->version->id.size, 8);
	put_uint(&m, r->version->id.mtime_ns, 8);
	put_text(&m, r->server->transport ? r->server->transport : "");
	return chan_send(r->chan, &m, 5 * second, err);
}

static int grant(struct reader *r, struct slime_error *err)
{
	struct slime_desc desc = {0};
	struct msg m;
	int rc;

	if (!r->ep)
		return grant_by_name(r, err);
	rc = slime_ep_export(r->ep, &desc, err);
	if (rc < 0)
		return rc;
	msg_begin(&m, SHARE_GRANT);
	put_uint(&m, r->version->id.size, 8);
	put_uint(&m, r->version->id.mtime_ns, 8);
	put_desc(&m, &desc);
	desc.len = 0;
	if (r->version->mr)
		rc = slime_mr_export(r->version->mr, &desc, err);
	if (rc < 0)
		return rc;
	put_desc(&m, &desc);
	return chan_send(r->chan, &m, 5 * second, err);
}

static int reader_open(struct reader *r, struct slime_error *err)
{
	struct served_file *file = r->server->files[r->file];
	uint8_t hash[FILE_HASH_LEN];
	struct slime_desc peer;
	struct msg m;
	int rc = chan_expect(r->chan, &m, SHARE_ASK, SHARE_ALIVE, 5 * second, err);

	if (rc == 0)
		rc = file_version_get(file, &r->version, err);
	if (rc == 0)
		rc = make_ep(r, &m, &peer, err);
	if (rc == 0)
		rc = grant(r, err);
	if (rc == 0 && r->ep)
		rc = slime_ep_connect(r->ep, &peer, 10 * second, err);
	if (rc < 0)
		return rc;
	/* begun now, it is ready when the reader is */
	(void)file_version_hash(r->version, 0, hash, NULL);
	if (!r->ep)
		return 0;
	msg_begin(&m, SHARE_CONNECTED);
	return chan_send(r->chan, &m, 5 * second, err);
}

/* The hash, if it is there by now. */
static int answer_hash(struct reader *r, struct slime_error *err)
{
	uint8_t hash[FILE_HASH_LEN];
	struct msg m;
	int rc = file_version_hash(r->version, second / 2, hash, err);

	if (rc == -ETIMEDOUT)
		return 0;
	if (file_version_same(r->version, err) < 0)
		return -ESTALE;
	if (rc < 0)
		return rc;
	r->wants_hash = false;
	msg_begin(&m, SHARE_HASH_IS);
	put_bytes(&m, hash, sizeof(hash));
	return chan_send(r->chan, &m, 5 * second, err);
}

static int send_plain(struct reader *r, uint8_t type, struct slime_error *err)
{
	struct msg m;

	msg_begin(&m, type);
	return chan_send(r->chan, &m, 5 * second, err);
}

static int hear(struct reader *r, uint8_t type, struct slime_error *err)
{
	int rc;

	switch (type) {
	case SHARE_ALIVE:
		return 0;
	case SHARE_HASH:
		r->wants_hash = true;
		return 0;
	case SHARE_SAME:
		rc = file_version_same(r->version, err);
		return rc < 0 ? rc : send_plain(r, SHARE_SAME, err);
	default:
		return refuse(err, -EPROTO, "message %u makes no sense here", type);
	}
}

/* Until the reader hangs up, misbehaves or is silent for long. */
static int reader_run(struct reader *r, struct slime_error *err)
{
	int64_t heard = now_ns();
	int64_t spoke = heard;
	struct msg m;
	int rc = 0;

	while (rc == 0 && now_ns() - heard < SILENCE_S * second) {
		rc = chan_recv(r->chan, &m, r->wants_hash ? 0 : second, err);
		if (rc == 0) {
			heard = now_ns();
			rc = hear(r, m.type, err);
		} else if (rc == -ETIMEDOUT) {
			rc = 0;
		}
		if (rc == 0 && r->wants_hash)
			rc = answer_hash(r, err);
		if (rc == 0 && now_ns() - spoke >= second) {
			rc = send_plain(r, SHARE_ALIVE, err);
			spoke = now_ns();
		}
	}
	return rc;
}

static void serve_reader(struct chan *chan, int token, void *arg)
{
	struct server *server = arg;
	struct reader r = {.server = server, .file = token, .chan = chan};
	struct slime_error err = {0};
	int rc = reader_open(&r, &err);

	if (rc == 0)
		rc = reader_run(&r, &err);
	if (rc < 0)
		chan_send_error(chan, &err);
	slime_ep_destroy(r.ep);
	file_version_release(r.version);
}

static void print_ticket(const struct server *server, int i, char *path)
{
	struct file_version *version;
	char text[TICKET_TEXT_MAX];
	char size[32] = "?";

	if (file_version_get(server->files[i], &version, NULL) == 0) {
		(void)size_human(version->id.size, size, sizeof(size));
		file_version_release(version);
	}
	plain_text(path);
	(void)printf("%s  %s  %s\n", ticket_of(server, i, text), size, path);
}

/* All files by name, before the first ticket is said. */
static int announce_all(struct server *server, struct slime_error *err)
{
	int rc = announce_create(server->ctx, server->names.agent, server->n_files,
	                         &server->announce, err);

	for (int i = 0; rc == 0 && i < server->n_files; i++) {
		struct file_version *version;

		rc = file_version_get(server->files[i], &version, err);
		if (rc < 0)
			break;
		rc = announce(server, i, version, err);
		file_version_release(version);
	}
	return rc;
}

static int open_files(struct server *server, char **paths, struct slime_error *err)
{
	size_t n = (size_t)server->n_files;

	server->files = calloc(n, sizeof(*server->files));
	server->secrets = calloc(n, sizeof(*server->secrets));
	if (!server->files || !server->secrets)
		return refuse(err, -ENOMEM, "no memory for %zu files", n);
	for (size_t i = 0; i < n; i++) {
		int rc = served_file_create(server->ctx, paths[i], &server->files[i], err);

		if (rc < 0)
			return rc;
		if (getrandom(server->secrets[i], SECRET_LEN, 0) != SECRET_LEN)
			return refuse(err, -errno, "no random bytes to be had");
	}
	return 0;
}

static int serve_files(struct server *server, char **paths, struct door *door,
                       struct slime_error *err)
{
	const struct door_rules rules = {
	    .hello_len = SHARE_HELLO_LEN,
	    .max_guests = READERS_MAX,
	    .know = know_reader,
	    .serve = serve_reader,
	};
	int rc = open_files(server, paths, err);

	door_address(door, &server->at);
	if (rc == 0 && server->names.alias)
		rc = announce_all(server, err);
	if (rc < 0)
		return rc;
	for (int i = 0; i < server->n_files; i++)
		print_ticket(server, i, paths[i]);
	if (fflush(stdout) != 0 || ferror(stdout))
		return refuse(err, -EIO, "nobody can see the tickets");
	if (door_run(door, &rules, server) < 0)
		_exit(EXIT_GOOD);
	return 0;
}

/* A transport that cannot be had is better said now than to each reader. */
static int try_transport(const struct server *server, struct slime_error *err)
{
	const struct slime_ep_opts opts = {.size = sizeof(opts), .transport = server->transport};
	slime_ep *ep;
	int rc = slime_ep_create(server->ctx, &opts, &ep, err);

	if (rc == 0)
		slime_ep_destroy(ep);
	return rc;
}

/* Everything but the context, which may be the agent's. */
static int serve_on(struct server *server, const char *bind_to, uint16_t port, char **paths)
{
	struct slime_error err = {0};
	struct door *door = NULL;
	int rc = door_open(bind_to, port, &door, &err);

	if (rc == 0)
		rc = try_transport(server, &err);
	if (rc == 0)
		rc = serve_files(server, paths, door, &err);
	if (server->names.alias)
		by_name_close(&server->names); /* nothing is published from here on */
	announce_destroy(server->announce);
	for (int i = 0; server->files && i < server->n_files; i++)
		served_file_destroy(server->files[i]);
	free(server->files);
	free(server->secrets);
	door_close(door);
	if (rc < 0)
		say("%s", err.text);
	return rc < 0 ? EXIT_FAILED : EXIT_GOOD;
}

static int serve(const char *bind_to, uint16_t port, struct server *server, char **paths)
{
	struct slime_error err;
	int status;

	door_signals();
	served_file_guard();
	if (server->names.alias) {
		status = by_name_open(&server->names);
		server->ctx = server->names.ctx;
		return status ? status : serve_on(server, bind_to, port, paths);
	}
	if (slime_ctx_create(NULL, &server->ctx, &err) < 0) {
		say("%s", err.text);
		return EXIT_FAILED;
	}
	status = serve_on(server, bind_to, port, paths);
	slime_ctx_destroy(server->ctx);
	return status;
}

int verb_serve(int argc, char **argv)
{
	static const struct option options[] = {
	    {"help", no_argument, NULL, 'h'},
	    {"bind", required_argument, NULL, 'b'},
	    {"port", required_argument, NULL, 'p'},
	    {"transport", required_argument, NULL, 't'},
	    {"name", required_argument, NULL, 'n'},
	    BY_NAME_TABLE,
	    {0},
	};
	struct server server = {0};
	struct slime_error err = {0};
	const char *bind_to = NULL;
	uint64_t port = 0;
	int c, rc;

	by_name_init(&server.names);
	opterr = 0;
	while ((c = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
		switch (c) {
		case 'h':
			(void)fputs(help, stdout);
			return EXIT_GOOD;
		case 'b':
			bind_to = optarg;
			break;
		case 'p':
			if (number_parse("--port", optarg, 0, UINT16_MAX, &port, &err) < 0)
				return say_usage("serve", "%s", err.text);
			break;
		case 't':
			if (strcmp(optarg, "loopback") == 0)
				return say_usage("serve", "--transport: loopback is within one "
				                          "process, and readers are others");
			server.transport = optarg;
			break;
		case 'n':
			server.names.alias = optarg;
			break;
		case BY_NAME_CTRL:
		case BY_NAME_SCOPE:
		case BY_NAME_TOKEN:
		case BY_NAME_CA:
		case BY_NAME_CERT:
		case BY_NAME_KEY:
			rc = by_name_take(&server.names, "serve", c, optarg);
			if (rc)
				return rc;
			break;
		case ':':
			return say_usage("serve", "option '%s' wants a value", argv[optind - 1]);
		default:
			return say_usage("serve", "serve has no option '%s'", argv[optind - 1]);
		}
	}
	if (optind == argc)
		return say_usage("serve", "which FILE is to be served?");
	if (argc - optind > SERVED_FILES_MAX)
		return say_usage("serve", "at most %d files can be served at once",
		                 SERVED_FILES_MAX);
	for (int i = optind; i < argc; i++) {
		if (!argv[i][0])
			return say_usage("serve", "the name of a FILE is empty");
	}
	server.n_files = argc - optind;
	return serve(bind_to, (uint16_t)port, &server, argv + optind);
}
