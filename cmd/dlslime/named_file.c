/* SPDX-License-Identifier: BSD-3-Clause */
#include "named_file.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

/* The control plane's sentence does not say whom it was asked for. */
static int not_found(const struct named_file *f, int rc, const struct slime_error *why,
                     struct slime_error *err)
{
	if (f->file)
		return refuse(err, rc, "cannot find '%.100s' of '%.100s': %.300s", f->file, f->peer,
		              why->text);
	return refuse(err, rc, "cannot find '%.100s': %.300s", f->peer, why->text);
}

/* The only region of the peer's. */
static int choose(struct named_file *f, struct slime_error *err)
{
	struct slime_error why;
	struct slime_names *names;
	char some[160] = "";
	int rc = slime_agent_regions(f->names->agent, f->peer, &names, &why);

	if (rc < 0)
		return not_found(f, rc, &why, err);
	for (size_t i = 0; i < names->n && i < 3; i++) {
		size_t len = strlen(some);

		(void)snprintf(some + len, sizeof(some) - len, "%s'%.40s'", i ? ", " : "",
		               names->name[i]);
	}
	if (!names->n)
		rc = refuse(err, -ENOENT, "'%.100s' serves no file", f->peer);
	else if (names->n > 1)
		rc = refuse(err, -EINVAL,
		            "'%.100s' has more than one file, name the one to fetch: %s%s", f->peer,
		            some, names->n > 3 ? " ..." : "");
	else if (strlen(names->name[0]) >= sizeof(f->only))
		rc = refuse(err, -ENAMETOOLONG, "the name of the file is too long");
	else
		(void)strcpy(f->only, names->name[0]);
	slime_names_free(names);
	if (rc == 0)
		f->file = f->only;
	return rc;
}

int named_file_find(struct named_file *f, struct ticket *out, struct slime_error *err)
{
	struct slime_error wrong;
	const char *ticket;
	json_t *record;
	char *text;
	int rc = f->file ? 0 : choose(f, err);

	if (rc < 0)
		return rc;
	rc = slime_agent_region(f->names->agent, f->peer, f->file, &text, &wrong);
	if (rc < 0)
		return not_found(f, rc, &wrong, err);
	record = json_loads(text, 0, NULL);
	slime_text_free(text);
	ticket = json_string_value(json_object_get(record, "ticket"));
	if (!ticket || ticket_parse(ticket, out, &wrong) < 0)
		rc = refuse(err, -EPROTO,
		            "'%.100s' of '%.100s' is memory and not a file: no 'dlslime serve' has "
		            "published it",
		            f->file, f->peer);
	json_decref(record);
	return rc;
}

int named_file_connect(struct named_file *f, const char *transport, uint32_t depth,
                       struct slime_error *err)
{
	const struct slime_ep_opts opts = {
	    .size = sizeof(opts), .transport = transport, .depth = depth};

	return slime_agent_connect(f->names->agent, f->peer, &opts, &f->link, err);
}

int named_file_wait(struct named_file *f, int64_t timeout_ns, struct slime_error *err)
{
	return slime_link_wait(f->link, timeout_ns, err);
}

slime_ep *named_file_ep(struct named_file *f)
{
	return slime_link_ep(f->link);
}

int named_file_read(struct named_file *f, const struct slime_seg *seg,
                    const struct slime_submit *how)
{
	const struct slime_named_seg named = {.local_mr = seg->local,
	                                      .remote = f->file,
	                                      .local_off = seg->local_off,
	                                      .remote_off = seg->remote_off,
	                                      .len = seg->len};

	return slime_link_read(f->link, &named, 1, how, NULL);
}

void named_file_close(struct named_file *f)
{
	slime_link_close(f->link);
	f->link = NULL;
}
