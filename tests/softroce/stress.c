/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/softroce/stress.c - two processes, four lanes, sixteen transfers in flight each way, all
 * kinds mixed, of any size and alignment, and every byte looked at.
 *
 *	stress TRANSPORT SECONDS SEED [DEVICE,... PEER_DEVICE,...]
 *
 * SIGTERM ends it earlier, as well. Devices are named by who pulls their cables meanwhile: then
 * there are no reads, as one that was cut was told of as good without its data, beside a warning
 * of rxe's (Linux 6.1, rxe_comp.c:756).
 *
 * Both processes do the same. Each has sixteen slots in the memory of the other, which only it
 * writes, so it knows what must be in them:
 *
 *	write       then read the whole slot back, and compare with the model of it
 *	write_imm   the other finds a header in the slot, which says what the whole slot must
 *	            hold when the immediate arrives; it answers over the socket
 *	send        the message says what it must hold, and which one it is in the order
 *
 * At the end every transfer must have completed once, and no descriptor be left.
 */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <slime/slime.h>

enum {
	LANES = 4,
	DEPTH = 16,
	PIECES_MAX = 8,
	SLOT = 256 << 10,
	MESSAGE = 64 << 10,
	SHIFT = 64, /* local and remote bytes are aligned differently */
	RSS_MAY_GROW_KIB = 16 << 10,
	PATIENCE_S = 60,
};

/* What the transfer in a slot, or a receive, is; the upper half of user_data. */
enum kind { IDLE, WRITE, READ_BACK, WRITE_IMM, SEND, RECV, RECV_IMM, N_KINDS };

static const char *const names[N_KINDS] = {"nothing", "write", "read",    "write_imm",
                                           "send",    "recv",  "recv_imm"};

struct header {
	uint64_t number;
	uint64_t len;
	uint64_t sum; /* of the LEN bytes that follow */
};

struct memory {
	char source[DEPTH][SLOT + SHIFT];
	char back[DEPTH][SLOT];
	char exposed[DEPTH][SLOT]; /* the peer writes here */
	char outbox[DEPTH][MESSAGE];
	char inbox[DEPTH][MESSAGE];
};

/* Between the processes, beside the transport under test. */
struct note {
	char what; /* 'i'mmediate seen, 'e'nd: so many were sent; 'm'eet */
	uint32_t imm;
	uint64_t n_sends, n_imms;
};

static struct {
	int fd;
	slime_ctx *ctx;
	slime_ep *ep;
	slime_cq *cq;
	slime_mr *mr;
	slime_rmr *rmr;
	struct memory *mem;
	char (*model)[SLOT]; /* what the peer's EXPOSED must hold */
	enum kind busy[DEPTH];
	uint8_t n_missing[DEPTH]; /* of a write_imm: its completion, the peer's word */
	uint64_t expected[DEPTH]; /* number of the message that a receive is for */
	uint64_t submitted, ended;
	uint64_t done[N_KINDS], bytes;
	uint64_t n_sends, n_imms; /* submitted here */
	uint64_t n_recvs;         /* posted here */
	const char *transport, *device;
	bool peer_met;
	struct note peer_end;
	uint64_t random;
	const char *who;
} me;

__attribute__((noreturn, format(printf, 1, 2))) static void die(const char *fmt, ...)
{
	va_list ap;

	fprintf(stderr, "stress, %s: ", me.who);
	va_start(ap, fmt);
	vfprintf(stderr, fmt, ap);
	va_end(ap);
	fputc('\n', stderr);
	exit(1);
}

static void must(int rc, const char *what, const struct slime_error *err)
{
	if (rc < 0)
		die("%s: %s: %s", what, strerror(-rc), err ? err->text : "");
}

static int64_t now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * INT64_C(1000000000) + ts.tv_nsec;
}

static uint64_t random_bits(void)
{
	me.random ^= me.random << 13;
	me.random ^= me.random >> 7;
	me.random ^= me.random << 17;
	return me.random;
}

static uint64_t below(uint64_t n)
{
	return random_bits() % n;
}

/* Small ones as often as large ones, and none at all now and then. */
static uint64_t length_below(uint64_t n)
{
	uint64_t most = n >> below(18);

	return most ? below(most) : 0;
}

