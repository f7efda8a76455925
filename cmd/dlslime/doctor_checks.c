/* SPDX-License-Identifier: BSD-3-Clause */
#include "doctor_checks.h"

#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "say.h"
#include "size.h"

void found(struct finding *f, enum level level, const char *fmt, ...)
{
	va_list ap;

	f->level = level;
	va_start(ap, fmt);
	(void)vsnprintf(f->found, sizeof(f->found), fmt, ap);
	va_end(ap);
}

void fix(struct finding *f, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	(void)vsnprintf(f->fix, sizeof(f->fix), fmt, ap);
	va_end(ap);
}

/* The first line of PATH; false if there is none. */
static int first_line(const char *path, char *out, size_t cap)
{
	FILE *f = fopen(path, "re");
	char *line = f ? fgets(out, (int)cap, f) : NULL;

	if (f)
		(void)fclose(f);
	if (!line)
		return 0;
	out[strcspn(out, "\n")] = '\0';
	return 1;
}

/* The first number in PATH, -1 if there is none. */
static long long number_in(const char *path)
{
	char line[128];

	if (!first_line(path, line, sizeof(line)) || line[0] < '0' || line[0] > '9')
		return -1;
	return strtoll(line, NULL, 10);
}

/* The kernel does not count what such a process locks. */
static bool has_cap_ipc_lock(void)
{
	const int cap_ipc_lock = 14;
	uint64_t caps = 0;
	char line[256];
	FILE *f = fopen("/proc/self/status", "re");

	while (f && caps == 0 && fgets(line, sizeof(line), f))
		(void)sscanf(line, "CapEff: %" SCNx64, &caps);
	if (f)
		(void)fclose(f);
	return caps >> cap_ipc_lock & 1;
}

static void look_memlock(struct finding *f)
{
	struct rlimit lim;
	char text[32];

	if (getrlimit(RLIMIT_MEMLOCK, &lim) < 0)
		return;
	if (lim.rlim_cur == RLIM_INFINITY || has_cap_ipc_lock()) {
		found(f, LEVEL_OK, "any amount of memory may be locked%s",
		      lim.rlim_cur == RLIM_INFINITY ? "" : " (CAP_IPC_LOCK)");
		return;
	}
	found(f, LEVEL_BETTER,
	      "%s may be locked: enough for shm and tcp, not for RDMA or SLIME_MEM_LOCK",
	      size_human(lim.rlim_cur, text, sizeof(text)));
	fix(f, "ulimit -l unlimited; for good: echo '* - memlock unlimited' | sudo tee "
	       "/etc/security/limits.d/90-dlslime.conf; in a container: --ulimit memlock=-1");
}

static void look_nofile(struct finding *f)
{
	struct rlimit lim;

	if (getrlimit(RLIMIT_NOFILE, &lim) < 0)
		return;
	if (lim.rlim_cur >= 8192) {
		found(f, LEVEL_OK, "%llu files may be open", (unsigned long long)lim.rlim_cur);
		return;
	}
	found(f, LEVEL_BETTER, "%llu files may be open: some hundred connections",
	      (unsigned long long)lim.rlim_cur);
	if (lim.rlim_max > lim.rlim_cur)
		fix(f, "ulimit -n $(ulimit -Hn)");
	else
		fix(f,
		    "echo '* - nofile 65536' | sudo tee /etc/security/limits.d/91-dlslime.conf, and "
		    "log in again");
}

static void look_yama(struct finding *f)
{
	long long scope = number_in("/proc/sys/kernel/yama/ptrace_scope");

	if (scope <= 0) {
		found(f, LEVEL_OK, "%s",
		      scope < 0 ? "no Yama in this kernel" : "ptrace_scope is 0");
		return;
	}
	found(f, LEVEL_BETTER,
	      "ptrace_scope is %lld: processes may not read each other's memory, so only memory "
	      "of slime_mem_alloc() goes over shm",
	      scope);
	fix(f, "sudo sysctl kernel.yama.ptrace_scope=0");
}

