/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/fuzz/fuzz_tcp_peer.c - a peer that knows the secrets and then misbehaves.
 *
 * The input is a script for the far end of a connection whose near end is the
 * library: frames and bytes on both sockets, in between transfers that the near
 * end submits. Whatever comes, memory outside the regions stays as it was, a region
 * is written, and read, only with that right and its key, and every transfer
 * ends. Everything happens in this thread.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <slime/slime.h>

#include "base/random.h"
#include "base/wire.h"
#include "endpoint/desc.h"
#include "fuzz.h"
#include "own_network.h"
#include "transport/tcp/tcp_frame.h"

enum { REGION = 8192, GUARD = 4096, CANARY = 0x5c, OPS_MAX = 32, SECRET = 16 };

/* Regions of the near end, by what the far end may do with them. */
enum { OPEN, READ_ONLY, WRITE_ONLY, LOCKED, REGIONS };

static slime_ctx *ctx;
static bool alone;
static int listener;
static struct sockaddr_in listener_addr;
static unsigned char memory[GUARD + REGIONS * (REGION + GUARD)];
static unsigned char secret[SECRET]; /* what LOCKED and WRITE_ONLY are full of */

/* A script, eaten from the front. At its end it gives zeroes. */
struct script {
	const uint8_t *p;
	size_t left;
};

/* The far end of one connection. */
struct far {
	struct slime_desc desc; /* of the far end, as the near end sees it */
	struct tcp_name me, near;
	struct tcp_piece region[REGIONS]; /* of the near end, with its key; LOCKED: a wrong one */
	int ask, answer;
	bool greeted;
};

/* The near end. */
struct near {
	slime_ep *ep;
	slime_mr *mr[REGIONS];
	slime_rmr *rmr;
	slime_op *ops[OPS_MAX];
	unsigned nops;
};

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	struct slime_ctx_opts opts = {
	    .size = sizeof(opts),
	    .flags = SLIME_CTX_MANUAL_PROGRESS,
	    .peer_timeout_ms = 300,
	};
	socklen_t len = sizeof(listener_addr);

	(void)argc;
	(void)argv;
	slime_log_set(fuzz_log_nothing, NULL, SLIME_LOG_ERROR);
	alone = own_network();
	if (!alone) {
		(void)fprintf(stderr, "no network of its own: nothing is tried\n");
		return 0;
	}
	MUST(slime_ctx_create(&opts, &ctx, NULL) == 0);
	listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	listener_addr.sin_family = AF_INET;
	listener_addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	MUST(bind(listener, (struct sockaddr *)&listener_addr, len) == 0);
	MUST(listen(listener, 64) == 0);
	MUST(getsockname(listener, (struct sockaddr *)&listener_addr, &len) == 0);
	MUST(sl_random(secret, sizeof(secret)) == 0);
	return 0;
}

static uint64_t eat(struct script *s, unsigned n)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < n && s->left; i++, s->left--)
		v |= (uint64_t)*s->p++ << 8 * i;
	return v;
}

/*
 * Getting connected. The blob of a tcp section: u8 1, u8 n, u64 host, n addresses
 * (u8 4, 4 bytes, u16 port; or u8 6, 16 bytes, u16 port), u64 id, 16 of secret.
 */

static struct sl_desc_section tcp_section(const struct slime_desc *desc, enum sl_desc_kind kind)
{
	static struct sl_desc_section all[SL_DESC_SECTIONS];
	const struct sl_desc_section *found;
	struct sl_desc_head head;
	int n = sl_desc_read(desc, kind, &head, all, NULL);

	MUST(n > 0);
	found = sl_desc_find(all, n, "tcp", -1, 0);
	MUST(found != NULL);
	return *found;
}

