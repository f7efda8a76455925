/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/torture/test_memory.c - the n-th allocation fails, for each n. */
#include "torture.h"

int main(void)
{
	return torture_all(WRAP_MEMORY);
}
