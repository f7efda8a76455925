/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/fuzz/fuzz_agent_answer.c - an answer in HTTP: the same whole, and byte by byte. */
#include <string.h>

#include "ctrl/ctrl_answer.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct sl_answer whole = {0}, slow = {0};
	size_t used, at = 0, n;
	int rc = sl_answer_feed(&whole, (const char *)data, size, &used), rc_slow = 0;

	MUST(used <= size);
	while (!rc_slow && at < size) {
		rc_slow = sl_answer_feed(&slow, (const char *)data + at, 1, &n);
		MUST(n <= 1 && (rc_slow < 0 || n == 1));
		at += n;
	}
	if (size)
		MUST(rc == rc_slow);
	if (rc >= 0) {
		MUST(at == used && whole.http == slow.http && whole.keep == slow.keep);
		MUST(whole.len == slow.len);
		MUST(!whole.len || memcmp(whole.body, slow.body, whole.len) == 0);
		MUST(sl_answer_end(&whole) == sl_answer_end(&slow));
	}
	sl_answer_clear(&whole);
	sl_answer_clear(&slow);
	return 0;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	return 0;
}