/* Learn the near end's name and port; returns the host that it says it is on. */
static uint64_t read_near(struct far *far, const struct slime_desc *desc, uint16_t *out_port)
{
	struct sl_desc_section s = tcp_section(desc, SL_DESC_EP);
	uint8_t bytes[512];
	struct sl_wire w = sl_wire_on(bytes, s.len);
	unsigned n;
	uint64_t host;

	memcpy(bytes, s.bytes, s.len);
	MUST(sl_wire_get_uint(&w, 1) == 1);
	n = (unsigned)sl_wire_get_uint(&w, 1);
	host = sl_wire_get_uint(&w, 8);
	for (unsigned i = 0; i < n; i++) {
		bool v4 = sl_wire_get_uint(&w, 1) == 4;

		(void)sl_wire_skip(&w, v4 ? 4 : 16);
		if (v4)
			*out_port = (uint16_t)sl_wire_get_uint(&w, 2);
		else
			(void)sl_wire_skip(&w, 2);
	}
	far->near.id = sl_wire_get_uint(&w, 8);
	sl_wire_get(&w, far->near.secret, sizeof(far->near.secret));
	MUST(!w.bad);
	return host;
}

static void describe_far(struct far *far, uint64_t host)
{
	struct sl_desc_head head = {.kind = SL_DESC_EP, .ep_id = 1, .pid = 1, .lanes = 1};
	struct sl_blob blob = {0};
	struct sl_wire w = sl_wire_on(blob.bytes, sizeof(blob.bytes));

	memset(head.ctx_id, 0xfa, sizeof(head.ctx_id));
	sl_wire_put_uint(&w, 1, 1);
	sl_wire_put_uint(&w, 1, 1);
	sl_wire_put_uint(&w, host, 8);
	sl_wire_put_uint(&w, 4, 1);
	sl_wire_put(&w, &listener_addr.sin_addr, 4);
	sl_wire_put_uint(&w, ntohs(listener_addr.sin_port), 2);
	sl_wire_put_uint(&w, far->me.id, 8);
	sl_wire_put(&w, far->me.secret, sizeof(far->me.secret));
	blob.len = (uint32_t)(w.p - blob.bytes);
	sl_desc_begin(&far->desc, &head);
	MUST(sl_desc_add(&far->desc, "tcp", 0, 0, &blob) == 0);
	sl_desc_end(&far->desc);
}

/* What is said arrives when it is said, not when the last was acknowledged. */
static void no_delay(int fd)
{
	int on = 1;

	MUST(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on)) == 0);
}

static void dial(struct far *far, uint16_t port)
{
	struct tcp_hello hello = {.to = far->near, .from = far->me};
	struct sockaddr_in sa = listener_addr;
	uint8_t bytes[TCP_HELLO_LEN];

	sa.sin_port = htons(port);
	far->ask = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	while (connect(far->ask, (struct sockaddr *)&sa, sizeof(sa)) && errno != EISCONN)
		MUST(errno == EINTR || errno == EALREADY); /* libFuzzer's alarm */
	no_delay(far->ask);
	sl_tcp_put_hello(bytes, &hello);
	MUST(send(far->ask, bytes, sizeof(bytes), MSG_NOSIGNAL) == TCP_HELLO_LEN);
}

