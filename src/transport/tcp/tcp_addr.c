/* SPDX-License-Identifier: BSD-3-Clause */
/* transport/tcp/tcp_addr.c - where we listen, what we publish, where we dial. */
#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/error.h"
#include "base/file.h"
#include "base/wire.h"
#include "transport/tcp/tcp_impl.h"

static struct sockaddr_in *in4(const struct tcp_addr *a)
{
	union {
		const struct sockaddr_storage *in;
		struct sockaddr_in *out;
	} u = {.in = &a->sa};

	return u.out;
}

static struct sockaddr_in6 *in6(const struct tcp_addr *a)
{
	union {
		const struct sockaddr_storage *in;
		struct sockaddr_in6 *out;
	} u = {.in = &a->sa};

	return u.out;
}

bool sl_tcp_is_loopback(const struct tcp_addr *a)
{
	if (a->sa.ss_family == AF_INET)
		return ntohl(in4(a)->sin_addr.s_addr) >> 24 == 127;
	return IN6_IS_ADDR_LOOPBACK(&in6(a)->sin6_addr);
}

/* Do packets to the other end of FD never leave this host? */
static bool ends_here(int fd)
{
	struct tcp_addr me = {.len = sizeof(me.sa)}, peer = {.len = sizeof(peer.sa)};

	if (getsockname(fd, (struct sockaddr *)&me.sa, &me.len) ||
	    getpeername(fd, (struct sockaddr *)&peer.sa, &peer.len) ||
	    me.sa.ss_family != peer.sa.ss_family)
		return false;
	if (me.sa.ss_family == AF_INET)
		return in4(&me)->sin_addr.s_addr == in4(&peer)->sin_addr.s_addr;
	return IN6_ARE_ADDR_EQUAL(&in6(&me)->sin6_addr, &in6(&peer)->sin6_addr);
}

/*
 * Within a host nothing is under way for long, so what the kernel's own choice of the buffer
 * (4 MiB and more) adds is only that bytes leave the cache before they are taken out: figures
 * in docs/performance.md. The kernel doubles the number, and caps it at net.core.wmem_max
 * (208 KiB by default), which is still better than its choice.
 */
static const int near_buf = 512 << 10;

void sl_tcp_tune(int fd)
{
	static const int one = 1;

	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (ends_here(fd))
		(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &near_buf, sizeof(near_buf));
}

void sl_tcp_addr_text(const struct tcp_addr *a, char *out, size_t cap)
{
	char host[INET6_ADDRSTRLEN] = "?";

	if (a->sa.ss_family == AF_INET) {
		(void)inet_ntop(AF_INET, &in4(a)->sin_addr, host, sizeof(host));
		(void)snprintf(out, cap, "%s:%u", host, ntohs(in4(a)->sin_port));
	} else {
		(void)inet_ntop(AF_INET6, &in6(a)->sin6_addr, host, sizeof(host));
		(void)snprintf(out, cap, "[%s]:%u", host, ntohs(in6(a)->sin6_port));
	}
}

static void set_port(struct tcp_addr *a, uint16_t port)
{
	if (a->sa.ss_family == AF_INET)
		in4(a)->sin_port = htons(port);
	else
		in6(a)->sin6_port = htons(port);
}

/* An address of this host that a peer may dial: no link-local ones, they need a scope. */
static bool take_addr(const struct sockaddr *sa, struct tcp_addr *out)
{
	*out = (struct tcp_addr){0};
	if (sa->sa_family == AF_INET) {
		out->len = sizeof(struct sockaddr_in);
		memcpy(&out->sa, sa, out->len);
		return ntohl(in4(out)->sin_addr.s_addr) >> 16 != 0xa9fe;
	}
	if (sa->sa_family == AF_INET6) {
		out->len = sizeof(struct sockaddr_in6);
		memcpy(&out->sa, sa, out->len);
		return !IN6_IS_ADDR_LINKLOCAL(&in6(out)->sin6_addr);
	}
	return false;
}

