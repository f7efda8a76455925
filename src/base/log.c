/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/log.h"

#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>

#include "base/env.h"
#include "base/lock.h"

static void to_stderr(void *arg, enum slime_log_level level, const char *line)
{
	static const char *const names[] = {"error", "warning", "info", "debug"};

	(void)arg;
	(void)fprintf(stderr, "dlslime: %s: %s\n", names[level], line);
}

enum { LEVEL_UNREAD = -1 };

/* Guards FN and ARG, and is held while FN runs, so that a replaced FN is no longer in use. */
static struct sl_lock lock = SL_LOCK_INIT;
static slime_log_fn *fn = to_stderr;
static void *fn_arg;
static _Atomic int limit = LEVEL_UNREAD;

void slime_log_set(slime_log_fn *new_fn, void *arg, enum slime_log_level level)
{
	sl_lock_take(&lock);
	fn = new_fn ? new_fn : to_stderr;
	fn_arg = arg;
	atomic_store(&limit, (int)level);
	sl_lock_drop(&lock);
}

/* The environment's level, as the first line asks for it; a complaint about it is a line too. */
static int read_limit(void)
{
	static const int levels[] = {SLIME_LOG_ERROR, SLIME_LOG_INFO, SLIME_LOG_DEBUG};
	int now = LEVEL_UNREAD;
	int64_t wanted;

	if (!atomic_compare_exchange_strong(&limit, &now, SLIME_LOG_WARN))
		return now;
	wanted = sl_env_int(SL_ENV_LOG_LEVEL);
	now = SLIME_LOG_WARN;
	if (wanted >= 0 && atomic_compare_exchange_strong(&limit, &now, levels[wanted]))
		return levels[wanted];
	return now;
}

void sl_log(enum slime_log_level level, const char *fmt, ...)
{
	int most = atomic_load_explicit(&limit, memory_order_relaxed);
	char line[512];
	va_list ap;

	if (most == LEVEL_UNREAD)
		most = read_limit();
	if ((int)level > most)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	sl_lock_take(&lock);
	fn(fn_arg, level, line);
	sl_lock_drop(&lock);
}

void slime_log_write(enum slime_log_level level, const char *line)
{
	if (line && (unsigned)level <= SLIME_LOG_DEBUG)
		sl_log(level, "%s", line);
}
