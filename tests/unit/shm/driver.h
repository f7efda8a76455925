/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/unit/shm/driver.h - drives the shm table without the endpoint layer:
 * sl_op_done() is the driver's own, and so are both ends of each connection.
 */
#ifndef SHM_DRIVER_H
#define SHM_DRIVER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "transport/shm/shm_impl.h"
#include "transport/transports.h"

/* cmocka wants these before it */
#include <setjmp.h>
#include <stdarg.h>

#include <cmocka.h>

enum { JOB_IOVS = 2048, PATIENCE_MS = 20000, SIDE_LEN = 4 << 20 };

/* An op and how it ended. */
struct job {
	struct sl_op op; /* first: sl_op_done() casts */
	struct sl_iov iov[JOB_IOVS];
	_Atomic int done; /* how often */
	int status;
	uint64_t bytes;
	uint32_t imm;
};

/* One end: a domain of its own, a connection, memory, a region, the peer's region. */
struct side {
	struct sl_dom *dom;
	struct sl_conn *conn;
	char *mem;
	bool shared; /* MEM is of sl_shm_mem_alloc() */
	struct sl_reg *reg;
	struct sl_rreg *rreg;
};

struct pair {
	struct side a, b;
};

struct pair_opts {
	uint32_t a_flags, b_flags; /* enum slime_ctx_flags */
	bool malloced;
	bool b_malloced;
	bool apart; /* neither connected nor imported */
	uint32_t peer_timeout_ms;
};

extern const struct sl_transport *const shm;

struct pair *pair_open(const struct pair_opts *opts);
void pair_close(struct pair *p);
void side_open(struct side *s, uint32_t flags, bool shared, uint32_t peer_timeout_ms);
void side_close(struct side *s);
/* progress() of both. */
int pair_turn(struct pair *p);
void pair_connect(struct pair *p);
void pair_import(struct pair *p);
/* Wait until the peer's regions of both are mapped. */
void pair_map(struct pair *p);

/* Turn until COND; fails the test when that takes too long. */
#define PAIR_UNTIL(p, cond)                              \
	for (int64_t until_ = deadline(); !(cond);) {    \
		(void)pair_turn(p);                      \
		check_deadline(until_, #cond, __LINE__); \
	}
#define SIDE_UNTIL(s, cond)                              \
	for (int64_t until_ = deadline(); !(cond);) {    \
		(void)shm->progress((s)->dom, 64);       \
		check_deadline(until_, #cond, __LINE__); \
	}
int64_t deadline(void);
void check_deadline(int64_t until_ns, const char *what, int line);

/* Ops over MEM of S; each resets J. Return what submit() does. */
int start_move(struct job *j, struct side *s, enum sl_opcode code, uint64_t off, uint64_t roff,
               uint64_t len);
int start_write_imm(struct job *j, struct side *s, uint64_t len, uint32_t imm);
int start_send(struct job *j, struct side *s, uint64_t off, uint64_t len);
int start_recv(struct job *j, struct side *s, uint64_t off, uint64_t len);
int start_recv_imm(struct job *j, struct side *s);
/* J with its iovs set by the caller. */
int start(struct job *j, struct side *s, enum sl_opcode code, uint32_t niov);
struct sl_iov piece(const struct side *s, uint64_t off, uint64_t roff, uint64_t len);
/* As the endpoint asks an op to end. */
void ask_stop(struct job *j, struct side *s, int status);

#define assert_ended(j, want)                                 \
	do {                                                  \
		assert_int_equal(atomic_load(&(j)->done), 1); \
		assert_int_equal((j)->status, want);          \
	} while (0)

/* Open file descriptors and mappings of this process that are memfds, to find leaks. */
int count_fds(void);
int count_maps(void);

void fill(char *mem, size_t len, unsigned seed);
void assert_filled(const char *mem, size_t len, unsigned seed);

/*
 * A child process that runs MAIN with a socket to us. It is killed when the test
 * is over, and its exit status must be 0 unless we killed it.
 */
struct child {
	pid_t pid;
	int fd;
};
void child_start(struct child *c, int (*child_main)(int fd));
void child_end(struct child *c);
void child_kill(struct child *c);
void send_blob(int fd, const struct sl_blob *blob);
void recv_blob(int fd, struct sl_blob *out);
/* Connect S to whoever is at the other end of FD, and import its region. */
void side_meet(struct side *s, int fd);
void say_byte(int fd, char byte);
char hear_byte(int fd);

#endif
