/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/fuzz/fuzz_rdma_frame.c - the parsers of what rdma peers tell each other.
 *
 * The first byte chooses the parser. What is accepted must be what its own
 * writer would have written: no two spellings of one meaning.
 */
#include <string.h>

#include "fuzz.h"
#include "transport/rdma/rdma_frame.h"

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	(void)argc;
	(void)argv;
	return 0;
}

static void check_lane(const uint8_t *in, size_t len)
{
	uint8_t again[RDMA_LANE_LEN];
	struct rdma_lane lane;

	if (sl_rdma_get_lane(in, len, &lane))
		return;
	MUST(sl_rdma_put_lane(again, &lane) == len);
	MUST(!memcmp(again, in, len));
}

static void check_region(const uint8_t *in, size_t len)
{
	uint8_t again[RDMA_REGION_LEN];
	struct rdma_region region;

	if (sl_rdma_get_region(in, len, &region))
		return;
	MUST(region.addr + region.len >= region.addr);
	sl_rdma_put_region(again, &region);
	MUST(!memcmp(again, in, sizeof(again)));
}

static void check_state(const uint8_t *in, size_t len)
{
	uint8_t again[RDMA_STATE_LEN];
	struct rdma_state state;

	if (sl_rdma_get_state(in, len, &state))
		return;
	MUST(state.status <= 0 && state.status > -4096);
	sl_rdma_put_state(again, &state);
	MUST(!memcmp(again, in, sizeof(again)));
}

static void check_record(const uint8_t *in, size_t len)
{
	uint8_t again[RDMA_RECORD_LEN];
	struct rdma_record record;

	if (sl_rdma_get_record(in, len, &record))
		return;
	MUST(record.shift <= 30);
	sl_rdma_put_record(again, &record);
	MUST(!memcmp(again, in, sizeof(again)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
	static void (*const checks[])(const uint8_t *in, size_t len) = {check_lane, check_region,
	                                                                check_state, check_record};

	if (len)
		checks[data[0] % 4](data + 1, len - 1);
	return 0;
}
