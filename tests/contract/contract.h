/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/contract/contract.h - what the cases of the transport contract share:
 * assertions, a connected pair of endpoints in this process, and a peer in
 * another process.
 *
 * A case is a function that runs once in a process of its own and either
 * returns, or ends the process through CHECK or test_skip(). Any thread of a
 * case may CHECK.
 */
#ifndef CONTRACT_H
#define CONTRACT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <slime/slime.h>

#define NS_PER_MS INT64_C(1000000)
#define KIB       UINT64_C(1024)
#define MIB       (UINT64_C(1024) * 1024)

enum { TEST_SKIPPED = 77 };

/* How a case is run: each variant is a test of its own. */
enum variant {
	VAR_TWO,    /* two contexts, each with its thread, memory of slime_mem_alloc() */
	VAR_MALLOC, /* the same in memory of malloc() */
	VAR_ONE,    /* both endpoints in one context */
	VAR_MANUAL, /* two contexts without threads, driven by the case */
	VAR_LANES,  /* as VAR_TWO with four lanes asked for */
	VAR_N
};

#define IN(v)     (1u << VAR_##v)
#define IN_BASIC  IN(TWO)
#define IN_MEMORY (IN(TWO) | IN(MALLOC) | IN(LANES))
#define IN_ALL    (IN_MEMORY | IN(ONE) | IN(MANUAL))

/* What this run was asked to test. Set once, before the case starts. */
struct env {
	const char *transport;
	enum variant variant;
};
extern struct env env;

struct contract_case {
	const char *name; /* a sentence */
	void (*run)(void);
	uint32_t variants; /* IN() bits */
};

/* One array a file, ended by a NULL name; test_transport.c knows them all. */
extern const struct contract_case connect_cases[];
extern const struct contract_case data_cases[];
extern const struct contract_case range_cases[];
extern const struct contract_case imm_cases[];
extern const struct contract_case message_cases[];
extern const struct contract_case end_cases[];
extern const struct contract_case close_cases[];
extern const struct contract_case queue_cases[];
extern const struct contract_case thread_cases[];
extern const struct contract_case state_cases[];
extern const struct contract_case argument_cases[];
extern const struct contract_case process_cases[];
extern const struct contract_case checked_cases[];

/* A suite of its own: FILES ends with NULL. The program is PROGRAM --list | CASE | (nothing: all).
 */
int suite_main(const struct contract_case *const *files, int argc, char **argv);

/* The sentence of the last set-up call; failures print it. Pass &test_err as err. */
extern _Thread_local struct slime_error test_err;

#define CHECK(cond)          check_true((cond), #cond, __FILE__, __LINE__)
#define CHECK_EQ(have, want) check_eq((int64_t)(have), (int64_t)(want), #have, __FILE__, __LINE__)
#define CHECK_RC(expr, want) check_rc((expr), (want), #expr, __FILE__, __LINE__)
#define CHECK_OK(expr)       CHECK_RC(expr, 0)

void check_true(bool cond, const char *text, const char *file, int line);
void check_eq(int64_t have, int64_t want, const char *text, const char *file, int line);
/* Compare two return values, named as errno values; prints test_err on failure. */
void check_rc(int have, int want, const char *text, const char *file, int line);

/* Say why and end the process as a failure, or as skipped. Any thread. */
__attribute__((noreturn, format(printf, 1, 2))) void test_fail(const char *fmt, ...);
__attribute__((noreturn, format(printf, 1, 2))) void test_skip(const char *fmt, ...);

/* Is this the transport under test? */
bool over(const char *transport);

int64_t now_ns(void);
/*
 * Room in every upper bound of a time: DLSLIME_TEST_SLACK_MS, else a second under a
 * sanitizer (DLSLIME_SANITIZE is not empty), where the bound is only there so that nothing
 * hangs, else 0: times are asked of the build that people use.
 */
int64_t slack_ns(void);
/* How often to do what is done N times: on emulated devices, which are slow, a fifth of it. */
uint64_t rounds(uint64_t n);
/* How long to wait for what must happen: far longer than it takes. */
int64_t patience_ns(void);
/* The middle one of N values, which are sorted. */
int64_t median(int64_t *v, size_t n);

/* A pattern that depends on SEED and on the place, so that shifted bytes show. */
void fill(void *mem, size_t len, uint64_t seed);
/* CHECK that MEM holds what fill() put there. */
#define CHECK_FILLED(mem, len, seed) check_filled(mem, len, seed, __FILE__, __LINE__)
void check_filled(const void *mem, size_t len, uint64_t seed, const char *file, int line);
/* Offset of the first byte that differs from the pattern; LEN if none does. */
size_t first_wrong(const void *mem, size_t len, uint64_t seed);

/* One end: a context, an endpoint, a region with all rights, and the peer's region. */
struct side {
	slime_ctx *ctx;
	slime_ep *ep;
	char *mem;
	size_t len;
	slime_mr *mr;
	slime_rmr *rmr;
	bool malloced;
};

struct pair {
	struct side a, b;
	bool a_manual, b_manual; /* has no thread: pair_drive() moves it along */
	bool b_asleep;           /* a case sets it: B, which is manual, is not driven */
};

/* Zero stands for the default. */
struct pair_opts {
	size_t len;     /* of the memory of each side; 0: 1 MiB */
	uint32_t depth; /* as in slime_ep_opts */
	uint32_t lanes; /* 0: as the variant says */
	uint32_t peer_timeout_ms;
	bool b_manual; /* B's context has no thread: see pair.b_asleep */
	bool apart;    /* neither connect nor import */
	/* as in slime_ep_opts; B_DEVICE NULL: as DEVICE */
	const char *device, *b_device;
};

