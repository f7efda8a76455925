/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/contract/peer.c - a peer in a process of its own.
 *
 * The far process is this same program, started afresh with --peer, since a
 * copy made by fork() alone would lack the threads of the library. Both talk
 * over a socket pair: first the descriptions, then one question and one answer
 * at a time.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "contract.h"
#include "fakes/fakes.h"

struct hello {
	struct slime_desc ep, mr;
};

struct question {
	uint64_t verb, a, b, c;
};

/* The far end. OPS are those submitted and not yet waited for, oldest first. */
struct far {
	struct side side;
	slime_op *ops[1024];
	size_t head, tail;
	int fd;
};

static void skip_if_confined(const char *transport)
{
	const char *why = fakes_confine(transport);

	if (why)
		test_skip("%s", why);
	if (transport && !strcmp(transport, "loopback"))
		test_skip("%s cannot leave its process", transport);
}

static slime_ctx *context_for(const struct peer_opts *opts, uint32_t flags)
{
	struct slime_ctx_opts ctx_opts = {
	    .size = sizeof(ctx_opts),
	    .flags = opts->ctx_flags | flags,
	    .peer_timeout_ms = opts->peer_timeout_ms,
	};
	slime_ctx *ctx = NULL;

	CHECK_OK(slime_ctx_create(&ctx_opts, &ctx, &test_err));
	return ctx;
}

static void put(int fd, const void *from, size_t len)
{
	CHECK_EQ(send(fd, from, len, MSG_NOSIGNAL), len);
}

static void take(int fd, void *to, size_t len)
{
	CHECK_EQ(recv(fd, to, len, 0), len);
}

/* Swap descriptions over FD and connect. */
static int meet(struct side *s, int fd)
{
	struct hello mine, theirs;
	int rc;

	memset(&mine, 0, sizeof(mine));
	side_describe(s, &mine.ep, &mine.mr);
	put(fd, &mine, sizeof(mine));
	take(fd, &theirs, sizeof(theirs));
	rc = slime_ep_connect(s->ep, &theirs.ep, patience_ns(), &test_err);
	if (rc)
		return rc;
	return slime_ep_import(s->ep, &theirs.mr, &s->rmr, &test_err);
}

/* Only in the child: between fork() and exec() nothing but system calls. */
__attribute__((noreturn)) static void become_peer(char *const argv[], pid_t parent)
{
	(void)prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() == parent)
		(void)execv("/proc/self/exe", argv);
	_exit(127);
}

void peer_spawn(struct peer *peer, const struct peer_opts *opts)
{
	char fd[16], len[24], timeout[16], flags[16], variant[16], peer_arg[] = "--peer";
	char transport[32];
	char *argv[] = {peer_arg, transport, fd, len, timeout, flags, variant, NULL};
	pid_t parent = getpid();
	int fds[2];

	(void)snprintf(transport, sizeof(transport), "%s", opts->transport ? opts->transport : "-");
	CHECK_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
	CHECK_EQ(fcntl(fds[1], F_SETFD, 0), 0);
	(void)snprintf(fd, sizeof(fd), "%d", fds[1]);
	(void)snprintf(len, sizeof(len), "%zu", opts->len ? opts->len : (size_t)MIB);
	(void)snprintf(timeout, sizeof(timeout), "%u", opts->peer_timeout_ms);
	(void)snprintf(flags, sizeof(flags), "%u", opts->ctx_flags);
	(void)snprintf(variant, sizeof(variant), "%d", (int)env.variant);
	peer->pid = fork();
	CHECK(peer->pid >= 0);
	if (!peer->pid)
		become_peer(argv, parent);
	(void)close(fds[1]);
	peer->fd = fds[0];
}

int peer_connect(struct peer *peer)
{
	return meet(&peer->near, peer->fd);
}

struct peer *peer_create(const struct peer_opts *opts)
{
	struct pair_opts side_opts = {.len = opts->len};
	struct peer *peer = calloc(1, sizeof(*peer));

	skip_if_confined(opts->transport);
	CHECK(peer != NULL);
	peer_spawn(peer, opts);
	side_create(&peer->near,
	            context_for(opts, opts->near_manual ? SLIME_CTX_MANUAL_PROGRESS : 0),
	            opts->transport, &side_opts);
	CHECK_OK(peer_connect(peer));
	return peer;
}

int peer_ask(struct peer *peer, enum peer_verb verb, uint64_t a, uint64_t b, uint64_t c,
             struct peer_reply *out)
{
	struct question q = {.verb = verb, .a = a, .b = b, .c = c};
	struct peer_reply reply;

	put(peer->fd, &q, sizeof(q));
	take(peer->fd, &reply, sizeof(reply));
	if (out)
		*out = reply;
	return reply.status;
}

void peer_signal(struct peer *peer, int sig)
{
	CHECK_EQ(kill(peer->pid, sig), 0);
	if (sig != SIGKILL)
		return;
	CHECK_EQ(waitpid(peer->pid, NULL, 0), peer->pid);
	peer->reaped = true;
}

