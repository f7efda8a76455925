/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * rdma_facts.h - what the kernel tells about RDMA devices, for 'info' and 'doctor'.
 *
 * Read from /sys/class/infiniband, so that a device shows also where libibverbs is
 * missing or cannot open it. Nothing there is trusted: names and numbers that make
 * no sense are left out, and text is made fit to print.
 */
#ifndef DLSLIME_RDMA_FACTS_H
#define DLSLIME_RDMA_FACTS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <slime/base.h>

/* An entry of a port's GID table that is in use. */
struct rdma_gid {
	unsigned index;
	char text[48];   /* "::ffff:10.0.0.1" */
	char type[16];   /* "RoCE v2", "IB/RoCE v1" */
	char netdev[32]; /* "ens1" */
	bool chosen;     /* the one that the transport takes */
	const char *why; /* it is chosen, or not */
};

struct rdma_port {
	char device[64];
	unsigned port;
	bool active;
	bool ethernet;
	char state[32]; /* "ACTIVE" */
	char phys_state[32];
	char rate[48]; /* "400 Gb/sec (4X NDR)" */
	uint64_t bits_per_s;
	int numa; /* -1: unknown */
	unsigned lid;
	char firmware[64];
	char driver[32]; /* of the PCI device: "mlx5_core"; "" if there is none */
	struct rdma_gid *gids;
	size_t n_gids;
};

struct rdma_facts {
	struct rdma_port *ports; /* by device and number */
	size_t n_ports;
};

/* All ports of all devices; none is no error. -ENOMEM. */
int rdma_facts_get(struct rdma_facts *out, struct slime_error *err);
void rdma_facts_put(struct rdma_facts *f);

/* The GID that is chosen for P, or NULL. */
const struct rdma_gid *rdma_port_gid(const struct rdma_port *p);

/* The net device of P, as its GIDs name it; "" if they do not. */
const char *rdma_port_netdev(const struct rdma_port *p);

/*
 * The path that FMT makes, below DLSLIME_SYSROOT if that is set: tests put a tree of
 * their own there. Returns BUF.
 */
__attribute__((format(printf, 3, 4))) const char *rdma_path(char *buf, size_t cap, const char *fmt,
                                                            ...);

/* The first line of PATH, fit to print; false if there is none. Does not block. */
bool rdma_line(const char *path, char *out, size_t cap);

/* What to do where there is no device. */
extern const char rdma_no_nic[];

#endif
