/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * tests/fakes/fake_verbs.h - RDMA devices in memory, behind the table of
 * transport/rdma/rdma_verbs.h, with faults to order.
 *
 * A fabric of some devices, "fake0", "fake1", ..., all joined to one switch, in
 * this process only. It has what the rdma transport may ask for: RC and UD queue
 * pairs, shared receive queues, completion queues with channels, memory regions
 * (plain, on demand, dma-buf), asynchronous events. Where hardware differs, it is
 * the stricter kind:
 *
 *   - A completion queue has exactly the room that was asked for, and one entry
 *     more kills it.
 *   - A slot of a queue is free again when a completion that covers it was taken.
 *   - A failed completion holds nonsense but for its id, status and QP number.
 *   - Completions of a destroyed QP stay in the queue (unless purge_cqes).
 *   - lkey and rkey of a region differ; numbers of QPs are those of their device.
 *   - Messages go over in pieces: a QP that is taken away in the middle leaves half.
 *   - Modifying to RTR fails with EHOSTUNREACH for an unknown GID of an Ethernet port.
 *   - Retries take the time that the attributes of the QP say.
 *
 * What is missing: XRC, UC, atomics, memory windows, multicast, SQD, path migration,
 * several pkeys. Destroying what is in use is EBUSY, close_device() included.
 *
 * The work is done by a thread of its own, the wire, which lives while a device
 * is open; if SYNCHRONOUS, by the caller of each function. All functions may be
 * called from any thread, but for install() and uninstall().
 */
#ifndef FAKE_VERBS_H
#define FAKE_VERBS_H

#include <stdbool.h>
#include <stdint.h>

#include "transport/rdma/rdma_verbs.h"

enum { FAKE_DEVICES_MAX = 8, FAKE_PORTS_MAX = 2, FAKE_GIDS_MAX = 8 };

struct fake_port_config {
	uint8_t link_layer; /* IBV_LINK_LAYER_ETHERNET or IBV_LINK_LAYER_INFINIBAND */
	enum ibv_port_state state;
	enum ibv_mtu mtu;
	uint16_t lid; /* InfiniBand only */
	uint32_t max_msg;
	uint8_t active_speed, active_width;
	struct {
		union ibv_gid gid; /* all zero: an empty entry */
		enum ibv_gid_type type;
	} gids[FAKE_GIDS_MAX];
};

struct fake_device_config {
	char name[32];
	char ibdev_path[128];        /* its place in sysfs, which need not exist */
	struct ibv_device_attr attr; /* limits, and the number of ports */
	struct ibv_odp_caps odp;
	uint32_t max_inline;
	bool dmabuf;
	struct fake_port_config ports[FAKE_PORTS_MAX];
};

struct fake_verbs_config {
	unsigned n_devices;
	struct fake_device_config devices[FAKE_DEVICES_MAX];
	uint64_t max_locked; /* bytes that may be registered in all; 0: any number */
	bool synchronous;
	bool purge_cqes; /* destroying or resetting a QP takes its completions away */
	bool routed;     /* devices are in different IP networks: hop limit 1 does not do */
};

/* Two devices of one Ethernet port each, with the GIDs of a usual RoCE card. */
void fake_verbs_config_init(struct fake_verbs_config *config);
/* ::ffff:a.b.c.d, and fe80::N. */
union ibv_gid fake_verbs_gid_ipv4(uint8_t a, uint8_t b, uint8_t c, uint8_t d);
union ibv_gid fake_verbs_gid_link_local(uint64_t n);

/*
 * Make the devices of CONFIG (NULL: the default) and let the library use them.
 * Before any context exists; again after uninstall().
 */
void fake_verbs_install(const struct fake_verbs_config *config);
/* The real ones again. Faults are forgotten; what is still alive is too. */
void fake_verbs_uninstall(void);
/* The same for tests of the fake itself: without the library. */
const struct sl_verbs *fake_verbs_create(const struct fake_verbs_config *config);
void fake_verbs_destroy(void);

/* What is alive, as a sentence; NULL: nothing. Valid until the thread's next call. */
const char *fake_verbs_leaks(void);

