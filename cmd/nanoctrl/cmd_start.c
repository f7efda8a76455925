/* SPDX-License-Identifier: BSD-3-Clause */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "call.h"
#include "options.h"
#include "probe.h"
#include "runtime_dir.h"
#include "sentence.h"
#include "verbs.h"

enum { PROBE_MS = 1000, RECENT_LINES = 80, RECENT_BYTES = 64 * 1024 };

struct start {
	struct options options;
	struct runtime_dir dir;
	struct background background;
	off_t log_from; /* what is behind it is new */
	char *argv[OPTIONS_MAX_FORWARD + 5];
	int ready; /* the child's standard output */
};

/* The address by which others of this network may reach us. */
static void find_local_ip(char *out, size_t cap)
{
	struct ifaddrs *all = NULL;

	(void)snprintf(out, cap, "127.0.0.1");
	if (getifaddrs(&all) < 0)
		return;
	for (const struct ifaddrs *at = all; at; at = at->ifa_next) {
		const struct sockaddr_in *v4 = (const void *)at->ifa_addr;

		if (!at->ifa_addr || at->ifa_addr->sa_family != AF_INET ||
		    (at->ifa_flags & IFF_LOOPBACK) || !(at->ifa_flags & IFF_UP))
			continue;
		(void)inet_ntop(AF_INET, &v4->sin_addr, out, (socklen_t)cap);
		break;
	}
	freeifaddrs(all);
}

/* Where a client finds what listens on HOST. */
static void name_host(const char *host, char *out, size_t cap)
{
	if (strcmp(host, "0.0.0.0") == 0 || strcmp(host, "::") == 0)
		find_local_ip(out, cap);
	else
		(void)snprintf(out, cap, strchr(host, ':') ? "[%s]" : "%s", host);
}

static void name_address(struct start *start, char *out, size_t cap)
{
	const struct options *options = &start->options;
	const char *scheme = options->tls_cert ? "https" : "http";
	char host[128];

	if (options->n_listen && !options->health_host) {
		(void)snprintf(
		    out, cap, "%s%s%s", strncmp(options->listen[0], "unix:", 5) == 0 ? "" : scheme,
		    strncmp(options->listen[0], "unix:", 5) == 0 ? "" : "://", options->listen[0]);
		return;
	}
	name_host(options->health_host ? options->health_host : options->host, host, sizeof(host));
	(void)snprintf(out, cap, "%s://%s:%u", scheme, host,
	               options->health_port ? options->health_port : options->port);
}

/* 1: one is running already, and that has been said. */
static int look_for_another(struct start *start)
{
	const char *name = nanoctrl.persona->name;
	struct background other;
	char why[200];

	if (runtime_read(&start->dir, &other) == 0) {
		if (background_runs(&other)) {
			(void)printf("%s is already running (pid=%d)\n", name, (int)other.pid);
			return 1;
		}
		runtime_clear(&start->dir);
	}
	if (start->options.port == 0 && !start->options.health_port && !start->options.n_listen)
		return 0;
	if (probe(start->background.address, PROBE_MS, why, sizeof(why)) < 0)
		return 0;
	(void)printf("%s appears to be already running at %s (no pid file managed by this CLI)\n",
	             name, start->background.address);
	return 1;
}

static void build_command(struct start *start)
{
	static char verb[] = "server", option[] = "--log-file";
	size_t n = 0;

	/* execv() takes them so; it does not write to them */
	start->argv[n++] = (char *)(uintptr_t)nanoctrl.persona->name;
	start->argv[n++] = verb;
	for (size_t i = 0; i < start->options.n_forward; i++)
		start->argv[n++] = (char *)(uintptr_t)start->options.forward[i];
	if (!start->options.log_file) {
		start->argv[n++] = option;
		start->argv[n++] = start->background.log;
	}
	start->argv[n] = NULL;
}

/* In the child. The log gets what is said before the daemon has opened it. */
static void run_server(struct start *start, int log, int ready)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	(void)setsid();
	(void)dup2(null, STDIN_FILENO);
	(void)dup2(ready, STDOUT_FILENO);
	(void)dup2(log, STDERR_FILENO);
	(void)execv("/proc/self/exe", start->argv);
	(void)fprintf(stderr, "cannot run the server: %s\n", strerror(errno));
	_exit(127);
}

static int open_log(struct start *start, struct slime_error *err)
{
	const char *path = start->background.log;
	int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);

	if (fd < 0)
		return refuse(err, -errno, "cannot write the log '%s': %s", path, strerror(errno));
	start->log_from = lseek(fd, 0, SEEK_END);
	return fd;
}

static int spawn(struct start *start, struct slime_error *err)
{
	int pipes[2], log, rc;

	log = open_log(start, err);
	if (log < 0)
		return log;
	if (pipe2(pipes, O_CLOEXEC) < 0) {
		rc = refuse(err, -errno, "no pipe: %s", strerror(errno));
		(void)close(log);
		return rc;
	}
	start->background.pid = fork();
	if (start->background.pid == 0)
		run_server(start, log, pipes[1]);
	rc = start->background.pid < 0
	         ? refuse(err, -errno, "cannot start a process: %s", strerror(errno))
	         : 0;
	(void)close(log);
	(void)close(pipes[1]);
	start->ready = pipes[0];
	if (rc < 0)
		return rc;
	start->background.known = true;
	start->background.start = process_start(start->background.pid);
	rc = runtime_write(&start->dir, &start->background, start->argv, err);
	if (rc < 0)
		(void)kill(start->background.pid, SIGTERM);
	return rc;
}

