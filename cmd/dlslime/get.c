/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <getopt.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "get_file.h"
#include "say.h"
#include "size.h"
#include "verbs.h"

static const char help[] =
    "usage: dlslime get TICKET [OPTION]...\n"
    "       dlslime get PEER [FILE] [OPTION]...\n"
    "\n"
    "Fetches the file that TICKET, from 'dlslime serve', stands for, or that PEER serves\n"
    "under its name and nanoctrl knows of (FILE: which, if it serves more than one). The\n"
    "final name appears only when all is there and its hash is the server's. When it\n"
    "breaks, the same command again goes on from what is there.\n"
    "\n"
    "  -o, --output PATH  a directory to put it into, or the name for it (default: .)\n"
    "  --force            replace a file that has this name already\n"
    "  --transport NAME   over this one only (default: the best)\n"
    "  --timeout S        connect again for so long when the connection breaks (default 30)\n"
    "  --json             the result as one JSON object on one line\n"
    "  --ctrl URL         nanoctrl (default: $DLSLIME_CTRL or http://127.0.0.1:3000)\n"
    "  --scope NAME       where PEER is in this scope (default: none)\n"
    "  --token-file FILE  with the token that is the first line of FILE\n"
    "  --ca, --cert, --key FILE  when it is https: as for 'dlslime peers'\n";

/* Any thread of the process may be the one that takes the signal. */
static _Atomic int interrupted;

static void on_interrupt(int sig)
{
	(void)sig;
	atomic_store(&interrupted, 1);
}

/* The first one ends it in good order, the second one at once. */
static void catch_interrupts(void)
{
	struct sigaction sa = {.sa_handler = on_interrupt, .sa_flags = (int)SA_RESETHAND};

	(void)sigemptyset(&sa.sa_mask);
	(void)sigaction(SIGINT, &sa, NULL);
	(void)sigaction(SIGTERM, &sa, NULL);
}

/* Where the file is to be: *DIR and *NAME, which point into OUTPUT or at FALLBACK. */
static void split_output(char *output, const char *fallback, const char **dir, const char **name)
{
	struct stat st;
	char *slash;

	*dir = output ? output : ".";
	*name = fallback;
	if (!output || (stat(output, &st) == 0 && S_ISDIR(st.st_mode)))
		return;
	slash = strrchr(output, '/');
	if (slash && !slash[1])
		return;
	*name = slash ? slash + 1 : output;
	*dir = slash == output ? "/" : slash ? output : ".";
	if (slash && slash != output)
		*slash = '\0';
}

static double gb_per_s(const struct get_result *r)
{
	return r->ns ? (double)(r->bytes - r->resumed_from) / (double)r->ns : 0;
}

static const char *hash_text(const struct get_result *r, char buf[2 * FILE_HASH_LEN + 1])
{
	for (int i = 0; i < FILE_HASH_LEN; i++)
		(void)sprintf(buf + (ptrdiff_t)2 * i, "%02x", r->hash[i]);
	return buf;
}

static void report_json(const struct get_result *r, const char *target)
{
	char hash[2 * FILE_HASH_LEN + 1];

	(void)printf("{\"file\":");
	print_json_string(stdout, target);
	(void)printf(",\"bytes\":%llu,\"resumed_from\":%llu,\"seconds\":%.6f,"
	             "\"seconds_writing\":%.6f,\"GBps\":%.6f,\"transport\":",
	             (unsigned long long)r->bytes, (unsigned long long)r->resumed_from,
	             (double)r->ns / 1e9, (double)r->write_ns / 1e9, gb_per_s(r));
	print_json_string(stdout, r->transport);
	(void)printf(",\"device\":");
	print_json_string(stdout, r->device);
	(void)printf(",\"lanes\":%u,\"because\":", r->lanes);
	print_json_string(stdout, r->because);
	(void)printf(",\"xxh3_128\":\"%s\",\"verified\":true,\"version\":\"%s\"}\n",
	             hash_text(r, hash), slime_version());
}

static void report_people(const struct get_result *r, const char *target)
{
	char hash[2 * FILE_HASH_LEN + 1];
	char shown[4096];
	char bytes[32];
	char from[32];

	(void)snprintf(shown, sizeof(shown), "%s", target);
	plain_text(shown);
	(void)printf("file     %s\n", shown);
	(void)printf("bytes    %llu (%s)", (unsigned long long)r->bytes,
	             size_human(r->bytes, bytes, sizeof(bytes)));
	if (r->resumed_from)
		(void)printf(", %s of them from before",
		             size_human(r->resumed_from, from, sizeof(from)));
	(void)printf("\nrate     %.3f GB/s, %.3f s (%.3f s of them writing to the disk)\n",
	             gb_per_s(r), (double)r->ns / 1e9, (double)r->write_ns / 1e9);
	(void)printf("over     %s%s%s%s, %u lane%s\n", r->transport, r->device[0] ? " (" : "",
	             r->device, r->device[0] ? ")" : "", r->lanes, r->lanes == 1 ? "" : "s");
	if (r->because[0])
		(void)printf("because  %s\n", r->because);
	(void)printf("hash     XXH3-128 %s, the same as the server's\n", hash_text(r, hash));
}

