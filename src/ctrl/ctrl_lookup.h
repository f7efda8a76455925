/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ctrl/ctrl_lookup.h - the addresses of a host. A name server may take its time, so names are
 * looked up on a thread of their own, and the loop goes on. Threads: the loop's only.
 */
#ifndef SL_CTRL_LOOKUP_H
#define SL_CTRL_LOOKUP_H

#include <event2/event.h>
#include <netdb.h>

struct sl_lookup;

/* LIST is the caller's to free. NULL: there are none, and WHY says so, as "has no address: ...". */
typedef void sl_lookup_done(void *arg, struct addrinfo *list, const char *why);

/*
 * HOST, an address or a name, and PORT for TCP. DONE comes once, from the loop, never from
 * within, unless the lookup is dropped before. NULL: no memory, or no thread.
 */
struct sl_lookup *sl_lookup_start(struct event_base *loop, const char *host, unsigned port,
                                  sl_lookup_done *done, void *arg);
/* Forget it: DONE will not come. NULL is fine. */
void sl_lookup_drop(struct sl_lookup *lookup);

#endif
