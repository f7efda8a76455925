/* SPDX-License-Identifier: BSD-3-Clause */
#include "served_file.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "say.h"

enum hash_state { HASH_NONE, HASH_RUNNING, HASH_DONE, HASH_FAILED };

enum { HASH_CHUNK = 1 << 20 };

struct version {
	struct file_version pub;
	struct served_file *file;
	int fd;
	char *map;
	size_t slot; /* of the guard */
	dev_t dev;
	ino_t ino;
	struct timespec changed; /* which no tool can set back, unlike the time in ID */
	_Atomic unsigned n_refs;
	pthread_mutex_t lock; /* guards what follows */
	pthread_cond_t hashed;
	enum hash_state state;
	uint8_t hash[FILE_HASH_LEN];
};

struct served_file {
	slime_ctx *ctx;
	char *path;
	pthread_mutex_t lock; /* guards CURRENT */
	struct version *current;
};

/*
 * The mappings that may fault. A handler may take no lock, so they are in a
 * table of atomics; a version may outlive its successor for a while, hence two
 * places for each file.
 */
static struct {
	_Atomic uintptr_t start; /* 0: free */
	_Atomic size_t len;
} guarded[2 * SERVED_FILES_MAX];

static void on_sigbus(int sig, siginfo_t *info, void *context)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	uintptr_t at = (uintptr_t)info->si_addr;

	(void)context;
	for (size_t i = 0; i < sizeof(guarded) / sizeof(guarded[0]); i++) {
		uintptr_t start = atomic_load(&guarded[i].start);
		void *where = (char *)info->si_addr - at % page;

		if (!start || at - start >= atomic_load(&guarded[i].len))
			continue;
		if (mmap(where, page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0) !=
		    MAP_FAILED)
			return;
	}
	/* not ours: die of it when the instruction is tried again */
	(void)signal(sig, SIG_DFL);
}

void served_file_guard(void)
{
	struct sigaction sa = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO};

	(void)sigemptyset(&sa.sa_mask);
	(void)sigaction(SIGBUS, &sa, NULL);
}

static int guard(struct version *v)
{
	for (size_t i = 0; i < sizeof(guarded) / sizeof(guarded[0]); i++) {
		uintptr_t none = 0;

		/* the length first: with the old one a fault would be refused, or taken too far */
		if (atomic_load(&guarded[i].start))
			continue;
		if (atomic_compare_exchange_strong(&guarded[i].start, &none, (uintptr_t)v->map)) {
			atomic_store(&guarded[i].len, v->pub.id.size);
			v->slot = i;
			return 0;
		}
	}
	return -EMFILE;
}

static void unguard(const struct version *v)
{
	atomic_store(&guarded[v->slot].len, 0);
	atomic_store(&guarded[v->slot].start, 0);
}

static struct file_id id_of(const struct stat *st)
{
	return (struct file_id){(uint64_t)st->st_size, (uint64_t)st->st_mtim.tv_sec * 1000000000 +
	                                                   (uint64_t)st->st_mtim.tv_nsec};
}

/* Map and register what V->fd is open on. */
static int version_map(struct version *v, struct slime_error *err)
{
	const struct slime_mr_opts opts = {
	    .size = sizeof(opts), .access = SLIME_ACCESS_REMOTE_READ, .kind = SLIME_MEM_HOST};
	const char *path = v->file->path;
	void *map;
	int rc;

	if (v->pub.id.size == 0)
		return 0;
	/* private: kernels before 6.2 pin a shared file for a NIC only if it could be written */
	map = mmap(NULL, v->pub.id.size, PROT_READ, MAP_PRIVATE, v->fd, 0);
	if (map == MAP_FAILED)
		return refuse(err, -errno, "cannot map '%s': %s", path, strerror(errno));
	v->map = map;
	rc = guard(v);
	if (rc == 0) {
		rc = slime_mr_register(v->file->ctx, map, v->pub.id.size, &opts, &v->pub.mr, err);
		if (rc == 0)
			return 0;
		unguard(v);
	} else {
		(void)refuse(err, rc, "too many versions of files are in use");
	}
	(void)munmap(map, v->pub.id.size);
	v->map = NULL;
	return rc;
}

/* What the kernel makes up as it is read has no size, and would be served as nothing. */
static int version_check(const struct version *v, struct slime_error *err)
{
	char byte;

	if (v->pub.id.size == 0 && pread(v->fd, &byte, 1, 0) != 0)
		return refuse(
		    err, -EINVAL,
		    "'%s' does not know its size, as files below /proc: serve a copy of it",
		    v->file->path);
	return 0;
}

