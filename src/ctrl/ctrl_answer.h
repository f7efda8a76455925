/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ctrl/ctrl_answer.h - the answer to a request in HTTP/1.1, from bytes as they come. No I/O.
 * http_parser reads it; here is what we accept of it.
 */
#ifndef SL_CTRL_ANSWER_H
#define SL_CTRL_ANSWER_H

#include <http_parser.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SL_ANSWER_HEAD_MAX = HTTP_MAX_HEADER_SIZE, SL_ANSWER_BODY_MAX = 64 << 20 };

/* Zeroed before the first byte. */
struct sl_answer {
	int http;   /* 200 and the like; 0: not known yet */
	bool keep;  /* the connection is good for another request */
	char *body; /* the answer's memory */
	size_t len;

	/* ctrl_answer.c's own */
	http_parser parser;
	bool begun, over;
	int error; /* ours; http_parser has its own */
	size_t cap;
};

/*
 * Take LEN bytes; *USED is how many were the answer's. 1: it is complete. 0: there is more to come.
 * -EPROTO: it is not HTTP. -EMSGSIZE: longer than is accepted. -ENOMEM. After those there is no
 * more to feed.
 */
int sl_answer_feed(struct sl_answer *a, const char *bytes, size_t len, size_t *used);

/* The sender has ended. 1: so the answer is complete; 0: it is not. */
int sl_answer_end(struct sl_answer *a);

/* As before the first byte. */
void sl_answer_clear(struct sl_answer *a);

#endif
