/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>

#include "base/lock.h"

static void to_stderr(void *arg, enum slime_log_level level, const char *line)
{
	static const char *const names[] = {"error", "warning", "info", "debug"};

	(void)arg;
	(void)fprintf(stderr, "dlslime: %s: %s\n", names[level], line);
}

/* Guards FN and ARG, and is held while FN runs, so that a replaced FN is no longer in use. */
static struct sl_lock lock = SL_LOCK_INIT;
static slime_log_fn *fn = to_stderr;
static void *fn_arg;
static _Atomic int limit = SLIME_LOG_WARN;

void slime_log_set(slime_log_fn *new_fn, void *arg, enum slime_log_level level)
{
	sl_lock_take(&lock);
	fn = new_fn;
	fn_arg = arg;
	atomic_store(&limit, new_fn ? (int)level : -1);
	sl_lock_drop(&lock);
}

void sl_log(enum slime_log_level level, const char *fmt, ...)
{
	char line[512];
	va_list ap;

	if ((int)level > atomic_load_explicit(&limit, memory_order_relaxed))
		return;
	va_start(ap, fmt);
	(void)vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	sl_lock_take(&lock);
	if (fn)
		fn(fn_arg, level, line);
	sl_lock_drop(&lock);
}
