/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * nanoctrl/redis_words.h - the words of a command to Redis, as it reads them, one behind
 * the other. No I/O.
 *
 * A row of words that memory was missing for is broken, and stays so until it is emptied:
 * so only whoever is done with it looks.
 */
#ifndef NANOCTRL_REDIS_WORDS_H
#define NANOCTRL_REDIS_WORDS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct redis_words { /* all zero: none */
	char *bytes;
	size_t len, cap;
	int n;
	bool broken;
};

/* Copies what it is given. TEXT NULL is "". */
void redis_words_add(struct redis_words *words, const char *bytes, size_t len);
void redis_words_add_text(struct redis_words *words, const char *text);
void redis_words_add_number(struct redis_words *words, int64_t number);
/* All of MORE. */
void redis_words_append(struct redis_words *words, const struct redis_words *more);

void redis_words_empty(struct redis_words *words); /* keeps its memory */
void redis_words_free(struct redis_words *words);

#endif
