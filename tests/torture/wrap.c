/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/torture/wrap.c - see wrap.h; the list of what is wrapped is in wrap.txt. */
#include "wrap.h"

#include <errno.h>
#include <fcntl.h>
#include <ifaddrs.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <slime/base.h>

/* The linker makes the __real names out of the true ones. */
void *__real_malloc(size_t len);
void *__real_calloc(size_t n, size_t len);
void *__real_realloc(void *old, size_t len);
void __real_free(void *mem);
int __real_posix_memalign(void **out, size_t align, size_t len);
void *__real_aligned_alloc(size_t align, size_t len);
char *__real_strdup(const char *text);
void *__real_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off);
int __real_socket(int domain, int type, int protocol);
int __real_socketpair(int domain, int type, int protocol, int fds[2]);
int __real_accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags);
int __real_eventfd(unsigned initial, int flags);
int __real_epoll_create1(int flags);
int __real_memfd_create(const char *name, unsigned flags);
FILE *__real_fopen(const char *path, const char *mode);
int __real_getifaddrs(struct ifaddrs **out);
ssize_t __real_recvmsg(int fd, struct msghdr *msg, int flags);
int __real_timerfd_create(int clock, int flags);
int __real_open(const char *path, int flags, ...);
int __real_open64(const char *path, int flags, ...);
int __real_pidfd_open(pid_t pid, unsigned flags);
int __real_pthread_mutex_lock(pthread_mutex_t *mutex);
int __real_pthread_mutex_trylock(pthread_mutex_t *mutex);

void *__wrap_malloc(size_t len);
void *__wrap_calloc(size_t n, size_t len);
void *__wrap_realloc(void *old, size_t len);
void __wrap_free(void *mem);
int __wrap_posix_memalign(void **out, size_t align, size_t len);
void *__wrap_aligned_alloc(size_t align, size_t len);
char *__wrap_strdup(const char *text);
void *__wrap_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off);
int __wrap_socket(int domain, int type, int protocol);
int __wrap_socketpair(int domain, int type, int protocol, int fds[2]);
int __wrap_accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags);
int __wrap_eventfd(unsigned initial, int flags);
int __wrap_epoll_create1(int flags);
int __wrap_memfd_create(const char *name, unsigned flags);
FILE *__wrap_fopen(const char *path, const char *mode);
int __wrap_getifaddrs(struct ifaddrs **out);
ssize_t __wrap_recvmsg(int fd, struct msghdr *msg, int flags);
int __wrap_timerfd_create(int clock, int flags);
int __wrap_open(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);
int __wrap_pidfd_open(pid_t pid, unsigned flags);
int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex);
int __wrap_pthread_mutex_trylock(pthread_mutex_t *mutex);
void __wrap_sl_log(enum slime_log_level level, const char *fmt, ...);

static _Atomic uint64_t countdown[WRAP_N];
static _Atomic bool failed;
static _Atomic int64_t live;
static _Thread_local struct wrap_counts counts;

void wrap_fail(enum wrap_kind kind, uint64_t n)
{
	for (int i = 0; i < WRAP_N; i++)
		atomic_store(&countdown[i], 0);
	atomic_store(&failed, false);
	atomic_store(&countdown[kind], n);
}

bool wrap_failed(void)
{
	return atomic_load(&failed);
}

int64_t wrap_live(void)
{
	return atomic_load(&live);
}

void wrap_reset(void)
{
	counts = (struct wrap_counts){0};
}

struct wrap_counts wrap_counts(void)
{
	return counts;
}

/* Is this the call that must fail? Then errno is set. */
static bool fails(enum wrap_kind kind)
{
	uint64_t left = atomic_load(&countdown[kind]);

	while (left && !atomic_compare_exchange_weak(&countdown[kind], &left, left - 1))
		;
	if (left != 1)
		return false;
	atomic_store(&failed, true);
	errno = kind == WRAP_MEMORY ? ENOMEM : EMFILE;
	return true;
}

static void *made(void *mem)
{
	counts.allocs++;
	if (mem)
		(void)atomic_fetch_add(&live, 1);
	return mem;
}

void *__wrap_malloc(size_t len)
{
	return fails(WRAP_MEMORY) ? NULL : made(__real_malloc(len));
}

void *__wrap_calloc(size_t n, size_t len)
{
	return fails(WRAP_MEMORY) ? NULL : made(__real_calloc(n, len));
}

void *__wrap_realloc(void *old, size_t len)
{
	void *mem = fails(WRAP_MEMORY) ? NULL : __real_realloc(old, len);

	counts.allocs++;
	if (mem && !old)
		(void)atomic_fetch_add(&live, 1);
	return mem;
}

void __wrap_free(void *mem)
{
	if (mem)
		(void)atomic_fetch_sub(&live, 1);
	__real_free(mem);
}

