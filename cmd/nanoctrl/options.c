/* SPDX-License-Identifier: BSD-3-Clause */
#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "log.h"
#include "sentence.h"

enum {
	SERVER = OPTIONS_SERVER,
	START = OPTIONS_START,
	STATUS = OPTIONS_STATUS,
	STOP = OPTIONS_STOP
};

enum kind { TEXT, PORT, COUNT, SECONDS, TIME, LEVEL, LISTEN, FLAG };

#define FIELD(member) offsetof(struct options, member)

static const struct option_row {
	const char *name;
	unsigned int sets;
	enum kind kind;
	size_t place;
	const char *value, *help;
} rows[] = {
    {"host", SERVER, TEXT, FIELD(host), "HOST", "where to listen (127.0.0.1: this host only)"},
    {"port", SERVER, PORT, FIELD(port), "N", "port; 0: any that is free"},
    {"listen", SERVER, LISTEN, 0, "ADDR",
     "HOST:PORT, [IPV6]:PORT or unix:PATH, in place of the two; again for more"},
    {"db", SERVER, TEXT, FIELD(db), "FILE", "keep the state in this SQLite file; or ':memory:'"},
    {"redis-url", SERVER, TEXT, FIELD(redis_url), "URL", "keep the state in Redis instead"},
    {"token-file", SERVER, TEXT, FIELD(token_file), "FILE", "who may do what"},
    {"tls-cert", SERVER, TEXT, FIELD(tls_cert), "FILE", "speak TLS, with this certificate chain"},
    {"tls-key", SERVER, TEXT, FIELD(tls_key), "FILE", "and its key"},
    {"tls-client-ca", SERVER, TEXT, FIELD(tls_client_ca), "FILE",
     "clients need a certificate of this authority"},
    {"body-limit", SERVER, COUNT, FIELD(server.body_limit), "BYTES", "of one request (2097152)"},
    {"connection-limit", SERVER, COUNT, FIELD(server.connection_limit), "N", "at once (16384)"},
    {"idle-timeout", SERVER, SECONDS, FIELD(server.idle_s), "S", "between two requests (75)"},
    {"request-timeout", SERVER, SECONDS, FIELD(server.request_s), "S",
     "for the whole of a request (30)"},
    {"drain-timeout", SERVER, SECONDS, FIELD(drain_s), "S", "for who is served at SIGTERM (10)"},
    {"max-records", SERVER, COUNT, FIELD(quota.records), "N", "of one scope; 0: any number"},
    {"max-box-bytes", SERVER, COUNT, FIELD(quota.box_bytes), "BYTES", "of one mailbox (4194304)"},
    {"max-box-messages", SERVER, COUNT, FIELD(quota.box_messages), "N", "of one mailbox (1024)"},
    {"log-level", SERVER, LEVEL, FIELD(log_level), "LEVEL", "error, warn, info or debug (info)"},
    {"log-file", SERVER, TEXT, FIELD(log_file), "FILE", "in place of stderr; SIGHUP reopens it"},
    {"health-host", START, TEXT, FIELD(health_host), "HOST", "where to ask whether it is up"},
    {"health-port", START, PORT, FIELD(health_port), "N", "and the port"},
    {"wait", START, TIME, FIELD(wait_s), "S", "until it is up (8)"},
    {"address", STATUS, TEXT, FIELD(address), "URL", "where it should be"},
    {"timeout", STOP, TIME, FIELD(wait_s), "S", "until it has ended (8)"},
    {"force", STOP, FLAG, FIELD(force), NULL, "then kill it"},
};

enum { N_ROWS = sizeof(rows) / sizeof(rows[0]) };

const char *options_env(const char *name)
{
	char full[64];
	const char *value;

	(void)snprintf(full, sizeof(full), "%s_%s", nanoctrl.persona->env, name);
	value = getenv(full);
	return value && *value ? value : NULL;
}