static int get(struct get_opts *o, char *output, bool force, bool json)
{
	static struct get_result result;
	struct slime_error err = {0};
	struct part_file *part = NULL;
	const char *dir;
	const char *name;
	int rc = 0;

	if (o->named)
		rc = named_file_find(o->named, &o->ticket, &err);
	if (rc < 0) {
		say("%s", err.text);
		return EXIT_FAILED;
	}
	split_output(output, o->ticket.name, &dir, &name);
	rc = strlen(name) < NAME_BYTES_MAX ? part_create(dir, name, force, &part, &err)
	                                   : refuse(&err, -ENAMETOOLONG, "the name is too long");
	if (rc == 0)
		rc = get_file(o, part, &result, &err);
	if (rc == 0)
		rc = part_finish(part, &err);
	if (rc < 0)
		say("%s", err.text);
	else if (json)
		report_json(&result, part_target(part));
	else
		report_people(&result, part_target(part));
	part_destroy(part);
	return rc < 0 ? EXIT_FAILED : EXIT_GOOD;
}

static int get_by_name(struct get_opts *o, struct by_name *names, char *output, bool force,
                       bool json)
{
	int status = by_name_open(names);

	if (!status)
		status = get(o, output, force, json);
	by_name_close(names);
	return status;
}

int verb_get(int argc, char **argv)
{
	static const struct option options[] = {
	    {"help", no_argument, NULL, 'h'},
	    {"output", required_argument, NULL, 'o'},
	    {"force", no_argument, NULL, 'f'},
	    {"transport", required_argument, NULL, 't'},
	    {"timeout", required_argument, NULL, 'w'},
	    {"json", no_argument, NULL, 'j'},
	    BY_NAME_TABLE,
	    {0},
	};
	struct by_name names;
	struct named_file named = {.names = &names};
	struct get_opts o = {.interrupted = &interrupted};
	struct slime_error err = {0};
	double timeout = 30;
	char *output = NULL;
	bool force = false;
	bool json = false;
	int c, rc;

	by_name_init(&names);
	opterr = 0;
	while ((c = getopt_long(argc, argv, ":ho:", options, NULL)) != -1) {
		switch (c) {
		case 'h':
			(void)fputs(help, stdout);
			return EXIT_GOOD;
		case 'o':
			if (!*optarg)
				return say_usage("get", "--output is empty");
			output = optarg;
			break;
		case 'f':
			force = true;
			break;
		case 't':
			o.transport = optarg;
			break;
		case 'w':
			if (seconds_parse("--timeout", optarg, 0, &timeout, &err) < 0)
				return say_usage("get", "%s", err.text);
			break;
		case 'j':
			json = true;
			break;
		case BY_NAME_CTRL:
		case BY_NAME_SCOPE:
		case BY_NAME_TOKEN:
		case BY_NAME_CA:
		case BY_NAME_CERT:
		case BY_NAME_KEY:
			rc = by_name_take(&names, "get", c, optarg);
			if (rc)
				return rc;
			break;
		case ':':
			return say_usage("get", "option '%s' wants a value", argv[optind - 1]);
		default:
			return say_usage("get", "get has no option '%s'", argv[optind - 1]);
		}
	}
	o.timeout_ns = (int64_t)(timeout * 1e9);
	argc -= optind;
	argv += optind;
	if (!argc || !argv[0][0])
		return say_usage("get", "which TICKET or PEER?");
	if (ticket_is(argv[0])) {
		if (argc > 1)
			return say_usage("get", "one TICKET at a time");
		if (ticket_parse(argv[0], &o.ticket, &err) < 0)
			return say_usage("get", "%s", err.text);
		catch_interrupts();
		return get(&o, output, force, json);
	}
	if (argc > 2)
		return say_usage("get", "one FILE of one PEER at a time");
	named.peer = argv[0];
	named.file = argc > 1 ? argv[1] : NULL;
	o.named = &named;
	catch_interrupts();
	return get_by_name(&o, &names, output, force, json);
}
