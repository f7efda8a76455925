/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * agent/message.h - what agents say to each other through their mailboxes: JSON in, values out, no
 *I/O.
 *
 *	call    caller -> peer   here is my endpoint, make yours
 *	answer  peer -> caller   here it is
 *	refuse  peer -> caller   it cannot be, and why
 *	bye     either           the link is closed and not to come back
 *
 * All of one link carry its id, which the caller made, the attempt, which grows
 * with each new endpoint of the caller, and a number that grows with each message
 * of the sender. So one that is late, or came twice, is told from the one that is
 * waited for.
 */
#ifndef SL_AGENT_MESSAGE_H
#define SL_AGENT_MESSAGE_H

#include <jansson.h>

#include <slime/ep.h>

enum sl_message_type { SL_MSG_CALL = 1, SL_MSG_ANSWER, SL_MSG_REFUSE, SL_MSG_BYE };

enum { SL_LIFE_LEN = 33, SL_LINK_ID_LEN = 33, SL_ALIAS_MAX = 513, SL_KEY_MAX = 192 };

struct sl_message {
	enum sl_message_type type;
	char life[SL_LIFE_LEN];    /* of the sender: hex */
	char link[SL_LINK_ID_LEN]; /* hex */
	uint64_t attempt;
	uint64_t seq;           /* grows with every message of this life */
	char key[SL_KEY_MAX];   /* CALL: which of several links between the two this is */
	char transport[16];     /* CALL: "" for any */
	uint32_t lanes, depth;  /* CALL */
	struct slime_desc desc; /* CALL ANSWER */
	char reason[252];       /* REFUSE */
};

/* The object that says MSG, or NULL: no memory. */
json_t *sl_message_pack(const struct sl_message *msg);

/* -EPROTO with a sentence: it is none of ours. Sizes, hex and base64 are checked, descriptions not.
 */
int sl_message_read(json_t *in, struct sl_message *out, struct slime_error *err);

/* A description as base64 text; malloc()ed, or NULL: no memory. And back: -EPROTO. */
char *sl_desc_text(const struct slime_desc *desc);
int sl_desc_of_text(const char *text, size_t len, struct slime_desc *out, struct slime_error *err);

/* LEN hex digits and a NUL into OUT, of random bytes. 0 or a negative errno. */
int sl_hex_random(char *out, size_t len);

#endif
