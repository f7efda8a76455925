/* SPDX-License-Identifier: BSD-3-Clause */
#include "perf.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "say.h"
#include "verbs.h"

static const char help[] =
    "usage: dlslime perf serve [--bind ADDR] [--port N] [--cpu N]\n"
    "       dlslime perf run HOST:PORT [OPTION]...\n"
    "       dlslime perf local [OPTION]...\n"
    "\n"
    "Measures transfers between two processes: 'perf serve' in one place, 'perf run'\n"
    "with what it printed in another. 'perf local' is both on this host.\n"
    "\n"
    "what to move\n"
    "  --op OP          read (default), write, write_imm or send\n"
    "  --size SIZE      bytes of a piece: 8, 64K, 1M (default), 1G\n"
    "  --batch N        pieces in an operation, each a segment (default 1)\n"
    "  --stride BYTES   the pieces lie so far apart, and are one strided segment\n"
    "  --mem KIND       alloc: slime_mem_alloc() (default); malloc: any memory\n"
    "  --footprint SIZE blocks rotate over so much memory (default 64M)\n"
    "how\n"
    "  --transport NAME shm, tcp, ...; loopback is both ends in one process (default: the best)\n"
    "  --depth N        operations in flight (default 1)\n"
    "  --threads N      each with an endpoint of its own (default 1)\n"
    "  --lanes N        connections to stripe over (default: the transport decides)\n"
    "  --poll, --block  spin for completions, or sleep until they come (default)\n"
    "  --cpu N          keep this process on one CPU; local: --peer-cpu N for the server\n"
    "how long\n"
    "  --seconds S      measure for so long (default 2), or\n"
    "  --iters N        so many operations, of all threads together\n"
    "  --warmup S       before that, unmeasured (default 0.1)\n"
    "what to say\n"
    "  --verify         compare every byte of every operation, outside the measured time\n"
    "  --json           one JSON object on one line\n"
    "\n"
    "'perf serve' prints 'ready HOST:PORT' and serves any number of clients until it\n"
    "gets SIGINT or SIGTERM. It lets everybody measure who can reach its port: give\n"
    "--bind on a network that you do not trust. A GB is 10^9 bytes, a K 1024.\n";

int perf_pin(int cpu, struct slime_error *err)
{
	cpu_set_t set;

	if (cpu < 0)
		return 0;
	CPU_ZERO(&set);
	CPU_SET((size_t)cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set) < 0)
		return refuse(err, -errno, "cannot run on cpu %d: %s", cpu, strerror(errno));
	return 0;
}

static int complain(const struct slime_error *err)
{
	say("%s", err->text);
	return EXIT_FAILED;
}

/* Where the server is, to the process that waits for it on FD, or to people (FD -1). */
static int announce(const struct door *door, int fd)
{
	struct address at;
	char text[HOST_MAX + 16];

	door_address(door, &at);
	if (fd >= 0) {
		(void)!write(fd, &at, sizeof(at));
		(void)close(fd);
		return 0;
	}
	(void)printf("ready %s\n", address_format(&at, text, sizeof(text)));
	return fflush(stdout);
}

/* Serve until told to stop; a client that hangs keeps nobody here. */
static int serve_at(const char *bind_to, uint16_t port, int fd)
{
	struct slime_error err = {0};
	struct door *door;
	slime_ctx *ctx;
	int status = EXIT_FAILED; /* nobody can see where it is, which main() says */

	if (door_open(bind_to, port, &door, &err) < 0)
		return complain(&err);
	if (slime_ctx_create(NULL, &ctx, &err) < 0) {
		door_close(door);
		return complain(&err);
	}
	if (announce(door, fd) == 0) {
		if (perf_serve(ctx, door) < 0)
			_exit(EXIT_GOOD);
		status = EXIT_GOOD;
	}
	slime_ctx_destroy(ctx);
	door_close(door);
	return status;
}

static int serve(int argc, char **argv)
{
	struct slime_error err = {0};
	struct perf_opts o;
	int rc = perf_opts_parse("serve", argc, argv, &o);

	if (rc)
		return rc;
	if (o.help) {
		(void)fputs(help, stdout);
		return EXIT_GOOD;
	}
	door_signals();
	if (perf_pin(o.cpu, &err) < 0)
		return complain(&err);
	return serve_at(o.bind_to, o.port, -1);
}

