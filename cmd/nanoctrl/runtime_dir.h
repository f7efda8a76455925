/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * nanoctrl/runtime_dir.h - the directory by which start, status and stop find a daemon in the
 * background: NAME.pid, NAME.meta.json and NAME.log. It is ours alone: others may not write
 * into it, and nothing in it is followed elsewhere.
 */
#ifndef NANOCTRL_RUNTIME_DIR_H
#define NANOCTRL_RUNTIME_DIR_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include <slime/base.h>

struct runtime_dir {
	int fd; /* -1: there is no such directory */
	char path[400];
	char log[440];
};

/* A daemon that was started in the background. */
struct background {
	pid_t pid;
	bool known;     /* the description is of this pid; a number alone may be anybody's */
	uint64_t start; /* when it started, as the kernel counts; 0: not known */
	char address[200], log[440];
};

/*
 * Find it; CREATE: make it. -EACCES: it is somebody else's, or others may write to it. Without
 * CREATE a missing one is no error.
 */
int runtime_open(struct runtime_dir *dir, bool create, struct slime_error *err);
void runtime_close(struct runtime_dir *dir);
/* Only one start at a time; until runtime_close(). */
int runtime_lock(struct runtime_dir *dir, struct slime_error *err);
/* -ENOENT: there is no pid file, or no pid in it. */
int runtime_read(const struct runtime_dir *dir, struct background *out);
/* CMD, NULL at its end, is for people. */
int runtime_write(const struct runtime_dir *dir, const struct background *background,
                  char *const *cmd, struct slime_error *err);
/* The pid and the description; the log stays. */
void runtime_clear(const struct runtime_dir *dir);

/* That very process runs; another one that got its number does not count. */
bool background_runs(const struct background *background);
/* When PID started; 0: it does not run (any more). */
uint64_t process_start(pid_t pid);

#endif
