/* SPDX-License-Identifier: BSD-3-Clause */
#include <getopt.h>
#include <string.h>
#include <unistd.h>

#include "perf.h"
#include "say.h"
#include "size.h"

enum {
	OPT_BIND = 256,
	OPT_PORT,
	OPT_TRANSPORT,
	OPT_MEM,
	OPT_OP,
	OPT_SIZE,
	OPT_DEPTH,
	OPT_BATCH,
	OPT_STRIDE,
	OPT_THREADS,
	OPT_LANES,
	OPT_SECONDS,
	OPT_ITERS,
	OPT_WARMUP,
	OPT_FOOTPRINT,
	OPT_CPU,
	OPT_PEER_CPU,
	OPT_POLL,
	OPT_BLOCK,
	OPT_VERIFY,
	OPT_JSON,
};

static const struct option serve_options[] = {
    {"help", no_argument, NULL, 'h'},
    {"bind", required_argument, NULL, OPT_BIND},
    {"port", required_argument, NULL, OPT_PORT},
    {"cpu", required_argument, NULL, OPT_CPU},
    {0},
};

static const struct option run_options[] = {
    {"help", no_argument, NULL, 'h'},
    {"transport", required_argument, NULL, OPT_TRANSPORT},
    {"mem", required_argument, NULL, OPT_MEM},
    {"op", required_argument, NULL, OPT_OP},
    {"size", required_argument, NULL, OPT_SIZE},
    {"depth", required_argument, NULL, OPT_DEPTH},
    {"batch", required_argument, NULL, OPT_BATCH},
    {"stride", required_argument, NULL, OPT_STRIDE},
    {"threads", required_argument, NULL, OPT_THREADS},
    {"lanes", required_argument, NULL, OPT_LANES},
    {"seconds", required_argument, NULL, OPT_SECONDS},
    {"iters", required_argument, NULL, OPT_ITERS},
    {"warmup", required_argument, NULL, OPT_WARMUP},
    {"footprint", required_argument, NULL, OPT_FOOTPRINT},
    {"cpu", required_argument, NULL, OPT_CPU},
    {"peer-cpu", required_argument, NULL, OPT_PEER_CPU},
    {"poll", no_argument, NULL, OPT_POLL},
    {"block", no_argument, NULL, OPT_BLOCK},
    {"verify", no_argument, NULL, OPT_VERIFY},
    {"json", no_argument, NULL, OPT_JSON},
    {0},
};

static int parse_name(const char *what, const char *const *names, int n, const char *text,
                      struct slime_error *err)
{
	int i = perf_name_index(names, n, text);

	if (i < 0 && n == PERF_N_MEMS)
		return refuse(err, i, "%s: '%s' is neither '%s' nor '%s'", what, text, names[0],
		              names[1]);
	if (i < 0)
		return refuse(err, i, "%s: '%s' is none of '%s', '%s', '%s' and '%s'", what, text,
		              names[0], names[1], names[2], names[3]);
	return i;
}

static int parse_transport(const char *text, struct perf_opts *o, struct slime_error *err)
{
	if (!*text || strlen(text) >= sizeof(o->shape.transport))
		return refuse(err, -1,
		              "--transport: '%s' is not a transport ('dlslime info' lists them)",
		              text);
	(void)strcpy(o->shape.transport, text);
	return 0;
}

/* A number option of 32 bits. */
static int parse_u32(const char *what, const char *text, uint32_t min, uint32_t max, uint32_t *out,
                     struct slime_error *err)
{
	uint64_t v = 0;
	int rc = number_parse(what, text, min, max, &v, err);

	if (rc == 0)
		*out = (uint32_t)v;
	return rc;
}

static int parse_cpu(const char *what, const char *text, int *out, struct slime_error *err)
{
	uint32_t v = 0;
	int rc = parse_u32(what, text, 0, (uint32_t)sysconf(_SC_NPROCESSORS_CONF) - 1, &v, err);

	if (rc == 0)
		*out = (int)v;
	return rc;
}

/* Options that say what an operation is. 1: C is none of them. */
static int set_shape(int c, const char *arg, struct perf_opts *o, struct slime_error *err)
{
	struct perf_shape *s = &o->shape;
	int i;

	switch (c) {
	case OPT_TRANSPORT:
		return parse_transport(arg, o, err);
	case OPT_MEM:
		i = parse_name("--mem", perf_mem_names, PERF_N_MEMS, arg, err);
		s->mem = i < 0 ? s->mem : (enum perf_mem)i;
		return i < 0 ? i : 0;
	case OPT_OP:
		i = parse_name("--op", perf_op_names, PERF_N_OPS, arg, err);
		s->op = i < 0 ? s->op : (enum perf_op)i;
		return i < 0 ? i : 0;
	case OPT_SIZE:
		return size_parse("--size", arg, 1, PERF_SIZE_MAX, &s->size, err);
	case OPT_DEPTH:
		return parse_u32("--depth", arg, 1, PERF_DEPTH_MAX, &s->depth, err);
	case OPT_BATCH:
		return parse_u32("--batch", arg, 1, PERF_BATCH_MAX, &s->batch, err);
	case OPT_STRIDE:
		s->strided = true;
		return size_parse("--stride", arg, 1, PERF_SIZE_MAX, &s->stride, err);
	case OPT_LANES:
		return parse_u32("--lanes", arg, 1, PERF_LANES_MAX, &s->lanes, err);
	case OPT_VERIFY:
		s->verify = true;
		return 0;
	default:
		return 1;
	}
}

