/* SPDX-License-Identifier: BSD-3-Clause */
/* Sockets: the only way by which bytes of a peer come in, beside the ring. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/error.h"
#include "transport/shm/shm_impl.h"

int sl_shm_say(int fd, const struct shm_msg *msg, const int fds[2])
{
	union {
		struct cmsghdr head;
		char space[CMSG_SPACE(2 * sizeof(int))];
	} control = {0};
	size_t n = fds ? (size_t)(fds[0] >= 0) + (size_t)(fds[1] >= 0) : 0;
	uint8_t buf[SHM_MSG_MAX];
	struct iovec iov = {.iov_base = buf, .iov_len = sl_shm_msg_put(msg, buf)};
	struct msghdr mh = {.msg_iov = &iov, .msg_iovlen = 1};

	if (n) {
		control.head.cmsg_len = CMSG_LEN(n * sizeof(int));
		control.head.cmsg_level = SOL_SOCKET;
		control.head.cmsg_type = SCM_RIGHTS;
		memcpy(CMSG_DATA(&control.head), fds, n * sizeof(int));
		mh.msg_control = &control;
		mh.msg_controllen = CMSG_SPACE(n * sizeof(int));
	}
	return sendmsg(fd, &mh, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 ? -errno : 0;
}

void sl_shm_close_fds(int fds[2])
{
	for (int i = 0; i < 2; i++) {
		if (fds[i] >= 0)
			(void)close(fds[i]);
		fds[i] = -1;
	}
}

/* Keep the first two of the fds that came; no message has more. */
static void take_fds(struct msghdr *mh, int fds[2])
{
	int kept = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(mh); c; c = CMSG_NXTHDR(mh, c)) {
		size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
			if (kept < 2)
				fds[kept++] = fd;
			else
				(void)close(fd);
		}
	}
}

int sl_shm_hear(int fd, struct shm_msg *out, int fds[2])
{
	union {
		struct cmsghdr head;
		char space[CMSG_SPACE(4 * sizeof(int))];
	} control;
	uint8_t buf[SHM_MSG_MAX + 1];
	struct iovec iov = {.iov_base = buf, .iov_len = sizeof(buf)};
	struct msghdr mh = {.msg_iov = &iov,
	                    .msg_iovlen = 1,
	                    .msg_control = &control,
	                    .msg_controllen = sizeof(control)};
	ssize_t n = recvmsg(fd, &mh, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	int rc;

	fds[0] = fds[1] = -1;
	if (n < 0)
		return errno == EAGAIN || errno == EINTR ? 0 : -ECONNRESET;
	take_fds(&mh, fds);
	rc = n ? sl_shm_msg_get(buf, (size_t)n, out) : -ECONNRESET;
	if (rc)
		sl_shm_close_fds(fds);
	return rc ? rc : 1;
}

int sl_shm_check_user(int fd, pid_t *out_pid, struct slime_error *err)
{
	struct ucred cred;
	socklen_t len = sizeof(cred);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &cred, &len))
		return sl_fail(err, -errno, "cannot tell who the peer is: %s", strerror(errno));
	if (cred.uid != geteuid() && cred.uid && geteuid())
		return sl_fail(err, -EACCES, "the peer runs as user %u, this process as %u",
		               cred.uid, geteuid());
	*out_pid = cred.pid;
	return 0;
}

size_t sl_shm_door_name(const uint8_t door[SHM_ID_LEN], char *path)
{
	size_t n = 1; /* a leading NUL: the abstract namespace */

	path[0] = '\0';
	n += (size_t)snprintf(path + n, SHM_DOOR_CHARS - n, "dlslime-");
	for (int i = 0; i < SHM_ID_LEN; i++)
		n += (size_t)snprintf(path + n, SHM_DOOR_CHARS - n, "%02x", door[i]);
	return n;
}

int sl_shm_dial(const struct shm_card *card, pid_t *out_pid, struct slime_error *err)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	socklen_t len;
	int fd, rc;

	len = (socklen_t)(sizeof(sa.sun_family) + sl_shm_door_name(card->door, sa.sun_path));
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return sl_fail(err, -errno, "cannot make a unix socket: %s", strerror(errno));
	if (connect(fd, (struct sockaddr *)&sa, len)) {
		rc = -errno;
		(void)sl_fail(err, rc, "cannot reach process %u by its unix socket: %s",
		              card->proc.pid, strerror(errno));
		goto err_close;
	}
	rc = sl_shm_check_user(fd, out_pid, err);
	if (rc)
		goto err_close;
	return fd;

err_close:
	(void)close(fd);
	return rc;
}