static int version_open(struct version *v, struct slime_error *err)
{
	const char *path = v->file->path;
	struct stat st;
	int rc;

	/* not blocking: a fifo without a writer is refused below, not waited for */
	v->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (v->fd < 0)
		return refuse(err, -errno, "cannot read '%s': %s", path, strerror(errno));
	if (fstat(v->fd, &st) < 0)
		rc = refuse(err, -errno, "cannot read '%s': %s", path, strerror(errno));
	else if (S_ISDIR(st.st_mode))
		rc = refuse(err, -EISDIR, "'%s' is a directory, only files can be served", path);
	else if (!S_ISREG(st.st_mode))
		rc = refuse(err, -EINVAL, "'%s' is not a regular file", path);
	else {
		v->pub.id = id_of(&st);
		v->dev = st.st_dev;
		v->ino = st.st_ino;
		v->changed = st.st_ctim;
		rc = version_check(v, err);
		if (rc == 0)
			rc = version_map(v, err);
	}
	if (rc < 0)
		(void)close(v->fd);
	return rc;
}

static int version_create(struct served_file *file, struct version **out, struct slime_error *err)
{
	struct version *v = calloc(1, sizeof(*v));
	pthread_condattr_t attr;
	int rc;

	if (!v)
		return refuse(err, -ENOMEM, "no memory");
	v->file = file;
	v->n_refs = 1;
	rc = version_open(v, err);
	if (rc < 0) {
		free(v);
		return rc;
	}
	(void)pthread_mutex_init(&v->lock, NULL);
	(void)pthread_condattr_init(&attr);
	(void)pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	(void)pthread_cond_init(&v->hashed, &attr);
	(void)pthread_condattr_destroy(&attr);
	*out = v;
	return 0;
}

static void version_release(struct version *v)
{
	if (!v || atomic_fetch_sub(&v->n_refs, 1) > 1)
		return;
	slime_mr_deregister(v->pub.mr);
	if (v->map) {
		(void)munmap(v->map, v->pub.id.size);
		unguard(v);
	}
	(void)close(v->fd);
	(void)pthread_cond_destroy(&v->hashed);
	(void)pthread_mutex_destroy(&v->lock);
	free(v);
}

/* V, of which callers know the first member. */
static struct version *version_of(struct file_version *pub)
{
	return (struct version *)(void *)pub;
}

void file_version_hold(struct file_version *version)
{
	(void)atomic_fetch_add(&version_of(version)->n_refs, 1);
}

void file_version_release(struct file_version *version)
{
	version_release(version ? version_of(version) : NULL);
}

/*
 * PATH from the root, for the sentences that readers elsewhere will see. Links
 * in it stay: when one is turned, that is a change of the file.
 */
static char *absolute(const char *path)
{
	char *cwd = path[0] == '/' ? strdup("") : getcwd(NULL, 0);
	char *out = NULL;

	if (cwd && asprintf(&out, "%s%s%s", cwd, path[0] == '/' ? "" : "/", path) < 0)
		out = NULL;
	free(cwd);
	return out;
}

int served_file_create(slime_ctx *ctx, const char *path, struct served_file **out,
                       struct slime_error *err)
{
	struct served_file *f = calloc(1, sizeof(*f));
	int rc;

	if (!f)
		return refuse(err, -ENOMEM, "no memory");
	f->ctx = ctx;
	f->path = absolute(path);
	if (!f->path) {
		rc = refuse(err, -errno, "cannot read '%s': %s", path, strerror(errno));
		goto free_file;
	}
	(void)pthread_mutex_init(&f->lock, NULL);
	rc = version_create(f, &f->current, err);
	if (rc == 0) {
		*out = f;
		return 0;
	}
	(void)pthread_mutex_destroy(&f->lock);
	free(f->path);
free_file:
	free(f);
	return rc;
}

void served_file_destroy(struct served_file *file)
{
	if (!file)
		return;
	version_release(file->current);
	(void)pthread_mutex_destroy(&file->lock);
	free(file->path);
	free(file);
}

const char *served_file_name(const struct served_file *file)
{
	const char *slash = strrchr(file->path, '/');

	return slash ? slash + 1 : file->path;
}

int file_version_same(struct file_version *version, struct slime_error *err)
{
	struct version *v = version_of(version);
	const char *path = v->file->path;
	struct file_id now;
	struct stat st;

	if (stat(path, &st) < 0)
		return refuse(err, -ESTALE, "the file '%s' is gone from the server: %s", path,
		              strerror(errno));
	now = id_of(&st);
	if (st.st_dev != v->dev || st.st_ino != v->ino)
		return refuse(err, -ESTALE, "the file '%s' was replaced on the server", path);
	if (now.size != v->pub.id.size || now.mtime_ns != v->pub.id.mtime_ns)
		return refuse(err, -ESTALE, "the file '%s' was changed on the server", path);
	return 0;
}

