/* SPDX-License-Identifier: BSD-3-Clause */
#include "announce.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct place {
	const char *name;             /* NULL: not told yet */
	struct file_version *version; /* the one that is published */
};

struct announce {
	slime_ctx *ctx;
	slime_agent *agent;
	slime_mr *nothing; /* stands for files without a byte; 'dlslime ping' may read it */
	char byte;
	pthread_mutex_t lock; /* guards PLACES, also while nanoctrl is told */
	int n;
	struct place *places;
};

int announce_create(slime_ctx *ctx, slime_agent *agent, int n, struct announce **out,
                    struct slime_error *err)
{
	struct announce *a = calloc(1, sizeof(*a));

	if (a)
		a->places = calloc((size_t)n, sizeof(*a->places));
	if (!a || !a->places) {
		free(a);
		return refuse(err, -ENOMEM, "no memory for %d files", n);
	}
	a->ctx = ctx;
	a->agent = agent;
	a->n = n;
	(void)pthread_mutex_init(&a->lock, NULL);
	*out = a;
	return 0;
}

static int publish(struct announce *a, const char *name, slime_mr *mr, uint64_t bytes,
                   const char *ticket, struct slime_error *err)
{
	char note[TICKET_TEXT_MAX + 64];
	const struct slime_named_mr named = {.name = name, .mr = mr, .note = note};

	/* a ticket has nothing in it that JSON would have to quote */
	(void)snprintf(note, sizeof(note), "{\"ticket\":\"%s\",\"bytes\":%llu}", ticket,
	               (unsigned long long)bytes);
	return slime_agent_publish(a->agent, &named, 1, err);
}

static int announce_locked(struct announce *a, int i, const char *name,
                           struct file_version *version, const char *ticket,
                           struct slime_error *err)
{
	const struct slime_mr_opts readable = {.size = sizeof(readable),
	                                       .access = SLIME_ACCESS_REMOTE_READ};
	struct place *place = &a->places[i];
	int rc = 0;

	for (int j = 0; j < a->n; j++) {
		if (j != i && a->places[j].name && strcmp(a->places[j].name, name) == 0)
			return refuse(err, -EEXIST,
			              "two of the files have the name '%.200s', by which each "
			              "would be fetched",
			              name);
	}
	if (place->version == version)
		return 0;
	if (!version->mr && !a->nothing)
		rc = slime_mr_register(a->ctx, &a->byte, 1, &readable, &a->nothing, err);
	if (rc == 0)
		rc = publish(a, name, version->mr ? version->mr : a->nothing, version->id.size,
		             ticket, err);
	if (rc < 0)
		return rc;
	file_version_release(place->version);
	file_version_hold(version);
	place->version = version;
	place->name = name;
	return 0;
}

int announce_file(struct announce *a, int i, const char *name, struct file_version *version,
                  const char *ticket, struct slime_error *err)
{
	int rc;

	(void)pthread_mutex_lock(&a->lock);
	rc = announce_locked(a, i, name, version, ticket, err);
	(void)pthread_mutex_unlock(&a->lock);
	return rc;
}

void announce_destroy(struct announce *a)
{
	if (!a)
		return;
	for (int i = 0; i < a->n; i++)
		file_version_release(a->places[i].version);
	slime_mr_deregister(a->nothing);
	(void)pthread_mutex_destroy(&a->lock);
	free(a->places);
	free(a);
}
