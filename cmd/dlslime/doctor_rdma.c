/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What keeps RDMA from working or from being fast. Each look reads anew what the kernel
 * tells, and says nothing where there is no device; look_nic() speaks for all of them then.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "doctor_checks.h"
#include "rdma_facts.h"

enum { PATH_CAP = 512 };

/* The facts, if there is a port. */
static bool get_facts(struct rdma_facts *r)
{
	return rdma_facts_get(r, NULL) == 0 && r->n_ports > 0;
}

static void look_nic(struct finding *f)
{
	struct slime_error err;
	struct rdma_facts r;

	if (rdma_facts_get(&r, &err) < 0) {
		found(f, LEVEL_BETTER, "%s", err.text);
		return;
	}
	if (r.n_ports) {
		found(f, LEVEL_OK, "%zu port%s: 'dlslime info' lists %s", r.n_ports,
		      r.n_ports == 1 ? "" : "s", r.n_ports == 1 ? "it" : "them");
	} else {
		found(f, LEVEL_BETTER, "this kernel has no RDMA device, so rdma is not used");
		fix(f, "%s", rdma_no_nic);
	}
	rdma_facts_put(&r);
}

/* Driver of the kernel, and of libibverbs. */
static const char *provider_of(const struct rdma_port *p)
{
	static const char *const pairs[][2] = {
	    {"mlx5_core", "mlx5"}, {"mlx4_core", "mlx4"}, {"bnxt_en", "bnxt_re"}, {"ice", "irdma"},
	    {"i40e", "irdma"},     {"irdma", "irdma"},    {"hns3", "hns"},        {"efa", "efa"},
	    {"cxgb4", "cxgb4"},    {"qede", "qedr"},      {"erdma", "erdma"},     {"mana", "mana"},
	};

	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++)
		if (strcmp(p->driver, pairs[i][0]) == 0)
			return pairs[i][1];
	return strncmp(p->device, "rxe", 3) == 0 ? "rxe" : NULL;
}

/* The file by which libibverbs knows that PROVIDER is installed. */
static bool provider_there(const char *provider)
{
	char path[PATH_CAP];

	rdma_path(path, sizeof(path), "/etc/libibverbs.d/%s.driver", provider);
	return access(path, F_OK) == 0;
}

static void look_providers(const struct rdma_facts *r, struct finding *f)
{
	found(f, LEVEL_OK, "libibverbs is there, and has drivers for the devices");
	for (size_t i = 0; i < r->n_ports; i++) {
		const char *provider = provider_of(&r->ports[i]);

		if (!provider || provider_there(provider))
			continue;
		found(f, LEVEL_BETTER,
		      "libibverbs has no driver '%s' for %s: it does not list the device", provider,
		      r->ports[i].device);
		fix(f, "sudo apt-get install ibverbs-providers");
		return;
	}
}

static void look_library(struct finding *f)
{
	struct rdma_facts r;
	void *lib;

	if (!get_facts(&r))
		return;
	lib = dlopen("libibverbs.so.1", RTLD_NOW | RTLD_LOCAL);
	if (lib) {
		look_providers(&r, f);
		(void)dlclose(lib);
	} else {
		found(f, LEVEL_BETTER, "there is a device, but libibverbs is not installed");
		fix(f, "sudo apt-get install libibverbs1 ibverbs-providers");
	}
	rdma_facts_put(&r);
}

/* The devices by which user programs reach the NICs: one is enough to speak of. */
static void look_access(struct finding *f)
{
	char path[PATH_CAP];
	char dev[PATH_CAP];
	DIR *dir = opendir(rdma_path(path, sizeof(path), "/sys/class/infiniband_verbs"));
	const struct dirent *entry;
	int n = 0;
	int why = 0;

	while (dir && (entry = readdir(dir))) {
		int fd;

		if (strncmp(entry->d_name, "uverbs", 6) != 0 || strlen(entry->d_name) > 16)
			continue;
		n++;
		rdma_path(dev, sizeof(dev), "/dev/infiniband/%s", entry->d_name);
		fd = open(dev, O_RDWR | O_NONBLOCK | O_CLOEXEC);
		if (fd < 0) {
			why = errno;
			break;
		}
		(void)close(fd);
	}
	if (dir)
		(void)closedir(dir);
	if (!why) {
		if (n)
			found(f, LEVEL_OK, "the devices can be opened");
		return;
	}
	found(f, LEVEL_BETTER, "%s cannot be opened: %s", dev, strerror(why));
	if (why == ENOENT)
		fix(f,
		    "start the container with --device /dev/infiniband; on a host: sudo modprobe "
		    "ib_uverbs");
	else
		fix(f,
		    "sudo chmod 666 %s; for good: sudo apt-get install rdma-core (its udev rules)",
		    dev);
}

