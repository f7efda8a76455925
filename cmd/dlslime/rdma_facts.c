/* SPDX-License-Identifier: BSD-3-Clause */
#include "rdma_facts.h"

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "say.h"

enum { NAMES_MAX = 4096, PATH_CAP = 512 };

const char rdma_no_nic[] =
    "with a NIC: load its driver (lspci -nn | grep -iE 'infiniband|ethernet'; "
    "sudo modprobe mlx5_ib); without: sudo modprobe rdma_rxe && sudo rdma link "
    "add rxe0 type rxe netdev eth0";

const char *rdma_path(char *buf, size_t cap, const char *fmt, ...)
{
	const char *root = getenv("DLSLIME_SYSROOT");
	int n = snprintf(buf, cap, "%s", root ? root : "");
	va_list ap;

	if (n < 0 || (size_t)n >= cap)
		n = 0;
	va_start(ap, fmt);
	(void)vsnprintf(buf + n, cap - (size_t)n, fmt, ap);
	va_end(ap);
	return buf;
}

bool rdma_line(const char *path, char *out, size_t cap)
{
	int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, out, cap - 1);

	if (fd >= 0)
		(void)close(fd);
	if (n < 0)
		return false;
	out[n] = '\0';
	out[strcspn(out, "\n")] = '\0';
	plain_text(out);
	return out[0] != '\0';
}

/* FILE of P's port; "" if there is none. */
static void port_line(const struct rdma_port *p, const char *file, char *out, size_t cap)
{
	char path[PATH_CAP];

	rdma_path(path, sizeof(path), "/sys/class/infiniband/%s/ports/%u/%s", p->device, p->port,
	          file);
	if (!rdma_line(path, out, cap))
		out[0] = '\0';
}

static void device_line(const struct rdma_port *p, const char *file, char *out, size_t cap)
{
	char path[PATH_CAP];

	rdma_path(path, sizeof(path), "/sys/class/infiniband/%s/%s", p->device, file);
	if (!rdma_line(path, out, cap))
		out[0] = '\0';
}

/* "4: ACTIVE" without its number. */
static void port_state(const struct rdma_port *p, const char *file, char *out, size_t cap)
{
	char line[64];
	const char *name;

	port_line(p, file, line, sizeof(line));
	name = strchr(line, ':');
	name = name ? name + 1 + strspn(name + 1, " ") : line;
	(void)snprintf(out, cap, "%.*s", (int)cap - 1, *name ? name : "unknown");
}

static int compare_names(const void *a, const void *b)
{
	return strverscmp(*(char *const *)a, *(char *const *)b);
}

static void free_names(char **names, size_t n)
{
	for (size_t i = 0; i < n; i++)
		free(names[i]);
	free(names);
}

/* The names in the directory PATH, in the order in which people count; -ENOMEM. */
static int list_names(const char *path, char ***out, size_t *n_out)
{
	DIR *dir = opendir(path);
	const struct dirent *entry;
	char **names = NULL;
	size_t n = 0;
	int rc = 0;

	while (dir && n < NAMES_MAX && (entry = readdir(dir))) {
		char **more;

		if (entry->d_name[0] == '.')
			continue;
		more = realloc(names, (n + 1) * sizeof(*names));
		if (more)
			names = more;
		if (!more || !(names[n] = strdup(entry->d_name))) {
			rc = -ENOMEM;
			break;
		}
		n++;
	}
	if (dir)
		(void)closedir(dir);
	if (rc < 0) {
		free_names(names, n);
		return rc;
	}
	if (n > 1)
		qsort(names, n, sizeof(*names), compare_names);
	*out = names;
	*n_out = n;
	return 0;
}

/* A whole name that is a number below MAX; false for any other. */
static bool name_number(const char *name, unsigned max, unsigned *out)
{
	size_t len = strlen(name);
	unsigned long n;

	if (len == 0 || len > 6 || strspn(name, "0123456789") != len)
		return false;
	n = strtoul(name, NULL, 10);
	*out = (unsigned)n;
	return n < max;
}

