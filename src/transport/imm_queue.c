/* SPDX-License-Identifier: BSD-3-Clause */
#include "transport/imm_queue.h"

#include <errno.h>
#include <stdlib.h>

enum { FIRST = 64 };

int sl_imm_reserve(struct sl_imm_queue *q)
{
	uint32_t cap = q->cap ? 2 * q->cap : FIRST;
	struct sl_imm *ring;

	if (q->n < q->cap)
		return 0;
	if (q->n >= SL_IMM_MAX)
		return -EAGAIN;
	ring = malloc(cap * sizeof(*ring));
	if (!ring)
		return -ENOMEM;
	for (uint32_t i = 0; i < q->n; i++)
		ring[i] = q->ring[(q->head + i) % q->cap];
	free(q->ring);
	q->ring = ring;
	q->cap = cap;
	q->head = 0;
	return 0;
}

void sl_imm_push(struct sl_imm_queue *q, uint32_t value, uint64_t bytes)
{
	q->ring[(q->head + q->n++) % q->cap] = (struct sl_imm){.bytes = bytes, .value = value};
}

bool sl_imm_pop(struct sl_imm_queue *q, struct sl_imm *out)
{
	if (!q->n)
		return false;
	*out = q->ring[q->head];
	q->head = (q->head + 1) % q->cap;
	q->n--;
	return true;
}

void sl_imm_free(struct sl_imm_queue *q)
{
	free(q->ring);
	*q = (struct sl_imm_queue){0};
}
