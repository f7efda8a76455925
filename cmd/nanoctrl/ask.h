/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * nanoctrl/ask.h - requests to the store on behalf of a call.
 *
 * A handler asks, and goes on in a callback. Whatever fails is answered here, unless the
 * handler says that it wants to hear of it.
 */
#ifndef NANOCTRL_ASK_H
#define NANOCTRL_ASK_H

#include "http.h"
#include "store.h"

/* RES has a result for each operation; valid during the call. */
typedef void ask_done(struct call *call, const struct store_res *res);
/* As store_done says it. */
typedef void ask_failed(struct call *call, int status, size_t failed,
                        const struct slime_error *err);

/* FAILED NULL: the failure is answered with its own words. */
void ask(struct call *call, const struct store_op *ops, size_t n, ask_done *done,
         ask_failed *failed);

/* Zeroed, freed with the call. NULL: no memory, and the call has been answered. */
void *call_alloc(struct call *call, size_t n, size_t size);
/* VALUE as text, freed with the call; VALUE is stolen. NULL: as above. */
const char *call_dump(struct call *call, json_t *value);
/*
 * As ask(), if the caller may change the record of the first operation, whose EXPECT is chosen
 * here; otherwise answered with 403. What OPS points to must live as long as the call.
 */
void ask_change(struct call *call, const struct store_op *ops, size_t n, ask_done *done,
                ask_failed *failed);
/* What is registered by the caller of CALL may be changed by him: it is his, or he may all. */
bool call_owns(const struct call *call, const struct store_row *row);
/* A list of nothing, for its number: the revision at which the operations beside it are true. */
struct store_op revision_op(const char *scope);
/* The state is revised at least up to here; ask before the request that it is told with. */
uint64_t store_revision_now(void);
int64_t unix_time_ms(void);

/*
 * Whether the scope has room for the records KEYS, all in one scope; those that exist need none.
 * THEN goes on, with NULL. Otherwise the call has been answered with 429.
 */
void ask_room(struct call *call, const struct store_key *keys, size_t n, ask_done *then);

#endif