/* The others. */
static int set_option(int c, const char *arg, struct perf_opts *o, struct slime_error *err)
{
	uint32_t port = 0;
	int rc;

	switch (c) {
	case 'h':
		o->help = true;
		return 0;
	case OPT_BIND:
		o->bind_to = arg;
		return 0;
	case OPT_PORT:
		rc = parse_u32("--port", arg, 0, UINT16_MAX, &port, err);
		o->port = (uint16_t)port;
		return rc;
	case OPT_THREADS:
		return parse_u32("--threads", arg, 1, 64, &o->threads, err);
	case OPT_SECONDS:
		return seconds_parse("--seconds", arg, 0.001, &o->seconds, err);
	case OPT_ITERS:
		return number_parse("--iters", arg, 1, (uint64_t)1 << 40, &o->iters, err);
	case OPT_WARMUP:
		return seconds_parse("--warmup", arg, 0, &o->warmup_seconds, err);
	case OPT_FOOTPRINT:
		return size_parse("--footprint", arg, 1, PERF_SIZE_MAX, &o->footprint, err);
	case OPT_CPU:
		return parse_cpu("--cpu", arg, &o->cpu, err);
	case OPT_PEER_CPU:
		return parse_cpu("--peer-cpu", arg, &o->peer_cpu, err);
	case OPT_POLL:
		o->poll = true;
		return 0;
	case OPT_BLOCK:
		o->poll = false;
		return 0;
	default: /* OPT_JSON */
		o->json = true;
		return 0;
	}
}

/* What only makes sense together. */
static int settle(const char *action, struct perf_opts *o, struct slime_error *err)
{
	struct perf_shape *s = &o->shape;

	if (o->peer_cpu >= 0 && strcmp(action, "run") == 0)
		return refuse(err, -1, "--peer-cpu: give --cpu to the 'perf serve' there");

	if (!s->strided)
		s->stride = s->size;
	if (s->stride < s->size)
		return refuse(err, -1, "--stride: the pieces of --size bytes would overlap");
	if (s->op == PERF_SEND && (s->batch > 1 || s->strided))
		return refuse(err, -1,
		              "--op send: a message is one piece, it takes no --batch or --stride");
	if (o->iters && o->iters < o->threads)
		return refuse(err, -1, "--iters: fewer operations than threads");
	return 0;
}

static int parse_place(const char *action, int argc, char **argv, struct perf_opts *out,
                       struct slime_error *err)
{
	if (strcmp(action, "run") == 0) {
		if (optind >= argc)
			return refuse(err, -1, "perf run: HOST:PORT of the server is missing");
		if (address_parse(argv[optind++], &out->at, err) < 0)
			return -1;
	}
	if (optind < argc)
		return refuse(err, -1, "perf %s: '%s' is one argument too many", action,
		              argv[optind]);
	return 0;
}

int perf_opts_parse(const char *action, int argc, char **argv, struct perf_opts *out)
{
	const struct option *options = strcmp(action, "serve") == 0 ? serve_options : run_options;
	struct slime_error err = {0};
	int rc = 0;
	int c;

	memset(out, 0, sizeof(*out));
	out->shape = (struct perf_shape){.depth = 1, .batch = 1, .size = 1 << 20};
	out->threads = 1;
	out->footprint = 64 << 20;
	out->seconds = 2;
	out->warmup_seconds = 0.1;
	out->cpu = -1;
	out->peer_cpu = -1;
	opterr = 0;
	optind = 1;
	while (rc == 0 && (c = getopt_long(argc, argv, ":h", options, NULL)) != -1) {
		if (c == '?')
			return say_usage("perf", "perf %s has no option '%s'", action,
			                 argv[optind - 1]);
		if (c == ':')
			return say_usage("perf", "option '%s' wants a value", argv[optind - 1]);
		rc = set_shape(c, optarg, out, &err);
		if (rc == 1)
			rc = set_option(c, optarg, out, &err);
	}
	if (rc == 0 && out->help)
		return 0;
	if (rc == 0)
		rc = parse_place(action, argc, argv, out, &err);
	if (rc == 0)
		rc = settle(action, out, &err);
	return rc < 0 ? say_usage("perf", "%s", err.text) : 0;
}