/* The line in which the daemon says that it listens: 1, 0 when there is none in time, or
 * -ECHILD: it has ended. */
static int wait_until_ready(struct start *start, char *line, size_t cap)
{
	int64_t until_ns = now_ns() + (int64_t)(start->options.wait_s * 1e9);
	size_t len = 0;

	while (len + 1 < cap) {
		struct pollfd pipe = {.fd = start->ready, .events = POLLIN};
		int64_t left_ms = (until_ns - now_ns()) / 1000000;
		ssize_t n;

		if (poll(&pipe, 1, left_ms > 0 ? (int)left_ms : 0) <= 0)
			return 0;
		n = read(start->ready, line + len, cap - 1 - len);
		if (n <= 0)
			return -ECHILD;
		len += (size_t)n;
		line[len] = '\0';
		if (strchr(line, '\n'))
			return 1;
	}
	return 0;
}

static void print_recent_log(const struct start *start)
{
	FILE *f = fopen(start->background.log, "re");
	char *text = malloc(RECENT_BYTES + 1);
	size_t n = 0, lines = 0;
	char *from;

	(void)printf("\nrecent log:\n");
	if (f && text) {
		off_t end = fseeko(f, 0, SEEK_END) == 0 ? ftello(f) : 0;
		off_t begin = start->log_from;

		if (end - begin > RECENT_BYTES)
			begin = end - RECENT_BYTES;
		if (fseeko(f, begin, SEEK_SET) == 0)
			n = fread(text, 1, RECENT_BYTES, f);
		text[n] = '\0';
		for (from = text + n; from > text; from--) {
			if (from[-1] == '\n' && lines++ == RECENT_LINES)
				break;
		}
		(void)fputs(from, stdout);
	}
	if (f)
		(void)fclose(f);
	free(text);
}

/* With port 0 only the daemon knows where it is. */
static void learn_address(struct start *start, const char *line)
{
	const struct options *options = &start->options;
	const char *port = strrchr(line, ':');
	char host[128];

	if (options->n_listen || options->port || options->health_port || !port)
		return;
	name_host(options->health_host ? options->health_host : options->host, host, sizeof(host));
	(void)snprintf(start->background.address, sizeof(start->background.address), "%s://%s:%d",
	               options->tls_cert ? "https" : "http", host, atoi(port + 1));
}

static int report(struct start *start, int came, const char *line)
{
	const char *name = nanoctrl.persona->name;
	int pid = (int)start->background.pid;
	struct slime_error err;
	char host[128];
	int status;

	if (came < 0) {
		(void)waitpid(start->background.pid, &status, 0);
		runtime_clear(&start->dir);
		print_recent_log(start);
		(void)fflush(stdout);
		say("failed to start (%s %d). See log: %s",
		    WIFEXITED(status) ? "exit status" : "signal",
		    WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status),
		    start->background.log);
		return EXIT_FAILED;
	}
	if (came > 0) {
		learn_address(start, line);
		if (runtime_write(&start->dir, &start->background, start->argv, &err) < 0)
			say("%s", err.text);
		name_host(start->options.host, host, sizeof(host));
		(void)printf("Local node IP: %s\n\n%s started (pid=%d)\n", host, name, pid);
	} else {
		(void)printf("%s process started (pid=%d), but health check timed out\n", name,
		             pid);
	}
	(void)printf("address: %s\nlog: %s\n", start->background.address, start->background.log);
	if (came == 0)
		print_recent_log(start);
	return EXIT_GOOD;
}

static int start_one(struct start *start, struct slime_error *err)
{
	char line[1024] = "";
	int rc = runtime_lock(&start->dir, err);

	if (rc < 0)
		return rc;
	name_address(start, start->background.address, sizeof(start->background.address));
	(void)snprintf(start->background.log, sizeof(start->background.log), "%s",
	               start->options.log_file ? start->options.log_file : start->dir.log);
	if (look_for_another(start))
		return EXIT_GOOD;
	build_command(start);
	rc = spawn(start, err);
	if (rc < 0)
		return rc;
	return report(start, wait_until_ready(start, line, sizeof(line)), line);
}

int verb_start(int argc, char **argv)
{
	struct start *start = calloc(1, sizeof(*start));
	struct slime_error err;
	int status;

	if (!start)
		return EXIT_FAILED;
	status = options_parse(argc, argv, OPTIONS_SERVER | OPTIONS_START, &start->options) - 1;
	if (status < 0) {
		status = runtime_open(&start->dir, true, &err);
		if (status == 0)
			status = start_one(start, &err);
		if (status < 0) {
			say("%s", err.text);
			status = EXIT_FAILED;
		}
		runtime_close(&start->dir);
	}
	free(start);
	return status;
}
