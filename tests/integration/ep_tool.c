/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/integration/ep_tool.c - a process with endpoints, for the tests in Python.
 *
 *	ep_tool TRANSPORT COUNT LEN PEER_TIMEOUT_MS LANES
 *
 * Makes COUNT endpoints over one region of LEN bytes, prints "mr HEX" and a line
 * "ep HEX" for each, reads the same from the peer, connects them in turn and
 * prints "connected MILLISECONDS". Then it answers, a line for each line:
 *
 *	fill SEED                  ok
 *	check LEN SEED             ok, or wrong OFFSET
 *	run OP I LEN N             N transfers, one after the other, on endpoint I: end ERRNO NS
 *BYTES loop OP I LEN              the same until one fails or the next line comes start OP I LEN
 *ok; the transfer goes on wait                       for the oldest started: end ERRNO NS BYTES
 *	stat                       rss_kib N fds N cpu_us N
 *	quit                       ok, and the end
 *
 * OP is read, write, write_imm, recv_imm, send or recv. ERRNO is a name or "0", NS the
 * CLOCK_MONOTONIC of the end.
 */
#include <dirent.h>
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include <slime/slime.h>

enum { COUNT_MAX = 4096, STARTED_MAX = 256 };
static const int64_t patience_ns = INT64_C(60000000000);

static slime_ctx *ctx;
static slime_mr *mr;
static char *mem;
static uint64_t len;
static unsigned long count;
static slime_ep *eps[COUNT_MAX];
static slime_rmr *rmrs[COUNT_MAX];
static slime_op *started[STARTED_MAX];
static unsigned first, next;
static struct slime_error err;

__attribute__((noreturn)) static void die(const char *what, int rc)
{
	printf("dead %s %s %s\n", what, rc < 0 ? strerrorname_np(-rc) : "?", err.text);
	(void)fflush(stdout);
	exit(1);
}

static int64_t now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * INT64_C(1000000000) + ts.tv_nsec;
}

/* A pattern of bytes that depends on the place. */
static unsigned char byte_at(uint64_t seed, uint64_t i)
{
	uint64_t x = (seed + 1) * UINT64_C(0x9e3779b97f4a7c15) + i * UINT64_C(0xbf58476d1ce4e5b9);

	return (unsigned char)(x >> 56 ^ x >> 24);
}

static char *read_line(void)
{
	static char *line;
	static size_t cap;
	ssize_t n = getline(&line, &cap, stdin);

	if (n <= 0)
		exit(0); /* the test is gone */
	line[strcspn(line, "\n")] = '\0';
	return line;
}

static void print_desc(const char *what, const struct slime_desc *desc)
{
	printf("%s ", what);
	for (uint32_t i = 0; i < desc->len; i++)
		printf("%02x", desc->bytes[i]);
	printf("\n");
}

static struct slime_desc read_desc(const char *what)
{
	const char *line = read_line();
	struct slime_desc desc = {0};
	size_t skip = strlen(what) + 1, n = strlen(line);

	if (strncmp(line, what, skip - 1) || n < skip || (n - skip) / 2 > SLIME_DESC_MAX)
		die("descriptions", -EINVAL);
	desc.len = (uint32_t)((n - skip) / 2);
	for (uint32_t i = 0; i < desc.len; i++) {
		char two[3] = {line[skip + 2 * i], line[skip + 2 * i + 1], '\0'};

		desc.bytes[i] = (uint8_t)strtoul(two, NULL, 16);
	}
	return desc;
}

static void create(const char *transport, uint32_t peer_timeout_ms, uint32_t lanes)
{
	struct slime_ctx_opts ctx_opts = {
	    .size = sizeof(ctx_opts),
	    .peer_timeout_ms = peer_timeout_ms,
	};
	struct slime_ep_opts ep_opts = {
	    .size = sizeof(ep_opts),
	    .transport = strcmp(transport, "any") ? transport : NULL,
	    .lanes = lanes,
	};
	struct slime_mr_opts mr_opts = {.size = sizeof(mr_opts), .access = SLIME_ACCESS_REMOTE};
	void *addr = NULL;
	int rc = slime_ctx_create(&ctx_opts, &ctx, &err);

	if (!rc)
		rc = slime_mem_alloc(ctx, len, NULL, &addr, &err);
	if (!rc)
		rc = slime_mr_register(ctx, addr, len, &mr_opts, &mr, &err);
	if (rc)
		die("create", rc);
	mem = addr;
	for (unsigned long i = 0; i < count; i++) {
		rc = slime_ep_create(ctx, &ep_opts, &eps[i], &err);
		if (rc)
			die("slime_ep_create", rc);
	}
}