/*
 * In a child: read the parent's memory. That way round, because to read a
 * child's is allowed where to read a stranger's is not.
 */
static int read_parent(int parent, void *addr)
{
	char byte = 0;
	struct iovec here = {&byte, 1};
	struct iovec there = {addr, 1};

	if (process_vm_readv(parent, &here, 1, &there, 1, 0) != 1)
		return errno;
	return byte == 'x' ? 0 : EIO;
}

static void look_cma(struct finding *f)
{
	static char byte = 'x';
	int parent = getpid();
	int status = 0;
	int pid;

	(void)fflush(NULL); /* what is not written yet must not be written by both */
	pid = fork();
	if (pid == 0)
		_exit(read_parent(parent, &byte));
	if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status)) {
		found(f, LEVEL_BETTER, "could not be tried: no process to be had");
		return;
	}
	if (WEXITSTATUS(status) == 0) {
		found(f, LEVEL_OK, "one process can read another's memory (process_vm_readv)");
		return;
	}
	found(f, LEVEL_BETTER, "one process cannot read another's memory: %s",
	      strerror(WEXITSTATUS(status)));
	if (number_in("/proc/sys/kernel/yama/ptrace_scope") > 0)
		fix(f, "sudo sysctl kernel.yama.ptrace_scope=0");
	else
		fix(f, "start the container with --cap-add SYS_PTRACE");
}

static void look_memfd(struct finding *f)
{
	int fd = memfd_create("dlslime-doctor", MFD_CLOEXEC);
	const size_t len = 1 << 20;
	void *mem = MAP_FAILED;

	if (fd >= 0 && ftruncate(fd, (off_t)len) == 0)
		mem = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (mem == MAP_FAILED) {
		found(f, LEVEL_PROBLEM, "shared memory cannot be made (memfd_create): %s",
		      strerror(errno));
		fix(f, "allow memfd_create in the container's seccomp profile");
	} else {
		memset(mem, 1, len);
		(void)munmap(mem, len);
		found(f, LEVEL_OK, "shared memory can be made (memfd_create)");
	}
	if (fd >= 0)
		(void)close(fd);
}

/* FILE of our cgroup, version 2; else of the root that a container sees. */
static int cgroup_line(const char *file, char *out, size_t cap)
{
	char group[512];
	char path[640];

	if (!first_line("/proc/self/cgroup", group, sizeof(group)) || strncmp(group, "0::", 3) != 0)
		return 0;
	(void)snprintf(path, sizeof(path), "/sys/fs/cgroup%s/%s", group + 3, file);
	if (first_line(path, out, cap))
		return 1;
	(void)snprintf(path, sizeof(path), "/sys/fs/cgroup/%s", file);
	return first_line(path, out, cap);
}

static void look_memory(struct finding *f)
{
	uint64_t all = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
	char line[64];
	char text[32];
	uint64_t max = all;

	if (cgroup_line("memory.max", line, sizeof(line)) && line[0] >= '0' && line[0] <= '9')
		max = strtoull(line, NULL, 10);
	if (max >= all) {
		found(f, LEVEL_OK, "%s, without a limit of the control group",
		      size_human(all, text, sizeof(text)));
		return;
	}
	found(f, max < (uint64_t)512 << 20 ? LEVEL_BETTER : LEVEL_OK,
	      "the control group allows %s, shared memory included",
	      size_human(max, text, sizeof(text)));
	if (f->level == LEVEL_BETTER)
		fix(f, "start the container with --memory 4g");
}

