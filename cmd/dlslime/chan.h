/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * chan.h - messages over a TCP socket: how the two ends of perf, and serve and
 * get, tell each other descriptions and results. The data itself goes through
 * libdlslime.
 *
 * A frame is its length (4 bytes, little endian, counts what follows), a type
 * byte and the fields. A connection begins with a hello of a fixed length that
 * is no frame: see door.h. One thread at a time per direction.
 */
#ifndef DLSLIME_CHAN_H
#define DLSLIME_CHAN_H

#include "address.h"
#include "pack.h"

struct chan {
	int fd;    /* not blocking; -1: none */
	bool said; /* the last error of chan_expect() is what the other end said */
	uint32_t have;
	uint8_t in[5 + MSG_BYTES_MAX];
};

int64_t now_ns(void);

/* Connect to AT and send HELLO. -ETIMEDOUT, -ECONNREFUSED, ..., with a sentence. */
int chan_dial(struct chan *c, const struct address *at, const void *hello, size_t len,
              int64_t timeout_ns, struct slime_error *err);

/* Take over FD. */
void chan_adopt(struct chan *c, int fd);

/* Close the socket, if there is one. */
void chan_close(struct chan *c);

int chan_send(struct chan *c, const struct msg *m, int64_t timeout_ns, struct slime_error *err);

/*
 * The next message. -ETIMEDOUT: not yet, and nothing is lost; -ECONNRESET: the
 * other end is gone; -EPROTO: that is no frame.
 */
int chan_recv(struct chan *c, struct msg *m, int64_t timeout_ns, struct slime_error *err);

/* Type 1 in every protocol here: the other end cannot go on, and says why. */
enum { MSG_ERROR = 1 };

/* Tell the other end that it is over. Best effort. */
void chan_send_error(struct chan *c, const struct slime_error *why);

/*
 * chan_recv() of a message of type WANT; a MSG_ERROR is returned as the error
 * that it carries, and C->said set; any other as -EPROTO. Types that equal SKIP are passed over,
 * and each gives the other end TIMEOUT_NS anew.
 */
int chan_expect(struct chan *c, struct msg *m, uint8_t want, uint8_t skip, int64_t timeout_ns,
                struct slime_error *err);

/*
 * We cannot go on, for the reason in ERR: if the other end says within a second
 * that it cannot either, and in other words, add those. Returns RC.
 */
int chan_both_sides(struct chan *c, int rc, uint8_t skip, struct slime_error *err);

#endif
