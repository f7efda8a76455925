/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * endpoint/desc.h - descriptions of endpoints and regions: bytes out, bytes in, no I/O.
 *
 *	0  u32 "SLIM"   4  u16 version   6  u8 kind   7  u8 zero
 *	8  u64 XXH64 of everything behind it
 *	16 context id (16 bytes)
 *	endpoint: u64 id, u32 pid, u16 lanes wanted, u8 n + n bytes of host name
 *	region:   u64 length, u32 access, u32 kind
 *	then one section for each lane of each transport:
 *	  u8 n + n bytes of transport name, u8 domain, u8 lane, u16 n + n bytes for the transport
 *
 * All little-endian. The checksum finds damage, not forgery: what gives access
 * are the secrets inside the sections.
 */
#ifndef SL_DESC_H
#define SL_DESC_H

#include <slime/mr.h>

#include "transport/transport.h"

enum sl_desc_kind { SL_DESC_EP = 1, SL_DESC_MR = 2 };

enum { SL_CTX_ID_LEN = 16, SL_DESC_SECTIONS = 48, SL_DESC_HOST_MAX = 64 };

struct sl_desc_section {
	char transport[16];
	uint8_t dom; /* which of the context's domains, so that several NICs differ */
	uint8_t lane;
	uint16_t len;
	const uint8_t *bytes; /* into the description that was read */
};

struct sl_desc_head {
	enum sl_desc_kind kind;
	uint8_t ctx_id[SL_CTX_ID_LEN];
	/* SL_DESC_EP */
	uint64_t ep_id;
	uint32_t pid;
	uint16_t lanes;
	char host[SL_DESC_HOST_MAX];
	/* SL_DESC_MR */
	uint64_t len;
	uint32_t access;
	uint32_t mem_kind;
};

/* Start OUT with HEAD, append sections, close it with its checksum. -EMSGSIZE: no room. */
void sl_desc_begin(struct slime_desc *out, const struct sl_desc_head *head);
int sl_desc_add(struct slime_desc *out, const char *transport, unsigned dom, unsigned lane,
                const struct sl_blob *blob);
void sl_desc_end(struct slime_desc *out);

/*
 * Read IN, which must be of KIND. Fills HEAD and up to SL_DESC_SECTIONS entries
 * of SECTIONS, which point into IN; returns how many, or -EPROTO with a sentence.
 */
int sl_desc_read(const struct slime_desc *in, enum sl_desc_kind kind, struct sl_desc_head *head,
                 struct sl_desc_section *sections, struct slime_error *err);

/* The section of TRANSPORT and LANE, on domain DOM (-1: any), or NULL. */
const struct sl_desc_section *sl_desc_find(const struct sl_desc_section *sections, int n,
                                           const char *transport, int dom, unsigned lane);

#endif
