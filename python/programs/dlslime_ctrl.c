/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The command dlslime-ctrl of the Python package. nanoctrl is one program with two names, and a
 * wheel can hold neither a link nor, within its size, a second copy.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { PATH_CAP = 4096 };

int main(int argc, char **argv)
{
	static char name[] = "dlslime-ctrl";
	static const char other[] = "nanoctrl";
	char path[PATH_CAP];
	ssize_t len = readlink("/proc/self/exe", path, sizeof(path) - sizeof(other));

	(void)argc;
	if (len < 0) {
		(void)fprintf(stderr, "%s: /proc/self/exe cannot be read: %s\n", name, strerror(errno));
		return 1;
	}
	path[len] = '\0';
	(void)strcpy(strrchr(path, '/') + 1, other);
	argv[0] = name;
	(void)execv(path, argv);
	(void)fprintf(stderr, "%s: %s cannot be started: %s; install the package dlslime again\n", name,
	              path, strerror(errno));
	return 1;
}