/* Make both ends as the variant says; CHECKs all the way. OPTS may be NULL. */
struct pair *pair_create(const struct pair_opts *opts);
void pair_destroy(struct pair *p);

/* The pieces of pair_create(). TRANSPORT NULL: the library's choice. */
void side_create(struct side *s, slime_ctx *ctx, const char *transport,
                 const struct pair_opts *opts);
void side_destroy(struct side *s); /* not the context */
slime_ctx *context_create(bool manual, uint32_t peer_timeout_ms);
void side_describe(const struct side *s, struct slime_desc *ep, struct slime_desc *mr);
/* Connect both, each in a thread of its own. */
void pair_connect(struct pair *p);
/* Let both name the other's region. */
void pair_import(struct pair *p);

/* Move contexts along that have no thread; threads do it otherwise. */
void pair_drive(struct pair *p);
/* Wait for OP, release it and return its status; a failure when it never ends. */
int pair_finish(struct pair *p, slime_op *op, struct slime_result *res);
/* pair_finish() for an OP that must end with WANT. */
#define CHECK_ENDS(p, op, want) check_rc(pair_finish(p, op, NULL), want, #op, __FILE__, __LINE__)
/* Take exactly N results out of CQ. */
void pair_take(struct pair *p, slime_cq *cq, struct slime_result *res, size_t n);
/* Give everything in flight the time to do what it should not do. */
void pair_linger(struct pair *p, int64_t ns);
/* CHECK that OP is still going, after a while. */
void pair_pending(struct pair *p, slime_op *op);

/* LEN bytes at OFF here and ROFF at the peer of S. */
struct slime_seg seg_of(const struct side *s, uint64_t off, uint64_t roff, uint64_t len);
struct slime_span span_of(const struct side *s, uint64_t off, uint64_t len);

/* Submit on S and return the op; CHECKs that it is accepted. */
slime_op *start_read(struct side *s, uint64_t off, uint64_t roff, uint64_t len);
slime_op *start_write(struct side *s, uint64_t off, uint64_t roff, uint64_t len);
slime_op *start_write_imm(struct side *s, uint64_t off, uint64_t roff, uint64_t len, uint32_t imm);
slime_op *start_recv_imm(struct side *s);
slime_op *start_send(struct side *s, uint64_t off, uint64_t len);
slime_op *start_recv(struct side *s, uint64_t off, uint64_t len);

/*
 * A transfer at A that stays in flight until block_end(): a message too long to
 * be kept for a receive that may come. It uses the last HELD_UP bytes of memory.
 */
#define HELD_UP (8 * MIB)
slime_op *block_begin(struct pair *p);
void block_end(struct pair *p, slime_op *op);

/* A send and a receive of LEN bytes from A to B: does the pair still work? */
void pair_ping(struct pair *p, uint64_t len);

/*
 * The other process. NEAR is this process's end; the far end does what it is
 * told through peer_ask(). The process ends when this one does.
 */
struct peer {
	struct side near;
	pid_t pid;
	int fd;
	bool reaped;
};

enum peer_verb {
	PEER_FILL,     /* memory := fill(A) */
	PEER_WRONG,    /* value := first_wrong() of B bytes at A, seed C */
	PEER_SEND,     /* submit: B bytes at A */
	PEER_RECV,     /* submit: B bytes at A */
	PEER_RECV_IMM, /* submit */
	PEER_WRITE,    /* submit: B bytes, A here to C there */
	PEER_READ,     /* submit: B bytes, C there to A here */
	PEER_WAIT,     /* wait for the oldest submitted: its status, value := bytes, imm */
	PEER_INFO,     /* value := 1 if the transport is 'loopback', 2 'shm', 3 'tcp' */
	PEER_CLOSE,    /* close the endpoint */
	PEER_QUIT      /* destroy everything and exit */
};

struct peer_reply {
	int32_t status;
	uint32_t imm;
	uint64_t value;
};

struct peer_opts {
	const char *transport; /* NULL: the library's choice */
	size_t len;
	uint32_t peer_timeout_ms;
	uint32_t ctx_flags; /* of both contexts */
	bool near_manual;   /* this side's has no thread, either way */
};

/* Start a peer and connect to it. Skips the case where TRANSPORT cannot cross processes. */
struct peer *peer_create(const struct peer_opts *opts);
/* Start a peer without a connection: the caller exchanges bytes through FD. */
void peer_spawn(struct peer *peer, const struct peer_opts *opts);
int peer_connect(struct peer *peer);
/* Ask and wait for the answer. Returns the far call's return value. */
int peer_ask(struct peer *peer, enum peer_verb verb, uint64_t a, uint64_t b, uint64_t c,
             struct peer_reply *out);
/* Send SIGNAL; after SIGKILL also reaps. */
void peer_signal(struct peer *peer, int signal);
/* Wait for OP of the near side, as pair_finish(). */
int peer_finish(struct peer *peer, slime_op *op, struct slime_result *res);
void peer_destroy(struct peer *peer);
/* This thread's accesses to memory are not ThreadSanitizer's business: see tsan.c. */
void tsan_blind(bool blind);
/* The far end's main(); ARGV as peer_spawn() wrote it. */
int peer_main(int argc, char **argv);

#endif