/*
 * V is what its path stands for now. Stricter than what its readers ask for: a new link or
 * owner harms nobody who is reading, and to look again costs who comes next nothing.
 */
static bool is_current(struct version *v)
{
	struct stat st;

	return file_version_same(&v->pub, NULL) == 0 && stat(v->file->path, &st) == 0 &&
	       st.st_ctim.tv_sec == v->changed.tv_sec && st.st_ctim.tv_nsec == v->changed.tv_nsec;
}

int file_version_get(struct served_file *file, struct file_version **out, struct slime_error *err)
{
	struct version *fresh;
	int rc = 0;

	(void)pthread_mutex_lock(&file->lock);
	if (!is_current(file->current)) {
		rc = version_create(file, &fresh, err);
		if (rc == 0) {
			version_release(file->current);
			file->current = fresh;
		}
	}
	if (rc == 0) {
		(void)atomic_fetch_add(&file->current->n_refs, 1);
		*out = &file->current->pub;
	}
	(void)pthread_mutex_unlock(&file->lock);
	return rc;
}

/* 0 and the hash of V's bytes; -1 if they cannot be read to the promised end. */
static int hash_file(const struct version *v, uint8_t out[FILE_HASH_LEN])
{
	XXH3_state_t *state = XXH3_createState();
	char *buf = malloc(HASH_CHUNK);
	XXH128_canonical_t canonical;
	uint64_t at = 0;
	int rc = state && buf ? 0 : -1;

	if (rc == 0)
		(void)XXH3_128bits_reset(state);
	while (rc == 0 && at < v->pub.id.size) {
		ssize_t n = pread(v->fd, buf, HASH_CHUNK, (off_t)at);

		if (n <= 0) {
			rc = n < 0 && errno == EINTR ? 0 : -1;
			continue;
		}
		(void)XXH3_128bits_update(state, buf, (size_t)n);
		at += (uint64_t)n;
	}
	if (rc == 0) {
		XXH128_canonicalFromHash(&canonical, XXH3_128bits_digest(state));
		memcpy(out, canonical.digest, FILE_HASH_LEN);
	}
	free(buf);
	(void)XXH3_freeState(state);
	return rc;
}

static void *hash_main(void *arg)
{
	struct version *v = arg;
	uint8_t hash[FILE_HASH_LEN] = {0};
	int rc = hash_file(v, hash);

	(void)pthread_mutex_lock(&v->lock);
	memcpy(v->hash, hash, sizeof(hash));
	v->state = rc == 0 ? HASH_DONE : HASH_FAILED;
	(void)pthread_cond_broadcast(&v->hashed);
	(void)pthread_mutex_unlock(&v->lock);
	version_release(v);
	return NULL;
}

static void start_hash_locked(struct version *v)
{
	pthread_attr_t attr;
	pthread_t thread;

	(void)pthread_attr_init(&attr);
	(void)pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	(void)atomic_fetch_add(&v->n_refs, 1);
	v->state = HASH_RUNNING;
	if (pthread_create(&thread, &attr, hash_main, v) != 0) {
		v->state = HASH_NONE; /* the next to ask tries again */
		(void)atomic_fetch_sub(&v->n_refs, 1);
	}
	(void)pthread_attr_destroy(&attr);
}

int file_version_hash(struct file_version *version, int64_t timeout_ns, uint8_t out[FILE_HASH_LEN],
                      struct slime_error *err)
{
	struct version *v = version_of(version);
	int64_t until = now_ns() + timeout_ns;
	const struct timespec ts = {until / 1000000000, until % 1000000000};
	int rc = 0;

	(void)pthread_mutex_lock(&v->lock);
	if (v->state == HASH_NONE)
		start_hash_locked(v);
	while (v->state == HASH_RUNNING && rc == 0)
		rc = -pthread_cond_timedwait(&v->hashed, &v->lock, &ts);
	if (v->state == HASH_DONE) {
		rc = 0;
		memcpy(out, v->hash, FILE_HASH_LEN);
	} else if (v->state == HASH_FAILED) {
		rc = refuse(err, -EIO, "the file '%s' can no longer be read on the server",
		            v->file->path);
	} else {
		rc = -ETIMEDOUT;
	}
	(void)pthread_mutex_unlock(&v->lock);
	return rc;
}