int peer_finish(struct peer *peer, slime_op *op, struct slime_result *res)
{
	int rc = slime_op_wait(op, patience_ns(), res);

	(void)peer;
	if (rc == -ETIMEDOUT)
		test_fail("a transfer did not end in %lld ms",
		          (long long)(patience_ns() / NS_PER_MS));
	slime_op_release(op);
	return rc;
}

void peer_destroy(struct peer *peer)
{
	slime_ctx *ctx = peer->near.ctx;
	int status = 0;

	if (!peer->reaped) {
		CHECK_OK(peer_ask(peer, PEER_QUIT, 0, 0, 0, NULL));
		CHECK_EQ(waitpid(peer->pid, &status, 0), peer->pid);
		CHECK_EQ(status, 0); /* also what a sanitizer found over there */
	}
	side_destroy(&peer->near);
	slime_ctx_destroy(ctx);
	(void)close(peer->fd);
	free(peer);
}

static int far_submit(struct far *f, const struct question *q)
{
	struct slime_seg seg = seg_of(&f->side, q->a, q->c, q->b);
	struct slime_span span = span_of(&f->side, q->a, q->b);
	slime_ep *ep = f->side.ep;
	slime_op **out = &f->ops[f->tail % 1024];
	int rc;

	CHECK(f->tail - f->head < 1024);
	switch (q->verb) {
	case PEER_SEND:
		rc = slime_ep_send(ep, &span, NULL, out);
		break;
	case PEER_RECV:
		rc = slime_ep_recv(ep, &span, NULL, out);
		break;
	case PEER_RECV_IMM:
		rc = slime_ep_recv_imm(ep, NULL, out);
		break;
	case PEER_WRITE:
		rc = slime_ep_write(ep, &seg, 1, NULL, out);
		break;
	default:
		rc = slime_ep_read(ep, &seg, 1, NULL, out);
		break;
	}
	if (!rc)
		f->tail++;
	return rc;
}

static int far_wait(struct far *f, struct peer_reply *reply)
{
	struct slime_result res = {0};
	slime_op *op;
	int rc;

	CHECK(f->head != f->tail);
	op = f->ops[f->head++ % 1024];
	rc = slime_op_wait(op, patience_ns(), &res);
	slime_op_release(op);
	reply->value = res.bytes;
	reply->imm = res.imm;
	return rc;
}

static int far_info(struct far *f, struct peer_reply *reply)
{
	static const char *const names[] = {"loopback", "shm", "tcp"};
	struct slime_ep_info info = {.size = sizeof(info)};
	int rc = slime_ep_get_info(f->side.ep, &info);

	for (uint64_t i = 0; !rc && i < 3; i++)
		if (!strcmp(info.transport, names[i]))
			reply->value = i + 1;
	return rc;
}

static int far_answer(struct far *f, const struct question *q, struct peer_reply *reply)
{
	switch (q->verb) {
	case PEER_FILL:
		tsan_blind(true);
		fill(f->side.mem, f->side.len, q->a);
		tsan_blind(false);
		return 0;
	case PEER_WRONG:
		tsan_blind(true);
		reply->value = first_wrong(f->side.mem + q->a, q->b, q->c);
		tsan_blind(false);
		return 0;
	case PEER_WAIT:
		return far_wait(f, reply);
	case PEER_INFO:
		return far_info(f, reply);
	case PEER_CLOSE:
		slime_ep_close(f->side.ep);
		return 0;
	case PEER_QUIT:
		return 0;
	default:
		return far_submit(f, q);
	}
}

static void far_end(struct far *f)
{
	slime_ctx *ctx = f->side.ctx;

	while (f->head != f->tail)
		slime_op_release(f->ops[f->head++ % 1024]);
	side_destroy(&f->side);
	slime_ctx_destroy(ctx);
}

int peer_main(int argc, char **argv)
{
	static struct far f;
	struct pair_opts side_opts = {0};
	struct peer_opts opts = {0};
	struct question q;
	struct peer_reply reply;

	CHECK_EQ(argc, 7);
	opts.transport = strcmp(argv[1], "-") ? argv[1] : NULL;
	f.fd = (int)strtol(argv[2], NULL, 10);
	side_opts.len = strtoul(argv[3], NULL, 10);
	opts.peer_timeout_ms = (uint32_t)strtoul(argv[4], NULL, 10);
	opts.ctx_flags = (uint32_t)strtoul(argv[5], NULL, 10);
	env.variant = (enum variant)strtol(argv[6], NULL, 10);
	side_create(&f.side, context_for(&opts, 0), opts.transport, &side_opts);
	CHECK_OK(meet(&f.side, f.fd));
	do {
		take(f.fd, &q, sizeof(q));
		reply = (struct peer_reply){0};
		if (q.verb == PEER_QUIT)
			far_end(&f);
		reply.status = q.verb == PEER_QUIT ? 0 : far_answer(&f, &q, &reply);
		put(f.fd, &reply, sizeof(reply));
	} while (q.verb != PEER_QUIT);
	return 0;
}