void options_help(unsigned int sets)
{
	char left[40];

	for (int i = 0; i < N_ROWS; i++) {
		if (!(rows[i].sets & sets))
			continue;
		(void)snprintf(left, sizeof(left), "--%s %s", rows[i].name,
		               rows[i].value ? rows[i].value : "");
		(void)printf("  %-26s %s\n", left, rows[i].help);
	}
}

/* A number from MIN to MAX and nothing else. */
static bool parse_number(const char *text, uint64_t min, uint64_t max, uint64_t *out)
{
	char *end;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	*out = strtoull(text, &end, 10);
	return errno == 0 && !*end && *out >= min && *out <= max;
}

static int set_number(const struct option_row *row, const char *value, void *place)
{
	uint64_t max = row->kind == PORT ? 65535 : row->kind == SECONDS ? 86400 : 1ull << 40;
	uint64_t min = row->kind == SECONDS || row->place == FIELD(server.body_limit) ||
	                       row->place == FIELD(server.connection_limit)
	                   ? 1
	                   : 0;
	uint64_t number;

	if (row->place == FIELD(quota.box_messages))
		max = UINT32_MAX;
	if (!parse_number(value, min, max, &number))
		return say_usage("--%s is a number from %llu to %llu, not '%s'", row->name,
		                 (unsigned long long)min, (unsigned long long)max, value);
	if (row->kind == PORT)
		*(uint16_t *)place = (uint16_t)number;
	else if (row->kind == SECONDS || row->place == FIELD(quota.box_messages))
		*(uint32_t *)place = (uint32_t)number;
	else
		*(uint64_t *)place = number;
	return 0;
}

static int set_time(const struct option_row *row, const char *value, double *place)
{
	char *end;

	*place = strtod(value, &end);
	if (end == value || *end || !isfinite(*place) || *place < 0 || *place > 86400)
		return say_usage("--%s is a number of seconds from 0 to 86400, not '%s'", row->name,
		                 value);
	return 0;
}

static int set_option(const struct option_row *row, const char *value, struct options *out)
{
	void *place = (char *)out + row->place;

	switch (row->kind) {
	case TEXT:
		if (!*value)
			return say_usage("--%s is empty", row->name);
		*(const char **)place = value;
		return 0;
	case LISTEN:
		if (out->n_listen == SERVER_MAX_LISTENERS)
			return say_usage("--listen can be given %d times at most",
			                 SERVER_MAX_LISTENERS);
		out->listen[out->n_listen++] = value;
		return 0;
	case TIME:
		return set_time(row, value, place);
	case LEVEL:
		if (!log_level_of(value, place))
			return say_usage("--log-level is error, warn, info or debug, not '%s'",
			                 value);
		return 0;
	case FLAG:
		*(bool *)place = true;
		return 0;
	default:
		return set_number(row, value, place);
	}
}

static void set_defaults(struct options *out)
{
	const char *level = options_env("LOG_LEVEL");

	*out = (struct options){
	    .host = "127.0.0.1",
	    .port = nanoctrl.persona->port,
	    .token_file = options_env("TOKEN_FILE"),
	    .server = {.body_limit = 2 * 1024 * 1024,
	               .connection_limit = 16384,
	               .idle_s = 75,
	               .request_s = 30},
	    .drain_s = 10,
	    .quota = {.box_bytes = 4 * 1024 * 1024, .box_messages = 1024},
	    .log_level = SLIME_LOG_INFO,
	    .wait_s = 8,
	};
	if (!level)
		level = options_env("RUST_LOG");
	if (level)
		(void)log_level_of(level, &out->log_level);
}

/* What belongs together, and what the environment adds: a flag goes before a variable. */
static int check(struct options *out)
{
	if (out->redis_url && out->db)
		return say_usage("--db and --redis-url: the state can be in one place only");
	if (!out->redis_url && !out->db) {
		out->db = options_env("DB");
		out->redis_url = out->db ? NULL : options_env("REDIS_URL");
	}
	if (!out->tls_cert != !out->tls_key)
		return say_usage("--tls-cert and --tls-key go together");
	if (out->tls_client_ca && !out->tls_cert)
		return say_usage("--tls-client-ca needs --tls-cert and --tls-key");
	return 0;
}

