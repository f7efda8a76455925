/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * nanoctrl/redis_address.h - where agents of the reference find Redis (contract: nanoctrl.md 4.4).
 *
 * They read Redis themselves. A daemon whose own URL is local tells them an address that they can
 * reach. Nothing here asks a name server or sends a packet.
 */
#ifndef NANOCTRL_REDIS_ADDRESS_H
#define NANOCTRL_REDIS_ADDRESS_H

#include <stddef.h>

enum { REDIS_ADDRESS_MAX = 1024 };

/* What is known of the address. */
struct redis_address {
	const char *url;            /* that the daemon uses; "": there is no Redis */
	const char *advertised;     /* told always; NULL: by the rules */
	const char *public_address; /* REDIS_PUBLIC_ADDRESS: told to those on other hosts; NULL */
	const char *public_url;     /* NANOCTRL_REDIS_URL: told instead of a local one; NULL */
};

/* "host:port/db" as far as the URL has them, for an agent that calls its own address CLIENT. ""
 * where there is no Redis. */
void redis_address_for(const struct redis_address *redis, const char *client,
                       char out[REDIS_ADDRESS_MAX]);
/* The same with "redis://" before it, for anybody. */
void redis_url_for_all(const struct redis_address *redis, char out[REDIS_ADDRESS_MAX]);

#endif
