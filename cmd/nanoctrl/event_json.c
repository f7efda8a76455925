/* SPDX-License-Identifier: BSD-3-Clause */
#include "event_json.h"

#include <stdlib.h>
#include <string.h>

#include "agent.h"
#include "json_text.h"
#include "lease.h"
#include "region.h"

static const struct {
	const char *name;
	enum store_class class;
} classes[] = {
    {"agent", STORE_AGENT}, {"region", STORE_REGION}, {"entity", STORE_ENTITY},
    {"lease", STORE_LEASE}, {"topology", STORE_SPEC},
};
enum { N_CLASSES = sizeof(classes) / sizeof(classes[0]) };

/* The words of a list with commas between: NULL at the end. Changes TEXT. */
static char *next_word(char **text)
{
	return strsep(text, ",");
}

static unsigned class_bit(const char *name)
{
	for (size_t i = 0; i < N_CLASSES; i++)
		if (!strcmp(classes[i].name, name))
			return 1U << classes[i].class;
	return 0;
}

static unsigned classes_of(struct fields *f, char *words)
{
	unsigned bits = 0;
	const char *word;

	while ((word = next_word(&words))) {
		unsigned bit = class_bit(word);

		if (!bit)
			fields_fault(
			    f, 400, "EINVAL",
			    "'class' must be a list of agent, region, entity, lease, topology");
		bits |= bit;
	}
	return bits;
}

static int by_name(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void names_of(struct fields *f, struct wanted *wanted, char *words)
{
	const char *word;

	while ((word = next_word(&words))) {
		const char *fault = name_fault(word, strlen(word));

		if (fault)
			fields_fault(f, 400, "EINVAL", "a name of 'of' %s", fault);
		if (wanted->n_names == WANTED_NAMES_MAX) {
			fields_fault(f, 400, "EINVAL", "'of' has more than %d names",
			             WANTED_NAMES_MAX);
			return;
		}
		wanted->name[wanted->n_names++] = word;
	}
	qsort(wanted->name, wanted->n_names, sizeof(*wanted->name), by_name);
}

/* A copy of a query's value to take apart; NULL: not given. */
static char *words_of(struct fields *f, const char *name)
{
	const char *text = call_query(f->call, name);
	char *copy = text && *text ? call_keep(f->call, strdup(text)) : NULL;

	if (text && *text && !copy)
		fields_fault(f, 500, "EIO", "no memory");
	return copy;
}

struct wanted wanted_of(struct fields *f, const char *scope)
{
	struct wanted wanted = {
	    .scope = scope, .classes = ~0U, .kind = call_query(f->call, "kind")};
	char *class = words_of(f, "class"), *of = words_of(f, "of");

	if (class)
		wanted.classes = classes_of(f, class);
	if (!of)
		return wanted;
	wanted.name = call_keep(f->call, calloc(WANTED_NAMES_MAX, sizeof(*wanted.name)));
	if (wanted.name)
		names_of(f, &wanted, of);
	else
		fields_fault(f, 500, "EIO", "no memory");
	return wanted;
}

/* The agent that an event is of; NULL: of none. */
static const char *agent_of(const struct store_event *event)
{
	if (event->key.class == STORE_AGENT)
		return event->key.id;
	return event->key.class == STORE_REGION ? event->key.type : NULL;
}

bool is_wanted(const struct wanted *wanted, const struct store_event *event)
{
	const char *agent = agent_of(event);

	if (!(wanted->classes & 1U << event->key.class) ||
	    strcmp(wanted->scope, event->key.scope) ||
	    (wanted->kind && strcmp(wanted->kind, event->kind)))
		return false;
	return !wanted->n_names || (agent && bsearch(&agent, wanted->name, wanted->n_names,
	                                             sizeof(*wanted->name), by_name));
}

const char *event_change(const struct store_event *event)
{
	switch (event->change) {
	case STORE_WAS_DELETED:
		return "delete";
	case STORE_HAS_EXPIRED:
		return "expire";
	case STORE_WAS_PUT:
	case STORE_WAS_APPENDED:
		break;
	}
	return "put";
}

static json_t *value_json(const struct store_event *event)
{
	const struct store_row row = {.key = event->key,
	                              .kind = event->kind,
	                              .value = event->value,
	                              .value_len = event->value ? strlen(event->value) : 0,
	                              .owner = "",
	                              .revision = event->revision,
	                              .born = event->born,
	                              .ttl_ms = event->ttl_ms};

	if (!event->value)
		return json_null();
	if (event->key.class == STORE_AGENT)
		return agent_json(&row);
	if (event->key.class == STORE_REGION)
		return region_json(&row);
	if (event->key.class == STORE_LEASE)
		return lease_json(&row);
	return json_text_parse(row.value, row.value_len, 0, NULL);
}

static const char *class_name(enum store_class class)
{
	size_t i = 0;

	while (i + 1 < N_CLASSES && classes[i].class != class)
		i++;
	return classes[i].name;
}

json_t *event_json(const struct store_event *event)
{
	return json_pack("{s:I,s:s,s:s,s:s,s:s,s:s,s:o}", "revision", (json_int_t)event->revision,
	                 "change", event_change(event), "class", class_name(event->key.class),
	                 "type", event->key.type, "id", event->key.id, "kind", event->kind, "value",
	                 value_json(event));
}
