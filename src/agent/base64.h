/* SPDX-License-Identifier: BSD-3-Clause */
/* agent/base64.h - bytes as text and back, RFC 4648 with padding. */
#ifndef SL_BASE64_H
#define SL_BASE64_H

#include <stddef.h>

/* LEN bytes as text; malloc()ed, or NULL: no memory. */
char *sl_base64_text(const void *bytes, size_t len);
/* LEN digits into OUT; how many bytes they are, or -EPROTO: not base64, or over CAP. */
long sl_base64_read(const char *text, size_t len, void *out, size_t cap);

#endif
