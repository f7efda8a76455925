/* SPDX-License-Identifier: BSD-3-Clause */
#include "part_file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "say.h"
#include "size.h"

/* How often the state is written down. */
#define STATE_EVERY ((uint64_t)32 << 20)

enum { PART_NAME_MAX = 256, PLAIN_MAX = 200 };

struct part_file {
	int dir_fd;
	int fd;
	int state_fd;
	bool force;
	bool fresh; /* nothing of worth in it: leave no trace of it */
	bool begun; /* ID and DONE are set */
	struct file_id id;
	uint64_t done;
	uint64_t written_down;
	char name[PART_NAME_MAX];
	char part[PART_NAME_MAX];
	char state[PART_NAME_MAX];
	char *target;
};

/* The content of the state file. The sum finds one that was written by half. */
struct state {
	uint64_t magic;
	uint64_t size;
	uint64_t mtime_ns;
	uint64_t done;
	uint64_t sum;
};

static const uint64_t state_magic = 0x31545241504c5344; /* "DSLPART1" */

static uint64_t state_sum(const struct state *s)
{
	return XXH3_64bits(s, offsetof(struct state, sum));
}

static void name_parts(struct part_file *p, const char *name)
{
	uint32_t id = (uint32_t)XXH3_64bits(name, strlen(name));

	(void)snprintf(p->name, sizeof(p->name), "%s", name);
	(void)snprintf(p->part, sizeof(p->part), ".%.*s.part-%08x", PLAIN_MAX, name, id);
	(void)snprintf(p->state, sizeof(p->state), ".%.*s.part-%08x.state", PLAIN_MAX, name, id);
}

