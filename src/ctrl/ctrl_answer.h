/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ctrl/ctrl_answer.h - the answer to a request in HTTP/1.1, from bytes as they come. No I/O.
 *
 *	STATUS ─► HEADER ─┬─► LENGTH ───────────────────────┐
 *	  ▲ 100..199 │    ├─► SIZE ─► CHUNK ─► CHUNK_END ─► SIZE
 *	  └──────────┘    │    └─► TRAILER ─────────────────┼─► DONE
 *	                  └─► UNTIL_END ────────────────────┘
 */
#ifndef SL_CTRL_ANSWER_H
#define SL_CTRL_ANSWER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { SL_ANSWER_HEAD_MAX = 64 << 10, SL_ANSWER_BODY_MAX = 64 << 20 };

enum sl_answer_state {
	SL_ANSWER_STATUS,
	SL_ANSWER_HEADER,
	SL_ANSWER_LENGTH,
	SL_ANSWER_SIZE,
	SL_ANSWER_CHUNK,
	SL_ANSWER_CHUNK_END,
	SL_ANSWER_TRAILER,
	SL_ANSWER_UNTIL_END,
	SL_ANSWER_DONE
};

/* Zeroed before the first byte. */
struct sl_answer {
	int http;   /* 200 and the like; 0: not known yet */
	bool keep;  /* the connection is good for another request */
	char *body; /* the answer's memory */
	size_t len;

	/* ctrl_answer.c's own */
	enum sl_answer_state state;
	char *line;
	size_t line_len, line_cap, body_cap;
	size_t head_len; /* with the trailers */
	size_t left;     /* of the body, or of the chunk */
	bool has_length, chunked;
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
