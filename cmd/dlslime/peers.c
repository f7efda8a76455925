/* SPDX-License-Identifier: BSD-3-Clause */
/* peers.c - dlslime peers, regions and resources: lists of what the control plane knows. */
#include <stdio.h>
#include <string.h>

#include "by_name.h"
#include "say.h"
#include "verbs.h"

static const char peers_help[] = "usage: dlslime peers [OPTION]...\n\n"
				 "The agents that are registered, a name a line.\n\n";
static const char regions_help[] = "usage: dlslime regions PEER [OPTION]...\n\n"
				   "The regions that PEER publishes, a name a line.\n\n";
static const char resources_help[] =
    "usage: dlslime resources [PEER] [OPTION]...\n\n"
    "What PEER, or every agent, tells of its host and devices: a JSON object a line.\n\n";

static void print_names(const struct slime_names *names, bool json)
{
	char plain[1024];

	if (json)
		(void)printf("[");
	for (size_t i = 0; i < names->n; i++) {
		if (json) {
			(void)printf("%s", i ? "," : "");
			print_json_string(stdout, names->name[i]);
			continue;
		}
		(void)snprintf(plain, sizeof(plain), "%s", names->name[i]);
		plain_text(plain);
		(void)printf("%s\n", plain);
	}
	if (json)
		(void)printf("]\n");
}

/* The own name of this visit, and of others like it, is of no interest. */
static void drop_visitors(struct slime_names *names)
{
	size_t n = 0;

	for (size_t i = 0; i < names->n; i++) {
		char *name = names->name[i];

		if (strncmp(name, "dlslime-cli", 11) == 0) {
			slime_text_free(name);
			continue;
		}
		names->name[n++] = name;
	}
	names->n = n;
}

static int list_peers(struct by_name *b, const char *peer, struct slime_names **out)
{
	struct slime_error err;
	int rc = peer ? slime_agent_regions(b->agent, peer, out, &err)
	              : slime_agent_peers(b->agent, out, &err);

	if (rc) {
		say("%s", err.text);
		return EXIT_FAILED;
	}
	if (!peer)
		drop_visitors(*out);
	return 0;
}

static int run_list(int argc, char **argv, bool of_peer)
{
	struct by_name b = {0};
	struct slime_names *names = NULL;
	int first, rc;

	rc = by_name_options(&b, argv[0], of_peer ? regions_help : peers_help, "", argc, argv,
	                     &first);
	if (rc)
		return rc < 0 ? EXIT_GOOD : rc;
	if (argc - first != of_peer)
		return say_usage(argv[0],
		                 of_peer ? "one peer is to be named" : "it takes no names");
	rc = by_name_open(&b);
	if (!rc)
		rc = list_peers(&b, of_peer ? argv[first] : NULL, &names);
	if (!rc)
		print_names(names, b.json);
	if (!rc)
		slime_names_free(names);
	by_name_close(&b);
	return rc;
}

int verb_peers(int argc, char **argv)
{
	return run_list(argc, argv, false);
}

int verb_regions(int argc, char **argv)
{
	return run_list(argc, argv, true);
}

static int print_resource(struct by_name *b, const char *peer)
{
	struct slime_error err;
	char *text;
	int rc = slime_agent_resource(b->agent, peer, &text, &err);

	if (rc) {
		say("%s", err.text);
		return EXIT_FAILED;
	}
	(void)printf("{\"alias\":");
	print_json_string(stdout, peer);
	(void)printf(",\"resource\":%s}\n", text);
	slime_text_free(text);
	return 0;
}

int verb_resources(int argc, char **argv)
{
	struct by_name b = {0};
	struct slime_names *names = NULL;
	int first, rc;

	rc = by_name_options(&b, "resources", resources_help, "", argc, argv, &first);
	if (rc)
		return rc < 0 ? EXIT_GOOD : rc;
	if (argc - first > 1)
		return say_usage("resources", "one peer at most is to be named");
	rc = by_name_open(&b);
	if (!rc && argc - first == 1) {
		rc = print_resource(&b, argv[first]);
	} else if (!rc) {
		rc = list_peers(&b, NULL, &names);
		for (size_t i = 0; !rc && i < names->n; i++)
			(void)print_resource(&b, names->name[i]); /* it may just have left */
		if (!rc)
			slime_names_free(names);
	}
	by_name_close(&b);
	return rc;
}