static void describe(void)
{
	struct slime_desc desc;
	int rc = slime_mr_export(mr, &desc, &err);

	if (rc)
		die("slime_mr_export", rc);
	print_desc("mr", &desc);
	for (unsigned long i = 0; i < count; i++) {
		rc = slime_ep_export(eps[i], &desc, &err);
		if (rc)
			die("slime_ep_export", rc);
		print_desc("ep", &desc);
	}
	(void)fflush(stdout);
}

/* All descriptions come first, so that the time is that of connecting. */
static void connect_all(void)
{
	static struct slime_desc peers[COUNT_MAX];
	struct slime_desc region = read_desc("mr");
	int64_t began;

	for (unsigned long i = 0; i < count; i++)
		peers[i] = read_desc("ep");
	began = now_ns();
	for (unsigned long i = 0; i < count; i++) {
		int rc = slime_ep_connect(eps[i], &peers[i], patience_ns, &err);

		if (!rc)
			rc = slime_ep_import(eps[i], &region, &rmrs[i], &err);
		if (rc)
			die("slime_ep_connect", rc);
	}
	printf("connected %lld\n", (long long)((now_ns() - began) / 1000000));
	(void)fflush(stdout);
}

static int submit(const char *op, unsigned long i, uint64_t bytes, slime_op **out)
{
	struct slime_seg seg = {.local = mr, .remote = rmrs[i], .len = bytes};
	struct slime_span span = {.mr = mr, .len = bytes};

	if (!strcmp(op, "read"))
		return slime_ep_read(eps[i], &seg, 1, NULL, out);
	if (!strcmp(op, "write"))
		return slime_ep_write(eps[i], &seg, 1, NULL, out);
	if (!strcmp(op, "write_imm"))
		return slime_ep_write_imm(eps[i], &seg, 1, 1, NULL, out);
	if (!strcmp(op, "recv_imm"))
		return slime_ep_recv_imm(eps[i], NULL, out);
	if (!strcmp(op, "send"))
		return slime_ep_send(eps[i], &span, NULL, out);
	return slime_ep_recv(eps[i], &span, NULL, out);
}

static void print_end(int rc, uint64_t bytes)
{
	printf("end %s %lld %llu\n", rc ? strerrorname_np(-rc) : "0", (long long)now_ns(),
	       (unsigned long long)bytes);
}

static int transfer(const char *op, unsigned long i, uint64_t bytes, struct slime_result *res)
{
	slime_op *handle = NULL;
	int rc = submit(op, i, bytes, &handle);

	if (rc)
		return rc;
	rc = slime_op_wait(handle, patience_ns, res);
	slime_op_release(handle);
	return rc;
}

static bool line_waits(void)
{
	struct pollfd fd = {.fd = STDIN_FILENO, .events = POLLIN};

	return poll(&fd, 1, 0) == 1;
}

static void run(const char *op, unsigned long i, uint64_t bytes, unsigned long n)
{
	struct slime_result res = {0};
	uint64_t moved = 0;
	int rc = 0;

	for (unsigned long k = 0; !rc && (n ? k < n : !line_waits()); k++) {
		rc = transfer(op, i, bytes, &res);
		moved += rc ? 0 : res.bytes;
	}
	print_end(rc, moved);
}

static void start(const char *op, unsigned long i, uint64_t bytes)
{
	int rc = submit(op, i, bytes, &started[next % STARTED_MAX]);

	if (rc) {
		print_end(rc, 0);
	} else {
		next++;
		printf("ok\n");
	}
}

static void wait_oldest(void)
{
	struct slime_result res = {0};
	int rc;

	if (first == next) {
		print_end(-ENOENT, 0);
		return;
	}
	rc = slime_op_wait(started[first % STARTED_MAX], patience_ns, &res);
	slime_op_release(started[first++ % STARTED_MAX]);
	print_end(rc, res.bytes);
}

/* Opened first of all, so that stat works when there is no descriptor left. */
static FILE *statm;
static DIR *fds;