static uint64_t line_rate(const char *ifname)
{
	char path[128], text[32];
	long mbit;

	(void)snprintf(path, sizeof(path), "/sys/class/net/%s/speed", ifname);
	if (sl_file_read(path, text, sizeof(text)))
		return 0;
	mbit = strtol(text, NULL, 10);
	return mbit > 0 ? (uint64_t)mbit * 125000 : 0;
}

int sl_tcp_list_devices(struct sl_dev_info *out, size_t cap, struct slime_error *err)
{
	struct ifaddrs *all;
	int n = 0;

	if (getifaddrs(&all))
		return sl_fail(err, -errno, "the system does not list its network interfaces");
	for (struct ifaddrs *i = all; i; i = i->ifa_next) {
		struct tcp_addr a;
		bool known = false;

		if (!i->ifa_addr || !(i->ifa_flags & IFF_UP) || !take_addr(i->ifa_addr, &a))
			continue;
		for (int k = 0; k < n && (size_t)k < cap; k++)
			known = known || !strcmp(out[k].name, i->ifa_name);
		if (known)
			continue;
		if ((size_t)n < cap) {
			out[n] = (struct sl_dev_info){
			    .numa = -1,
			    .up = i->ifa_flags & IFF_RUNNING,
			    .bytes_per_s = line_rate(i->ifa_name),
			};
			(void)snprintf(out[n].name, sizeof(out[n].name), "%s", i->ifa_name);
		}
		n++;
	}
	freeifaddrs(all);
	return n ? n : sl_fail(err, -ENODEV, "no network interface is up and has an address");
}

/* Who shares boot and network namespace reaches the same loopback addresses. */
uint64_t sl_tcp_host_tag(void)
{
	char text[128] = "";
	struct stat st = {0};
	size_t n;

	(void)sl_file_read("/proc/sys/kernel/random/boot_id", text, 65);
	n = strlen(text);
	if (stat("/proc/self/ns/net", &st) == 0)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%ju", (uintmax_t)st.st_ino);
	return XXH64(text, n, 0);
}

static void add_addr(struct sl_dom *dom, const struct tcp_addr *a)
{
	if (dom->naddrs < TCP_ADDRS)
		dom->addr[dom->naddrs++] = *a;
}

/* Addresses of interface DEVICE (NULL: all): those that others can reach first. */
static int collect(struct sl_dom *dom, const char *device)
{
	struct ifaddrs *all;
	struct tcp_addr a;

	if (getifaddrs(&all))
		return -errno;
	for (int loopback = 0; loopback < 2; loopback++) {
		for (struct ifaddrs *i = all; i; i = i->ifa_next) {
			if (!i->ifa_addr || !(i->ifa_flags & IFF_UP) ||
			    (device && strcmp(device, i->ifa_name)) || !take_addr(i->ifa_addr, &a))
				continue;
			if (sl_tcp_is_loopback(&a) == loopback)
				add_addr(dom, &a);
		}
	}
	freeifaddrs(all);
	return 0;
}

static bool parse_addr(const char *text, struct tcp_addr *out)
{
	*out = (struct tcp_addr){0};
	if (inet_pton(AF_INET, text, &in4(out)->sin_addr) == 1) {
		out->sa.ss_family = AF_INET;
		out->len = sizeof(struct sockaddr_in);
		return true;
	}
	if (inet_pton(AF_INET6, text, &in6(out)->sin6_addr) == 1) {
		out->sa.ss_family = AF_INET6;
		out->len = sizeof(struct sockaddr_in6);
		return true;
	}
	return false;
}

