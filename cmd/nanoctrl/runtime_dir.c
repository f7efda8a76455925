/* SPDX-License-Identifier: BSD-3-Clause */
#include "runtime_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <jansson.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "nanoctrl.h"
#include "options.h"
#include "sentence.h"

enum { FILE_MAX = 64 * 1024 };

static int find_path(struct runtime_dir *dir, struct slime_error *err)
{
	const char *name = nanoctrl.persona->name;
	const char *given = options_env("RUNTIME_DIR");
	const char *xdg = getenv("XDG_RUNTIME_DIR");
	int n;

	if (given)
		n = snprintf(dir->path, sizeof(dir->path), "%s", given);
	else if (xdg && *xdg)
		n = snprintf(dir->path, sizeof(dir->path), "%s/%s", xdg, name);
	else
		n = snprintf(dir->path, sizeof(dir->path), "/tmp/%s", name);
	if (n < 0 || (size_t)n >= sizeof(dir->path))
		return refuse(err, -ENAMETOOLONG, "the path of the runtime directory is too long");
	(void)snprintf(dir->log, sizeof(dir->log), "%s/%s.log", dir->path, name);
	return 0;
}

/* What others could have put there, in /tmp above all, is not used. */
static int check_owner(const struct runtime_dir *dir, struct slime_error *err)
{
	struct stat st;

	if (fstat(dir->fd, &st) < 0)
		return refuse(err, -errno, "cannot look at '%s': %s", dir->path, strerror(errno));
	if (st.st_uid != geteuid())
		return refuse(err, -EACCES,
		              "the runtime directory '%s' belongs to another user: set "
		              "%s_RUNTIME_DIR to one of your own",
		              dir->path, nanoctrl.persona->env);
	if (st.st_mode & 0022)
		return refuse(
		    err, -EACCES,
		    "others may write to the runtime directory '%s': chmod 0700 it, or set "
		    "%s_RUNTIME_DIR to another one",
		    dir->path, nanoctrl.persona->env);
	return 0;
}

