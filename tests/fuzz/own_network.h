/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/fuzz/own_network.h - targets that might talk to any address leave the machine's network
 * first. */
#ifndef FUZZ_OWN_NETWORK_H
#define FUZZ_OWN_NETWORK_H

#include <net/if.h>
#include <sched.h>
#include <stdbool.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

/* From now on this process has a network with nothing but an own loopback; false: not allowed. */
static inline bool own_network(void)
{
	struct ifreq ifr = {.ifr_flags = IFF_UP};
	bool up;
	int fd;

	if (unshare(CLONE_NEWNET) && unshare(CLONE_NEWUSER | CLONE_NEWNET))
		return false;
	memcpy(ifr.ifr_name, "lo", 3);
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return false;
	up = ioctl(fd, SIOCSIFFLAGS, &ifr) == 0;
	(void)close(fd);
	return up;
}

#endif
