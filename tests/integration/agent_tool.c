/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/integration/agent_tool.c - a process with agents, for the tests in Python.
 *
 *	agent_tool CTRL_URL|- [CA_FILE [CERT_FILE KEY_FILE]]
 *
 * Answers a line for each line. I numbers agents of this process; "-" is "not given".
 *
 *	agent I ALIAS SCOPE TTL_MS [LISTEN]     alias NAME INCARNATION
 *	ticket I                        ticket TEXT
 *	introduce I TICKET              met ALIAS
 *	memory I LEN SEED               ok: a region of I, filled
 *	fill I SEED                     ok
 *	publish I NAME                  ok
 *	withdraw I NAME                 ok
 *	connect I PEER TRANSPORT        ok
 *	wait I PEER MS                  up TRANSPORT NS
 *	close I PEER                    ok
 *	read I PEER NAME LEN MS         end STATUS NS: into I's scratch
 *	write I PEER NAME LEN MS        end STATUS NS: from I's scratch
 *	check I LEN SEED                ok, or wrong OFFSET: the scratch
 *	scratch I SEED                  ok: all of it filled
 *	canary I LEN SEED               ok, or wrong OFFSET: the scratch behind LEN is as filled
 *	cost I PEER NAME LEN ROUNDS     cost RAW_NS NAMED_NS: a read, by endpoint and by name
 *	loop I PEER NAME LEN MS         reads until the next line: looped GOOD BAD WORST_NS
 *	peers I | regions I PEER        names N NAME...
 *	info I PEER                     info STATE TRANSPORT RECONNECTS INCARNATION
 *	counts I PEER                   counts TRANSFERS BYTES FAILED AT_ONCE WAITED
 *	events I                        ok: from now on they are kept
 *	event I MS                      joined ALIAS | left ALIAS | missed | none
 *	flight I                        its flight recorder, then ok
 *	drop I                          ok: the agent is destroyed
 *	stat                            stat RSS_KIB FDS CPU_US
 *	quit                            ok, and the end
 *
 * What fails answers "error ERRNO SENTENCE". NS is the time that it took.
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

#include <slime/agent.h>
#include <slime/slime.h>

enum { AGENTS_MAX = 512, LINKS_MAX = 64, SCRATCH = 1 << 20, WORDS = 8 };

struct one {
	slime_agent *agent;
	slime_link *link[LINKS_MAX];
	char *peer[LINKS_MAX];
	unsigned nlinks;
	char *mem, *scratch;
	size_t len;
	slime_mr *mr, *scratch_mr;
};

static slime_ctx *ctx;
static const char *url, *ca_file, *cert_file, *key_file;
static struct one all[AGENTS_MAX];
static struct slime_error err;

static int64_t now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * INT64_C(1000000000) + ts.tv_nsec;
}

static unsigned char byte_at(uint64_t seed, uint64_t i)
{
	uint64_t x = (seed + 1) * UINT64_C(0x9e3779b97f4a7c15) + i * UINT64_C(0xbf58476d1ce4e5b9);

	return (unsigned char)(x >> 56 ^ x >> 24);
}

static void fill(struct one *a, uint64_t seed)
{
	for (size_t i = 0; i < a->len; i++)
		a->mem[i] = (char)byte_at(seed, i);
}

static void fill_scratch(struct one *a, uint64_t seed)
{
	for (size_t i = 0; i < SCRATCH; i++)
		a->scratch[i] = (char)byte_at(seed, i);
}

static const char *given(const char *word)
{
	return strcmp(word, "-") ? word : NULL;
}

/* "ok", or what went wrong. */
static void tell(int rc)
{
	if (rc < 0)
		printf("error %s %s\n", strerrorname_np(-rc), err.text);
	else
		printf("ok\n");
}

static slime_link *link_of(struct one *a, const char *peer)
{
	for (unsigned i = 0; i < a->nlinks; i++) {
		if (a->link[i] && strcmp(a->peer[i], peer) == 0)
			return a->link[i];
	}
	return NULL;
}

