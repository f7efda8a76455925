/* SPDX-License-Identifier: BSD-3-Clause */
/* agent/link.h - how a link is stepped: see link.c. The loop's only. */
#ifndef SL_LINK_H
#define SL_LINK_H

#include "agent/agent_impl.h"

enum sl_link_event {
	SL_EV_ASK,      /* somebody wants it up */
	SL_EV_GO,       /* ... and it is time */
	SL_EV_POSTED,   /* the peer's mailbox took our call */
	SL_EV_NO_PEER,  /* it did not: no such peer, or no control plane */
	SL_EV_ANSWER,   /* the peer's endpoint is in peer_desc */
	SL_EV_REFUSED,  /* the peer says no */
	SL_EV_CALLED,   /* the peer calls: id, attempt, peer_desc are its */
	SL_EV_UP,       /* the endpoint is connected */
	SL_EV_FAILED,   /* ... cannot be */
	SL_EV_LOST,     /* ... is no more */
	SL_EV_NEW_LIFE, /* the peer is there, in a life we have not met */
	SL_EV_BYE,      /* the peer has closed the link */
	SL_EV_TIMER,
	SL_EV_CLOSE,
	SL_EV_N
};

/* EVENT happens to LINK. It may be CLOSED after that, which is for sl_link_unlist(). */
void sl_link_step(slime_link *link, enum sl_link_event event);
/* TEXT is what there is to say of LINK now. */
void sl_link_say(slime_link *link, const char *text);
/* Tell the caller again where our endpoint is. */
void sl_link_answer(slime_link *link);
/* link_list.c: it is over; free it unless somebody has a handle. */
void sl_link_unlist(slime_link *link);

#endif