int __wrap_posix_memalign(void **out, size_t align, size_t len)
{
	int rc = fails(WRAP_MEMORY) ? ENOMEM : __real_posix_memalign(out, align, len);

	if (!rc)
		(void)made(*out);
	return rc;
}

void *__wrap_aligned_alloc(size_t align, size_t len)
{
	return fails(WRAP_MEMORY) ? NULL : made(__real_aligned_alloc(align, len));
}

char *__wrap_strdup(const char *text)
{
	return fails(WRAP_MEMORY) ? NULL : made(__real_strdup(text));
}

void *__wrap_mmap(void *addr, size_t len, int prot, int flags, int fd, off_t off)
{
	counts.syscalls++;
	return fails(WRAP_MEMORY) ? MAP_FAILED : __real_mmap(addr, len, prot, flags, fd, off);
}

int __wrap_socket(int domain, int type, int protocol)
{
	return fails(WRAP_FD) ? -1 : __real_socket(domain, type, protocol);
}

int __wrap_socketpair(int domain, int type, int protocol, int fds[2])
{
	return fails(WRAP_FD) ? -1 : __real_socketpair(domain, type, protocol, fds);
}

/* As the kernel does it, the connection that could not be accepted stays in the queue. */
int __wrap_accept4(int fd, struct sockaddr *addr, socklen_t *len, int flags)
{
	return fails(WRAP_FD) ? -1 : __real_accept4(fd, addr, len, flags);
}

int __wrap_eventfd(unsigned initial, int flags)
{
	return fails(WRAP_FD) ? -1 : __real_eventfd(initial, flags);
}

int __wrap_epoll_create1(int flags)
{
	return fails(WRAP_FD) ? -1 : __real_epoll_create1(flags);
}

int __wrap_memfd_create(const char *name, unsigned flags)
{
	return fails(WRAP_FD) ? -1 : __real_memfd_create(name, flags);
}

int __wrap_timerfd_create(int clock, int flags)
{
	return fails(WRAP_FD) ? -1 : __real_timerfd_create(clock, flags);
}

FILE *__wrap_fopen(const char *path, const char *mode)
{
	return fails(WRAP_FD) ? NULL : __real_fopen(path, mode);
}

int __wrap_getifaddrs(struct ifaddrs **out)
{
	return fails(WRAP_MEMORY) ? -1 : __real_getifaddrs(out);
}

/* A process without room for the descriptors of a message gets the message without them. */
static void lose_descriptors(struct msghdr *msg)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(msg); c; c = CMSG_NXTHDR(msg, c)) {
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(fd), sizeof(fd));
			(void)close(fd);
		}
	}
	msg->msg_controllen = 0;
	msg->msg_flags |= MSG_CTRUNC;
}

static bool brings_descriptors(struct msghdr *msg)
{
	struct cmsghdr *c = msg->msg_controllen ? CMSG_FIRSTHDR(msg) : NULL;

	return c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS;
}

ssize_t __wrap_recvmsg(int fd, struct msghdr *msg, int flags)
{
	ssize_t n = __real_recvmsg(fd, msg, flags);

	if (n >= 0 && brings_descriptors(msg) && fails(WRAP_FD))
		lose_descriptors(msg);
	return n;
}

static mode_t mode_of(int flags, va_list ap)
{
	return flags & O_CREAT ? va_arg(ap, mode_t) : 0;
}

int __wrap_open(const char *path, int flags, ...)
{
	va_list ap;
	mode_t mode;

	va_start(ap, flags);
	mode = mode_of(flags, ap);
	va_end(ap);
	return fails(WRAP_FD) ? -1 : __real_open(path, flags, mode);
}

int __wrap_open64(const char *path, int flags, ...)
{
	va_list ap;
	mode_t mode;

	va_start(ap, flags);
	mode = mode_of(flags, ap);
	va_end(ap);
	return fails(WRAP_FD) ? -1 : __real_open64(path, flags, mode);
}

int __wrap_pidfd_open(pid_t pid, unsigned flags)
{
	return fails(WRAP_FD) ? -1 : __real_pidfd_open(pid, flags);
}

int __wrap_pthread_mutex_lock(pthread_mutex_t *mutex)
{
	counts.locks++;
	return __real_pthread_mutex_lock(mutex);
}

int __wrap_pthread_mutex_trylock(pthread_mutex_t *mutex)
{
	int rc = __real_pthread_mutex_trylock(mutex);

	counts.locks += rc == 0;
	return rc;
}

/* Counted, and not written: the torture tests do what would be worth a line all the time. */
void __wrap_sl_log(enum slime_log_level level, const char *fmt, ...)
{
	(void)level;
	(void)fmt;
	counts.logs++;
}