static void make_agent(struct one *a, char **w, const char *listen)
{
	struct slime_agent_opts opts = {
	    .size = sizeof(opts),
	    .ctrl_url = url,
	    .alias = given(w[2]),
	    .scope = given(w[3]),
	    .ttl_ms = (uint32_t)strtoul(w[4], NULL, 10),
	    .listen = listen,
	    .ca_file = ca_file,
	    .cert_file = cert_file,
	    .key_file = key_file,
	};
	int rc = slime_agent_create(ctx, &opts, &a->agent, &err);

	if (rc)
		tell(rc);
	else
		printf("alias %s %llu\n", slime_agent_alias(a->agent),
		       (unsigned long long)slime_agent_incarnation(a->agent));
}

static int make_memory(struct one *a, size_t len, uint64_t seed)
{
	struct slime_mr_opts opts = {.size = sizeof(opts), .access = SLIME_ACCESS_REMOTE};
	void *mem, *scratch;
	int rc = slime_mem_alloc(ctx, len, NULL, &mem, &err);

	if (!rc)
		rc = slime_mem_alloc(ctx, SCRATCH, NULL, &scratch, &err);
	if (!rc)
		rc = slime_mr_register(ctx, mem, len, &opts, &a->mr, &err);
	if (!rc)
		rc = slime_mr_register(ctx, scratch, SCRATCH, &opts, &a->scratch_mr, &err);
	if (rc)
		return rc;
	a->mem = mem;
	a->scratch = scratch;
	a->len = len;
	fill(a, seed);
	return 0;
}

static int make_link(struct one *a, const char *peer, const char *transport)
{
	struct slime_ep_opts opts = {.size = sizeof(opts), .transport = given(transport)};
	unsigned i = 0;
	int rc;

	while (i < LINKS_MAX && a->link[i])
		i++;
	if (i == LINKS_MAX)
		return -ENOSPC;
	rc = slime_agent_connect(a->agent, peer, &opts, &a->link[i], &err);
	if (rc)
		return rc;
	free(a->peer[i]);
	a->peer[i] = strdup(peer);
	a->nlinks += i == a->nlinks;
	return 0;
}

static void drop_link(struct one *a, const char *peer)
{
	for (unsigned i = 0; i < a->nlinks; i++) {
		if (a->link[i] && strcmp(a->peer[i], peer) == 0) {
			slime_link_close(a->link[i]);
			a->link[i] = NULL;
		}
	}
}

static int move(struct one *a, bool write, const char *peer, const char *name, uint64_t len,
                int64_t timeout_ns)
{
	struct slime_submit how = {.size = sizeof(how), .timeout_ns = timeout_ns};
	struct slime_named_seg seg = {.local_mr = a->scratch_mr, .remote = name, .len = len};
	slime_link *link = link_of(a, peer);
	slime_op *op;
	int rc;

	if (link)
		rc = (write ? slime_link_write : slime_link_read)(link, &seg, 1, &how, &op);
	else
		rc = (write ? slime_agent_write : slime_agent_read)(a->agent, peer, &seg, 1, &how,
		                                                    &op);
	if (rc)
		return rc;
	rc = slime_op_wait(op, SLIME_FOREVER, NULL);
	slime_op_release(op);
	return rc;
}

static void moved(int rc, int64_t since)
{
	printf("end %s %lld\n", rc ? strerrorname_np(-rc) : "0", (long long)(now_ns() - since));
}

static void check(const struct one *a, size_t from, size_t to, uint64_t seed)
{
	for (size_t i = from; i < to; i++) {
		if ((unsigned char)a->scratch[i] != byte_at(seed, i)) {
			printf("wrong %zu\n", i);
			return;
		}
	}
	printf("ok\n");
}

static int by_number(const void *a, const void *b)
{
	double x = *(const double *)a, y = *(const double *)b;

	return (x > y) - (x < y);
}

/* Both ways in turn, so that whatever else the machine does is in both; a round is so many reads.
 */
