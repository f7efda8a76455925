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
    "\n"
    "Fetches the file that TICKET, from 'dlslime serve', stands for. The final name\n"
    "appears only when all is there and its hash is the server's. When it breaks, the\n"
    "same command again goes on from what is there.\n"
    "\n"
    "  -o, --output PATH  a directory to put it into, or the name for it (default: .)\n"
    "  --force            replace a file that has this name already\n"
    "  --transport NAME   over this one only (default: the best)\n"
    "  --timeout S        connect again for so long when the connection breaks (default 30)\n"
    "  --json             the result as one JSON object on one line\n";

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

static int get(const struct get_opts *o, char *output, bool force, bool json)
{
	static struct get_result result;
	struct slime_error err = {0};
	struct part_file *part = NULL;
	const char *dir;
	const char *name;
	int rc;

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

int verb_get(int argc, char **argv)
{
	static const struct option options[] = {
	    {"help", no_argument, NULL, 'h'},
	    {"output", required_argument, NULL, 'o'},
	    {"force", no_argument, NULL, 'f'},
	    {"transport", required_argument, NULL, 't'},
	    {"timeout", required_argument, NULL, 'w'},
	    {"json", no_argument, NULL, 'j'},
	    {0},
	};
	struct get_opts o = {.interrupted = &interrupted};
	struct slime_error err = {0};
	double timeout = 30;
	char *output = NULL;
	bool force = false;
	bool json = false;
	int c;

	opterr = 0;
	while ((c = getopt_long(argc, argv, ":ho:", options, NULL)) != -1) {
		switch (c) {
		case 'h':
			(void)fputs(help, stdout);
			return EXIT_GOOD;
		case 'o':
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
		case ':':
			return say_usage("get", "option '%s' wants a value", argv[optind - 1]);
		default:
			return say_usage("get", "get has no option '%s'", argv[optind - 1]);
		}
	}
	if (argc - optind != 1)
		return say_usage("get", optind == argc ? "which TICKET?" : "one TICKET at a time");
	if (ticket_parse(argv[optind], &o.ticket, &err) < 0)
		return say_usage("get", "%s", err.text);
	o.timeout_ns = (int64_t)(timeout * 1e9);
	catch_interrupts();
	return get(&o, output, force, json);
}