/* Address I of P into G; false if the entry is empty. */
static bool gid_read(const struct rdma_port *p, unsigned i, struct rdma_gid *g,
                     struct in6_addr *addr)
{
	static const struct in6_addr none;
	char file[64];
	char line[64];

	*g = (struct rdma_gid){.index = i};
	(void)snprintf(file, sizeof(file), "gids/%u", i);
	port_line(p, file, line, sizeof(line));
	if (inet_pton(AF_INET6, line, addr) != 1 || memcmp(addr, &none, sizeof(none)) == 0)
		return false;
	(void)inet_ntop(AF_INET6, addr, g->text, sizeof(g->text));
	(void)snprintf(file, sizeof(file), "gid_attrs/types/%u", i);
	port_line(p, file, g->type, sizeof(g->type));
	(void)snprintf(file, sizeof(file), "gid_attrs/ndevs/%u", i);
	port_line(p, file, g->netdev, sizeof(g->netdev));
	return true;
}

/* How good G is for a connection; less is better, negative: not without being asked for. */
static int gid_rank(const struct rdma_port *p, struct rdma_gid *g, const struct in6_addr *addr)
{
	if (!p->ethernet) {
		g->why = "InfiniBand: goes by LID, and by this where it is routed";
		return 0;
	}
	if (strcmp(g->type, "RoCE v2") != 0) {
		g->why = "RoCE v1 cannot be routed";
		return -1;
	}
	if (IN6_IS_ADDR_LINKLOCAL(addr)) {
		g->why = "link-local: not taken unless SLIME_GID_INDEX asks for it";
		return -1;
	}
	if (IN6_IS_ADDR_V4MAPPED(addr)) {
		g->why = "RoCE v2 with an IPv4 address";
		return 0;
	}
	g->why = "RoCE v2 with a global IPv6 address";
	return 1;
}

/* What SLIME_GID_INDEX asks for; -1: nothing. */
static long gid_asked(void)
{
	const char *text = getenv("SLIME_GID_INDEX");
	unsigned n;

	return text && name_number(text, 65536, &n) ? (long)n : -1;
}

static int read_gids(struct rdma_port *p)
{
	char path[PATH_CAP];
	char **names = NULL;
	size_t n = 0;
	long asked = gid_asked();
	struct rdma_gid *best = NULL;
	int best_rank = -1;
	int rc;

	rdma_path(path, sizeof(path), "/sys/class/infiniband/%s/ports/%u/gids", p->device, p->port);
	rc = list_names(path, &names, &n);
	if (rc < 0)
		return rc;
	p->gids = calloc(n ? n : 1, sizeof(*p->gids));
	for (size_t i = 0; p->gids && i < n; i++) {
		struct rdma_gid *g = &p->gids[p->n_gids];
		struct in6_addr addr;
		unsigned index;
		int rank;

		if (!name_number(names[i], 65536, &index) || !gid_read(p, index, g, &addr))
			continue;
		p->n_gids++;
		rank = gid_rank(p, g, &addr);
		if (asked >= 0 && index == (unsigned long)asked) {
			g->why = "SLIME_GID_INDEX asks for it";
			best = g;
		} else if (asked < 0 && rank >= 0 && (!best || rank < best_rank)) {
			best = g;
			best_rank = rank;
		}
	}
	if (best)
		best->chosen = true;
	free_names(names, n);
	return p->gids ? 0 : -ENOMEM;
}

/* "400 Gb/sec (4X NDR)" */
static uint64_t rate_bits(const char *text)
{
	char *end;
	double gigabits = strtod(text, &end);

	if (end == text || strncmp(end, " Gb/sec", 7) != 0 || !(gigabits > 0) || gigabits > 1e6)
		return 0;
	return (uint64_t)(gigabits * 1e9);
}

