/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/torture/test_descriptor.c - the n-th descriptor cannot be made, for each n. */
#include "torture.h"

int main(void)
{
	return torture_all(WRAP_FD);
}