static void fill(char *at, uint64_t len)
{
	uint64_t word;

	for (; len >= sizeof(word); at += sizeof(word), len -= sizeof(word)) {
		word = random_bits();
		memcpy(at, &word, sizeof(word));
	}
	for (; len; len--)
		*at++ = (char)random_bits();
}

static uint64_t sum_of(const char *at, uint64_t len)
{
	uint64_t sum = len;
	uint64_t word;

	for (; len >= sizeof(word); at += sizeof(word), len -= sizeof(word)) {
		memcpy(&word, at, sizeof(word));
		sum = (sum ^ word) * UINT64_C(0x9e3779b97f4a7c15);
		sum ^= sum >> 29;
	}
	for (; len; len--)
		sum = (sum ^ (unsigned char)*at++) * UINT64_C(0x100000001b3);
	return sum;
}

static uint64_t offset_of(const void *at)
{
	return (uint64_t)((const char *)at - (const char *)me.mem);
}

static struct slime_submit how(enum kind kind, uint64_t slot)
{
	me.submitted++;
	return (struct slime_submit){.size = sizeof(struct slime_submit),
	                             .cq = me.cq,
	                             .user_data = (uint64_t)kind << 32 | slot};
}

/* Room for a header in front if there is to be an immediate, then disjoint pieces. */
static size_t write_pieces(uint64_t slot, uint64_t from, struct slime_seg *segs)
{
	uint64_t n = 1 + below(PIECES_MAX);
	uint64_t room = (SLOT - from) / n;
	uint64_t shift = below(SHIFT);

	for (uint64_t i = 0; i < n; i++) {
		uint64_t len = length_below(room + 1);
		uint64_t off = from + i * room + below(room - len + 1);

		fill(me.mem->source[slot] + shift + off, len);
		memcpy(me.model[slot] + off, me.mem->source[slot] + shift + off, len);
		segs[i] = (struct slime_seg){
		    .local = me.mr,
		    .remote = me.rmr,
		    .local_off = offset_of(me.mem->source[slot]) + shift + off,
		    .remote_off = offset_of(me.mem->exposed[slot]) + off,
		    .len = len,
		};
		me.bytes += len;
	}
	return n;
}

static void start_write(uint64_t slot)
{
	struct slime_seg segs[PIECES_MAX];
	size_t n = write_pieces(slot, 0, segs);
	struct slime_submit opts = how(WRITE, slot);

	must(slime_ep_write(me.ep, segs, n, &opts, NULL), "write", NULL);
}

static void start_write_imm(uint64_t slot)
{
	struct slime_seg segs[PIECES_MAX + 1];
	struct header h = {.number = me.n_imms++, .len = SLOT - sizeof(h)};
	size_t n = write_pieces(slot, sizeof(h), segs);
	struct slime_submit opts = how(WRITE_IMM, slot);

	me.n_missing[slot] = 2;
	h.sum = sum_of(me.model[slot] + sizeof(h), h.len);
	memcpy(me.model[slot], &h, sizeof(h));
	memcpy(me.mem->outbox[slot], &h, sizeof(h));
	segs[n] = (struct slime_seg){
	    .local = me.mr,
	    .remote = me.rmr,
	    .local_off = offset_of(me.mem->outbox[slot]),
	    .remote_off = offset_of(me.mem->exposed[slot]),
	    .len = sizeof(h),
	};
	must(slime_ep_write_imm(me.ep, segs, n + 1, (uint32_t)(h.number << 8 | slot), &opts, NULL),
	     "write_imm", NULL);
}

static void start_send(uint64_t slot)
{
	char *at = me.mem->outbox[slot];
	struct header h = {.number = me.n_sends++, .len = length_below(MESSAGE - sizeof(h) + 1)};
	struct slime_span span = {.mr = me.mr, .off = offset_of(at), .len = sizeof(h) + h.len};
	struct slime_submit opts = how(SEND, slot);

	fill(at + sizeof(h), h.len);
	h.sum = sum_of(at + sizeof(h), h.len);
	memcpy(at, &h, sizeof(h));
	me.bytes += span.len;
	must(slime_ep_send(me.ep, &span, &opts, NULL), "send", NULL);
}