enum fake_count {
	/* alive now */
	FAKE_CONTEXTS,
	FAKE_PDS,
	FAKE_MRS,
	FAKE_CHANNELS,
	FAKE_CQS,
	FAKE_SRQS,
	FAKE_QPS,
	FAKE_AHS,
	FAKE_KINDS,
	FAKE_MR_BYTES = FAKE_KINDS, /* registered */
	FAKE_QUEUE_BYTES,           /* 64 for each entry of a queue, as hardware has it */
	/* since the start */
	FAKE_DOORBELLS, /* calls of post_send() that posted something */
	FAKE_WORKS,     /* work requests of send queues */
	FAKE_INLINES,   /* those of them with the data inside */
	FAKE_CARRIED,   /* those that were completed, signalled or not */
	FAKE_CQES,
	FAKE_WAKES,       /* events of completion channels */
	FAKE_OVERRUNS,    /* of completion queues */
	FAKE_EVENTS,      /* asynchronous events */
	FAKE_RNR,         /* a receive was missing */
	FAKE_UNANSWERED,  /* a packet had no answer, for the first time */
	FAKE_DATAGRAMS,   /* sent */
	FAKE_LOST,        /* datagrams that nobody received */
	FAKE_EMPTY_POLLS, /* polls that found nothing */
	FAKE_COUNTS
};
uint64_t fake_verbs_count(enum fake_count what);
/* Wait until count WHAT is at least N. False: not within the timeout. */
bool fake_verbs_await(enum fake_count what, uint64_t n, int64_t timeout_ns);

struct fake_qp_info {
	unsigned dev;
	uint32_t num;
	enum ibv_qp_type type;
	enum ibv_qp_state state;
	uint32_t dest_num; /* 0: none */
	uint32_t queued;   /* send work that is not complete */
	struct ibv_qp_attr attr;
	struct ibv_qp_cap cap;
};
/* The QPs alive on device DEV, oldest first: up to CAP; returns how many there are. */
unsigned fake_verbs_list_qps(unsigned dev, struct fake_qp_info *out, unsigned cap);

/*
 * Faults. N counts from 1 and from now. QPN 0 is any QP of the device. At most 64
 * may wait to happen.
 */

/* The N-th call of the slot CALL ("create_qp") fails with ERROR; of post_..., the N-th request. */
void fake_verbs_fail_call(const char *call, unsigned n, int error);
/*
 * The N-th request of a send queue completes with STATUS, which takes the QP to the
 * error state. CARRIED_OUT: what it asks for is done all the same (the answer got lost).
 */
void fake_verbs_fail_work(unsigned dev, uint32_t qpn, unsigned n, enum ibv_wc_status status,
                          bool carried_out);
/*
 * The N-th request of a send queue, a write, strays: no answer comes, and its bytes, 64 KiB at
 * most, stay on the wire whatever becomes of its QP until they arrive.
 */
void fake_verbs_stray(unsigned dev, uint32_t qpn, unsigned n);
/* All that strayed arrives. Returns how many of them a QP took: it was still connected to theirs.
 */
unsigned fake_verbs_arrive(void);
/* The N-th completion of a QP, of either queue, comes twice. */
void fake_verbs_duplicate_cqe(unsigned dev, uint32_t qpn, unsigned n);
/* The completion queue that this QP's sends complete to overruns. */
void fake_verbs_overrun_cq(unsigned dev, uint32_t qpn);
/* An event out of nothing, to each context that has the device open (or has the QP). */
void fake_verbs_raise(unsigned dev, enum ibv_event_type type, uint32_t qpn);
/* A port goes down or comes up, with its event. Down: as cut. */
void fake_verbs_set_port(unsigned dev, unsigned port, enum ibv_port_state state);
/* Somebody pulls the card, with its event: every call is EIO, all QPs are in the error state. */
void fake_verbs_remove(unsigned dev);
/* It is back, for those who open it anew. */
void fake_verbs_insert(unsigned dev);

/* What is posted on DEV stays where it is; N requests may go; all may go again. */
void fake_verbs_hold(unsigned dev);
void fake_verbs_step(unsigned dev, unsigned n);
void fake_verbs_release(unsigned dev);
/* No packet leaves or reaches DEV; they do again. */
void fake_verbs_cut(unsigned dev);
void fake_verbs_heal(unsigned dev);
/* Whoever waits for an answer or a receive now has waited long enough. */
void fake_verbs_expire(void);

enum fake_datagram_fault { FAKE_DROP, FAKE_DUPLICATE, FAKE_OVERTAKE };
/* That happens to the N-th datagram that DEV sends. OVERTAKE: the next one arrives before it. */
void fake_verbs_fail_datagram(unsigned dev, enum fake_datagram_fault what, unsigned n);

/* Faults that were ordered by fail_..., stray and duplicate_... and have not happened. */
unsigned fake_verbs_faults_left(void);

#endif
