/* SPDX-License-Identifier: BSD-3-Clause */
#include "doctor_pid.h"

#include <errno.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "say.h"

enum { ANSWER_S = 5, LINE = 512, LOOKS = 5 };

/* Connect to the abstract socket NAME (without its '@'). The descriptor, or a negative errno. */
static int call(const char *name)
{
	const struct timeval limit = {.tv_sec = ANSWER_S};
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	size_t len = strlen(name);
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0)
		return -errno;
	if (len >= sizeof(at.sun_path))
		len = sizeof(at.sun_path) - 1;
	memcpy(at.sun_path + 1, name, len);
	(void)setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof(limit));
	(void)setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof(limit));
	if (connect(fd, (struct sockaddr *)&at,
	            (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + len)) < 0) {
		int rc = -errno;

		(void)close(fd);
		return rc;
	}
	return fd;
}

/* Print what the agent at NAME says; names of peers may hold what a terminal would obey. */
static int listen_to(const char *name, const char *pid)
{
	int fd = call(name);
	FILE *in = fd < 0 ? NULL : fdopen(fd, "r");
	char line[LINE], text[64];
	int lines = 0;

	if (!in) {
		say("an agent of process %s cannot be asked: %s", pid,
		    errno_name(fd < 0 ? fd : -errno, text, sizeof(text)));
		if (fd >= 0)
			(void)close(fd);
		return EXIT_FAILED;
	}
	while (fgets(line, sizeof(line), in)) {
		line[strcspn(line, "\n")] = '\0';
		plain_text(line);
		(void)printf("%s\n", line);
		lines++;
	}
	(void)fclose(in);
	if (lines)
		return EXIT_GOOD;
	say("an agent of process %s says nothing: it is stuck, or another user's", pid);
	return EXIT_FAILED;
}

int doctor_pid(const char *pid)
{
	FILE *sockets = fopen("/proc/net/unix", "re");
	char line[LINE], mark[64];
	int found = 0, rc = EXIT_GOOD;

	if (!*pid || strlen(pid) > 10 || pid[strspn(pid, "0123456789")])
		rc = say_usage("doctor", "'%s' is no process id", pid);
	else if (!sockets)
		say("cannot open /proc/net/unix: %s", strerror(errno));
	(void)snprintf(mark, sizeof(mark), " @dlslime-agent/%.10s/", pid);
	/* while others close sockets the kernel's list may leave out one that is there */
	for (int look = 0; !rc && !found && sockets && look < LOOKS; look++) {
		rewind(sockets);
		while (!rc && fgets(line, sizeof(line), sockets)) {
			const char *at = strstr(line, mark);

			/* the listening one: flags, type and state as the kernel prints them */
			if (!at || !strstr(line, " 00010000 0001 01 "))
				continue;
			line[strcspn(line, "\n")] = '\0';
			found++;
			if (listen_to(at + 2, pid))
				rc = EXIT_FAILED;
		}
	}
	if (sockets)
		(void)fclose(sockets);
	if (rc || found)
		return rc;
	say("process %s has no agent in this network namespace", pid);
	return EXIT_FAILED;
}