static void fix_port(const struct rdma_port *p, struct finding *f)
{
	const char *netdev = rdma_port_netdev(p);

	if (!p->ethernet && strcmp(p->state, "INIT") == 0)
		fix(f, "start a subnet manager in this fabric: sudo systemctl start opensm");
	else if (!p->ethernet)
		fix(f, "look at the cable and the switch: ibstat %s %u", p->device, p->port);
	else if (netdev[0])
		fix(f, "sudo ip link set %s up; then the cable: ethtool %s", netdev, netdev);
	else
		fix(f, "rdma link show %s/%u names its net device: sudo ip link set DEVICE up",
		    p->device, p->port);
}

static void look_port(struct finding *f)
{
	const struct rdma_port *down = NULL;
	struct rdma_facts r;
	size_t n_up = 0;

	if (!get_facts(&r))
		return;
	for (size_t i = 0; i < r.n_ports; i++) {
		n_up += r.ports[i].active;
		if (!r.ports[i].active && !down)
			down = &r.ports[i];
	}
	if (!down) {
		found(f, LEVEL_OK, "all are active");
	} else {
		found(f, LEVEL_BETTER, "%s port %u is %s (%s); %zu of %zu are active", down->device,
		      down->port, down->state, down->phys_state, n_up, r.n_ports);
		fix_port(down, f);
	}
	rdma_facts_put(&r);
}

static void look_gid(struct finding *f)
{
	const struct rdma_port *bad = NULL;
	struct rdma_facts r;
	size_t n = 0;

	if (!get_facts(&r))
		return;
	for (size_t i = 0; i < r.n_ports; i++) {
		n += r.ports[i].active;
		if (r.ports[i].active && !rdma_port_gid(&r.ports[i]) && !bad)
			bad = &r.ports[i];
	}
	if (!bad && n) {
		found(f, LEVEL_OK, "each active port has an address");
	} else if (!bad) {
		/* look_port() has said it */
	} else if (getenv("SLIME_GID_INDEX")) {
		found(f, LEVEL_BETTER, "%s port %u has no entry %s, which SLIME_GID_INDEX asks for",
		      bad->device, bad->port, getenv("SLIME_GID_INDEX"));
		fix(f, "unset SLIME_GID_INDEX, or take a number that 'dlslime info' lists");
	} else {
		const char *netdev = rdma_port_netdev(bad);

		found(f, LEVEL_BETTER,
		      "%s port %u has no address that others can reach: no RoCE v2 entry with an "
		      "IPv4 or a global IPv6 address",
		      bad->device, bad->port);
		fix(f, "sudo ip addr add 192.168.100.1/24 dev %s (an address of your network)",
		    netdev[0] ? netdev : "NETDEV");
	}
	rdma_facts_put(&r);
}

static bool module_there(const char *name)
{
	char path[PATH_CAP];

	return access(rdma_path(path, sizeof(path), "/sys/module/%s", name), F_OK) == 0;
}

/* Whether NICs can reach the memory of GPUs. */
static void look_gpu(struct finding *f)
{
	char path[PATH_CAP];
	char line[256] = "";
	struct rdma_facts r;

	if (!get_facts(&r))
		return;
	rdma_facts_put(&r);
	if (!module_there("nvidia")) {
		found(f, LEVEL_OK, "no driver of a GPU is loaded");
		return;
	}
	if (module_there("nvidia_peermem") || module_there("nv_peer_mem")) {
		found(f, LEVEL_OK, "the NICs can reach the memory of the GPUs (nvidia_peermem)");
		return;
	}
	rdma_path(path, sizeof(path), "/proc/driver/nvidia/version");
	if (rdma_line(path, line, sizeof(line)) && strstr(line, "Open Kernel Module")) {
		found(f, LEVEL_OK, "the driver of the GPUs gives their memory as dma-buf");
		return;
	}
	found(f, LEVEL_BETTER,
	      "the NICs cannot reach the memory of the GPUs: data takes a copy on "
	      "the host's memory");
	fix(f, "sudo modprobe nvidia_peermem; for good: echo nvidia_peermem | sudo tee "
	       "/etc/modules-load.d/nvidia_peermem.conf");
}