static void start_read_back(uint64_t slot)
{
	struct slime_seg segs[2];
	uint64_t cut = below(SLOT);
	struct slime_submit opts = how(READ_BACK, slot);

	memset(me.mem->back[slot], 0, SLOT);
	segs[0] = (struct slime_seg){
	    .local = me.mr,
	    .remote = me.rmr,
	    .local_off = offset_of(me.mem->back[slot]),
	    .remote_off = offset_of(me.mem->exposed[slot]),
	    .len = cut,
	};
	segs[1] = segs[0];
	segs[1].local_off += cut;
	segs[1].remote_off += cut;
	segs[1].len = SLOT - cut;
	me.bytes += SLOT;
	must(slime_ep_read(me.ep, segs, 2, &opts, NULL), "read", NULL);
}

static void start_something(uint64_t slot)
{
	static void (*const start[])(uint64_t slot) = {
	    [WRITE] = start_write, [WRITE_IMM] = start_write_imm, [SEND] = start_send};
	static const enum kind choice[] = {WRITE, WRITE_IMM, SEND};

	me.busy[slot] = me.device ? choice[1 + below(2)] : choice[below(3)];
	start[me.busy[slot]](slot);
}

static void post_recv(uint64_t slot)
{
	struct slime_span span = {
	    .mr = me.mr, .off = offset_of(me.mem->inbox[slot]), .len = MESSAGE};
	struct slime_submit opts = how(RECV, slot);

	me.expected[slot] = me.n_recvs++;
	must(slime_ep_recv(me.ep, &span, &opts, NULL), "recv", NULL);
}

static void post_recv_imm(void)
{
	struct slime_submit opts = how(RECV_IMM, 0);

	must(slime_ep_recv_imm(me.ep, &opts, NULL), "recv_imm", NULL);
}

static void check_slot(uint64_t slot)
{
	const char *have = me.mem->back[slot];
	uint64_t i = 0;

	while (i < SLOT && have[i] == me.model[slot][i])
		i++;
	if (i < SLOT)
		die("byte %llu of slot %llu is not what was written there", (unsigned long long)i,
		    (unsigned long long)slot);
}

static void check_message(uint64_t slot, uint64_t bytes)
{
	const char *at = me.mem->inbox[slot];
	struct header h;

	memcpy(&h, at, sizeof(h));
	if (h.number != me.expected[slot])
		die("message %llu is in the receive for message %llu", (unsigned long long)h.number,
		    (unsigned long long)me.expected[slot]);
	if (bytes != sizeof(h) + h.len || sum_of(at + sizeof(h), h.len) != h.sum)
		die("message %llu has wrong bytes", (unsigned long long)h.number);
}

static void give(const struct note *note)
{
	if (send(me.fd, note, sizeof(*note), MSG_NOSIGNAL) < 0)
		die("the other process is gone");
}

static void check_immediate(const struct slime_result *res)
{
	uint64_t slot = res->imm & 0xff;
	struct note note = {.what = 'i', .imm = res->imm};
	struct header h;

	if (!(res->flags & SLIME_RESULT_IMM) || slot >= DEPTH)
		die("the immediate %#x was never sent", res->imm);
	memcpy(&h, me.mem->exposed[slot], sizeof(h));
	if ((uint32_t)(h.number << 8 | slot) != res->imm)
		die("immediate %#x came when its slot held write %llu", res->imm,
		    (unsigned long long)h.number);
	if (sum_of(me.mem->exposed[slot] + sizeof(h), SLOT - sizeof(h)) != h.sum)
		die("immediate %#x came before all of its bytes", res->imm);
	give(&note);
}

/* Here or by the peer; when both have, the slot may be written again. */
static void write_imm_seen(uint64_t slot)
{
	if (me.busy[slot] != WRITE_IMM || me.n_missing[slot] == 0)
		die("the immediate of slot %llu arrived twice", (unsigned long long)slot);
	if (--me.n_missing[slot] == 0)
		me.busy[slot] = IDLE;
}

static void ended(const struct slime_result *res, bool closing)
{
	enum kind kind = (enum kind)(res->user_data >> 32);
	uint64_t slot = res->user_data & 0xffffffff;

	me.ended++;
	if (closing && (kind == RECV || kind == RECV_IMM) &&
	    (res->status == -ECANCELED || res->status == -ECONNRESET))
		return;
	if (res->status < 0 || closing)
		die("%s in slot %llu ended with: %s", names[kind], (unsigned long long)slot,
		    strerror(-res->status));
	me.done[kind]++;
	switch (kind) {
	case WRITE:
		start_read_back(slot);
		break;
	case READ_BACK:
		check_slot(slot);
		me.busy[slot] = IDLE;
		break;
	case SEND:
		me.busy[slot] = IDLE;
		break;
	case RECV:
		check_message(slot, res->bytes);
		post_recv(slot);
		break;
	case RECV_IMM:
		check_immediate(res);
		post_recv_imm();
		break;
	default:
		write_imm_seen(slot);
		break;
	}
}

