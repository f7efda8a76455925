/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/fuzz/fuzz_ctrl_body.c - requests to the daemon, through its router, on a store in memory.
 *
 * An input is lines: "METHOD TARGET" and then the body, up to a line "--" that ends the
 * request; the store keeps what the requests before it have put there. Every request must be
 * answered, with JSON that can be sent where it is JSON, and never with our own fault.
 */
#include <stdbool.h>
#include <string.h>

#include "fakes/nanoctrl/caller.h"
#include "fuzz.h"

enum { REQUESTS_MAX = 16, TARGET_MAX = 4096 };

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	return 0;
}

static const char *method_of(const char *line, size_t len)
{
	static const char *const methods[] = {"POST", "GET", "PUT", "DELETE", "HEAD"};

	for (size_t i = 0; i < sizeof(methods) / sizeof(methods[0]); i++)
		if (len >= strlen(methods[i]) && !memcmp(line, methods[i], strlen(methods[i])))
			return methods[i];
	return NULL;
}

static void check_answer(struct reply *reply)
{
	MUST(reply->status >= 200 && reply->status < 600);
	MUST(reply->status != 500);
	if (reply->json) {
		char *text = json_dumps(reply->json, JSON_ENCODE_ANY);

		MUST(text);
		free(text);
	}
	caller_hang_up(reply); /* of a stream */
	reply_free(reply);
}

/* What waits is ended by the end of the daemon: see LLVMFuzzerTestOneInput(). */
static struct reply *ask(const char *head, size_t head_len, const char *body, size_t len)
{
	const char *method = method_of(head, head_len);
	char target[TARGET_MAX];
	size_t skip = method ? strlen(method) + 1 : 0;

	if (!method || head_len < skip || head_len - skip >= sizeof(target))
		return NULL;
	memcpy(target, head + skip, head_len - skip);
	target[head_len - skip] = '\0';
	return caller_send_bytes(method, target, len ? body : NULL, len);
}

static const char *end_of_request(const char *at, const char *end)
{
	const char *mark = memmem(at, (size_t)(end - at), "\n--\n", 4);

	return mark ? mark : end;
}

static size_t ask_all(const char *at, const char *end, struct reply **replies)
{
	size_t n = 0;

	while (at < end && n < REQUESTS_MAX) {
		const char *stop = end_of_request(at, end);
		const char *line = memchr(at, '\n', (size_t)(stop - at));
		const char *head_end = line ? line : stop;
		const char *body = line ? line + 1 : stop;

		replies[n] = ask(at, (size_t)(head_end - at), body, (size_t)(stop - body));
		if (replies[n])
			n++;
		caller_settle();
		at = stop < end ? stop + 4 : end;
	}
	return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct reply *replies[REQUESTS_MAX];
	const char *text = (const char *)data;
	size_t n;

	if (!len)
		return 0;
	caller_open("redis://10.9.8.7:6379");
	n = ask_all(text, text + len, replies);
	caller_close(); /* ends who waits */
	for (size_t i = 0; i < n; i++)
		check_answer(replies[i]);
	return 0;
}