int runtime_open(struct runtime_dir *dir, bool create, struct slime_error *err)
{
	int rc;

	dir->fd = -1;
	rc = find_path(dir, err);
	if (rc < 0)
		return rc;
	if (create && mkdir(dir->path, 0700) < 0 && errno != EEXIST)
		return refuse(err, -errno, "cannot make the runtime directory '%s': %s", dir->path,
		              strerror(errno));
	dir->fd = open(dir->path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (dir->fd < 0 && errno == ENOENT)
		return 0;
	if (dir->fd < 0)
		return refuse(err, -errno, "cannot use the runtime directory '%s': %s", dir->path,
		              errno == ENOTDIR || errno == ELOOP ? "it is a link, or no directory"
		                                                 : strerror(errno));
	rc = check_owner(dir, err);
	if (rc < 0)
		runtime_close(dir);
	return rc;
}

void runtime_close(struct runtime_dir *dir)
{
	if (dir->fd >= 0)
		(void)close(dir->fd);
	dir->fd = -1;
}

int runtime_lock(struct runtime_dir *dir, struct slime_error *err)
{
	if (flock(dir->fd, LOCK_EX | LOCK_NB) == 0)
		return 0;
	return refuse(err, -errno, "another start is under way in '%s'", dir->path);
}

static void file_name(const char *suffix, char *out, size_t cap)
{
	(void)snprintf(out, cap, "%s.%s", nanoctrl.persona->name, suffix);
}

/* A whole small file as text; NULL: not there, or not what we would have written. */
static char *read_file(const struct runtime_dir *dir, const char *suffix)
{
	char name[64];
	char *text = NULL;
	ssize_t n = -1;
	int fd;

	file_name(suffix, name, sizeof(name));
	fd = dir->fd < 0 ? -1
	                 : openat(dir->fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	if (fd < 0)
		return NULL;
	text = malloc(FILE_MAX + 1);
	if (text)
		n = read(fd, text, FILE_MAX);
	(void)close(fd);
	if (n < 0) {
		free(text);
		return NULL;
	}
	text[n] = '\0';
	return text;
}

static int write_file(const struct runtime_dir *dir, const char *suffix, const char *text,
                      struct slime_error *err)
{
	char name[64], part[72];
	size_t len = strlen(text);
	int fd, rc = 0;

	file_name(suffix, name, sizeof(name));
	(void)snprintf(part, sizeof(part), "%s.part", name);
	(void)unlinkat(dir->fd, part, 0);
	fd = openat(dir->fd, part, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, text, len) != (ssize_t)len)
		rc = errno ? -errno : -ENOSPC;
	if (fd >= 0)
		(void)close(fd);
	if (rc == 0 && renameat(dir->fd, part, dir->fd, name) < 0)
		rc = -errno;
	if (rc < 0)
		return refuse(err, rc, "cannot write '%s/%s': %s", dir->path, name, strerror(-rc));
	return 0;
}

static void copy_string(const json_t *object, const char *name, char *out, size_t cap)
{
	const char *text = json_string_value(json_object_get(object, name));

	(void)snprintf(out, cap, "%s", text ? text : "");
}

int runtime_read(const struct runtime_dir *dir, struct background *out)
{
	char *text = read_file(dir, "pid");
	char *meta = read_file(dir, "meta.json");
	json_t *root = meta ? json_loads(meta, 0, NULL) : NULL;
	long pid = text ? strtol(text, NULL, 10) : 0;

	*out = (struct background){.pid = pid > 1 && pid <= INT_MAX ? (pid_t)pid : 0};
	/* of another run: it says nothing about this pid */
	if (json_integer_value(json_object_get(root, "pid")) == pid) {
		json_int_t start = json_integer_value(json_object_get(root, "start_time"));

		out->known = true;
		out->start = start > 0 ? (uint64_t)start : 0;
		copy_string(root, "address", out->address, sizeof(out->address));
		copy_string(root, "log", out->log, sizeof(out->log));
	}
	free(text);
	free(meta);
	json_decref(root);
	return out->pid ? 0 : -ENOENT;
}

int runtime_write(const struct runtime_dir *dir, const struct background *background,
                  char *const *cmd, struct slime_error *err)
{
	json_t *words = json_array();
	json_t *root;
	char pid[24];
	char *meta;
	int rc;

	for (; *cmd; cmd++)
		(void)json_array_append_new(words, json_string(*cmd));
	root = json_pack("{s:i,s:s,s:o,s:s,s:I,s:I}", "pid", (int)background->pid, "address",
	                 background->address, "cmd", words, "log", background->log, "started_at",
	                 (json_int_t)time(NULL), "start_time", (json_int_t)background->start);
	meta = root ? json_dumps(root, JSON_INDENT(2)) : NULL;
	json_decref(root);
	if (!meta)
		return refuse(err, -EINVAL, "the command line is not UTF-8");
	(void)snprintf(pid, sizeof(pid), "%d", (int)background->pid);
	rc = write_file(dir, "meta.json", meta, err);
	free(meta);
	return rc < 0 ? rc : write_file(dir, "pid", pid, err);
}

void runtime_clear(const struct runtime_dir *dir)
{
	char name[64];

	if (dir->fd < 0)
		return;
	file_name("pid", name, sizeof(name));
	(void)unlinkat(dir->fd, name, 0);
	file_name("meta.json", name, sizeof(name));
	(void)unlinkat(dir->fd, name, 0);
}

uint64_t process_start(pid_t pid)
{
	char path[40], text[1024];
	uint64_t start = 0;
	char state = 'Z';
	char *fields;
	size_t n;
	FILE *f;

	(void)snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	f = fopen(path, "re");
	if (!f)
		return 0;
	n = fread(text, 1, sizeof(text) - 1, f);
	(void)fclose(f);
	text[n] = '\0';
	fields = strrchr(text, ')'); /* the name before it may hold anything */
	if (!fields || sscanf(fields + 1,
	                      " %c %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s %*s "
	                      "%*s %*s %*s %" SCNu64,
	                      &state, &start) != 2)
		return 0;
	return state == 'Z' || state == 'X' ? 0 : start;
}

bool background_runs(const struct background *background)
{
	uint64_t start = process_start(background->pid);

	return start && background->known && (!background->start || background->start == start);
}
