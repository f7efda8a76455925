/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * share_wire.h - the messages between 'dlslime get' (a reader) and 'dlslime
 * serve'. The bytes of the file are not among them: the reader takes those
 * one-sidedly from the server's memory.
 *
 *     reader                               server
 *     hello: magic and the ticket's secret
 *     ASK(transport, endpoint)
 *                                          GRANT(size, mtime, endpoint, region)
 *                   both connect the endpoints
 *                                          CONNECTED
 *     reads
 *     HASH, when it has all                HASH_IS(XXH3-128)
 *     SAME, when a read failed             SAME
 *     hangs up
 *
 * A reader by name has found the ticket at nanoctrl. It asks with an empty endpoint, is answered
 * NAMED(size, mtime, transport), and reads the region of the file's name over a link to the
 * server's agent; the rest is the same.
 *
 * Instead of an answer, the server may send an error: that the file has changed
 * since GRANT. After CONNECTED or NAMED both send ALIVE about every second. A reader that
 * has to check what it has got already hangs up after GRANT, and comes again.
 * Who does not know a secret gets nothing at all.
 */
#ifndef DLSLIME_SHARE_WIRE_H
#define DLSLIME_SHARE_WIRE_H

#include "chan.h"

enum { SHARE_MAGIC_LEN = 8, SHARE_HELLO_LEN = SHARE_MAGIC_LEN + SECRET_LEN };
#define SHARE_MAGIC "DLSGET01"

enum {
	SHARE_ASK = 2,
	SHARE_GRANT,
	SHARE_CONNECTED,
	SHARE_HASH,
	SHARE_HASH_IS,
	SHARE_SAME,
	SHARE_ALIVE,
	SHARE_NAMED
};

enum { FILE_HASH_LEN = 16, SHARE_TRANSPORT_MAX = 16 };

/* Which file, and which state of it: what a reader must find again to go on. */
struct file_id {
	uint64_t size;
	uint64_t mtime_ns;
};

#endif