static int take(const struct option_row *row, const char *value, struct options *out)
{
	static char words[N_ROWS][40];
	int rc = set_option(row, value ? value : "", out);

	if (rc != 0 || row->sets != SERVER)
		return rc;
	if (out->n_forward + 2 > OPTIONS_MAX_FORWARD)
		return say_usage("there are too many options");
	(void)snprintf(words[row - rows], sizeof(words[0]), "--%s", row->name);
	out->forward[out->n_forward++] = words[row - rows];
	out->forward[out->n_forward++] = value;
	return 0;
}

int options_parse(int argc, char **argv, unsigned int sets, struct options *out)
{
	struct option table[N_ROWS + 2] = {{"help", no_argument, NULL, N_ROWS}};
	int n = 1, i, rc = 0;

	set_defaults(out);
	for (i = 0; i < N_ROWS; i++) {
		if (rows[i].sets & sets)
			table[n++] = (struct option){
			    rows[i].name, rows[i].kind == FLAG ? no_argument : required_argument,
			    NULL, i};
	}
	optind = 0;
	opterr = 0;
	while (rc == 0 && (i = getopt_long(argc, argv, "+:h", table, NULL)) != -1) {
		if (i == N_ROWS || i == 'h') {
			(void)printf("usage: %s %s [OPTION]...\n\n", nanoctrl.persona->name,
			             argv[0]);
			options_help(sets);
			return 1 + EXIT_GOOD;
		}
		if (i == ':')
			rc = say_usage("'%s' needs a value", argv[optind - 1]);
		else if (i == '?')
			rc = say_usage("there is no option '%s' here", argv[optind - 1]);
		else
			rc = take(&rows[i], optarg, out);
	}
	if (rc == 0 && optind < argc)
		rc = say_usage("'%s' is one word too many", argv[optind]);
	if (rc == 0)
		rc = check(out);
	return rc ? 1 + rc : 0;
}

/* DIR and what is above it; what is there already is fine. */
static int make_dirs(char *dir)
{
	for (char *slash = strchr(dir + 1, '/');; slash = strchr(slash + 1, '/')) {
		int rc;

		if (slash)
			*slash = '\0';
		rc = mkdir(dir, 0700) < 0 && errno != EEXIST ? -errno : 0;
		if (slash)
			*slash = '/';
		if (rc < 0 || !slash)
			return rc;
	}
}

int options_default_db(char *out, size_t cap, struct slime_error *err)
{
	const char *state = getenv("STATE_DIRECTORY"); /* of systemd, our own */
	const char *home = getenv("HOME");
	const char *xdg = getenv("XDG_STATE_HOME");
	char dir[400];
	int n, rc;

	if (state && *state == '/')
		n = snprintf(dir, sizeof(dir), "%s", state);
	else if (xdg && *xdg == '/')
		n = snprintf(dir, sizeof(dir), "%s/nanoctrl", xdg);
	else if (home && *home == '/')
		n = snprintf(dir, sizeof(dir), "%s/.local/state/nanoctrl", home);
	else
		return refuse(err, -EINVAL,
		              "there is no home directory to keep the state in: give "
		              "--db FILE");
	if (n >= (int)sizeof(dir) || (size_t)n + 16 > cap)
		return refuse(err, -EINVAL, "the path of the state is too long: give --db FILE");
	rc = make_dirs(dir);
	if (rc < 0)
		return refuse(err, rc,
		              "cannot make the directory '%s' for the state: %s; give "
		              "--db FILE",
		              dir, strerror(-rc));
	(void)snprintf(out, cap, "%.*s/%s.db", (int)sizeof(dir), dir, nanoctrl.persona->name);
	return 0;
}
