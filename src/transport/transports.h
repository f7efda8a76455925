/* SPDX-License-Identifier: BSD-3-Clause */
/* transport/transports.h - every transport there is, one line each. */
#ifndef SL_TRANSPORTS_H
#define SL_TRANSPORTS_H

#include "transport/transport.h"

extern const struct sl_transport sl_transport_loopback;
extern const struct sl_transport sl_transport_shm;
extern const struct sl_transport sl_transport_rdma;
extern const struct sl_transport sl_transport_tcp;

/* NULL-terminated, best first: the order in which both sides try them. */
extern const struct sl_transport *const sl_transports[];

/* A transport that this version knows by name only, and why it is not there. */
struct sl_transport_absent {
	const char *name;
	const char *reason;
};

/* Ends with a NULL name. */
extern const struct sl_transport_absent sl_transports_absent[];

#endif
