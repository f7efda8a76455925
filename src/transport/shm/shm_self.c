/* SPDX-License-Identifier: BSD-3-Clause */
/* Who we are: what tells this host, this process and its namespaces from others. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error.h"
#include "base/file.h"
#include "base/random.h"
#include "transport/shm/shm_impl.h"

/* Field 22 of /proc/self/stat. The name in field 2 may hold anything, so count from its end. */
static int read_start(uint64_t *out)
{
	char buf[1024];
	char *p;
	int rc = sl_file_read("/proc/self/stat", buf, sizeof(buf));

	if (rc)
		return rc;
	p = strrchr(buf, ')');
	for (int field = 2; p && field < 22; field++)
		p = strchr(p + 1, ' ');
	if (!p)
		return -EIO;
	*out = strtoull(p, NULL, 10);
	return 0;
}

static int hex_of(char c)
{
	static const char digits[] = "0123456789abcdef";
	const char *at = c ? strchr(digits, c) : NULL;

	return at ? (int)(at - digits) : -1;
}

/* "xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx" */
static int read_boot(uint8_t out[SHM_ID_LEN])
{
	const size_t digits = (size_t)2 * SHM_ID_LEN;
	char buf[64] = "";
	size_t n = 0;
	int rc = sl_file_read("/proc/sys/kernel/random/boot_id", buf, sizeof(buf));

	if (rc)
		return rc;
	for (const char *p = buf; *p && n < digits; p++) {
		int hex = hex_of(*p);

		if (hex < 0)
			continue;
		out[n / 2] = (uint8_t)(n % 2 ? out[n / 2] << 4 | hex : hex);
		n++;
	}
	return n == digits ? 0 : -EIO;
}

static uint64_t inode_of(const char *path)
{
	struct stat st;

	return stat(path, &st) ? 0 : st.st_ino;
}

int sl_shm_make_card(struct sl_dom *dom, struct slime_error *err)
{
	struct shm_card *card = &dom->card;
	char buf[64];
	int rc;

	card->flags = dom->no_cma ? SHM_NO_CMA : 0;
	card->uid = geteuid();
	card->proc.pid = (uint32_t)getpid();
	card->proc.pidns = inode_of("/proc/self/ns/pid");
	card->netns = inode_of("/proc/thread-self/ns/net");
	card->userns = inode_of("/proc/self/ns/user");
	rc = read_start(&card->proc.start);
	if (!rc)
		rc = read_boot(card->boot);
	if (rc)
		return sl_fail(err, rc == -EMFILE || rc == -ENFILE ? rc : -ENODEV,
		               "cannot tell this host and process from others: reading /proc: %s",
		               sl_error_name(rc, buf, sizeof(buf)));
	if (sl_random(card->door, sizeof(card->door)))
		return sl_fail(err, -EIO, "no random numbers from the kernel");
	return 0;
}
