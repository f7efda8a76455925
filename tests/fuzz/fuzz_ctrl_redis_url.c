/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/fuzz/fuzz_ctrl_redis_url.c - text as the place of a Redis.
 *
 * What is taken is complete: a host and a port, or a path. What is refused has a reason, which does
 * not tell a password.
 */
#include <string.h>

#include "fuzz.h"
#include "redis_url.h"

static void check_taken(const struct redis_url *url)
{
	char place[400];

	MUST(memchr(url->host, '\0', sizeof(url->host)) != NULL);
	MUST(memchr(url->path, '\0', sizeof(url->path)) != NULL);
	MUST(memchr(url->user, '\0', sizeof(url->user)) != NULL);
	MUST(memchr(url->password, '\0', sizeof(url->password)) != NULL);
	MUST(url->db >= 0);
	if (*url->host)
		MUST(atoi(url->port) > 0 && atoi(url->port) <= 65535);
	else
		MUST(*url->path == '/');
	MUST(strlen(redis_url_place(url, place, sizeof(place))) < sizeof(place));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	struct slime_error err = {0};
	struct redis_url url;
	char *text = malloc(len + 1);

	MUST(text != NULL);
	memcpy(text, data, len);
	text[len] = '\0';
	if (redis_url_parse(text, &url, &err) == 0)
		check_taken(&url);
	else
		MUST(*err.text && !strstr(err.text, "hunter2"));
	free(text);
	return 0;
}
