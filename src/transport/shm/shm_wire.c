/* SPDX-License-Identifier: BSD-3-Clause */
#include "transport/shm/shm_wire.h"

#include <errno.h>
#include <string.h>

#include "base/wire.h"

enum { VERSION = 1, CARD_LEN = 112, TICKET_LEN = 84, ERRNO_MAX = 4095 };

static const char card_magic[4] = {'S', 'H', 'C', VERSION};
static const char ticket_magic[4] = {'S', 'H', 'R', VERSION};
static const char msg_magic[4] = {'S', 'H', 'M', VERSION};

static bool has_magic(struct sl_wire *w, const char magic[4])
{
	char have[4];

	sl_wire_get(w, have, sizeof(have));
	return !memcmp(have, magic, sizeof(have));
}

static void put_proc(struct sl_wire *w, const struct shm_proc *proc)
{
	sl_wire_put_uint(w, proc->pid, 4);
	sl_wire_put_uint(w, proc->start, 8);
	sl_wire_put_uint(w, proc->pidns, 8);
}

static void get_proc(struct sl_wire *w, struct shm_proc *out)
{
	out->pid = (uint32_t)sl_wire_get_uint(w, 4);
	out->start = sl_wire_get_uint(w, 8);
	out->pidns = sl_wire_get_uint(w, 8);
}

void sl_shm_card_put(const struct shm_card *card, struct sl_blob *out)
{
	struct sl_wire w = sl_wire_on(out->bytes, CARD_LEN);

	sl_wire_put(&w, card_magic, sizeof(card_magic));
	sl_wire_put_uint(&w, card->flags, 4);
	sl_wire_put_uint(&w, card->uid, 4);
	put_proc(&w, &card->proc);
	sl_wire_put_uint(&w, card->netns, 8);
	sl_wire_put_uint(&w, card->userns, 8);
	sl_wire_put(&w, card->boot, SHM_ID_LEN);
	sl_wire_put(&w, card->door, SHM_ID_LEN);
	sl_wire_put(&w, card->id, SHM_ID_LEN);
	sl_wire_put(&w, card->secret, SHM_ID_LEN);
	out->len = CARD_LEN;
}

int sl_shm_card_get(const struct sl_blob *blob, struct shm_card *out)
{
	struct sl_blob copy = *blob;
	struct sl_wire w = sl_wire_on(copy.bytes, CARD_LEN);
	struct shm_card card;

	if (blob->len != CARD_LEN || !has_magic(&w, card_magic))
		return -EPROTO;
	card.flags = (uint32_t)sl_wire_get_uint(&w, 4);
	card.uid = (uint32_t)sl_wire_get_uint(&w, 4);
	get_proc(&w, &card.proc);
	card.netns = sl_wire_get_uint(&w, 8);
	card.userns = sl_wire_get_uint(&w, 8);
	sl_wire_get(&w, card.boot, SHM_ID_LEN);
	sl_wire_get(&w, card.door, SHM_ID_LEN);
	sl_wire_get(&w, card.id, SHM_ID_LEN);
	sl_wire_get(&w, card.secret, SHM_ID_LEN);
	if (w.bad || sl_wire_left(&w) || card.flags & ~(uint32_t)SHM_NO_CMA)
		return -EPROTO;
	*out = card;
	return 0;
}

void sl_shm_ticket_put(const struct shm_ticket *t, struct sl_blob *out)
{
	struct sl_wire w = sl_wire_on(out->bytes, TICKET_LEN);

	sl_wire_put(&w, ticket_magic, sizeof(ticket_magic));
	sl_wire_put_uint(&w, t->access, 4);
	put_proc(&w, &t->proc);
	sl_wire_put_uint(&w, t->shared, 4);
	sl_wire_put_uint(&w, t->addr, 8);
	sl_wire_put_uint(&w, t->len, 8);
	sl_wire_put_uint(&w, t->off, 8);
	sl_wire_put(&w, t->key, SHM_ID_LEN);
	sl_wire_put_uint(&w, t->live_slot, 4);
	sl_wire_put_uint(&w, t->live_number, 8);
	out->len = TICKET_LEN;
}

int sl_shm_ticket_get(const struct sl_blob *blob, struct shm_ticket *out)
{
	struct sl_blob copy = *blob;
	struct sl_wire w = sl_wire_on(copy.bytes, TICKET_LEN);
	struct shm_ticket t;
	uint64_t shared;

	if (blob->len != TICKET_LEN || !has_magic(&w, ticket_magic))
		return -EPROTO;
	t.access = (uint32_t)sl_wire_get_uint(&w, 4);
	get_proc(&w, &t.proc);
	shared = sl_wire_get_uint(&w, 4);
	t.shared = shared != 0;
	t.addr = sl_wire_get_uint(&w, 8);
	t.len = sl_wire_get_uint(&w, 8);
	t.off = sl_wire_get_uint(&w, 8);
	sl_wire_get(&w, t.key, SHM_ID_LEN);
	t.live_slot = (uint32_t)sl_wire_get_uint(&w, 4);
	t.live_number = sl_wire_get_uint(&w, 8);
	if (w.bad || sl_wire_left(&w) || shared > 1 || t.access & ~(uint32_t)SLIME_ACCESS_REMOTE ||
	    t.addr + t.len < t.addr || t.off + t.len < t.off)
		return -EPROTO;
	*out = t;
	return 0;
}

