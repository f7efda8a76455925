/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * transport/imm_queue.h - immediates that arrived before anyone asked, oldest first.
 *
 * Grows as needed up to SL_IMM_MAX; then the one who sends must wait. The owner locks.
 */
#ifndef SL_IMM_QUEUE_H
#define SL_IMM_QUEUE_H

#include <stdbool.h>
#include <stdint.h>

enum { SL_IMM_MAX = 65536 };

struct sl_imm {
	uint64_t bytes; /* what the write moved */
	uint32_t value;
};

struct sl_imm_queue { /* all zeroes: empty */
	struct sl_imm *ring;
	uint32_t cap, head, n;
};

/* Make room for one more: 0, -EAGAIN (SL_IMM_MAX wait already) or -ENOMEM. */
int sl_imm_reserve(struct sl_imm_queue *q);
/* Only after sl_imm_reserve() gave 0. */
void sl_imm_push(struct sl_imm_queue *q, uint32_t value, uint64_t bytes);
/* The oldest into *OUT; false: there is none. */
bool sl_imm_pop(struct sl_imm_queue *q, struct sl_imm *out);
void sl_imm_free(struct sl_imm_queue *q);

#endif