/* Bind to A; an IPv6 "any" takes both families. */
static int bind_to(struct tcp_fd *fd, const struct tcp_addr *a, uint16_t *out_port)
{
	struct tcp_addr got = {.len = sizeof(got.sa)};
	int s = socket(a->sa.ss_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	int off = 0, on = 1;

	if (s < 0)
		return -errno;
	/* who comes back to a fixed port finds the connections that ended there still waiting */
	(void)setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
	if (a->sa.ss_family == AF_INET6)
		(void)setsockopt(s, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
	if (bind(s, (const struct sockaddr *)&a->sa, a->len) || listen(s, SOMAXCONN) ||
	    getsockname(s, (struct sockaddr *)&got.sa, &got.len)) {
		int rc = -errno;

		(void)close(s);
		return rc;
	}
	*out_port = ntohs(got.sa.ss_family == AF_INET ? in4(&got)->sin_port : in6(&got)->sin6_port);
	fd->fd = s;
	return 0;
}

/* Take the port off "eth1:7000", "10.0.0.7:7000", "[fd00::7]:7000", ":7000"; -1: there is none. */
static int split_port(const char *device, char *host, size_t cap)
{
	const char *colon = strrchr(device, ':');
	size_t len = colon ? (size_t)(colon - device) : 0;
	unsigned long port;
	char *end;

	if (!colon || colon[1] < '0' || colon[1] > '9')
		return -1;
	port = strtoul(colon + 1, &end, 10);
	if (*end || port > UINT16_MAX)
		return -1;
	if (len > 2 && device[0] == '[' && device[len - 1] == ']') {
		device++;
		len -= 2;
	}
	if (len >= cap)
		return -1;
	memcpy(host, device, len);
	host[len] = '\0';
	return (int)port;
}

/* The addresses to publish for HOST, an address or an interface. */
static int find(struct sl_dom *dom, const char *host)
{
	struct tcp_addr a;

	if (!parse_addr(host, &a))
		return collect(dom, host);
	add_addr(dom, &a);
	return 0;
}

/* Those of DEVICE, first without a port: there are interfaces called eth0:1. */
static int find_device(struct sl_dom *dom, const char *device, uint16_t *port, bool *any)
{
	char host[64];
	int found;
	int rc;

	*any = !device;
	if (!device)
		return collect(dom, NULL);
	rc = find(dom, device);
	if (rc || dom->naddrs)
		return rc;
	found = split_port(device, host, sizeof(host));
	if (found < 0)
		return 0;
	*port = (uint16_t)found;
	*any = !*host;
	return *any ? collect(dom, NULL) : find(dom, host);
}

int sl_tcp_listen(struct sl_dom *dom, const char *device, struct slime_error *err)
{
	struct tcp_addr where;
	uint16_t port = 0;
	char buf[64];
	bool any;
	int rc = find_device(dom, device, &port, &any);

	if (rc)
		return sl_fail(err, rc, "the system does not list its network interfaces");
	if (!any && !dom->naddrs)
		return sl_fail(
		    err, -ENODEV,
		    "'%s' is no interface that is up and no address, with or without a port",
		    device);
	if (any)
		(void)parse_addr("::", &where);
	else
		where = dom->addr[0];
	set_port(&where, port);
	rc = bind_to(&dom->listener, &where, &port);
	if (rc && any && rc != -EADDRINUSE) { /* no IPv6 here */
		(void)parse_addr("0.0.0.0", &where);
		set_port(&where, port);
		rc = bind_to(&dom->listener, &where, &port);
	}
	if (rc)
		return sl_fail(err, rc, "cannot listen on %s: %s", device ? device : "any address",
		               sl_error_name(rc, buf, sizeof(buf)));
	if (!any)
		dom->naddrs = 1; /* the listener has this one only */
	for (unsigned i = 0; i < dom->naddrs; i++)
		set_port(&dom->addr[i], port);
	return 0;
}

/* u8 version, u8 n, u64 host; n of: u8 4 or 6, the address, u16 port; u64 id, secret. */
int sl_tcp_pack_addrs(const struct sl_dom *dom, const struct sl_conn *conn, struct sl_blob *out)
{
	struct sl_wire w = sl_wire_on(out->bytes, sizeof(out->bytes));
	/* the other lanes of a device are found where lane 0 is */
	unsigned n = conn != conn->first && conn->first->dom == dom ? 0 : dom->naddrs;

	sl_wire_put_uint(&w, 1, 1);
	sl_wire_put_uint(&w, n, 1);
	sl_wire_put_uint(&w, dom->host, 8);
	for (unsigned i = 0; i < n; i++) {
		const struct tcp_addr *a = &dom->addr[i];

		if (a->sa.ss_family == AF_INET) {
			sl_wire_put_uint(&w, 4, 1);
			sl_wire_put(&w, &in4(a)->sin_addr, 4);
			sl_wire_put_uint(&w, ntohs(in4(a)->sin_port), 2);
		} else {
			sl_wire_put_uint(&w, 6, 1);
			sl_wire_put(&w, &in6(a)->sin6_addr, 16);
			sl_wire_put_uint(&w, ntohs(in6(a)->sin6_port), 2);
		}
	}
	sl_wire_put_uint(&w, conn->me.id, 8);
	sl_wire_put(&w, conn->me.secret, sizeof(conn->me.secret));
	out->len = (uint32_t)(w.p - out->bytes);
	return w.bad ? -EMSGSIZE : 0;
}

static bool unpack_one(struct sl_wire *w, struct tcp_addr *a)
{
	unsigned family = (unsigned)sl_wire_get_uint(w, 1);

	*a = (struct tcp_addr){0};
	if (family == 4) {
		a->sa.ss_family = AF_INET;
		a->len = sizeof(struct sockaddr_in);
		sl_wire_get(w, &in4(a)->sin_addr, 4);
	} else if (family == 6) {
		a->sa.ss_family = AF_INET6;
		a->len = sizeof(struct sockaddr_in6);
		sl_wire_get(w, &in6(a)->sin6_addr, 16);
	} else {
		return false;
	}
	set_port(a, (uint16_t)sl_wire_get_uint(w, 2));
	return !w->bad;
}

/* Keep of the peer's addresses what can lead to it: its loopback ones only from its own host. */
int sl_tcp_unpack_addrs(struct sl_conn *conn, const struct sl_blob *blob, struct slime_error *err)
{
	struct sl_blob copy = *blob;
	struct sl_wire w = sl_wire_on(copy.bytes, copy.len);
	struct tcp_addr far[TCP_ADDRS], near[TCP_ADDRS];
	unsigned nfar = 0, nnear = 0, n;
	unsigned version = (unsigned)sl_wire_get_uint(&w, 1);
	bool here;

	n = (unsigned)sl_wire_get_uint(&w, 1);
	here = sl_wire_get_uint(&w, 8) == conn->dom->host;
	if (w.bad || version != 1 || n > TCP_ADDRS)
		return sl_fail(err, -EPROTO, "a tcp address of %u bytes, version %u", blob->len,
		               version);
	for (unsigned i = 0; i < n; i++) {
		struct tcp_addr a;

		if (!unpack_one(&w, &a))
			return sl_fail(err, -EPROTO, "tcp address %u of %u is damaged", i + 1, n);
		if (!sl_tcp_is_loopback(&a))
			far[nfar++] = a;
		else if (here)
			near[nnear++] = a;
	}
	conn->peer.id = sl_wire_get_uint(&w, 8);
	sl_wire_get(&w, conn->peer.secret, sizeof(conn->peer.secret));
	if (w.bad || sl_wire_left(&w))
		return sl_fail(err, -EPROTO, "a tcp address of %u bytes", blob->len);
	if (nnear)
		memcpy(conn->addr, near, nnear * sizeof(near[0]));
	memcpy(conn->addr + nnear, far,
	       (nnear + nfar <= TCP_ADDRS ? nfar : TCP_ADDRS - nnear) * sizeof(far[0]));
	conn->naddrs = nnear + nfar <= TCP_ADDRS ? nnear + nfar : TCP_ADDRS;
	return 0;
}