static void stat_begin(void)
{
	statm = fopen("/proc/self/statm", "re");
	fds = opendir("/proc/self/fd");
	if (!statm || !fds)
		die("/proc", -errno);
	(void)setvbuf(statm, NULL, _IONBF, 0);
}

static unsigned long resident_kib(void)
{
	unsigned long all = 0, resident = 0;

	rewind(statm);
	if (fscanf(statm, "%lu %lu", &all, &resident) != 2)
		die("statm", -EIO);
	return resident * (unsigned long)sysconf(_SC_PAGESIZE) / 1024;
}

static unsigned descriptors(void)
{
	unsigned n = 0;

	rewinddir(fds);
	while (readdir(fds))
		n++;
	return n - 2; /* "." and ".." */
}

static void stat_self(void)
{
	struct rusage use;
	long long us;

	(void)getrusage(RUSAGE_SELF, &use);
	us = (use.ru_utime.tv_sec + use.ru_stime.tv_sec) * 1000000LL + use.ru_utime.tv_usec +
	     use.ru_stime.tv_usec;
	printf("rss_kib %lu fds %u cpu_us %lld\n", resident_kib(), descriptors(), us);
}

/*
 * These two touch memory that the library touches for the peer. That it is not
 * at the same time, the test sees to, through another process: out of
 * ThreadSanitizer's sight.
 */
#define ORDERED_BY_THE_TEST __attribute__((no_sanitize("thread")))

ORDERED_BY_THE_TEST static void fill(uint64_t seed)
{
	for (uint64_t i = 0; i < len; i++)
		mem[i] = (char)byte_at(seed, i);
	printf("ok\n");
}

ORDERED_BY_THE_TEST static void check(uint64_t bytes, uint64_t seed)
{
	for (uint64_t i = 0; i < bytes; i++) {
		if ((unsigned char)mem[i] != byte_at(seed, i)) {
			printf("wrong %llu\n", (unsigned long long)i);
			return;
		}
	}
	printf("ok\n");
}

static void give_back(void)
{
	while (first != next)
		slime_op_release(started[first++ % STARTED_MAX]);
	for (unsigned long i = 0; i < count; i++) {
		slime_rmr_release(rmrs[i]);
		slime_ep_destroy(eps[i]);
	}
	slime_mr_deregister(mr);
	slime_mem_free(ctx, mem);
	slime_ctx_destroy(ctx);
}

/* One line; false: it was the last. */
static bool answer(const char *line)
{
	unsigned long long bytes = 0, a = 0, b = 0;
	unsigned long i = 0, n = 0;
	char verb[16] = "", op[16] = "";

	(void)sscanf(line, "%15s", verb);
	if (sscanf(line, "run %15s %lu %llu %lu", op, &i, &bytes, &n) == 4 && i < count && n)
		run(op, i, bytes, n);
	else if (sscanf(line, "loop %15s %lu %llu", op, &i, &bytes) == 3 && i < count)
		run(op, i, bytes, 0);
	else if (sscanf(line, "start %15s %lu %llu", op, &i, &bytes) == 3 && i < count)
		start(op, i, bytes);
	else if (sscanf(line, "fill %llu", &a) == 1)
		fill(a);
	else if (sscanf(line, "check %llu %llu", &a, &b) == 2 && a <= len)
		check(a, b);
	else if (!strcmp(verb, "wait"))
		wait_oldest();
	else if (!strcmp(verb, "stat"))
		stat_self();
	else if (!strcmp(verb, "quit"))
		return false;
	else
		die(line, -EINVAL);
	return true;
}

int main(int argc, char **argv)
{
	if (argc != 6) {
		(void)fprintf(stderr, "usage: ep_tool TRANSPORT COUNT LEN PEER_TIMEOUT_MS LANES\n");
		return 2;
	}
	(void)setvbuf(stdin, NULL, _IONBF, 0); /* line_waits() must see what is there */
	count = strtoul(argv[2], NULL, 10);
	len = strtoull(argv[3], NULL, 10);
	if (count > COUNT_MAX)
		die("count", -EINVAL);
	stat_begin();
	create(argv[1], (uint32_t)strtoul(argv[4], NULL, 10), (uint32_t)strtoul(argv[5], NULL, 10));
	describe();
	connect_all();
	while (answer(read_line()))
		(void)fflush(stdout);
	give_back();
	printf("ok\n");
	return 0;
}
