/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * agent/ticket.h - what introduces an agent without a control plane: one line of text.
 *
 *	dlslime-agent:BASE64 of {"v":1,"alias","scope","life","secret","at":["host:port",...]}
 *
 * Who has it may talk to the agent and ask for its regions, so it is a password.
 * Parsing does no I/O.
 */
#ifndef SL_TICKET_H
#define SL_TICKET_H

#include <stdbool.h>

#include "agent/message.h"

enum {
	SL_TICKET_SECRET = 33, /* hex digits and a NUL */
	SL_TICKET_PLACES = 8,
	SL_TICKET_HOST = 254,  /* a name of 253 characters, or an address */
	SL_TICKET_PLACE = 264, /* "[fe80::1%eth0]:65535", "node7.example:4000" */
	SL_TICKET_MAX = 8192,  /* of the text */
};

struct sl_ticket {
	char alias[SL_ALIAS_MAX];
	char scope[SL_ALIAS_MAX];
	char life[SL_LIFE_LEN];
	char secret[SL_TICKET_SECRET];
	unsigned nplaces;
	char place[SL_TICKET_PLACES][SL_TICKET_PLACE]; /* "host:port", the best first */
};

/* malloc()ed, or NULL: no memory. */
char *sl_ticket_text(const struct sl_ticket *ticket);

/*
 * PLACE, "host:port", in parts: an address (of IPv6 in brackets, which HOST is without) or a name,
 * which is not looked up. *NUMERIC: it is an address. -EINVAL with a sentence, which calls it WHAT.
 */
int sl_place_read(const char *what, const char *place, char host[static SL_TICKET_HOST],
                  unsigned *port, bool *numeric, struct slime_error *err);

/* Blanks around it are passed over. -EPROTO with a sentence: it is no ticket of an agent. */
int sl_ticket_read(const char *text, size_t len, struct sl_ticket *out, struct slime_error *err);

#endif