static int time_reads(struct one *a, char **w, unsigned rounds, double *raw, double *named)
{
	enum { EACH = 200 };
	uint64_t len = strtoull(w[4], NULL, 10);
	slime_link *link = link_of(a, w[2]);
	slime_ep *ep = link ? slime_link_ep(link) : NULL;
	struct slime_seg seg = {.local = a->scratch_mr, .len = len};
	slime_rmr *remote;
	slime_op *op;
	int rc = ep ? slime_link_region(link, w[3], &remote, &err) : -ENOTCONN;

	seg.remote = rc ? NULL : remote;
	for (unsigned i = 0; !rc && i < rounds; i++) {
		int64_t began = now_ns(), between;

		for (unsigned k = 0; !rc && k < EACH; k++) {
			rc = slime_ep_read(ep, &seg, 1, NULL, &op);
			if (!rc)
				rc = slime_op_wait(op, SLIME_FOREVER, NULL);
			slime_op_release(rc ? NULL : op);
		}
		between = now_ns();
		for (unsigned k = 0; !rc && k < EACH; k++) {
			struct slime_named_seg by_name = {
			    .local_mr = a->scratch_mr, .remote = w[3], .len = len};

			rc = slime_link_read(link, &by_name, 1, NULL, &op);
			if (!rc)
				rc = slime_op_wait(op, SLIME_FOREVER, NULL);
			slime_op_release(rc ? NULL : op);
		}
		raw[i] = (double)(between - began) / EACH;
		named[i] = (double)(now_ns() - between) / EACH;
	}
	return rc;
}

static void cost(struct one *a, char **w)
{
	unsigned rounds = (unsigned)strtoul(w[5], NULL, 10);
	double *raw = calloc(rounds + 1, sizeof(*raw)), *named = calloc(rounds + 1, sizeof(*named));
	int rc = raw && named ? time_reads(a, w, rounds, raw, named) : -ENOMEM;

	if (rc) {
		tell(rc);
	} else {
		qsort(raw, rounds, sizeof(*raw), by_number);
		qsort(named, rounds, sizeof(*named), by_number);
		printf("cost %.1f %.1f\n", raw[rounds / 2], named[rounds / 2]);
	}
	free(raw);
	free(named);
}

static void loop(struct one *a, char **w)
{
	struct pollfd in = {.fd = STDIN_FILENO, .events = POLLIN};
	int64_t timeout_ns = strtoll(w[5], NULL, 10) * 1000000, worst = 0;
	uint64_t good = 0, bad = 0, len = strtoull(w[4], NULL, 10);

	while (poll(&in, 1, 0) == 0) {
		int64_t since = now_ns(), took;

		if (move(a, false, w[2], w[3], len, timeout_ns))
			bad++;
		else
			good++;
		took = now_ns() - since;
		worst = took > worst ? took : worst;
	}
	printf("looped %llu %llu %lld\n", (unsigned long long)good, (unsigned long long)bad,
	       (long long)worst);
}

static void names(struct one *a, const char *of)
{
	struct slime_names *list;
	int rc = of ? slime_agent_regions(a->agent, of, &list, &err)
	            : slime_agent_peers(a->agent, &list, &err);

	if (rc) {
		tell(rc);
		return;
	}
	printf("names %zu", list->n);
	for (size_t i = 0; i < list->n; i++)
		printf(" %s", list->name[i]);
	printf("\n");
	slime_names_free(list);
}

static void info(struct one *a, const char *peer)
{
	static const char *const states[] = {"idle", "resolving",    "connecting", "up",
	                                     "lost", "reconnecting", "closed"};
	struct slime_link_info i = {.size = sizeof(i)};
	slime_link *link = link_of(a, peer);

	if (!link || slime_link_get_info(link, &i)) {
		printf("error ENOENT no link\n");
		return;
	}
	printf("info %s %s %llu %llu\n", states[i.state], i.transport[0] ? i.transport : "-",
	       (unsigned long long)i.reconnects, (unsigned long long)i.peer_incarnation);
}

static void counts(struct one *a, const char *peer)
{
	struct slime_link_info i = {.size = sizeof(i)};
	slime_link *link = link_of(a, peer);
	unsigned long long waited = 0;

	if (!link || slime_link_get_info(link, &i)) {
		printf("error ENOENT no link\n");
		return;
	}
	for (int b = 1; b < SLIME_LINK_WAITS; b++)
		waited += i.waited[b];
	printf("counts %llu %llu %llu %llu %llu\n", (unsigned long long)i.transfers,
	       (unsigned long long)i.bytes, (unsigned long long)i.failed,
	       (unsigned long long)i.waited[0], waited);
}

