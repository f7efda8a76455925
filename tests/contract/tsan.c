/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/contract/tsan.c - what ThreadSanitizer cannot see by itself.
 *
 * It orders two threads that talk through sockets, but with two blind spots:
 *
 *  - It takes the memory that sendmsg() reads for read after the bytes have left,
 *    so an owner who changes it when the peer says "I have it" seems to race.
 *    Here sendmsg() reads unseen. (That nothing is sent too late is checked by
 *    patterns in memory.)
 *  - It cannot see an order that goes through another process: the far process
 *    (peer.c) looks at memory that the library's thread wrote when the near one
 *    says that its write is complete. tsan_catch_up() tells it.
 */
#include <sys/socket.h>

#include "contract.h"

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define UNDER_TSAN 1
#endif
#elif defined(__SANITIZE_THREAD__)
#define UNDER_TSAN 1
#endif

#ifdef UNDER_TSAN

void AnnotateIgnoreReadsBegin(const char *file, int line);
void AnnotateIgnoreReadsEnd(const char *file, int line);
void __tsan_acquire(void *addr);
void __tsan_release(void *addr);
ssize_t __interceptor_sendmsg(int fd, const struct msghdr *msg, int flags);

static char sent; /* stands for all that was sent */

__attribute__((visibility("default"))) ssize_t sendmsg(int fd, const struct msghdr *msg, int flags)
{
	ssize_t n;

	__tsan_release(&sent);
	AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
	n = __interceptor_sendmsg(fd, msg, flags);
	AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
	return n;
}

void tsan_catch_up(void)
{
	__tsan_acquire(&sent);
}

#else

void tsan_catch_up(void)
{
}

#endif
