/* SPDX-License-Identifier: BSD-3-Clause */
#include "fakes/fakes.h"

#include <stdlib.h>
#include <string.h>

#if FAKES_WITH_RDMA
#include "fakes/fake_verbs.h"

static bool install_verbs(bool synchronous)
{
	static struct fake_verbs_config config;

	fake_verbs_config_init(&config);
	config.synchronous = synchronous;
	fake_verbs_install(&config);
	return true;
}
#else
static bool install_verbs(bool synchronous)
{
	(void)synchronous;
	return false;
}
#endif

static bool is_faked(const char *transport)
{
	return transport && !strcmp(transport, "rdma") && !getenv("DLSLIME_REAL_VERBS");
}

bool fakes_install(const char *transport, bool synchronous)
{
	if (transport && !strcmp(transport, "tcp"))
		return FAKES_WITH_TCP;
	return !is_faked(transport) || install_verbs(synchronous);
}

const char *fakes_confine(const char *transport)
{
	return is_faked(transport) ? "the devices of fake_verbs are in one process; tests/softroce "
	                             "runs this on real verbs"
	                           : NULL;
}
