/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/foreign.h"
#include "transport/tcp/tcp_impl.h"

void sl_tcp_batch_reset(struct tcp_batch *b)
{
	b->at = b->n = b->used = b->fragile = 0;
	b->total = 0;
	if (b->zeros)
		(void)munmap(b->zeros, b->zeros_len);
	b->zeros = NULL;
}

uint8_t *sl_tcp_batch_put(struct tcp_batch *b, unsigned len)
{
	uint8_t *p = b->buf + b->used;
	struct iovec *last = b->n > b->at ? &b->v[b->n - 1] : NULL;

	b->used += len;
	b->total += len;
	if (last && (uint8_t *)last->iov_base + last->iov_len == p)
		last->iov_len += len;
	else
		b->v[b->n++] = (struct iovec){p, len};
	return p;
}

void sl_tcp_batch_ref(struct tcp_batch *b, void *addr, size_t len)
{
	if (!len)
		return;
	b->v[b->n++] = (struct iovec){addr, len};
	b->total += len;
}

void sl_tcp_batch_doubt(struct tcp_batch *b)
{
	if (!b->fragile)
		b->fragile = b->n + 1;
}

static bool is_own(const struct tcp_batch *b, const void *p)
{
	return (const uint8_t *)p >= b->buf && (const uint8_t *)p < b->buf + TCP_BATCH_BUF;
}

/* Pages of zeros cost nothing until they are written to, which they are not. */
bool sl_tcp_batch_void(struct tcp_batch *b)
{
	unsigned from = b->fragile - 1 > b->at ? b->fragile - 1 : b->at;
	size_t longest = 0;
	void *zeros;

	if (!b->fragile || b->zeros)
		return false;
	for (unsigned i = from; i < b->n; i++)
		if (!is_own(b, b->v[i].iov_base) && b->v[i].iov_len > longest)
			longest = b->v[i].iov_len;
	zeros = mmap(NULL, longest, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (zeros == MAP_FAILED)
		return false;
	b->zeros = zeros;
	b->zeros_len = longest;
	for (unsigned i = from; i < b->n; i++)
		if (!is_own(b, b->v[i].iov_base))
			b->v[i].iov_base = zeros;
	return true;
}

static void skip(struct tcp_batch *b, size_t bytes)
{
	while (bytes) {
		struct iovec *v = &b->v[b->at];
		size_t n = bytes < v->iov_len ? bytes : v->iov_len;

		v->iov_base = (char *)v->iov_base + n;
		v->iov_len -= n;
		bytes -= n;
		if (!v->iov_len)
			b->at++;
	}
}

ssize_t sl_tcp_batch_send(struct tcp_batch *b, int fd)
{
	struct msghdr msg = {.msg_iov = b->v + b->at, .msg_iovlen = b->n - b->at};
	const int flags = MSG_DONTWAIT | MSG_NOSIGNAL;
	ssize_t n;

	do
		n = msg.msg_iovlen == 1 /* the kernel has less to do */
		        ? send(fd, msg.msg_iov->iov_base, msg.msg_iov->iov_len, flags)
		        : sendmsg(fd, &msg, flags);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return errno == EWOULDBLOCK ? -EAGAIN : -errno;
	skip(b, (size_t)n);
	return n;
}

int sl_tcp_scatter(const struct iovec *v, unsigned n, const uint8_t *from, bool checked)
{
	for (unsigned i = 0; i < n; from += v[i++].iov_len) {
		if (!checked) {
			memcpy(v[i].iov_base, from, v[i].iov_len);
		} else if (sl_foreign_copy(v[i].iov_base, from, v[i].iov_len)) {
			errno = EFAULT;
			return -1;
		}
	}
	return 0;
}

size_t sl_tcp_cursor_iov(const struct tcp_cursor *c, uint64_t max, struct iovec *v, unsigned cap,
                         unsigned *n)
{
	uint64_t run = c->run;
	uint64_t off = c->off;
	size_t bytes = 0;

	*n = 0;
	while (run < c->count && bytes < max && *n < cap) {
		uint64_t len = c->len - off < max - bytes ? c->len - off : max - bytes;

		v[(*n)++] = (struct iovec){c->addr + run * c->stride + off, len};
		bytes += len;
		run++;
		off = 0;
	}
	return bytes;
}

void sl_tcp_cursor_skip(struct tcp_cursor *c, uint64_t bytes)
{
	bytes += c->off;
	if (c->len) {
		c->run += bytes / c->len;
		c->off = bytes % c->len;
	}
}
