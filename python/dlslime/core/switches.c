/* SPDX-License-Identifier: BSD-3-Clause */
/* What was built, for the extension; in a file of its own so that a switch recompiles only this. */
int sl_built_rdma(void);
int sl_built_tcp(void);

int sl_built_rdma(void)
{
	return DLSLIME_BUILT_RDMA;
}

int sl_built_tcp(void)
{
	return DLSLIME_BUILT_TCP;
}
