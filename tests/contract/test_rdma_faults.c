/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/contract/test_rdma_faults.c - the rdma transport on devices that fail to order,
 * on networks of all kinds, and what it costs. docs/testing.md says which weakness of
 * others each case is about.
 *
 *	test_rdma_faults --list | CASE | (nothing: all)
 */
#include "rig_rdma.h"

int main(int argc, char **argv)
{
	static const struct contract_case *const files[] = {rdma_fault_cases, rdma_rail_cases,
	                                                    rdma_late_cases,  rdma_path_cases,
	                                                    rdma_cost_cases,  NULL};

	env.transport = "rdma";
	return suite_main(files, argc, argv);
}