/* False: there is none now. */
static bool take_note(int flags)
{
	struct note note;
	ssize_t n = recv(me.fd, &note, sizeof(note), flags);

	if (n < 0 && errno == EAGAIN)
		return false;
	if (n != sizeof(note))
		die("the other process is gone");
	if (note.what == 'i')
		write_imm_seen(note.imm & 0xff);
	else if (note.what == 'e')
		me.peer_end = note;
	else
		me.peer_met = true;
	return true;
}

static bool all_idle(void)
{
	for (int i = 0; i < DEPTH; i++)
		if (me.busy[i] != IDLE)
			return false;
	return true;
}

/* Take what has completed; give up when nothing does for long. */
static void step(void)
{
	static int64_t last_ns;
	struct slime_result res[DEPTH];
	int n = slime_cq_wait(me.cq, res, DEPTH, 20 * INT64_C(1000000));

	for (int i = 0; i < n; i++)
		ended(&res[i], false);
	while (!me.peer_met && take_note(MSG_DONTWAIT))
		;
	if (n > 0 || !last_ns)
		last_ns = now_ns();
	if (now_ns() - last_ns > PATIENCE_S * INT64_C(1000000000))
		die("nothing has completed for %d s", PATIENCE_S);
}

static bool everything_arrived(void)
{
	return me.peer_end.what && me.done[RECV] == me.peer_end.n_sends &&
	       me.done[RECV_IMM] == me.peer_end.n_imms;
}

static long rss_kib(void)
{
	long pages = 0;
	FILE *f = fopen("/proc/self/statm", "re");

	if (!f || fscanf(f, "%*s %ld", &pages) != 1)
		die("/proc/self/statm cannot be read");
	(void)fclose(f);
	return pages * (sysconf(_SC_PAGESIZE) / 1024);
}

static int count_fds(void)
{
	DIR *dir = opendir("/proc/self/fd");
	int n = 0;

	while (dir && readdir(dir))
		n++;
	(void)closedir(dir);
	return n;
}

static void exchange(void)
{
	struct slime_ep_opts opts = {
	    .size = sizeof(opts), .lanes = LANES, .transport = me.transport, .device = me.device};
	struct slime_mr_opts rights = {.size = sizeof(rights), .access = SLIME_ACCESS_REMOTE};
	struct slime_desc desc;
	struct slime_error err;
	ssize_t n;

	must(slime_ep_create(me.ctx, &opts, &me.ep, &err), "endpoint", &err);
	must(slime_mr_register(me.ctx, me.mem, sizeof(*me.mem), &rights, &me.mr, &err), "region",
	     &err);
	must(slime_ep_export(me.ep, &desc, &err), "export", &err);
	(void)send(me.fd, desc.bytes, desc.len, MSG_NOSIGNAL);
	n = recv(me.fd, desc.bytes, sizeof(desc.bytes), 0);
	desc.len = n < 0 ? 0 : (uint32_t)n;
	must(slime_ep_connect(me.ep, &desc, PATIENCE_S * INT64_C(1000000000), &err), "connect",
	     &err);
	must(slime_mr_export(me.mr, &desc, &err), "export", &err);
	(void)send(me.fd, desc.bytes, desc.len, MSG_NOSIGNAL);
	n = recv(me.fd, desc.bytes, sizeof(desc.bytes), 0);
	desc.len = n < 0 ? 0 : (uint32_t)n;
	must(slime_ep_import(me.ep, &desc, &me.rmr, &err), "import", &err);
}

static volatile sig_atomic_t terminated;

static void on_term(int sig)
{
	(void)sig;
	terminated = 1;
}

static bool goes_on(int64_t until_ns)
{
	return now_ns() < until_ns && !terminated && !me.peer_end.what;
}