static void event(struct one *a, int ms)
{
	static const char *const changes[] = {"?", "joined", "left", "missed"};
	struct pollfd in = {.fd = slime_agent_event_fd(a->agent, &err), .events = POLLIN};
	struct slime_agent_event e;

	for (;;) {
		if (slime_agent_next_event(a->agent, &e) == 1) {
			printf("%s %s\n", changes[e.change], e.alias);
			return;
		}
		if (poll(&in, 1, ms) <= 0) {
			printf("none\n");
			return;
		}
	}
}

static void drop(struct one *a)
{
	for (unsigned i = 0; i < a->nlinks; i++) {
		slime_link_close(a->link[i]);
		free(a->peer[i]);
	}
	slime_agent_destroy(a->agent);
	slime_mr_deregister(a->mr);
	slime_mr_deregister(a->scratch_mr);
	slime_mem_free(ctx, a->mem);
	slime_mem_free(ctx, a->scratch);
	memset(a, 0, sizeof(*a));
}

static void stat_line(void)
{
	DIR *dir = opendir("/proc/self/fd");
	FILE *statm = fopen("/proc/self/statm", "r");
	struct rusage use;
	long pages = 0;
	int fds = -3; /* "." and "..", and the one that looks */

	while (dir && readdir(dir))
		fds++;
	if (dir)
		(void)closedir(dir);
	if (statm) {
		if (fscanf(statm, "%*d %ld", &pages) != 1)
			pages = 0;
		(void)fclose(statm);
	}
	(void)getrusage(RUSAGE_SELF, &use);
	printf("stat %ld %d %lld\n", pages * sysconf(_SC_PAGESIZE) / 1024, fds,
	       (long long)(use.ru_utime.tv_sec + use.ru_stime.tv_sec) * 1000000 +
	           use.ru_utime.tv_usec + use.ru_stime.tv_usec);
}

static bool is(char **w, unsigned n, const char *verb, unsigned words)
{
	return n == words && strcmp(w[0], verb) == 0;
}

static void ticket(struct one *a)
{
	char *text;
	int rc = slime_agent_ticket(a->agent, &text, &err);

	if (rc) {
		tell(rc);
		return;
	}
	printf("ticket %s\n", text);
	slime_text_free(text);
}

static void introduce(struct one *a, const char *text)
{
	char *alias;
	int rc = slime_agent_introduce(a->agent, text, &alias, &err);

	if (rc) {
		tell(rc);
		return;
	}
	printf("met %s\n", alias);
	slime_text_free(alias);
}

static void wait_up(struct one *a, char **w)
{
	int64_t since = now_ns();
	slime_link *link = link_of(a, w[2]);
	struct slime_link_info i = {.size = sizeof(i)};
	int rc = link ? slime_link_wait(link, strtoll(w[3], NULL, 10) * 1000000, &err) : -ENOENT;

	if (rc) {
		tell(rc);
		return;
	}
	(void)slime_link_get_info(link, &i);
	printf("up %s %lld\n", i.transport[0] ? i.transport : "-", (long long)(now_ns() - since));
}

