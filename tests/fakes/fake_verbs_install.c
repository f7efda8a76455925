/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/fakes/fake_verbs_install.c - the library uses the fake. */
#include "fakes/fake_verbs.h"

void fake_verbs_install(const struct fake_verbs_config *config)
{
	sl_verbs_use(fake_verbs_create(config));
}

void fake_verbs_uninstall(void)
{
	sl_verbs_use(NULL);
	fake_verbs_destroy();
}
