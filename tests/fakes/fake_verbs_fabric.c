/* SPDX-License-Identifier: BSD-3-Clause */
/* tests/fakes/fake_verbs_fabric.c - the fabric as a whole: set-up, counts, numbers. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "fakes/fake_verbs_impl.h"

struct fake_fabric fabric = {.lock = PTHREAD_RWLOCK_INITIALIZER};

static _Atomic int64_t counts[FAKE_COUNTS];

/* For fake_verbs_await(); a mutex of its own, taken by others only when somebody waits. */
static struct {
	pthread_mutex_t mutex;
	pthread_cond_t more;
	_Atomic unsigned waiters;
} await = {.mutex = PTHREAD_MUTEX_INITIALIZER, .more = PTHREAD_COND_INITIALIZER};

static const struct sl_verbs table = {
    .get_device_list = fake_get_device_list,
    .free_device_list = fake_free_device_list,
    .get_device_name = fake_get_device_name,
    .open_device = fake_open_device,
    .close_device = fake_close_device,
    .query_device = fake_query_device,
    .query_port = fake_query_port,
    .query_gids = fake_query_gids,
    .alloc_pd = fake_alloc_pd,
    .dealloc_pd = fake_dealloc_pd,
    .reg_mr = fake_reg_mr,
    .reg_dmabuf_mr = fake_reg_dmabuf_mr,
    .dereg_mr = fake_dereg_mr,
    .create_comp_channel = fake_create_comp_channel,
    .destroy_comp_channel = fake_destroy_comp_channel,
    .create_cq = fake_create_cq,
    .resize_cq = fake_resize_cq,
    .destroy_cq = fake_destroy_cq,
    .req_notify_cq = fake_req_notify_cq,
    .get_cq_event = fake_get_cq_event,
    .ack_cq_events = fake_ack_cq_events,
    .poll_cq = fake_poll_cq,
    .create_srq = fake_create_srq,
    .modify_srq = fake_modify_srq,
    .destroy_srq = fake_destroy_srq,
    .post_srq_recv = fake_post_srq_recv,
    .create_qp = fake_create_qp,
    .modify_qp = fake_modify_qp,
    .query_qp = fake_query_qp,
    .destroy_qp = fake_destroy_qp,
    .create_ah = fake_create_ah,
    .destroy_ah = fake_destroy_ah,
    .post_send = fake_post_send,
    .post_recv = fake_post_recv,
    .get_async_event = fake_get_async_event,
    .ack_async_event = fake_ack_async_event,
    .wc_status_str = fake_wc_status_str,
};

union ibv_gid fake_verbs_gid_ipv4(uint8_t a, uint8_t b, uint8_t c, uint8_t d)
{
	return (union ibv_gid){.raw = {[10] = 0xff, [11] = 0xff, a, b, c, d}};
}

union ibv_gid fake_verbs_gid_link_local(uint64_t n)
{
	union ibv_gid gid = {.raw = {0xfe, 0x80}};

	for (int i = 0; i < 8; i++)
		gid.raw[15 - i] = (uint8_t)(n >> 8 * i);
	return gid;
}

static void port_init(struct fake_port_config *p, uint8_t dev, uint8_t num)
{
	p->link_layer = IBV_LINK_LAYER_ETHERNET;
	p->state = IBV_PORT_ACTIVE;
	p->mtu = IBV_MTU_4096;
	p->lid = (uint16_t)(dev * 16 + num);
	p->max_msg = UINT32_C(1) << 30;
	p->active_speed = 64; /* HDR, 4 lanes: 200 Gb/s */
	p->active_width = 2;
	for (int i = 0; i < 4; i++) {
		p->gids[i].gid = i < 2 ? fake_verbs_gid_link_local(p->lid)
		                       : fake_verbs_gid_ipv4(10, 0, dev, num);
		p->gids[i].type = i % 2 ? IBV_GID_TYPE_ROCE_V2 : IBV_GID_TYPE_ROCE_V1;
	}
}

static void device_init(struct fake_device_config *d, uint8_t index)
{
	(void)snprintf(d->name, sizeof(d->name), "fake%d", index);
	(void)snprintf(d->ibdev_path, sizeof(d->ibdev_path), "/sys/class/infiniband/fake%d", index);
	d->attr = (struct ibv_device_attr){
	    .fw_ver = "1.0",
	    .node_guid = (uint64_t)index + 1,
	    .sys_image_guid = (uint64_t)index + 1,
	    .max_mr_size = UINT64_C(1) << 40,
	    .page_size_cap = UINT64_C(4096),
	    .max_qp = 32768,
	    .max_qp_wr = 8192,
	    .max_sge = 30,
	    .max_sge_rd = 30,
	    .max_cq = 4096,
	    .max_cqe = 4194303,
	    .max_mr = 65536,
	    .max_pd = 1024,
	    .max_qp_rd_atom = 16,
	    .max_res_rd_atom = 16 * 32768,
	    .max_qp_init_rd_atom = 16,
	    .max_ah = 65536,
	    .max_srq = 4096,
	    .max_srq_wr = 32767,
	    .max_srq_sge = 31,
	    .max_pkeys = 1,
	    .phys_port_cnt = 1,
	};
	d->max_inline = 256;
	for (uint8_t p = 0; p < FAKE_PORTS_MAX; p++)
		port_init(&d->ports[p], index, (uint8_t)(p + 1));
}

void fake_verbs_config_init(struct fake_verbs_config *config)
{
	memset(config, 0, sizeof(*config));
	config->n_devices = 2;
	for (uint8_t i = 0; i < FAKE_DEVICES_MAX; i++)
		device_init(&config->devices[i], i);
}

