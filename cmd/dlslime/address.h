/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * address.h - HOST:PORT, and the tickets of 'dlslime serve'. Parsers without
 * I/O: what they take comes from command lines, mails and chats.
 *
 *     slime:HOST:PORT/SECRET/NAME
 *
 * SECRET is 32 hex digits. NAME is the file's name, with every byte that is
 * not a letter, a digit or one of "-._~" as %XX: no spaces, safe in a shell. An IPv6 HOST is in
 * brackets.
 */
#ifndef DLSLIME_ADDRESS_H
#define DLSLIME_ADDRESS_H

#include <stdbool.h>

#include <slime/base.h>

enum { HOST_MAX = 256, NAME_BYTES_MAX = 256, SECRET_LEN = 16 };
enum { TICKET_TEXT_MAX = 6 + HOST_MAX + 10 + 2 * SECRET_LEN + 1 + 3 * NAME_BYTES_MAX };

struct address {
	char host[HOST_MAX]; /* no brackets */
	uint16_t port;
};

struct ticket {
	struct address at;
	uint8_t secret[SECRET_LEN];
	char name[NAME_BYTES_MAX]; /* one path component, not "." or ".." */
};

/* -EINVAL with a sentence. Port 0 is none. */
int address_parse(const char *text, struct address *out, struct slime_error *err);

/* "HOST:PORT", "[::1]:80". Returns BUF. */
const char *address_format(const struct address *at, char *buf, size_t cap);

/* Whether TEXT means to be a ticket, good or bad. */
bool ticket_is(const char *text);

/* -EINVAL with a sentence. */
int ticket_parse(const char *text, struct ticket *out, struct slime_error *err);

/* The text of T into BUF. Returns BUF. */
const char *ticket_format(const struct ticket *t, char buf[TICKET_TEXT_MAX]);

#endif