/* The forked server: says its port on FD, and ends with its parent. */
__attribute__((noreturn)) static void server_process(int cpu, int parent, int fd)
{
	struct slime_error err = {0};

	door_signals();
	(void)prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		_exit(EXIT_FAILED);
	if (perf_pin(cpu, &err) < 0)
		_exit(complain(&err));
	_exit(serve_at("127.0.0.1", 0, fd));
}

int perf_fork_server(int cpu, struct address *out, struct slime_error *err)
{
	int parent = getpid();
	int fds[2];
	ssize_t n;
	int pid;

	if (pipe(fds) < 0)
		return refuse(err, -errno, "no pipe to be had: %s", strerror(errno));
	pid = fork();
	if (pid == 0) {
		(void)close(fds[0]);
		server_process(cpu, parent, fds[1]);
	}
	(void)close(fds[1]);
	if (pid < 0) {
		(void)close(fds[0]);
		return refuse(err, -errno, "no process to be had: %s", strerror(errno));
	}
	n = read(fds[0], out, sizeof(*out));
	(void)close(fds[0]);
	if (n == (ssize_t)sizeof(*out))
		return pid;
	(void)waitpid(pid, NULL, 0);
	return refuse(err, -EIO, "the server process did not start");
}

void perf_end_server(int pid)
{
	(void)kill(pid, SIGTERM);
	(void)waitpid(pid, NULL, 0);
}

/* Measure, report, and say whether all was well. */
static int measure(slime_ctx *ctx, const struct perf_opts *o)
{
	static struct perf_result res;
	struct slime_error err = {0};

	if (perf_measure(ctx, o, &res, &err) < 0)
		return complain(&err);
	perf_report(o, &res);
	if (res.n_bad == 0)
		return EXIT_GOOD;
	say("%llu of the operations brought wrong bytes or none", (unsigned long long)res.n_bad);
	return EXIT_FAILED;
}

static int run(const struct perf_opts *o)
{
	struct slime_error err = {0};
	slime_ctx *ctx;
	int rc;

	if (perf_pin(o->cpu, &err) < 0 || slime_ctx_create(NULL, &ctx, &err) < 0)
		return complain(&err);
	rc = measure(ctx, o);
	slime_ctx_destroy(ctx);
	return rc;
}

struct inside {
	slime_ctx *ctx;
	struct door *door;
};

static void *serve_inside(void *arg)
{
	struct inside *in = arg;

	(void)perf_serve(in->ctx, in->door);
	return NULL;
}

/* Both ends in this process and with one context, for loopback. */
static int run_inside(struct perf_opts *o)
{
	struct slime_error err = {0};
	struct inside in;
	pthread_t thread;
	int rc = EXIT_FAILED;

	if (perf_pin(o->cpu, &err) < 0 || slime_ctx_create(NULL, &in.ctx, &err) < 0)
		return complain(&err);
	if (door_open("127.0.0.1", 0, &in.door, &err) < 0) {
		slime_ctx_destroy(in.ctx);
		return complain(&err);
	}
	door_address(in.door, &o->at);
	if (pthread_create(&thread, NULL, serve_inside, &in) == 0) {
		rc = measure(in.ctx, o);
		door_stop(in.door);
		(void)pthread_join(thread, NULL);
	}
	door_close(in.door);
	slime_ctx_destroy(in.ctx);
	return rc;
}

static int run_local(struct perf_opts *o)
{
	struct slime_error err = {0};
	int pid;
	int rc;

	if (strcmp(o->shape.transport, "loopback") == 0)
		return run_inside(o);
	pid = perf_fork_server(o->peer_cpu >= 0 ? o->peer_cpu : o->cpu, &o->at, &err);
	if (pid < 0)
		return complain(&err);
	rc = run(o);
	perf_end_server(pid);
	return rc;
}

int verb_perf(int argc, char **argv)
{
	const char *action = argc > 1 ? argv[1] : "";
	struct perf_opts o;
	int rc;

	if (strcmp(action, "--help") == 0 || strcmp(action, "-h") == 0) {
		(void)fputs(help, stdout);
		return EXIT_GOOD;
	}
	if (strcmp(action, "serve") == 0)
		return serve(argc - 1, argv + 1);
	if (strcmp(action, "run") != 0 && strcmp(action, "local") != 0)
		return say_usage("perf", "perf wants 'serve', 'run HOST:PORT' or 'local', not '%s'",
		                 action);
	rc = perf_opts_parse(action, argc - 1, argv + 1, &o);
	if (rc)
		return rc;
	if (o.help) {
		(void)fputs(help, stdout);
		return EXIT_GOOD;
	}
	return action[0] == 'r' ? run(&o) : run_local(&o);
}
