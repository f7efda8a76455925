/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * part_file.h - a file that is not all there yet. It lies beside its final
 * place under a name of its own, with a small file that says how far it is and
 * of which source; it gets the final name only when it is whole. What is there
 * survives this process, so that the next one goes on from it.
 *
 *     DIR/.NAME.part-ID          the bytes
 *     DIR/.NAME.part-ID.state    the source and how many bytes are there
 */
#ifndef DLSLIME_PART_FILE_H
#define DLSLIME_PART_FILE_H

#include "share_wire.h"

struct part_file;

/*
 * Make or find the part of DIR/NAME. -EEXIST: there is a DIR/NAME, and not
 * FORCE. -EBUSY: another process fetches it right now. And what open() says.
 */
int part_create(const char *dir, const char *name, bool force, struct part_file **out,
                struct slime_error *err);

/*
 * It is to become ID. Returns how many bytes are there already; -ENOSPC: it does
 * not fit the disk. *STALE: there was a part of something else, which is gone.
 */
int64_t part_begin(struct part_file *p, const struct file_id *id, bool *stale,
                   struct slime_error *err);

int part_write(struct part_file *p, uint64_t at, const void *bytes, size_t len,
               struct slime_error *err);
int part_read(struct part_file *p, uint64_t at, void *bytes, size_t len, struct slime_error *err);

/* The first DONE bytes are there. Cheap: writes it down now and then. */
void part_advance(struct part_file *p, uint64_t done);

/* It is whole: to the disk with it, and under its final name. */
int part_finish(struct part_file *p, struct slime_error *err);

/* It is of no use: the next to come starts from nothing. */
void part_discard(struct part_file *p);

/* Where it will be: "DIR/NAME". */
const char *part_target(const struct part_file *p);

/* Close; what is not finished stays for later. NULL is fine. */
void part_destroy(struct part_file *p);

#endif
