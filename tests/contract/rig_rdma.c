/* SPDX-License-Identifier: BSD-3-Clause */
#include "rig_rdma.h"

struct pair *rig_begin(const struct fake_verbs_config *config, const struct pair_opts *opts)
{
	fake_verbs_install(config);
	return pair_create(opts);
}

struct pair *rig_four(const struct pair_opts *opts)
{
	struct pair_opts with_b = *opts;
	struct fake_verbs_config config;

	fake_verbs_config_init(&config);
	config.n_devices = 4;
	for (unsigned i = 2; i < 4; i++) {
		config.devices[i] = config.devices[i - 2];
		config.devices[i].name[4] = (char)('0' + i);
		config.devices[i].ports[0].gids[3].gid =
		    fake_verbs_gid_ipv4(10, 0, 0, (uint8_t)(100 + i));
	}
	with_b.b_device = "fake2,fake3";
	return rig_begin(&config, &with_b);
}

void rig_end(struct pair *p)
{
	const char *leaks;

	pair_destroy(p);
	leaks = fake_verbs_leaks();
	if (leaks)
		test_fail("when everything was given back, these were %s", leaks);
	fake_verbs_uninstall();
}

int rig_ends(struct pair *p, slime_op *op)
{
	return pair_finish(p, op, NULL);
}

static void one_way(struct pair *p, struct side *from, struct side *to, uint64_t seed)
{
	enum { LEN = 100000 };
	struct slime_result res;
	slime_op *op;

	fill(from->mem, LEN, seed);
	CHECK_ENDS(p, start_write(from, 0, LEN, LEN), 0);
	CHECK_FILLED(to->mem + LEN, LEN, seed);
	CHECK_ENDS(p, start_read(from, LEN, LEN, LEN), 0);
	CHECK_FILLED(from->mem + LEN, LEN, seed);
	op = start_recv_imm(to);
	CHECK_ENDS(p, start_write_imm(from, 0, 2 * LEN, LEN, (uint32_t)seed), 0);
	CHECK_OK(pair_finish(p, op, &res));
	CHECK_EQ(res.imm, (uint32_t)seed);
	CHECK_FILLED(to->mem + 2 * LEN, LEN, seed);
	op = start_recv(to, 3 * LEN, LEN);
	CHECK_ENDS(p, start_send(from, 0, LEN), 0);
	CHECK_ENDS(p, op, 0);
	CHECK_FILLED(to->mem + 3 * LEN, LEN, seed);
}

void rig_works(struct pair *p)
{
	one_way(p, &p->a, &p->b, 11);
	one_way(p, &p->b, &p->a, 12);
}

unsigned rig_rc_qps(unsigned dev, struct fake_qp_info *out, unsigned cap)
{
	static struct fake_qp_info all[8192];
	unsigned n = fake_verbs_list_qps(dev, all, 8192), found = 0;

	CHECK(n <= 8192);
	for (unsigned i = 0; i < n; i++) {
		if (all[i].type != IBV_QPT_RC || all[i].state != IBV_QPS_RTS)
			continue;
		if (found < cap)
			out[found] = all[i];
		found++;
	}
	return found;
}
