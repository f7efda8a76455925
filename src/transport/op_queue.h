/* SPDX-License-Identifier: BSD-3-Clause */
/* transport/op_queue.h - ops in a row, oldest first, linked through sl_op.next. The owner locks. */
#ifndef SL_OP_QUEUE_H
#define SL_OP_QUEUE_H

#include "transport/transport.h"

struct sl_op_queue { /* all zeroes: empty */
	struct sl_op *head, *tail;
};

static inline void sl_op_push(struct sl_op_queue *q, struct sl_op *op)
{
	op->next = NULL;
	if (q->tail)
		q->tail->next = op;
	else
		q->head = op;
	q->tail = op;
}

static inline struct sl_op *sl_op_pop(struct sl_op_queue *q)
{
	struct sl_op *op = q->head;

	if (op) {
		q->head = op->next;
		if (!q->head)
			q->tail = NULL;
	}
	return op;
}

/* Take OP out of Q if it is in there and was asked to stop. */
static inline bool sl_op_take_stopped(struct sl_op_queue *q, const struct sl_op *op)
{
	struct sl_op *before = NULL;
	struct sl_op *at = q->head;

	while (at && at != op) {
		before = at;
		at = at->next;
	}
	if (!at || !sl_op_stop(at))
		return false;
	if (before)
		before->next = at->next;
	else
		q->head = at->next;
	if (q->tail == at)
		q->tail = before;
	return true;
}

/* End all of Q with STATUS; no lock may be held. */
static inline int sl_op_end_all(struct sl_op_queue *q, int status)
{
	struct sl_op *op;
	int n = 0;

	while ((op = sl_op_pop(q))) {
		sl_op_done(op, status, 0, 0);
		n++;
	}
	return n;
}

#endif
