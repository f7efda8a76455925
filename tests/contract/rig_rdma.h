/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/contract/rig_rdma.h - what the cases of test_rdma_faults.c share. */
#ifndef RIG_RDMA_H
#define RIG_RDMA_H

#include "contract.h"
#include "fakes/fake_verbs.h"

extern const struct contract_case rdma_fault_cases[];
extern const struct contract_case rdma_rail_cases[];
extern const struct contract_case rdma_late_cases[];
extern const struct contract_case rdma_path_cases[];
extern const struct contract_case rdma_cost_cases[];

/* Devices as CONFIG says (NULL: two), and a pair over them. */
struct pair *rig_begin(const struct fake_verbs_config *config, const struct pair_opts *opts);
/* Four, of which A may have fake0 and fake1; B has fake2 and fake3. */
struct pair *rig_four(const struct pair_opts *opts);
/* The end: nothing may be left of any device. */
void rig_end(struct pair *p);

/* Every kind of transfer, both ways, and every byte right. */
void rig_works(struct pair *p);
/* Let OP end, with whatever status, and return it; it may not take longer than patience_ns(). */
int rig_ends(struct pair *p, slime_op *op);
/* The connected RC queue pairs of device DEV, into OUT; returns how many there are. */
unsigned rig_rc_qps(unsigned dev, struct fake_qp_info *out, unsigned cap);

#endif