static void answer(char **w, unsigned n)
{
	unsigned long i = n > 1 ? strtoul(w[1], NULL, 10) : 0;
	struct one *a = &all[i < AGENTS_MAX ? i : 0];
	int64_t since = now_ns();

	err.text[0] = '\0';
	if (is(w, n, "agent", 5)) {
		make_agent(a, w, NULL);
	} else if (is(w, n, "agent", 6)) {
		make_agent(a, w, w[5]);
	} else if (is(w, n, "ticket", 2)) {
		ticket(a);
	} else if (is(w, n, "introduce", 3)) {
		introduce(a, w[2]);
	} else if (is(w, n, "memory", 4)) {
		tell(make_memory(a, strtoul(w[2], NULL, 10), strtoull(w[3], NULL, 10)));
	} else if (is(w, n, "fill", 3)) {
		fill(a, strtoull(w[2], NULL, 10));
		tell(0);
	} else if (is(w, n, "publish", 3)) {
		struct slime_named_mr named = {.name = w[2], .mr = a->mr};

		tell(slime_agent_publish(a->agent, &named, 1, &err));
	} else if (is(w, n, "withdraw", 3)) {
		const char *name = w[2];

		tell(slime_agent_withdraw(a->agent, &name, 1, &err));
	} else if (is(w, n, "connect", 4)) {
		tell(make_link(a, w[2], w[3]));
	} else if (is(w, n, "wait", 4)) {
		wait_up(a, w);
	} else if (is(w, n, "close", 3)) {
		drop_link(a, w[2]);
		tell(0);
	} else if (is(w, n, "read", 6) || is(w, n, "write", 6)) {
		moved(move(a, w[0][0] == 'w', w[2], w[3], strtoull(w[4], NULL, 10),
		           strtoll(w[5], NULL, 10) * 1000000),
		      since);
	} else if (is(w, n, "check", 4)) {
		check(a, 0, strtoul(w[2], NULL, 10), strtoull(w[3], NULL, 10));
	} else if (is(w, n, "scratch", 3)) {
		fill_scratch(a, strtoull(w[2], NULL, 10));
		tell(0);
	} else if (is(w, n, "canary", 4)) {
		check(a, strtoul(w[2], NULL, 10), SCRATCH, strtoull(w[3], NULL, 10));
	} else if (is(w, n, "cost", 6)) {
		cost(a, w);
	} else if (is(w, n, "loop", 6)) {
		loop(a, w);
	} else if (is(w, n, "peers", 2)) {
		names(a, NULL);
	} else if (is(w, n, "regions", 3)) {
		names(a, w[2]);
	} else if (is(w, n, "info", 3)) {
		info(a, w[2]);
	} else if (is(w, n, "counts", 3)) {
		counts(a, w[2]);
	} else if (is(w, n, "events", 2)) {
		tell(slime_agent_event_fd(a->agent, &err));
	} else if (is(w, n, "event", 3)) {
		event(a, (int)strtol(w[2], NULL, 10));
	} else if (is(w, n, "flight", 2)) {
		char *text;
		int rc = slime_agent_flight(a->agent, &text);

		if (!rc)
			printf("%s", text);
		slime_text_free(rc ? NULL : text);
		tell(rc);
	} else if (is(w, n, "drop", 2)) {
		drop(a);
		tell(0);
	} else if (is(w, n, "stat", 1)) {
		stat_line();
	} else {
		printf("error EINVAL no such request: %s\n", n ? w[0] : "");
	}
}

int main(int argc, char **argv)
{
	char *line = NULL;
	size_t cap = 0;

	if (argc < 2 || argc > 5 || argc == 4 || slime_ctx_create(NULL, &ctx, &err)) {
		(void)fprintf(stderr, "usage: agent_tool CTRL_URL [CA [CERT KEY]]\n");
		return 2;
	}
	url = given(argv[1]);
	ca_file = argc > 2 ? given(argv[2]) : NULL;
	cert_file = argc > 3 ? given(argv[3]) : NULL;
	key_file = argc > 4 ? given(argv[4]) : NULL;
	(void)setvbuf(stdout, NULL, _IOLBF, 0);
	(void)setvbuf(stdin, NULL, _IONBF, 0); /* "loop" looks at the descriptor */
	while (getline(&line, &cap, stdin) > 0) {
		char *w[WORDS], *save = NULL;
		unsigned n = 0;

		for (char *at = strtok_r(line, " \n", &save); at && n < WORDS;
		     at = strtok_r(NULL, " \n", &save))
			w[n++] = at;
		if (n && strcmp(w[0], "quit") == 0)
			break;
		answer(w, n);
	}
	for (unsigned i = 0; i < AGENTS_MAX; i++)
		drop(&all[i]);
	slime_ctx_destroy(ctx);
	free(line);
	printf("ok\n");
	return 0;
}
