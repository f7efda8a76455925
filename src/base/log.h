/* SPDX-License-Identifier: BSD-3-Clause */
/* base/log.h - log lines, from threads of our own and at decisions only. */
#ifndef SL_LOG_H
#define SL_LOG_H

#include <slime/base.h>

/* One line, no newline. Cheap when LEVEL is not wanted. Any thread. */
__attribute__((format(printf, 2, 3))) void sl_log(enum slime_log_level level, const char *fmt, ...);

#endif
