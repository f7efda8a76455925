/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/fuzz/fuzz_agent_ticket.c - a ticket that somebody pasted: read, and if it is one, written
 * and read again the same. The first byte says whether the rest is the text, or the JSON in it. */
#include <string.h>

#include "agent/base64.h"
#include "agent/ticket.h"
#include "fuzz.h"

static void try_text(const char *text, size_t len)
{
	struct sl_ticket t, again;
	char *out;

	if (sl_ticket_read(text, len, &t, NULL))
		return;
	out = sl_ticket_text(&t);
	MUST(out && strlen(out) <= SL_TICKET_MAX);
	MUST(sl_ticket_read(out, strlen(out), &again, NULL) == 0);
	MUST(memcmp(&t, &again, sizeof(t)) == 0);
	free(out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *code, *text;

	if (!size)
		return 0;
	if (data[0] % 2) {
		try_text((const char *)data + 1, size - 1);
		return 0;
	}
	code = sl_base64_text(data + 1, size - 1);
	if (asprintf(&text, "dlslime-agent:%s", code) < 0)
		return 0;
	try_text(text, strlen(text));
	free(text);
	free(code);
	return 0;
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	return 0;
}
