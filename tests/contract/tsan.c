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
 *    (peer.c) looks at its memory when the near one says that a write is complete,
 *    and before the next one begins. It looks between tsan_blind() calls.
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
void AnnotateIgnoreWritesBegin(const char *file, int line);
void AnnotateIgnoreWritesEnd(const char *file, int line);
ssize_t __interceptor_sendmsg(int fd, const struct msghdr *msg, int flags);

__attribute__((visibility("default"))) ssize_t sendmsg(int fd, const struct msghdr *msg, int flags)
{
	ssize_t n;

	AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
	n = __interceptor_sendmsg(fd, msg, flags);
	AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
	return n;
}

void tsan_blind(bool blind)
{
	if (blind) {
		AnnotateIgnoreReadsBegin(__FILE__, __LINE__);
		AnnotateIgnoreWritesBegin(__FILE__, __LINE__);
	} else {
		AnnotateIgnoreWritesEnd(__FILE__, __LINE__);
		AnnotateIgnoreReadsEnd(__FILE__, __LINE__);
	}
}

#else

void tsan_blind(bool blind)
{
	(void)blind;
}

#endif
