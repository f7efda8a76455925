/* SPDX-License-Identifier: BSD-3-Clause */
#include "log.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "sentence.h"

enum { BUFFER = 64 * 1024, LINE_MAX_LEN = 4096, FLUSH_MS = 100 };

static const char *const level_names[] = {"error", "warn", "info", "debug"};

static struct {
	int fd; /* 0: stderr, which this is in the beginning */
	char *path;
	enum slime_log_level level;
	struct event *flush;
	size_t len;
	char buffer[BUFFER];
} the_log = {.level = SLIME_LOG_INFO};

/* What cannot be written, on a full disk say, is dropped: the daemon goes on. */
static void flush_lines(void)
{
	size_t at = 0;

	while (at < the_log.len) {
		ssize_t n = write(the_log.fd ? the_log.fd : STDERR_FILENO, the_log.buffer + at,
		                  the_log.len - at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			break;
		at += (size_t)n;
	}
	the_log.len = 0;
}

static void on_flush(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg;
	flush_lines();
}

static int open_file(const char *path, struct slime_error *err)
{
	int fd =
	    open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0600);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0) {
		int error = errno;

		if (fd >= 0)
			(void)close(fd);
		return refuse(err, -error, "cannot write the log '%s': %s", path,
		              error == ELOOP ? "it is a symbolic link" : strerror(error));
	}
	if (S_ISDIR(st.st_mode) || (S_ISREG(st.st_mode) && st.st_nlink > 1)) {
		(void)close(fd);
		return refuse(err, -EINVAL, "cannot write the log '%s': it is %s", path,
		              S_ISDIR(st.st_mode) ? "a directory" : "a link to another file");
	}
	return fd;
}

int log_open(struct event_base *loop, const char *path, enum slime_log_level level,
             struct slime_error *err)
{
	int fd = path ? open_file(path, err) : 0;

	if (fd < 0)
		return fd;
	the_log.path = path ? strdup(path) : NULL;
	the_log.flush = evtimer_new(loop, on_flush, NULL);
	the_log.fd = fd;
	the_log.level = level;
	return 0;
}

void log_reopen(void)
{
	struct slime_error err;
	int fd;

	flush_lines();
	if (!the_log.path)
		return;
	fd = open_file(the_log.path, &err);
	if (fd < 0) {
		log_line(SLIME_LOG_ERROR, "%s; the log goes on where it was", err.text);
		return;
	}
	(void)close(the_log.fd);
	the_log.fd = fd;
}

void log_close(void)
{
	flush_lines();
	if (the_log.flush)
		event_free(the_log.flush);
	if (the_log.fd)
		(void)close(the_log.fd);
	free(the_log.path);
	the_log.flush = NULL;
	the_log.path = NULL;
	the_log.fd = 0;
}

bool log_level_of(const char *word, enum slime_log_level *out)
{
	/* RUST_LOG: "nanoctrl=debug,hyper=warn" */
	for (const char *at = word; *at; at++) {
		for (size_t i = 0; i < 4; i++) {
			size_t len = strlen(level_names[i]);
			bool begins = at == word || at[-1] == '=' || at[-1] == ',';

			if (begins && strncasecmp(at, level_names[i], len) == 0 &&
			    strcspn(at, ",") == len) {
				*out = (enum slime_log_level)i;
				return true;
			}
		}
	}
	return false;
}

/* Room for a line, with its beginning in it; the end of it is told to end_line(). */
static char *begin_line(enum slime_log_level level, size_t *room)
{
	static time_t second;
	static char stamp[32];
	struct timespec now;
	struct tm tm;
	char *at;
	int n;

	if (the_log.len + LINE_MAX_LEN > BUFFER)
		flush_lines();
	(void)clock_gettime(CLOCK_REALTIME, &now);
	if (now.tv_sec != second) {
		second = now.tv_sec;
		(void)strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", gmtime_r(&second, &tm));
	}
	at = the_log.buffer + the_log.len;
	n = snprintf(at, LINE_MAX_LEN, "time=%s.%03ldZ level=%s ", stamp, now.tv_nsec / 1000000,
	             level_names[level]);
	*room = LINE_MAX_LEN - (size_t)n - 1;
	return at + n;
}

static void end_line(enum slime_log_level level, char *end)
{
	const struct timeval soon = {.tv_usec = FLUSH_MS * 1000};

	*end++ = '\n';
	the_log.len = (size_t)(end - the_log.buffer);
	if (level <= SLIME_LOG_WARN || !the_log.flush)
		flush_lines();
	else if (!event_pending(the_log.flush, EV_TIMEOUT, NULL))
		(void)evtimer_add(the_log.flush, &soon);
}

/* TEXT in quotes; what could end the quotes or the line is made harmless, what is too long cut. */
static char *add_quoted(char *at, const char *key, const char *text, size_t room)
{
	size_t n = 0;

	while (*key)
		*at++ = *key++;
	*at++ = '"';
	for (; *text && n < room; text++, n++) {
		unsigned char c = (unsigned char)*text;

		*at++ = c < 0x20 || c == 0x7f || c == '"' || c == '\\' ? '?' : (char)c;
	}
	*at++ = '"';
	return at;
}

void log_line(enum slime_log_level level, const char *fmt, ...)
{
	char text[1200];
	va_list ap;
	size_t room;
	char *at;

	if (level > the_log.level)
		return;
	va_start(ap, fmt);
	(void)vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	at = begin_line(level, &room);
	end_line(level, add_quoted(at, "msg=", text, sizeof(text)));
}

/* 501 and 505 say what a client cannot do, though their number is that of our own failures. */
static bool is_ours(int status)
{
	return status >= 500 && status != 501 && status != 505;
}

void log_request(const struct log_request *request)
{
	enum slime_log_level level = is_ours(request->status) ? SLIME_LOG_ERROR : SLIME_LOG_INFO;
	size_t room;
	char *at;

	if (level > the_log.level)
		return;
	at = begin_line(level, &room);
	at += snprintf(at, 64, "msg=\"request\" method=%.16s ", request->method);
	at = add_quoted(at, "path=", request->path, 1024);
	at += snprintf(at, 128, " status=%d bytes=%zu us=%lld peer=%.64s", request->status,
	               request->bytes, (long long)(request->took_ns / 1000),
	               *request->peer ? request->peer : "-");
	if (*request->principal)
		at = add_quoted(at, " token=", request->principal, 256);
	end_line(level, at);
}
