/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * served_file.h - a file that 'dlslime serve' offers, mapped and registered.
 *
 * A version is one state of the file: what its readers were promised. When the
 * file changes, its readers are told so, and the next one gets a new version.
 * The server itself reads the file only with pread(), for the hash; should the
 * library touch a mapping behind the end of a file that was cut, the page reads
 * as zeroes (see served_file_guard()), and the hash tells the reader.
 *
 * Threads: any.
 */
#ifndef DLSLIME_SERVED_FILE_H
#define DLSLIME_SERVED_FILE_H

#include <slime/mr.h>

#include "share_wire.h"

enum { SERVED_FILES_MAX = 1024 };

struct served_file;

struct file_version {
	struct file_id id;
	slime_mr *mr; /* NULL for an empty file */
};

/* Survive SIGBUS from the mappings made here. Once, before threads. */
void served_file_guard(void);

/* Open PATH, a regular file; it stays open. At most SERVED_FILES_MAX. */
int served_file_create(slime_ctx *ctx, const char *path, struct served_file **out,
                       struct slime_error *err);
void served_file_destroy(struct served_file *file);

/* The name that it goes by: the last component of its path. */
const char *served_file_name(const struct served_file *file);

/* The file as it is now; -ESTALE and the like when it is not there any more. */
int file_version_get(struct served_file *file, struct file_version **out, struct slime_error *err);
/* One release more is needed. */
void file_version_hold(struct file_version *version);
void file_version_release(struct file_version *version);

/* -ESTALE with a sentence: the file is not what it was when VERSION was made. */
int file_version_same(struct file_version *version, struct slime_error *err);

/*
 * The hash of all its bytes. The first call starts a thread that computes it;
 * -ETIMEDOUT: not done within TIMEOUT_NS, ask again.
 */
int file_version_hash(struct file_version *version, int64_t timeout_ns, uint8_t out[FILE_HASH_LEN],
                      struct slime_error *err);

#endif
