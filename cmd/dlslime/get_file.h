/* SPDX-License-Identifier: BSD-3-Clause */
/* get_file.h - fetching one file from a server: connect, read, check; and again if it breaks. */
#ifndef DLSLIME_GET_FILE_H
#define DLSLIME_GET_FILE_H

#include <stdatomic.h>

#include "address.h"
#include "named_file.h"
#include "part_file.h"

struct get_opts {
	struct ticket ticket;
	struct named_file *named; /* by name: TICKET is the one found last; NULL: by TICKET alone */
	const char *transport;    /* NULL: the best */
	int64_t timeout_ns;       /* how long to try again without any byte more */
	const _Atomic int *interrupted;
};

struct get_result {
	uint64_t bytes;        /* of the file */
	uint64_t resumed_from; /* there already */
	int64_t ns;            /* for the rest */
	int64_t write_ns;      /* of them writing to the disk */
	uint8_t hash[FILE_HASH_LEN];
	uint32_t lanes;
	char transport[SHARE_TRANSPORT_MAX];
	char device[64];
	char because[1024];
};

/* Make PART whole. It has not got its final name after this, but may. */
int get_file(struct get_opts *o, struct part_file *part, struct get_result *out,
             struct slime_error *err);

#endif