/* Losses: each packet of these is sent again, and everything behind it waits. */
static const char *const loss_counters[] = {
    "out_of_sequence",        "packet_seq_err",     "local_ack_timeout_err", "rnr_nak_retry_err",
    "out_of_buffer",          "roce_adp_retrans",   "rx_icrc_encapsulated",  "retry_exceeded_err",
    "retry_rnr_exceeded_err", "out_of_seq_request", "rcvd_seq_err",          "completer_retry_err",
};
/* The network asked to slow down. */
static const char *const ecn_counters[] = {
    "np_cnp_sent",
    "rp_cnp_handled",
    "np_ecn_marked_roce_packets",
};

/* Those that are not zero, as words into OUT; how many. */
static int read_counters(const struct rdma_port *p, const char *const *names, size_t n, char *out,
                         size_t cap)
{
	char path[PATH_CAP];
	char line[64];
	size_t len = 0;
	int count = 0;

	out[0] = '\0';
	for (size_t i = 0; i < n; i++) {
		int more;

		rdma_path(path, sizeof(path), "/sys/class/infiniband/%s/ports/%u/hw_counters/%s",
		          p->device, p->port, names[i]);
		if (!rdma_line(path, line, sizeof(line)) || line[0] < '1' || line[0] > '9')
			continue;
		line[strspn(line, "0123456789")] = '\0';
		more = snprintf(out + len, cap - len, "%s%s %s", len ? ", " : "", names[i], line);
		count++;
		if (more < 0 || (size_t)more >= cap - len)
			break;
		len += (size_t)more;
	}
	return count;
}

static void fix_losses(const struct rdma_port *p, struct finding *f)
{
	const char *netdev = rdma_port_netdev(p);

	if (strncmp(p->device, "rxe", 3) == 0 || !p->ethernet)
		fix(f,
		    "look at the links: rdma statistic show link %s/%u, and the same on the switch",
		    p->device, p->port);
	else
		fix(f,
		    "no loss for one class, here and on the switches: sudo mlnx_qos -i %s --trust dscp "
		    "--pfc 0,0,0,1,0,0,0,0, SLIME_TRAFFIC_CLASS=106; pauses: ethtool -S %s | grep pause",
		    netdev[0] ? netdev : "NETDEV", netdev[0] ? netdev : "NETDEV");
}

static void look_loss(struct finding *f)
{
	struct rdma_facts r;
	char words[224];

	if (!get_facts(&r))
		return;
	found(f, LEVEL_OK, "no packet was lost since the ports came up");
	for (size_t i = 0; i < r.n_ports; i++) {
		if (!read_counters(&r.ports[i], loss_counters,
		                   sizeof(loss_counters) / sizeof(*loss_counters), words,
		                   sizeof(words)))
			continue;
		found(f, LEVEL_BETTER, "%s port %u lost packets since it came up: %s",
		      r.ports[i].device, r.ports[i].port, words);
		fix_losses(&r.ports[i], f);
		break;
	}
	rdma_facts_put(&r);
}

static void look_ecn(struct finding *f)
{
	struct rdma_facts r;
	char words[224];

	if (!get_facts(&r))
		return;
	found(f, LEVEL_OK, "the network never asked to slow down");
	for (size_t i = 0; i < r.n_ports; i++) {
		if (!read_counters(&r.ports[i], ecn_counters,
		                   sizeof(ecn_counters) / sizeof(*ecn_counters), words,
		                   sizeof(words)))
			continue;
		found(f, LEVEL_OK, "the network asks %s to slow down (ECN): %s", r.ports[i].device,
		      words);
		break;
	}
	rdma_facts_put(&r);
}

const struct check doctor_rdma_checks[] = {
    {"rdma nic", look_nic},   {"rdma lib", look_library}, {"rdma access", look_access},
    {"rdma port", look_port}, {"rdma gid", look_gid},     {"rdma gpu", look_gpu},
    {"rdma loss", look_loss}, {"rdma ecn", look_ecn},
};

const unsigned n_doctor_rdma_checks = sizeof(doctor_rdma_checks) / sizeof(doctor_rdma_checks[0]);
