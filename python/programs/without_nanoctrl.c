/* SPDX-License-Identifier: BSD-3-Clause */
/* The commands nanoctrl and dlslime-ctrl of a Python package that was built without them. */
#include <stdio.h>

int main(int argc, char **argv)
{
	(void)argc;
	(void)fprintf(stderr, "%s: this build of the package dlslime is without it: " WHY "\n", argv[0]);
	return 1;
}