static void device_create(struct fake_device *dev, unsigned index)
{
	const struct fake_device_config *c = &fabric.config.devices[index];

	*dev = (struct fake_device){.config = *c, .index = index};
	dev->ibv.node_type = IBV_NODE_CA;
	dev->ibv.transport_type = IBV_TRANSPORT_IB;
	(void)snprintf(dev->ibv.name, sizeof(dev->ibv.name), "%s", c->name);
	(void)snprintf(dev->ibv.dev_name, sizeof(dev->ibv.dev_name), "uverbs%u", index);
	(void)snprintf(dev->ibv.ibdev_path, sizeof(dev->ibv.ibdev_path), "%s", c->ibdev_path);
}

static int table_grow(struct fake_table *t)
{
	unsigned cap = t->cap ? t->cap * 2 : 64;
	void **slot = calloc(cap, sizeof(*slot));
	uint8_t *generation = calloc(cap, 1);

	if (!slot || !generation) {
		free(slot);
		free(generation);
		return ENOMEM;
	}
	if (t->cap) {
		memcpy(slot, t->slot, t->cap * sizeof(*slot));
		memcpy(generation, t->generation, t->cap);
	}
	fake_table_free(t);
	*t = (struct fake_table){
	    .slot = slot, .generation = generation, .cap = cap, .used = t->used, .next = t->next};
	return 0;
}

const struct sl_verbs *fake_verbs_create(const struct fake_verbs_config *config)
{
	if (config)
		fabric.config = *config;
	else
		fake_verbs_config_init(&fabric.config);
	TAILQ_INIT(&fabric.ctxs);
	TAILQ_INIT(&fabric.ready);
	TAILQ_INIT(&fabric.waiting);
	TAILQ_INIT(&fabric.strays);
	for (unsigned i = 0; i < fabric.config.n_devices; i++) {
		device_create(&fabric.devices[i], i);
		/* now, so that a test which counts allocations sees no more of them later */
		(void)table_grow(&fabric.devices[i].qps);
		(void)table_grow(&fabric.devices[i].mrs);
	}
	for (int i = 0; i < FAKE_COUNTS; i++)
		atomic_store(&counts[i], 0);
	fake_fault_reset_locked();
	return &table;
}

void fake_verbs_destroy(void)
{
	if (fake_verbs_count(FAKE_CONTEXTS))
		return; /* a leak, and the wire still looks at it */
	fake_stray_reset_locked();
	for (unsigned i = 0; i < fabric.config.n_devices; i++) {
		fake_table_free(&fabric.devices[i].qps);
		fake_table_free(&fabric.devices[i].mrs);
	}
}

void fake_bump(enum fake_count what, int64_t by)
{
	(void)atomic_fetch_add(&counts[what], by);
	if (!atomic_load(&await.waiters))
		return;
	(void)pthread_mutex_lock(&await.mutex);
	(void)pthread_cond_broadcast(&await.more);
	(void)pthread_mutex_unlock(&await.mutex);
}

uint64_t fake_verbs_count(enum fake_count what)
{
	return (uint64_t)atomic_load(&counts[what]);
}

bool fake_verbs_await(enum fake_count what, uint64_t n, int64_t timeout_ns)
{
	struct timespec end;
	int rc = 0;

	(void)clock_gettime(CLOCK_REALTIME, &end);
	timeout_ns += end.tv_nsec;
	end.tv_sec += timeout_ns / 1000000000;
	end.tv_nsec = timeout_ns % 1000000000;
	(void)atomic_fetch_add(&await.waiters, 1);
	(void)pthread_mutex_lock(&await.mutex);
	while (fake_verbs_count(what) < n && !rc)
		rc = pthread_cond_timedwait(&await.more, &await.mutex, &end);
	(void)pthread_mutex_unlock(&await.mutex);
	(void)atomic_fetch_sub(&await.waiters, 1);
	return fake_verbs_count(what) >= n;
}

const char *fake_verbs_leaks(void)
{
	static const char *const one[FAKE_KINDS] = {"context", "PD",  "MR", "completion channel",
	                                            "CQ",      "SRQ", "QP", "AH"};
	static _Thread_local char text[200];
	size_t at = 0;

	for (int k = 0; k < FAKE_KINDS; k++) {
		long long n = (long long)fake_verbs_count((enum fake_count)k);

		if (n && at < sizeof(text))
			at += (size_t)snprintf(text + at, sizeof(text) - at, "%s%lld %s%s",
			                       at ? ", " : "still alive: ", n, one[k],
			                       n == 1 ? "" : "s");
	}
	return at ? text : NULL;
}

int64_t fake_now_ns(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * INT64_C(1000000000) + ts.tv_nsec;
}

/* A number comes back late, and with another generation. */
int fake_table_add(struct fake_table *t, void *object, unsigned cap_max, unsigned *slot)
{
	if (t->used >= cap_max)
		return ENOMEM;
	if (t->used * 2 >= t->cap && table_grow(t))
		return ENOMEM;
	while (t->slot[t->next % t->cap])
		t->next++;
	*slot = t->next++ % t->cap;
	t->slot[*slot] = object;
	t->generation[*slot]++;
	t->used++;
	return 0;
}

void fake_table_remove(struct fake_table *t, unsigned slot)
{
	t->slot[slot] = NULL;
	t->used--;
}

void fake_table_free(struct fake_table *t)
{
	free(t->slot);
	free(t->generation);
	t->slot = NULL;
	t->generation = NULL;
	t->cap = 0;
}
