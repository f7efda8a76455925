/* SPDX-License-Identifier: BSD-3-Clause */
/* transport/tcp/tcp_table.h - the functions of the table, see transport.h for each. */
#ifndef SL_TCP_TABLE_H
#define SL_TCP_TABLE_H

#include "transport/transport.h"

int sl_tcp_dom_open(const struct sl_dom_opts *opts, struct sl_dom **out, struct slime_error *err);
void sl_tcp_dom_close(struct sl_dom *dom);
int sl_tcp_reg(struct sl_dom *dom, const struct sl_mem *mem, uint32_t access, struct sl_reg **out,
               struct slime_error *err);
void sl_tcp_unreg(struct sl_reg *reg);
int sl_tcp_reg_pack(const struct sl_reg *reg, struct sl_blob *out, struct slime_error *err);
int sl_tcp_rreg_unpack(struct sl_conn *conn, const struct sl_blob *blob, struct sl_rreg **out,
                       struct slime_error *err);
void sl_tcp_rreg_free(struct sl_rreg *rreg);
int sl_tcp_progress(struct sl_dom *dom, unsigned budget);
int sl_tcp_dom_fd(struct sl_dom *dom);
int sl_tcp_arm(struct sl_dom *dom, int64_t *wake_ns);

#endif