static void put_names(struct sl_wire *w, const struct shm_msg *msg)
{
	sl_wire_put(w, msg->to, SHM_ID_LEN);
	sl_wire_put(w, msg->to_secret, SHM_ID_LEN);
	sl_wire_put(w, msg->from, SHM_ID_LEN);
	sl_wire_put(w, msg->from_secret, SHM_ID_LEN);
	sl_wire_put_uint(w, msg->flags, 4);
	sl_wire_put_uint(w, msg->nonce_addr, 8);
	sl_wire_put(w, msg->nonce, SHM_ID_LEN);
}

static void get_names(struct sl_wire *w, struct shm_msg *out)
{
	sl_wire_get(w, out->to, SHM_ID_LEN);
	sl_wire_get(w, out->to_secret, SHM_ID_LEN);
	sl_wire_get(w, out->from, SHM_ID_LEN);
	sl_wire_get(w, out->from_secret, SHM_ID_LEN);
	out->flags = (uint32_t)sl_wire_get_uint(w, 4);
	out->nonce_addr = sl_wire_get_uint(w, 8);
	sl_wire_get(w, out->nonce, SHM_ID_LEN);
	if (out->flags & ~(uint32_t)SHM_NO_CMA)
		w->bad = true;
}

static void put_status(struct sl_wire *w, int32_t status)
{
	sl_wire_put_uint(w, (uint64_t)-status, 4);
}

static int32_t get_status(struct sl_wire *w)
{
	uint64_t code = sl_wire_get_uint(w, 4);

	if (code > ERRNO_MAX)
		w->bad = true;
	return w->bad ? 0 : -(int32_t)code;
}

/* Words from outside end up in logs and on terminals. */
static void get_text(struct sl_wire *w, char *out)
{
	sl_wire_get(w, out, SHM_TEXT_MAX);
	out[SHM_TEXT_MAX - 1] = '\0';
	for (char *c = out; *c; c++)
		if (*c < ' ' || *c > '~')
			*c = '?';
}

size_t sl_shm_msg_put(const struct shm_msg *msg, uint8_t *buf)
{
	struct sl_wire w = sl_wire_on(buf, SHM_MSG_MAX);

	sl_wire_put(&w, msg_magic, sizeof(msg_magic));
	sl_wire_put_uint(&w, (uint64_t)msg->type, 4);
	switch (msg->type) {
	case SHM_KNOCK:
	case SHM_HELLO:
	case SHM_ACCEPT:
		put_names(&w, msg);
		break;
	case SHM_COMMIT:
		sl_wire_put_uint(&w, msg->cma, 4);
		break;
	case SHM_REFUSE:
		put_status(&w, msg->status);
		sl_wire_put(&w, msg->text, SHM_TEXT_MAX);
		break;
	case SHM_ASK:
		sl_wire_put(&w, msg->key, SHM_ID_LEN);
		break;
	case SHM_GIVE:
		sl_wire_put(&w, msg->key, SHM_ID_LEN);
		put_status(&w, msg->status);
		break;
	case SHM_CONFIRM:
	case SHM_BELL:
		break;
	}
	return (size_t)(w.p - buf);
}

int sl_shm_msg_get(const uint8_t *buf, size_t len, struct shm_msg *out)
{
	uint8_t copy[SHM_MSG_MAX];
	struct sl_wire w = sl_wire_on(copy, len);
	struct shm_msg msg = {0};
	uint64_t cma = 0;

	if (len > sizeof(copy))
		return -EPROTO;
	memcpy(copy, buf, len);
	if (!has_magic(&w, msg_magic))
		return -EPROTO;
	msg.type = (enum shm_msg_type)sl_wire_get_uint(&w, 4);
	switch (msg.type) {
	case SHM_KNOCK:
	case SHM_HELLO:
	case SHM_ACCEPT:
		get_names(&w, &msg);
		break;
	case SHM_COMMIT:
		cma = sl_wire_get_uint(&w, 4);
		msg.cma = cma != 0;
		break;
	case SHM_REFUSE:
		msg.status = get_status(&w);
		get_text(&w, msg.text);
		break;
	case SHM_ASK:
		sl_wire_get(&w, msg.key, SHM_ID_LEN);
		break;
	case SHM_GIVE:
		sl_wire_get(&w, msg.key, SHM_ID_LEN);
		msg.status = get_status(&w);
		break;
	case SHM_CONFIRM:
	case SHM_BELL:
		break;
	default:
		return -EPROTO;
	}
	if (w.bad || sl_wire_left(&w) || cma > 1)
		return -EPROTO;
	*out = msg;
	return 0;
}