/* With a reset, so that the ports of many scripts are free again at once. */
static void hang_up(int fd)
{
	struct linger now = {.l_onoff = 1};

	(void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
	(void)close(fd);
}

/*
 * Take the near end's call, if it is there, and answer its hello, if that is
 * there: it comes only when the near end, in this same thread, is moved along.
 * Leftovers of earlier scripts are hung up on.
 */
static void pick_up(struct far *far)
{
	struct tcp_answer answer = {0};
	uint8_t bytes[TCP_ANSWER_LEN];
	struct tcp_hello hello;
	ssize_t n;

	if (far->answer < 0)
		far->answer = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
	if (far->answer < 0)
		return;
	n = recv(far->answer, bytes, TCP_HELLO_LEN, MSG_DONTWAIT);
	if (n < 0 && errno == EAGAIN)
		return;
	if (n != TCP_HELLO_LEN || sl_tcp_get_hello(bytes, &hello) ||
	    memcmp(&hello.from.secret, far->near.secret, 16)) {
		hang_up(far->answer);
		far->answer = -1;
		return;
	}
	no_delay(far->answer);
	sl_tcp_put_answer(bytes, &answer);
	MUST(send(far->answer, bytes, sizeof(bytes), MSG_NOSIGNAL) == TCP_ANSWER_LEN);
	far->greeted = true;
}

static void meet(struct near *near, struct far *far)
{
	struct slime_desc desc;
	uint16_t port = 0;
	uint64_t host;
	struct slime_error err = {0};
	int rc = -ETIMEDOUT;

	MUST(slime_ep_export(near->ep, &desc, NULL) == 0);
	host = read_near(far, &desc, &port);
	MUST(port != 0);
	describe_far(far, host);
	dial(far, port);
	for (int i = 0; i < 100000 && rc == -ETIMEDOUT; i++) {
		rc = slime_ep_connect(near->ep, &far->desc, 0, &err);
		(void)slime_ctx_progress(ctx);
		if (!far->greeted)
			pick_up(far);
	}
	if (rc)
		(void)fprintf(stderr, "%s\n", err.text);
	MUST(rc == 0);
}

/* The far end's region, which is nowhere, and the near end's. */
static void swap_regions(struct near *near, struct far *far)
{
	struct sl_desc_head head = {.kind = SL_DESC_MR, .len = REGION, .access = 3, .mem_kind = 1};
	struct sl_blob blob = {.len = 24};
	struct slime_desc desc;

	memset(head.ctx_id, 0xfa, sizeof(head.ctx_id));
	sl_desc_begin(&desc, &head);
	MUST(sl_desc_add(&desc, "tcp", 0, 0, &blob) == 0);
	sl_desc_end(&desc);
	MUST(slime_ep_import(near->ep, &desc, &near->rmr, NULL) == 0);
	for (int i = 0; i < REGIONS; i++) {
		struct sl_desc_section s;

		MUST(slime_mr_export(near->mr[i], &desc, NULL) == 0);
		s = tcp_section(&desc, SL_DESC_MR);
		MUST(s.len == 24);
		memcpy(&far->region[i].region, s.bytes, 8);
		memcpy(far->region[i].key, s.bytes + 8, 16);
	}
	far->region[LOCKED].key[15] ^= 1;
}

static unsigned char *region_at(int i)
{
	return memory + GUARD + (size_t)i * (REGION + GUARD);
}

static void fill_memory(void)
{
	memset(memory, CANARY, sizeof(memory));
	for (int i = 0; i < REGION; i += SECRET) {
		memcpy(region_at(WRITE_ONLY) + i, secret, SECRET);
		memcpy(region_at(LOCKED) + i, secret, SECRET);
	}
}

static void check_memory(void)
{
	for (size_t i = 0; i <= REGIONS; i++) /* before each, and behind the last */
		for (size_t k = 0; k < GUARD; k++)
			MUST(memory[i * (REGION + GUARD) + k] == CANARY);
	for (size_t k = 0; k < REGION; k++) {
		MUST(region_at(READ_ONLY)[k] == CANARY);
		MUST(region_at(LOCKED)[k] == secret[k % SECRET]);
	}
}

static void begin(struct near *near, struct far *far)
{
	struct slime_ep_opts opts = {.size = sizeof(opts), .transport = "tcp", .lanes = 1};
	static const uint32_t access[REGIONS] = {
	    [OPEN] = SLIME_ACCESS_REMOTE,
	    [READ_ONLY] = SLIME_ACCESS_REMOTE_READ,
	    [WRITE_ONLY] = SLIME_ACCESS_REMOTE_WRITE,
	    [LOCKED] = SLIME_ACCESS_REMOTE,
	};

	fill_memory();
	far->me.id = 77;
	far->answer = -1;
	memset(far->me.secret, 0x77, sizeof(far->me.secret));
	MUST(slime_ep_create(ctx, &opts, &near->ep, NULL) == 0);
	for (int i = 0; i < REGIONS; i++) {
		struct slime_mr_opts mr_opts = {.size = sizeof(mr_opts), .access = access[i]};

		MUST(slime_mr_register(ctx, region_at(i), REGION, &mr_opts, &near->mr[i], NULL) ==
		     0);
	}
	meet(near, far);
	swap_regions(near, far);
}

/*
 * Lines of the script.
 */

static void say(int fd, const void *bytes, size_t len)
{
	(void)!send(fd, bytes, len, MSG_DONTWAIT | MSG_NOSIGNAL);
}

static void say_raw(struct script *s, int fd)
{
	size_t n = eat(s, 1);

	n = n < s->left ? n : s->left;
	say(fd, s->p, n);
	s->p += n;
	s->left -= n;
}

static void say_head(struct script *s, int fd)
{
	struct tcp_head head = {
	    .type = (uint8_t)eat(s, 1),
	    .flags = (uint8_t)eat(s, 1),
	    .arg = (uint32_t)eat(s, 4),
	    .len = eat(s, 8),
	};
	uint8_t bytes[TCP_HEAD_LEN];

	sl_tcp_put_head(bytes, &head);
	say(fd, bytes, sizeof(bytes));
}

static void say_piece(struct script *s, const struct far *far, int region)
{
	struct tcp_piece piece = far->region[region];
	uint8_t bytes[TCP_PIECE_LEN];

	piece.off = eat(s, 2);
	piece.len = eat(s, 2);
	piece.count = eat(s, 1);
	piece.stride = eat(s, 8);
	sl_tcp_put_piece(bytes, &piece);
	say(far->ask, bytes, sizeof(bytes));
}

static void submit(struct script *s, struct near *near)
{
	unsigned kind = (unsigned)eat(s, 1) % 6;
	uint64_t off = eat(s, 2) % REGION, len = eat(s, 2) % (REGION - off + 1);
	struct slime_seg seg = {
	    .local = near->mr[OPEN], .remote = near->rmr, .local_off = off, .len = len};
	struct slime_span span = {.mr = near->mr[OPEN], .off = off, .len = len};
	slime_op **op = &near->ops[near->nops];
	int rc;

	if (near->nops == OPS_MAX)
		return;
	if (kind == 0)
		rc = slime_ep_read(near->ep, &seg, 1, NULL, op);
	else if (kind == 1)
		rc = slime_ep_write(near->ep, &seg, 1, NULL, op);
	else if (kind == 2)
		rc = slime_ep_write_imm(near->ep, &seg, 1, 7, NULL, op);
	else if (kind == 3)
		rc = slime_ep_recv_imm(near->ep, NULL, op);
	else if (kind == 4)
		rc = slime_ep_send(near->ep, &span, NULL, op);
	else
		rc = slime_ep_recv(near->ep, &span, NULL, op);
	MUST(rc <= 0);
	near->nops += rc == 0;
}

/* Did the near end say something? It never tells what it must not. */
static bool hear(int fd)
{
	static char heard[65536];
	ssize_t n = recv(fd, heard, sizeof(heard), MSG_DONTWAIT);

	MUST(n <= 0 || !memmem(heard, (size_t)n, secret, sizeof(secret)));
	return n > 0;
}

/* Move the near end along and hear what it says. */
static void progress(const struct far *far)
{
	for (int i = 0; i < 3; i++)
		MUST(slime_ctx_progress(ctx) >= 0);
	while (hear(far->ask) || hear(far->answer))
		MUST(slime_ctx_progress(ctx) >= 0);
}

static void play(struct script *s, struct near *near, struct far *far)
{
	while (s->left) {
		switch (eat(s, 1) % 11) {
		case 0:
			say_raw(s, far->ask);
			break;
		case 1:
			say_raw(s, far->answer);
			break;
		case 2:
			say_head(s, far->ask);
			break;
		case 3:
			say_head(s, far->answer);
			break;
		case 4:
			say_piece(s, far, OPEN);
			break;
		case 5:
			submit(s, near);
			break;
		case 6:
			progress(far);
			break;
		case 7:
			slime_op_cancel(near->nops ? near->ops[eat(s, 1) % near->nops] : NULL);
			break;
		case 8:
			say_piece(s, far, READ_ONLY);
			break;
		case 9:
			say_piece(s, far, WRITE_ONLY);
			break;
		default:
			say_piece(s, far, LOCKED);
			break;
		}
	}
	progress(far);
}

static void end(struct near *near, struct far *far)
{
	hang_up(far->ask);
	hang_up(far->answer);
	slime_rmr_release(near->rmr);
	slime_ep_destroy(near->ep);
	for (unsigned i = 0; i < near->nops; i++) {
		MUST(slime_op_wait(near->ops[i], 0, NULL) != -ETIMEDOUT);
		slime_op_release(near->ops[i]);
	}
	for (int i = 0; i < REGIONS; i++)
		slime_mr_deregister(near->mr[i]);
	check_memory();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct script script = {.p = data, .left = len};
	struct near near = {0};
	struct far far = {0};

	if (!alone || len > 4096)
		return 0;
	begin(&near, &far);
	play(&script, &near, &far);
	end(&near, &far);
	return 0;
}
