/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/fuzz/fuzz_agent_message.c - what another agent says: read, and if it is one of ours, said
 * again the same. */
#include <string.h>

#include "agent/message.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	json_t *in = json_loadb((const char *)data, size, JSON_ALLOW_NUL, NULL);
	struct sl_message msg, again;
	json_t *out;

	if (in && sl_message_read(in, &msg, NULL) == 0) {
		out = sl_message_pack(&msg);
		/* texts that are not UTF-8 cannot come out of JSON, so everything packs */
		MUST(out && sl_message_read(out, &again, NULL) == 0);
		MUST(memcmp(&msg, &again, sizeof(msg)) == 0);
		json_decref(out);
	}
	json_decref(in);
	return 0;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	return 0;
}