static void look_cpus(struct finding *f)
{
	long all = sysconf(_SC_NPROCESSORS_ONLN);
	long long quota = 0;
	long long period = 0;
	char line[64];
	cpu_set_t set;
	double may = (double)all;

	if (sched_getaffinity(0, sizeof(set), &set) == 0)
		may = CPU_COUNT(&set);
	if (cgroup_line("cpu.max", line, sizeof(line)) &&
	    sscanf(line, "%lld %lld", &quota, &period) == 2 && period > 0 &&
	    (double)quota / (double)period < may)
		may = (double)quota / (double)period;
	if (may >= 2) {
		found(f, LEVEL_OK, "%g of %ld cpus may be used", may, all);
		return;
	}
	found(f, LEVEL_BETTER,
	      "%g of %ld cpus may be used: two ends that spin would wait for each other", may, all);
	fix(f, "%s",
	    may < (double)all ? "start the container with --cpus 2 or more"
	                      : "wait for completions with --block, not --poll");
}

static void look_huge_pages(struct finding *f)
{
	long long n = number_in("/proc/sys/vm/nr_hugepages");

	if (n > 0) {
		found(f, LEVEL_OK, "%lld huge pages are set aside", n);
		return;
	}
	found(f, LEVEL_BETTER,
	      "no huge pages are set aside: SLIME_MEM_HUGE gets what is left of "
	      "transparent ones");
	fix(f, "sudo sysctl vm.nr_hugepages=512");
}

static void look_thp(struct finding *f)
{
	char line[128];

	if (!first_line("/sys/kernel/mm/transparent_hugepage/enabled", line, sizeof(line))) {
		found(f, LEVEL_OK, "this kernel has no transparent huge pages");
		return;
	}
	if (!strstr(line, "[never]")) {
		found(f, LEVEL_OK, "transparent huge pages: %s", line);
		return;
	}
	found(f, LEVEL_BETTER, "transparent huge pages are off: large copies miss the TLB more");
	fix(f, "echo madvise | sudo tee /sys/kernel/mm/transparent_hugepage/enabled");
}

static void look_tcp_window(struct finding *f)
{
	const long long want = 16 << 20;
	long long rmem[3] = {0};
	long long wmem[3] = {0};
	char line[128];

	if (first_line("/proc/sys/net/ipv4/tcp_rmem", line, sizeof(line)))
		(void)sscanf(line, "%lld %lld %lld", &rmem[0], &rmem[1], &rmem[2]);
	if (first_line("/proc/sys/net/ipv4/tcp_wmem", line, sizeof(line)))
		(void)sscanf(line, "%lld %lld %lld", &wmem[0], &wmem[1], &wmem[2]);
	if (rmem[2] >= want && wmem[2] >= want) {
		found(f, LEVEL_OK, "TCP windows grow to %lld MiB",
		      (rmem[2] < wmem[2] ? rmem[2] : wmem[2]) >> 20);
		return;
	}
	found(
	    f, LEVEL_BETTER,
	    "TCP windows grow to %.1f MiB (receive) and %.1f MiB (send): a connection with a round "
	    "trip of 10 ms carries %.2f GB/s at most",
	    (double)rmem[2] / 1048576, (double)wmem[2] / 1048576,
	    (double)(rmem[2] < wmem[2] ? rmem[2] : wmem[2]) / 0.010 / 1e9);
	fix(f, "sudo sysctl net.ipv4.tcp_rmem='4096 131072 67108864' net.ipv4.tcp_wmem='4096 65536 "
	       "67108864'");
}

