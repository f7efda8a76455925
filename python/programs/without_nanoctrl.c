/* SPDX-License-Identifier: BSD-3-Clause */
/* The commands nanoctrl and dlslime-ctrl of a Python package that was built without them. */
#include <stdio.h>
#include <string.h>

int main(int argc, char **argv)
{
	const char *slash = strrchr(argv[0], '/');
	const char *name = slash ? slash + 1 : argv[0];

	(void)argc;
	(void)fprintf(stderr, "%s: this build of the package dlslime is without it: " WHY "\n", name);
	return 1;
}
