/* SPDX-License-Identifier: BSD-3-Clause */
/* ping.c - dlslime ping: how far a peer is, by the control plane and by the data path. */
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "by_name.h"
#include "say.h"
#include "verbs.h"

static const char help[] =
    "usage: dlslime ping PEER [OPTION]...\n\n"
    "Asks the control plane for PEER, connects to it, and reads one byte of a region that\n"
    "it publishes; says how long each took, over which transport, and why that one.\n\n"
    "  -c, --count N      so many reads (default 4)\n"
    "  --every S          seconds from one to the next (default: none)\n"
    "  --transport NAME   over this one only (default: the best)\n";

static _Atomic int interrupted;

static void on_interrupt(int sig)
{
	(void)sig;
	atomic_store(&interrupted, 1);
}

static double now_us(void)
{
	struct timespec ts;

	(void)clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}

/* Round trips through the control plane. */
static int ping_control(struct by_name *b, const char *peer, double *us)
{
	struct slime_error err;
	double began = now_us();
	char *text;
	int rc = slime_agent_resource(b->agent, peer, &text, &err);

	if (rc) {
		say("%s", err.text);
		return EXIT_FAILED;
	}
	slime_text_free(text);
	*us = now_us() - began;
	return 0;
}

static int connect_to(struct by_name *b, const char *peer, slime_link **link, double *us)
{
	struct slime_ep_opts opts = {.size = sizeof(opts), .transport = b->transport};
	struct slime_error err;
	double began = now_us();
	int rc = slime_agent_connect(b->agent, peer, &opts, link, &err);

	if (!rc)
		rc = slime_link_wait(*link, INT64_C(10000000000), &err);
	if (rc) {
		say("%s", err.text);
		return EXIT_FAILED;
	}
	*us = now_us() - began;
	return 0;
}

static int read_byte(slime_link *link, slime_mr *mr, const char *region, double *us)
{
	struct slime_submit how = {.size = sizeof(how), .timeout_ns = INT64_C(10000000000)};
	struct slime_named_seg seg = {.local_mr = mr, .remote = region, .len = 1};
	double began = now_us();
	char name[64];
	slime_op *op;
	int rc = slime_link_read(link, &seg, 1, &how, &op);

	if (!rc) {
		rc = slime_op_wait(op, SLIME_FOREVER, NULL);
		slime_op_release(op);
	}
	if (rc) {
		say("reading a byte of '%s': %s", region, errno_name(rc, name, sizeof(name)));
		return EXIT_FAILED;
	}
	*us = now_us() - began;
	return 0;
}

static void tell_link(slime_link *link, const char *peer, double control_us, double connect_us,
                      bool json)
{
	struct slime_link_info info = {.size = sizeof(info)};

	(void)slime_link_get_info(link, &info);
	if (json) {
		(void)printf("{\"peer\":");
		print_json_string(stdout, peer);
		(void)printf(
		    ",\"control_us\":%.1f,\"connect_us\":%.1f,\"transport\":\"%s\",\"device\":",
		    control_us, connect_us, info.transport);
		print_json_string(stdout, info.device);
		(void)printf(",\"because\":");
		print_json_string(stdout, info.because);
		(void)printf(",\"data_us\":[");
		return;
	}
	(void)printf("control  %.0f us, through nanoctrl\n", control_us);
	(void)printf("connect  %.0f us, over %s (%s)\n", connect_us, info.transport, info.device);
	(void)printf("because  %s\n", info.because);
}

static int ping_data(struct by_name *b, const char *peer, slime_link *link)
{
	struct slime_names *names = NULL;
	struct slime_error err;
	static char byte;
	slime_mr *mr = NULL;
	int rc = slime_agent_regions(b->agent, peer, &names, &err);

	if (!rc)
		rc = slime_mr_register(b->ctx, &byte, 1, NULL, &mr, &err);
	if (rc) {
		say("%s", err.text);
		rc = EXIT_FAILED;
	} else if (!names->n && !b->json) {
		(void)printf("data     it publishes no region to read from\n");
	}
	for (int i = 0; !rc && names->n && i < b->count && !atomic_load(&interrupted); i++) {
		double us;

		if (i && b->every_s > 0)
			by_name_pause(b->every_s);
		rc = read_byte(link, mr, names->name[0], &us);
		if (!rc && b->json)
			(void)printf("%s%.2f", i ? "," : "", us);
		else if (!rc)
			(void)printf("data     %.2f us%s\n", us,
			             i ? "" : ", with looking up the region");
	}
	slime_mr_deregister(mr);
	slime_names_free(names);
	return rc;
}

int verb_ping(int argc, char **argv)
{
	struct sigaction sa = {.sa_handler = on_interrupt, .sa_flags = (int)SA_RESETHAND};
	struct by_name b = {0};
	double control_us = 0, connect_us = 0;
	slime_link *link = NULL;
	int first, rc;

	rc = by_name_options(&b, "ping", help, "cet", argc, argv, &first);
	if (rc)
		return rc < 0 ? EXIT_GOOD : rc;
	if (argc - first != 1)
		return say_usage("ping", "one peer is to be named");
	(void)sigaction(SIGINT, &sa, NULL); /* the first one ends it in good order */
	(void)sigaction(SIGTERM, &sa, NULL);
	rc = by_name_open(&b);
	if (!rc)
		rc = ping_control(&b, argv[first], &control_us);
	if (!rc)
		rc = connect_to(&b, argv[first], &link, &connect_us);
	if (!rc) {
		tell_link(link, argv[first], control_us, connect_us, b.json);
		rc = ping_data(&b, argv[first], link);
		if (b.json)
			(void)printf("]}\n");
	}
	slime_link_close(link);
	by_name_close(&b);
	return rc;
}