static void look_ipv6(struct finding *f)
{
	const struct sockaddr_in6 any = {.sin6_family = AF_INET6,
	                                 .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int rc = fd < 0 ? -1 : bind(fd, (const struct sockaddr *)&any, sizeof(any));

	if (rc == 0) {
		found(f, LEVEL_OK, "there");
	} else {
		found(f, LEVEL_BETTER,
		      "not there: %s; peers with IPv6 addresses only cannot be reached",
		      strerror(errno));
		fix(f,
		    "sudo sysctl net.ipv6.conf.all.disable_ipv6=0 net.ipv6.conf.lo.disable_ipv6=0");
	}
	if (fd >= 0)
		(void)close(fd);
}

static void look_ports(struct finding *f)
{
	long long first = 0;
	long long last = -1;
	char line[64];

	if (!first_line("/proc/sys/net/ipv4/ip_local_port_range", line, sizeof(line)) ||
	    sscanf(line, "%lld %lld", &first, &last) != 2) {
		found(f, LEVEL_OK, "the range of free ports is not to be seen here");
		return;
	}
	if (last - first >= 10000) {
		found(f, LEVEL_OK, "%lld ports for connections and listeners (%lld to %lld)",
		      last - first + 1, first, last);
		return;
	}
	found(f, LEVEL_BETTER, "only %lld ports for connections and listeners (%lld to %lld)",
	      last - first + 1, first, last);
	fix(f, "sudo sysctl net.ipv4.ip_local_port_range='32768 60999'");
}

static void look_governor(struct finding *f)
{
	char line[64];

	if (!first_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor", line,
	                sizeof(line))) {
		found(f, LEVEL_OK,
		      "the clock of the cpus is not managed here (a virtual machine?)");
		return;
	}
	if (strcmp(line, "performance") == 0) {
		found(f, LEVEL_OK, "the cpus keep their clock (performance)");
		return;
	}
	found(f, LEVEL_BETTER,
	      "the cpus lower their clock when idle (%s): short transfers take longer", line);
	fix(f, "sudo cpupower frequency-set -g performance");
}

static void look_clock(struct finding *f)
{
	static const char dir[] = "/sys/devices/system/clocksource/clocksource0/";
	char path[128];
	char now[64] = "unknown";
	char all[256] = "";

	(void)snprintf(path, sizeof(path), "%scurrent_clocksource", dir);
	if (!first_line(path, now, sizeof(now)) || strcmp(now, "tsc") == 0 ||
	    strcmp(now, "kvm-clock") == 0 || strncmp(now, "arch_sys", 8) == 0 ||
	    strncmp(now, "hyperv", 6) == 0) {
		found(f, LEVEL_OK, "reading the time takes no system call (%s)", now);
		return;
	}
	found(f, LEVEL_BETTER, "the time comes from '%s': reading it takes a system call", now);
	(void)snprintf(path, sizeof(path), "%savailable_clocksource", dir);
	if (first_line(path, all, sizeof(all)) && strstr(all, "tsc"))
		fix(f, "echo tsc | sudo tee %scurrent_clocksource", dir);
	else
		fix(f,
		    "boot with tsc=reliable on the kernel's command line, if the cpu is to be trusted");
}

static void look_container(struct finding *f)
{
	const ino_t first_pid_ns = 0xeffffffc; /* the kernel's constant */
	struct stat st;

	if (stat("/proc/self/ns/pid", &st) < 0 || st.st_ino == first_pid_ns) {
		found(f, LEVEL_OK, "no container: all processes of this host can be met");
		return;
	}
	found(f, LEVEL_BETTER,
	      "processes have a namespace of their own here: shm reaches only those "
	      "inside, others are reached over tcp");
	fix(f, "start the containers with a common namespace: --pid host --network host");
}

/* Easily forgotten in a shell, and then everything is slower. */
static void look_choice(struct finding *f)
{
	const char *set = getenv("DLSLIME_TRANSPORT");

	if (!set || !*set)
		return;
	found(
	    f, LEVEL_BETTER,
	    "DLSLIME_TRANSPORT is '%.80s': programs that name no transport choose from these only",
	    set);
	plain_text(f->found);
	fix(f, "unset DLSLIME_TRANSPORT");
}

const struct check doctor_checks[] = {
    {"choice", look_choice},
    {"cma", look_cma},
    {"yama", look_yama},
    {"memfd", look_memfd},
    {"container", look_container},
    {"memlock", look_memlock},
    {"open files", look_nofile},
    {"memory", look_memory},
    {"huge pages", look_huge_pages},
    {"thp", look_thp},
    {"cpus", look_cpus},
    {"governor", look_governor},
    {"clock", look_clock},
    {"ipv6", look_ipv6},
    {"ports", look_ports},
    {"tcp window", look_tcp_window},
};

const unsigned n_doctor_checks = sizeof(doctor_checks) / sizeof(doctor_checks[0]);
