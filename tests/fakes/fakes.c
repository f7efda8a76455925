/* SPDX-License-Identifier: BSD-3-Clause */
#include "fakes/fakes.h"

#include <stdlib.h>
#include <string.h>

#if FAKES_WITH_RDMA
#include "fakes/fake_verbs.h"

static void install_verbs(bool synchronous)
{
	static struct fake_verbs_config config;

	fake_verbs_config_init(&config);
	config.synchronous = synchronous;
	fake_verbs_install(&config);
}
#else
static void install_verbs(bool synchronous)
{
	(void)synchronous;
}
#endif

static bool is_faked(const char *transport)
{
	return transport && !strcmp(transport, "rdma") && !getenv("DLSLIME_REAL_VERBS");
}

void fakes_install(const char *transport, bool synchronous)
{
	if (is_faked(transport))
		install_verbs(synchronous);
}

const char *fakes_confine(const char *transport)
{
	return is_faked(transport) ? "the devices of fake_verbs are in one process; tests/softroce "
	                             "runs this on real verbs"
	                           : NULL;
}
