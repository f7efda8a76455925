/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/fakes/fakes.h - what stands in for hardware, by the name of the transport
 * that needs it. Main thread, before any context exists.
 */
#ifndef FAKES_H
#define FAKES_H

#include <stdbool.h>

/*
 * Let TRANSPORT find devices, if it needs some and DLSLIME_REAL_VERBS is not set.
 * SYNCHRONOUS: all is done in the thread that calls, the same each time. False: this
 * build is without TRANSPORT.
 */
bool fakes_install(const char *transport, bool synchronous);

/* Why endpoints over TRANSPORT (NULL: any) cannot be in two processes; NULL: they can. */
const char *fakes_confine(const char *transport);

#endif
