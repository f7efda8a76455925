/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * transport/tcp/tcp_credit.c - the asking half: the receives that the peer has told of.
 *
 * A send takes the oldest. It gives it back if it ends before anything of it went
 * out. If our socket is reset under a send that was asked to stop, only the peer
 * knows whether it took it: until it is heard again, the receive is lent.
 */
#include <errno.h>
#include <stdlib.h>

#include "transport/tcp/tcp_ask.h"

enum { CREDITS_MAX = 1 << 20 };

/* Have room for one more. */
static int make_room_locked(struct tcp_ask *a)
{
	uint32_t cap = a->credit_cap ? 2 * a->credit_cap : 16;
	struct tcp_credit *credit;

	if (a->ncredit < a->credit_cap)
		return 0;
	if (cap > CREDITS_MAX)
		return -EPROTO;
	credit = malloc(cap * sizeof(*credit));
	if (!credit)
		return -ENOMEM;
	for (uint32_t i = 0; i < a->ncredit; i++)
		credit[i] = a->credit[(a->credit_head + i) % a->credit_cap];
	free(a->credit);
	a->credit = credit;
	a->credit_cap = cap;
	a->credit_head = 0;
	return 0;
}

int sl_tcp_ask_credit(struct sl_conn *conn, uint32_t id, uint64_t len)
{
	struct tcp_ask *a = &conn->ask;
	int rc;

	sl_lock_take(&conn->lock);
	rc = make_room_locked(a);
	if (!rc) {
		a->credit[(a->credit_head + a->ncredit++) % a->credit_cap] =
		    (struct tcp_credit){.id = id, .len = len};
		if (a->sends.head && !a->blocked)
			sl_tcp_ask_push_locked(conn);
	}
	sl_lock_drop(&conn->lock);
	return rc;
}

void sl_tcp_ask_uncredit(struct sl_conn *conn, uint32_t id)
{
	struct tcp_ask *a = &conn->ask;
	uint32_t kept = 0;

	sl_lock_take(&conn->lock);
	for (uint32_t i = 0; i < a->ncredit; i++) {
		struct tcp_credit credit = a->credit[(a->credit_head + i) % a->credit_cap];

		if (credit.id != id)
			a->credit[(a->credit_head + kept++) % a->credit_cap] = credit;
	}
	a->ncredit = kept;
	kept = 0;
	for (uint32_t i = 0; i < a->nlent; i++)
		if (a->lent[i].credit.id != id)
			a->lent[kept++] = a->lent[i];
	a->nlent = kept;
	sl_lock_drop(&conn->lock);
}

void sl_tcp_give_back_locked(struct tcp_ask *a, struct tcp_credit credit)
{
	if (make_room_locked(a))
		return; /* no memory: the receive waits until its owner takes it back */
	a->credit_head = (a->credit_head + a->credit_cap - 1) % a->credit_cap;
	a->credit[a->credit_head] = credit;
	a->ncredit++;
}

void sl_tcp_lend_locked(struct tcp_ask *a, struct tcp_credit credit, uint64_t seq)
{
	struct tcp_lent *lent = realloc(a->lent, (a->nlent + 1) * sizeof(*lent));

	if (!lent)
		return; /* as above */
	a->lent = lent;
	a->lent[a->nlent++] = (struct tcp_lent){.credit = credit, .seq = seq};
}

void sl_tcp_settle_lent_locked(struct tcp_ask *a, uint64_t ended)
{
	while (a->nlent) { /* the oldest is to come first again */
		struct tcp_lent *lent = &a->lent[--a->nlent];

		if (lent->seq >= ended)
			sl_tcp_give_back_locked(a, lent->credit);
	}
}
