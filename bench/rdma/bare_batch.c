/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * 64 writes of 4 KiB straight on verbs, without us: what a batch can gain on this device at most.
 *
 *	cc -O2 bench/rdma/bare_batch.c -libverbs -o /tmp/bare_batch
 *	tools/softroce-vm -k -n 1 /tmp/bare_batch rxe0 1 3
 *
 * bare_batch DEVICE GID_INDEX ROUNDS: two queue pairs of one process. In turns: 64 posts with a
 * completion each, all in flight; and 64 requests in a row, one post, one completion. Half a second
 * each; MB/s of both and their ratio for each round.
 */
#include <infiniband/verbs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { N = 64, SIZE = 4096, STEP = 2 * SIZE, LEN = N * STEP };

static struct ibv_qp *qp[2];
static struct ibv_cq *cq;
static struct ibv_mr *mr[2];

static void must(int good, const char *what)
{
	if (good)
		return;
	perror(what);
	exit(1);
}

static double now(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void join(struct ibv_qp *from, const struct ibv_qp *to, const union ibv_gid *gid, int index)
{
	struct ibv_qp_attr init = {
	    .qp_state = IBV_QPS_INIT, .port_num = 1, .qp_access_flags = IBV_ACCESS_REMOTE_WRITE};
	struct ibv_qp_attr rtr = {
	    .qp_state = IBV_QPS_RTR,
	    .path_mtu = IBV_MTU_1024,
	    .dest_qp_num = to->qp_num,
	    .max_dest_rd_atomic = 1,
	    .min_rnr_timer = 1,
	    .ah_attr = {.is_global = 1,
	                .port_num = 1,
	                .grh = {.dgid = *gid, .sgid_index = (uint8_t)index, .hop_limit = 64}}};
	struct ibv_qp_attr rts = {
	    .qp_state = IBV_QPS_RTS, .timeout = 14, .retry_cnt = 7, .rnr_retry = 7};

	must(!ibv_modify_qp(from, &init,
	                    IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS),
	     "INIT");
	must(!ibv_modify_qp(from, &rtr,
	                    IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN |
	                        IBV_QP_RQ_PSN | IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER),
	     "RTR");
	must(!ibv_modify_qp(from, &rts,
	                    IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY |
	                        IBV_QP_SQ_PSN | IBV_QP_MAX_QP_RD_ATOMIC),
	     "RTS");
}

static void take(int n)
{
	struct ibv_wc wc[N];

	while (n > 0) {
		int got = ibv_poll_cq(cq, N, wc);

		must(got >= 0, "poll");
		for (int i = 0; i < got; i++)
			must(wc[i].status == IBV_WC_SUCCESS, ibv_wc_status_str(wc[i].status));
		n -= got;
	}
}

static void write_all(int at_once)
{
	static struct ibv_send_wr wr[N];
	static struct ibv_sge sge[N];
	struct ibv_send_wr *bad;

	for (int i = 0; i < N; i++) {
		int last = (i + 1) % at_once == 0;

		sge[i] = (struct ibv_sge){.addr = (uintptr_t)mr[0]->addr + (size_t)i * STEP,
		                          .length = SIZE,
		                          .lkey = mr[0]->lkey};
		wr[i] = (struct ibv_send_wr){
		    .next = last ? NULL : &wr[i + 1],
		    .sg_list = &sge[i],
		    .num_sge = 1,
		    .opcode = IBV_WR_RDMA_WRITE,
		    .send_flags = last ? IBV_SEND_SIGNALED : 0,
		    .wr.rdma = {.remote_addr = (uintptr_t)mr[1]->addr + (size_t)i * STEP,
		                .rkey = mr[1]->rkey}};
	}
	for (int i = 0; i < N; i += at_once)
		must(!ibv_post_send(qp[0], &wr[i], &bad), "post");
	take(N / at_once);
}

static double rate(int at_once)
{
	double began = now(), took;
	long n = 0;

	do {
		write_all(at_once);
		n++;
		took = now() - began;
	} while (took < 0.5);
	return (double)n * N * SIZE / took / 1e6;
}

static void open_all(const char *name, int gid_index)
{
	struct ibv_device **list = ibv_get_device_list(NULL);
	struct ibv_qp_init_attr attr = {
	    .qp_type = IBV_QPT_RC,
	    .cap = {.max_send_wr = N, .max_recv_wr = 1, .max_send_sge = 1, .max_recv_sge = 1}};
	struct ibv_context *ctx;
	union ibv_gid gid;
	struct ibv_pd *pd;

	must(list != NULL, "devices");
	while (*list && strcmp(ibv_get_device_name(*list), name))
		list++;
	must(*list != NULL, "no such device");
	ctx = ibv_open_device(*list);
	must(ctx && !ibv_query_gid(ctx, 1, gid_index, &gid), "open");
	pd = ibv_alloc_pd(ctx);
	cq = ibv_create_cq(ctx, 2 * N, NULL, NULL, 0);
	must(pd && cq, "queue");
	attr.send_cq = attr.recv_cq = cq;
	for (int i = 0; i < 2; i++) {
		void *mem = calloc(1, LEN);

		must(mem != NULL, "memory");
		mr[i] = ibv_reg_mr(pd, mem, LEN, IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE);
		qp[i] = ibv_create_qp(pd, &attr);
		must(mr[i] && qp[i], "queue pair");
	}
	join(qp[0], qp[1], &gid, gid_index);
	join(qp[1], qp[0], &gid, gid_index);
}

int main(int argc, char **argv)
{
	if (argc != 4) {
		fprintf(stderr, "usage: bare_batch DEVICE GID_INDEX ROUNDS\n");
		return 2;
	}
	open_all(argv[1], (int)strtol(argv[2], NULL, 10));
	for (long i = strtol(argv[3], NULL, 10); i > 0; i--) {
		double single = rate(1), batch = rate(N);

		printf("single %.1f MB/s, batch %.1f MB/s, ratio %.2f\n", single, batch,
		       batch / single);
	}
	return 0;
}