static void read_driver(struct rdma_port *p)
{
	char path[PATH_CAP];
	char target[PATH_CAP];
	const char *name;
	ssize_t n;

	rdma_path(path, sizeof(path), "/sys/class/infiniband/%s/device/driver", p->device);
	n = readlink(path, target, sizeof(target) - 1);
	if (n <= 0)
		return;
	target[n] = '\0';
	name = strrchr(target, '/');
	(void)snprintf(p->driver, sizeof(p->driver), "%.31s", name ? name + 1 : target);
	plain_text(p->driver);
}

static int read_port(struct rdma_port *p)
{
	char line[64];

	port_state(p, "state", p->state, sizeof(p->state));
	port_state(p, "phys_state", p->phys_state, sizeof(p->phys_state));
	p->active = strcmp(p->state, "ACTIVE") == 0;
	port_line(p, "link_layer", line, sizeof(line));
	p->ethernet = strcmp(line, "InfiniBand") != 0;
	port_line(p, "rate", p->rate, sizeof(p->rate));
	p->bits_per_s = rate_bits(p->rate);
	port_line(p, "lid", line, sizeof(line));
	p->lid = (unsigned)strtoul(line, NULL, 0) & 0xffff;
	device_line(p, "device/numa_node", line, sizeof(line));
	p->numa = line[0] >= '0' && line[0] <= '9' ? (int)(strtoul(line, NULL, 10) & 0xffff) : -1;
	device_line(p, "fw_ver", p->firmware, sizeof(p->firmware));
	read_driver(p);
	return read_gids(p);
}

/* All ports of DEVICE, added to F. */
static int read_device(struct rdma_facts *f, const char *device)
{
	char path[PATH_CAP];
	char **names = NULL;
	size_t n = 0;
	int rc;

	if (strlen(device) >= sizeof(f->ports->device))
		return 0; /* the kernel's names are shorter */
	rdma_path(path, sizeof(path), "/sys/class/infiniband/%s/ports", device);
	rc = list_names(path, &names, &n);
	for (size_t i = 0; rc == 0 && i < n; i++) {
		struct rdma_port *more;
		unsigned port;

		if (!name_number(names[i], 256, &port) || port == 0)
			continue;
		more = realloc(f->ports, (f->n_ports + 1) * sizeof(*more));
		if (!more) {
			rc = -ENOMEM;
			break;
		}
		f->ports = more;
		more += f->n_ports++;
		*more = (struct rdma_port){.port = port};
		(void)strcpy(more->device, device);
		rc = read_port(more);
		plain_text(more->device);
	}
	free_names(names, n);
	return rc;
}

int rdma_facts_get(struct rdma_facts *out, struct slime_error *err)
{
	struct rdma_facts f = {0};
	char path[PATH_CAP];
	char **names = NULL;
	size_t n = 0;
	int rc = list_names(rdma_path(path, sizeof(path), "/sys/class/infiniband"), &names, &n);

	for (size_t i = 0; rc == 0 && i < n; i++)
		rc = read_device(&f, names[i]);
	free_names(names, n);
	if (rc < 0) {
		rdma_facts_put(&f);
		return refuse(err, rc, "no memory to list the RDMA devices");
	}
	*out = f;
	return 0;
}

void rdma_facts_put(struct rdma_facts *f)
{
	for (size_t i = 0; i < f->n_ports; i++)
		free(f->ports[i].gids);
	free(f->ports);
	*f = (struct rdma_facts){0};
}

const struct rdma_gid *rdma_port_gid(const struct rdma_port *p)
{
	for (size_t i = 0; i < p->n_gids; i++)
		if (p->gids[i].chosen)
			return &p->gids[i];
	return NULL;
}

const char *rdma_port_netdev(const struct rdma_port *p)
{
	for (size_t i = 0; i < p->n_gids; i++)
		if (p->gids[i].netdev[0])
			return p->gids[i].netdev;
	return "";
}
