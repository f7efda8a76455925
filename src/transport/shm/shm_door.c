/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The door: a listening socket with a random abstract name, and whoever came
 * there and has not said who he is. Those are few, are not listened to for
 * long, and are heard by a parser with fixed bounds.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "transport/shm/shm_impl.h"

enum {
	BACKLOG = 256,
	ACCEPTS = 64, /* at a look */
	STRANGER_MS = 1000,
};

int sl_shm_open_door(struct sl_dom *dom, struct slime_error *err)
{
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	size_t len = sizeof(sa.sun_family) + sl_shm_door_name(dom->card.door, sa.sun_path);

	dom->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (dom->listener < 0 || bind(dom->listener, (struct sockaddr *)&sa, (socklen_t)len) ||
	    listen(dom->listener, BACKLOG))
		return sl_fail(err, -errno, "cannot listen on a unix socket: %s", strerror(errno));
	return 0;
}

static void close_fd(int fd)
{
	if (fd >= 0)
		(void)close(fd);
}

void sl_shm_close_door(struct sl_dom *dom)
{
	for (int i = 0; i < SHM_STRANGERS; i++)
		close_fd(dom->strangers[i].fd);
	close_fd(dom->listener);
}

static void stranger_free(struct shm_stranger *s, bool keep_fd)
{
	if (!keep_fd)
		close_fd(s->fd);
	s->fd = -1;
	s->gen++;
}

void sl_shm_stranger_event(struct sl_dom *dom, struct shm_stranger *s)
{
	struct shm_msg msg;
	bool taken = false;
	int fds[2];
	int rc = sl_shm_hear(s->fd, &msg, fds);

	if (!rc)
		return;
	if (rc > 0)
		taken = sl_shm_greet(dom, s->fd, s->pid, &msg, fds);
	if (!taken)
		sl_shm_close_fds(fds);
	stranger_free(s, taken);
}

/* A place for one more; the one who has been there longest must go for him. */
static struct shm_stranger *stranger_place(struct sl_dom *dom)
{
	struct shm_stranger *s;

	for (int i = 0; i < SHM_STRANGERS; i++)
		if (dom->strangers[i].fd < 0)
			return &dom->strangers[i];
	s = &dom->strangers[dom->next_stranger++ % SHM_STRANGERS];
	stranger_free(s, false);
	return s;
}

void sl_shm_accept_strangers(struct sl_dom *dom)
{
	struct shm_stranger *s;

	for (int i = 0; i < ACCEPTS; i++) {
		int fd = accept4(dom->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
		pid_t pid;

		if (fd < 0)
			return;
		if (sl_shm_check_user(fd, &pid, NULL)) {
			close_fd(fd);
			continue;
		}
		s = stranger_place(dom);
		s->fd = fd;
		s->pid = pid;
		s->until_ns = sl_clock_after(STRANGER_MS * SL_NS_PER_MS);
		if (s->until_ns < dom->tick_ns)
			dom->tick_ns = s->until_ns;
		if (sl_shm_watch(dom, fd, SHM_SRC_STRANGER, s->gen, (uint32_t)(s - dom->strangers)))
			stranger_free(s, false);
		else
			sl_shm_stranger_event(dom, s); /* mostly the hello is there already */
	}
}

void sl_shm_expire_strangers(struct sl_dom *dom, int64_t now_ns, int64_t *next_ns)
{
	for (int i = 0; i < SHM_STRANGERS; i++) {
		struct shm_stranger *s = &dom->strangers[i];

		if (s->fd < 0)
			continue;
		if (s->until_ns <= now_ns)
			stranger_free(s, false);
		else if (s->until_ns < *next_ns)
			*next_ns = s->until_ns;
	}
}
