/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * transport/tcp/tcp_frame.h - what goes over a socket: bytes out, bytes in, no I/O.
 *
 * A lane is two sockets, one dialled by each side. On a socket the dialler asks
 * and the other answers, in the order of asking. First a hello and its answer:
 *
 *	hello   "SLIMETC1", u16 version, u16 flags (1: we met before), u32 0,
 *	        u64 id and 16 bytes of secret of the connection that is called,
 *	        u64 id and 16 bytes of secret of the one that calls       (64 bytes)
 *	answer  "SLIMETC1", i32 status, u32 n, u64 transfers ended until now,
 *	        16 of: u64 number, i64 status; N of them tell the last that failed (280 bytes)
 *
 * then frames, each with a header of 16 bytes: u8 type, u8 flags, u16 0, u32 arg,
 * u64 len. Asked:
 *
 *	READ    arg pieces (56 bytes each) follow; flag LAST ends the transfer
 *	WRITE   a piece and its LEN bytes follow, or nothing with flag BARE;
 *	        LAST ends the transfer, IMM delivers arg then; ABORT: forget the
 *	        transfer. Bare, LEN is added to what an immediate reports as bytes
 *	SEND    LEN bytes for the oldest receive, which was arg when we last heard; TOO_LONG:
 *	        it did not fit, none follow. Without a receive it is answered by -ECANCELED, and
 *	        so are all others until one with AGAIN: they are sent anew, in order. With LATER
 *	        the message ends when a SEND with BARE comes; with ABORT it was not whole
 *	RECV    a receive with id arg takes up to LEN bytes; not answered
 *	UNRECV  receive arg is off; not answered
 *	PING    answered by PONG
 *
 * Answered: DATA (LEN bytes of the read; LAST: and that was all, well), DONE (arg
 * is the status, LEN the bytes moved), PONG. A piece is: u64 region id, 16 bytes of
 * its key, u64 offset, len, count, stride. All little-endian.
 */
#ifndef SL_TCP_FRAME_H
#define SL_TCP_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/random.h"

enum { TCP_HELLO_LEN = 64, TCP_ANSWER_LEN = 280, TCP_HEAD_LEN = 16, TCP_PIECE_LEN = 56 };

struct tcp_name {
	uint64_t id;
	uint8_t secret[SL_SECRET_LEN];
};

struct tcp_hello {
	struct tcp_name to, from;
	bool resume;
};

enum { TCP_FAILURES = 16 };

struct tcp_failure {
	uint64_t seq;
	int64_t status;
};

struct tcp_answer {
	int status;
	uint32_t nfailures;
	uint64_t ended;
	struct tcp_failure failure[TCP_FAILURES];
};

enum tcp_type {
	TCP_READ = 1,
	TCP_WRITE,
	TCP_SEND,
	TCP_RECV,
	TCP_UNRECV,
	TCP_PING,
	TCP_DATA = 16,
	TCP_DONE,
	TCP_PONG,
};

enum tcp_flags {
	TCP_LAST = 1 << 0,
	TCP_IMM = 1 << 1,
	TCP_BARE = 1 << 2,
	TCP_ABORT = 1 << 3,
	TCP_TOO_LONG = 1 << 4,
	TCP_AGAIN = 1 << 5,
	TCP_LATER = 1 << 6,
};

struct tcp_head {
	uint8_t type;
	uint8_t flags;
	uint32_t arg;
	uint64_t len;
};

struct tcp_piece {
	uint64_t region;
	uint8_t key[SL_SECRET_LEN];
	uint64_t off, len, count, stride;
};

void sl_tcp_put_hello(uint8_t *out, const struct tcp_hello *hello);
/* 0, or -EPROTO: these TCP_HELLO_LEN bytes are not a hello of this version. */
int sl_tcp_get_hello(const uint8_t *in, struct tcp_hello *out);
/* Could the first N bytes be the start of a hello? */
bool sl_tcp_like_hello(const uint8_t *in, size_t n);

void sl_tcp_put_answer(uint8_t *out, const struct tcp_answer *answer);
int sl_tcp_get_answer(const uint8_t *in, struct tcp_answer *out);

void sl_tcp_put_head(uint8_t *out, const struct tcp_head *head);
/*
 * Read a header of a question (ASKED) or of an answer. -EPROTO: an unknown type
 * or flag, or one that does not go with the others.
 */
int sl_tcp_get_head(const uint8_t *in, bool asked, struct tcp_head *out);

void sl_tcp_put_piece(uint8_t *out, const struct tcp_piece *piece);
/* -EPROTO: no runs, or more bytes than there can be. *OUT_BYTES: len * count. */
int sl_tcp_get_piece(const uint8_t *in, struct tcp_piece *out, uint64_t *out_bytes);

#endif