static int check_target(const struct part_file *p, struct slime_error *err)
{
	struct stat st;

	if (fstatat(p->dir_fd, p->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
		return errno == ENOENT ? 0
		                       : refuse(err, -errno, "cannot write '%s': %s", p->target,
		                                strerror(errno));
	if (S_ISDIR(st.st_mode))
		return refuse(err, -EISDIR, "'%s' is a directory", p->target);
	if (!S_ISREG(st.st_mode) && !S_ISLNK(st.st_mode))
		return refuse(err, -EEXIST, "'%s' is not a regular file, and is not replaced",
		              p->target);
	if (!p->force)
		return refuse(err, -EEXIST, "'%s' is there already (--force replaces it)",
		              p->target);
	return 0;
}

static int open_parts(struct part_file *p, struct slime_error *err)
{
	const int flags = O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW;
	struct stat st;
	bool made;

	p->fd = openat(p->dir_fd, p->part, flags | O_EXCL, 0666);
	made = p->fd >= 0;
	if (!made && errno == EEXIST)
		p->fd = openat(p->dir_fd, p->part, flags, 0666);
	if (p->fd < 0)
		return refuse(err, -errno, "cannot write beside '%s': %s", p->target,
		              strerror(errno));
	if (flock(p->fd, LOCK_EX | LOCK_NB) < 0)
		return refuse(err, -EBUSY, "another process is fetching '%s' right now", p->target);
	/* the holder of the lock before us may have finished, and taken the name away */
	if (fstat(p->fd, &st) < 0 || st.st_nlink == 0)
		return refuse(err, -EBUSY, "another process has just fetched '%s'", p->target);
	/* or else, in a directory for all, the copy would be theirs */
	if (!made && st.st_uid != geteuid())
		return refuse(err, -EACCES,
		              "what there is of '%s' belongs to user %u: take '%s' away first",
		              p->target, (unsigned)st.st_uid, p->part);
	p->state_fd = openat(p->dir_fd, p->state, flags, 0666);
	if (p->state_fd < 0)
		return refuse(err, -errno, "cannot write beside '%s': %s", p->target,
		              strerror(errno));
	p->fresh = st.st_size == 0;
	return 0;
}

int part_create(const char *dir, const char *name, bool force, struct part_file **out,
                struct slime_error *err)
{
	struct part_file *p = calloc(1, sizeof(*p));
	int rc;

	if (!p)
		return refuse(err, -ENOMEM, "no memory");
	p->fd = -1;
	p->state_fd = -1;
	p->force = force;
	name_parts(p, name);
	p->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (p->dir_fd < 0)
		rc = refuse(err, -errno, "no directory '%s' to write to: %s", dir, strerror(errno));
	else if (asprintf(&p->target, "%s/%s", strcmp(dir, "/") == 0 ? "" : dir, name) < 0)
		rc = refuse(err, -ENOMEM, "no memory");
	else
		rc = check_target(p, err);
	if (rc == 0)
		rc = open_parts(p, err);
	if (rc < 0) {
		part_destroy(p);
		return rc;
	}
	*out = p;
	return 0;
}

const char *part_target(const struct part_file *p)
{
	return p->target;
}

/* What the disk must still give for all of it, and has to give. */
static void look_at_space(const struct part_file *p, const struct file_id *id, uint64_t *need,
                          uint64_t *have)
{
	struct statvfs fs;
	struct stat st;
	uint64_t there = fstat(p->fd, &st) == 0 ? (uint64_t)st.st_blocks * 512 : 0;

	*need = there < id->size ? id->size - there : 0;
	/* some file systems do not tell */
	*have = fstatvfs(p->fd, &fs) == 0 && fs.f_blocks ? (uint64_t)fs.f_bavail * fs.f_frsize
	                                                 : UINT64_MAX;
}

static int no_space(const struct part_file *p, uint64_t need, uint64_t have,
                    struct slime_error *err)
{
	char n[32];
	char h[32];

	return refuse(err, -ENOSPC, "'%s' needs %s, and the disk has %s free", p->target,
	              size_human(need, n, sizeof(n)), size_human(have, h, sizeof(h)));
}

/*
 * Have the disk keep room for all of it, so that it cannot run full half-way. Not without
 * looking before: a file system may give all it has and fail then, and others write there too.
 */
static int reserve(struct part_file *p, const struct file_id *id, struct slime_error *err)
{
	uint64_t need, have;
	int rc = 0;

	if (id->size > INT64_MAX)
		return refuse(err, -EFBIG, "the file is larger than any file can be");
	look_at_space(p, id, &need, &have);
	if (need > have)
		return no_space(p, need, have, err);
	if (id->size && fallocate(p->fd, 0, 0, (off_t)id->size) < 0)
		rc = -errno;
	if (rc == -EOPNOTSUPP || rc == -ENOSYS)
		rc = ftruncate(p->fd, (off_t)id->size) < 0 ? -errno : 0;
	if (rc == 0)
		return 0;
	(void)!ftruncate(p->fd, (off_t)p->done); /* give back what it got nevertheless */
	if (rc != -ENOSPC)
		return refuse(err, rc, "cannot make room for '%s': %s", p->target, strerror(-rc));
	look_at_space(p, id, &need, &have);
	return no_space(p, need, have, err);
}

static void write_state(struct part_file *p)
{
	struct state s = {
	    .magic = state_magic, .size = p->id.size, .mtime_ns = p->id.mtime_ns, .done = p->done};

	s.sum = state_sum(&s);
	if (pwrite(p->state_fd, &s, sizeof(s), 0) == (ssize_t)sizeof(s))
		p->written_down = p->done;
}

static bool read_state(const struct part_file *p, struct state *out)
{
	return pread(p->state_fd, out, sizeof(*out), 0) == (ssize_t)sizeof(*out) &&
	       out->magic == state_magic && out->sum == state_sum(out) && out->done <= out->size;
}

int64_t part_begin(struct part_file *p, const struct file_id *id, bool *stale,
                   struct slime_error *err)
{
	struct state s;
	bool known = read_state(p, &s);
	bool same = known && s.size == id->size && s.mtime_ns == id->mtime_ns;
	int rc;

	*stale = known && !same && s.done > 0;
	p->id = *id;
	p->begun = true;
	p->done = same ? s.done : 0;
	/* first the state: bytes that are about to go must not be counted any more */
	write_state(p);
	if (!same && ftruncate(p->fd, 0) < 0)
		return refuse(err, -errno, "cannot write '%s': %s", p->target, strerror(errno));
	rc = reserve(p, id, err);
	p->fresh = p->done == 0;
	return rc < 0 ? rc : (int64_t)p->done;
}

int part_write(struct part_file *p, uint64_t at, const void *bytes, size_t len,
               struct slime_error *err)
{
	const char *from = bytes;

	while (len) {
		ssize_t n = pwrite(p->fd, from, len, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return refuse(err, -errno, "cannot write '%s': %s", p->target,
			              strerror(errno));
		from += n;
		at += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

int part_read(struct part_file *p, uint64_t at, void *bytes, size_t len, struct slime_error *err)
{
	char *to = bytes;

	while (len) {
		ssize_t n = pread(p->fd, to, len, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return refuse(err, n < 0 ? -errno : -EIO,
			              "cannot read back what there is of '%s'", p->target);
		to += n;
		at += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

void part_advance(struct part_file *p, uint64_t done)
{
	p->done = done;
	p->fresh = false;
	if (done - p->written_down >= STATE_EVERY)
		write_state(p);
}

/* Like rename(), but refuse to replace what came there meanwhile. */
static int take_name(struct part_file *p, struct slime_error *err)
{
	int rc = 0;

	if (renameat2(p->dir_fd, p->part, p->dir_fd, p->name, p->force ? 0 : RENAME_NOREPLACE) < 0)
		rc = -errno;
	if (rc == -EINVAL && !p->force) { /* not every file system knows that flag */
		rc = check_target(p, err);
		if (rc < 0)
			return rc;
		rc = renameat(p->dir_fd, p->part, p->dir_fd, p->name) < 0 ? -errno : 0;
	}
	if (rc == -EEXIST)
		return refuse(err, rc, "'%s' has come into being meanwhile (--force replaces it)",
		              p->target);
	if (rc < 0)
		return refuse(err, rc, "cannot name '%s': %s", p->target, strerror(-rc));
	return 0;
}

int part_finish(struct part_file *p, struct slime_error *err)
{
	int rc;

	if (fsync(p->fd) < 0)
		return refuse(err, -errno, "cannot write '%s' to the disk: %s", p->target,
		              strerror(errno));
	rc = take_name(p, err);
	if (rc < 0)
		return rc;
	(void)unlinkat(p->dir_fd, p->state, 0);
	(void)fsync(p->dir_fd);
	p->fresh = false;
	(void)close(p->state_fd);
	p->state_fd = -1; /* nothing more to write down */
	return 0;
}

void part_discard(struct part_file *p)
{
	p->done = 0;
	p->fresh = true;
	write_state(p);
}

void part_destroy(struct part_file *p)
{
	if (!p)
		return;
	if (p->state_fd >= 0 && p->fresh) {
		(void)unlinkat(p->dir_fd, p->state, 0);
		(void)unlinkat(p->dir_fd, p->part, 0);
	} else if (p->state_fd >= 0 && p->begun) {
		write_state(p);
	}
	if (p->state_fd >= 0)
		(void)close(p->state_fd);
	if (p->fd >= 0)
		(void)close(p->fd);
	if (p->dir_fd >= 0)
		(void)close(p->dir_fd);
	free(p->target);
	free(p);
}
