/* SPDX-License-Identifier: BSD-3-Clause */
/* base/file.h - the small files by which the kernel tells about itself, and memory as a file. */
#ifndef SL_FILE_H
#define SL_FILE_H

#include <stddef.h>

/*
 * The first CAP - 1 bytes of PATH, ended by a zero. 0; a negative errno if it cannot
 * be opened; -EIO if it is empty or cannot be read. BUF is written only on success.
 */
int sl_file_read(const char *path, char *buf, size_t cap);

/*
 * Make FD, a memfd, LEN bytes long; 0 or a negative errno. -EFBIG past RLIMIT_FSIZE, where
 * the kernel would end a program that knows nothing of files of ours with SIGXFSZ.
 */
int sl_file_resize(int fd, size_t len);

#endif
