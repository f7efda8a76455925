/* SPDX-License-Identifier: BSD-3-Clause */
/* nanoctrl/probe.h - is there a daemon? For the verbs; blocks. */
#ifndef NANOCTRL_PROBE_H
#define NANOCTRL_PROBE_H

#include <stddef.h>

/*
 * Ask ADDRESS, "http://host:port", "host:port" or "unix:/path", for "/": 0 if it answers 200
 * within TIMEOUT_MS. Of "https://..." the handshake is enough: who may ask is another question.
 * Negative errno: it does not, WHY says what happened.
 */
int probe(const char *address, int timeout_ms, char *why, size_t cap);

/* A socket to ADDRESS, each of whose steps takes at most TIMEOUT_MS; or as above. No TLS. */
int probe_connect(const char *address, int timeout_ms, char *why, size_t cap);

#endif