/* No transfer is left behind by a close: each receive that still waits ends once. */
static void end(void)
{
	struct slime_result res;

	slime_ep_close(me.ep);
	while (me.ended < me.submitted) {
		int rc = slime_cq_wait(me.cq, &res, 1, PATIENCE_S * INT64_C(1000000000));

		must(rc, "a receive that was closed under", NULL);
		ended(&res, true);
	}
	slime_ep_destroy(me.ep);
	slime_rmr_release(me.rmr);
	slime_mr_deregister(me.mr);
	slime_cq_destroy(me.cq);
	slime_ctx_destroy(me.ctx);
	free(me.mem);
	free(me.model);
}

/* Returns the seconds that it took. */
static double run(int64_t seconds)
{
	int64_t began_ns = now_ns();
	int64_t until_ns = began_ns + seconds * INT64_C(1000000000);
	long rss_kib_early = 0;

	for (uint64_t i = 0; i < DEPTH; i++) {
		post_recv(i);
		post_recv_imm();
	}
	while (goes_on(until_ns) || !all_idle()) {
		for (uint64_t i = 0; i < DEPTH && goes_on(until_ns); i++)
			if (me.busy[i] == IDLE)
				start_something(i);
		step();
		if (!rss_kib_early && now_ns() - began_ns > (until_ns - began_ns) / 2)
			rss_kib_early = rss_kib();
	}
	give(&(struct note){.what = 'e', .n_sends = me.n_sends, .n_imms = me.n_imms});
	while (!everything_arrived())
		step();
	if (rss_kib_early && rss_kib() > rss_kib_early + RSS_MAY_GROW_KIB)
		die("the process grew by %ld KiB in the second half", rss_kib() - rss_kib_early);
	return (double)(now_ns() - began_ns) / 1e9;
}

/* Both have everything before one of them closes. */
static void meet(void)
{
	give(&(struct note){.what = 'm'});
	while (!me.peer_met)
		(void)take_note(0);
}

static void report(double seconds)
{
	printf("%s:", me.who);
	for (enum kind k = WRITE; k < N_KINDS; k++)
		printf(" %llu %s", (unsigned long long)me.done[k], names[k]);
	printf(", %.1f MB/s\n", (double)me.bytes / 1e6 / seconds);
	for (enum kind k = me.device ? WRITE_IMM : WRITE; k < N_KINDS; k++)
		if (me.done[k] == 0)
			die("not one %s was done", names[k]);
}

int main(int argc, char **argv)
{
	/* the emulated machine may get no processor for seconds: that is not what is asked here */
	struct slime_ctx_opts opts = {.size = sizeof(opts), .peer_timeout_ms = 20000};
	struct slime_error err;
	int64_t seconds;
	double took;
	int fd[2];
	int n_fds;
	int status;
	pid_t child;

	if (argc != 4 && argc != 6) {
		fprintf(stderr, "usage: stress TRANSPORT SECONDS SEED [DEVICE PEER_DEVICE]\n");
		return 2;
	}
	seconds = strtol(argv[2], NULL, 10);
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fd) < 0)
		return 1;
	child = fork();
	if (child < 0)
		return 1;
	if (child == 0)
		(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	(void)close(fd[child ? 1 : 0]);
	me.who = child ? "parent" : "child";
	me.transport = argv[1];
	me.device = argc < 6 ? NULL : argv[child ? 4 : 5];
	me.fd = fd[child ? 0 : 1];
	me.random =
	    (strtoull(argv[3], NULL, 10) * 2 + (child ? 1 : 2)) * UINT64_C(0x9e3779b97f4a7c15);
	me.mem = calloc(1, sizeof(*me.mem));
	me.model = calloc(DEPTH, SLOT);
	if (!me.mem || !me.model)
		die("no memory");
	(void)signal(SIGTERM, on_term);
	n_fds = count_fds();
	must(slime_ctx_create(me.device ? NULL : &opts, &me.ctx, &err), "context", &err);
	must(slime_cq_create(me.ctx, 0, &me.cq, &err), "queue", &err);
	exchange();
	took = run(seconds);
	meet();
	report(took);
	end();
	if (count_fds() != n_fds)
		die("%d descriptors were left open", count_fds() - n_fds);
	(void)close(me.fd);
	if (child == 0)
		return 0;
	if (waitpid(child, &status, 0) != child || status != 0)
		return 1;
	printf("every byte was right\n");
	return 0;
}
