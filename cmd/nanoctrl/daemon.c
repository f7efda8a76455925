/* SPDX-License-Identifier: BSD-3-Clause */
#include <string.h>

#include "nanoctrl.h"

static const struct persona personas[] = {
    {.name = "nanoctrl",
     .root_body = "NanoCtrl Server Running",
     .port = 3000,
     .env = "NANOCTRL",
     .cleanup_drops_stream = false},
    {.name = "dlslime-ctrl",
     .root_body = "DLSlime control plane Server Running",
     .port = 4479,
     .env = "DLSLIME_CTRL",
     .cleanup_drops_stream = true},
};

struct daemon nanoctrl = {.persona = &personas[0]};

const struct persona *persona_of(const char *argv0)
{
	const char *slash = strrchr(argv0, '/');
	const char *name = slash ? slash + 1 : argv0;

	return &personas[strcmp(name, "dlslime-ctrl") == 0];
}
