/* SPDX-License-Identifier: BSD-3-Clause */
#include <stdio.h>

#include "perf.h"
#include "say.h"
#include "size.h"

static double us(const struct perf_result *res, double share)
{
	return (double)histogram_at(&res->latency, share) / 1e3;
}

static double per_second(const struct perf_result *res, double n)
{
	return res->ns ? n * 1e9 / (double)res->ns : 0;
}

static void report_json(const struct perf_opts *o, const struct perf_result *res)
{
	const struct perf_shape *s = &o->shape;

	(void)printf("{\"op\":\"%s\",\"transport\":", perf_op_names[s->op]);
	print_json_string(stdout, res->transport);
	(void)printf(",\"device\":");
	print_json_string(stdout, res->device);
	(void)printf(",\"mem\":\"%s\",\"size\":%llu,\"depth\":%u,\"batch\":%u,\"stride\":%llu,"
	             "\"threads\":%u,\"lanes\":%u,\"wait\":\"%s\",\"ops\":%llu,\"bytes\":%llu,"
	             "\"seconds\":%.9f,\"GBps\":%.6f,\"ops_per_s\":%.3f,",
	             perf_mem_names[s->mem], (unsigned long long)s->size, s->depth, s->batch,
	             (unsigned long long)(s->strided ? s->stride : 0), o->threads, res->lanes,
	             o->poll ? "poll" : "block", (unsigned long long)res->ops,
	             (unsigned long long)res->bytes, (double)res->ns / 1e9,
	             per_second(res, (double)res->bytes) / 1e9, per_second(res, (double)res->ops));
	(void)printf("\"latency_us\":{\"p50\":%.3f,\"p90\":%.3f,\"p99\":%.3f,\"max\":%.3f},",
	             us(res, 0.5), us(res, 0.9), us(res, 0.99), (double)res->latency.max / 1e3);
	(void)printf("\"verified\":%s,\"because\":", !s->verify   ? "null"
	                                             : res->n_bad ? "false"
	                                                          : "true");
	print_json_string(stdout, res->because);
	(void)printf(",\"version\":\"%s\"}\n", slime_version());
}

static void report_people(const struct perf_opts *o, const struct perf_result *res)
{
	const struct perf_shape *s = &o->shape;
	char size[32];
	char bytes[32];

	(void)printf("%s of %s", perf_op_names[s->op], size_exact(s->size, size, sizeof(size)));
	if (s->batch > 1)
		(void)printf(" x %u%s", s->batch, s->strided ? " (strided)" : "");
	(void)printf(", %u in flight, %u thread%s, memory of %s, %s\n", s->depth, o->threads,
	             o->threads > 1 ? "s" : "", s->mem == PERF_ALLOC ? "slime_mem_alloc" : "malloc",
	             o->poll ? "polling" : "waiting");
	(void)printf("over     %s", res->transport);
	if (res->device[0])
		(void)printf(" (%s)", res->device);
	(void)printf(", %u lane%s\n", res->lanes, res->lanes == 1 ? "" : "s");
	if (res->because[0])
		(void)printf("because  %s\n", res->because);
	(void)printf("moved    %s in %.3f s, %llu operations\n",
	             size_human(res->bytes, bytes, sizeof(bytes)), (double)res->ns / 1e9,
	             (unsigned long long)res->ops);
	(void)printf("rate     %.3f GB/s, %.0f operations/s\n",
	             per_second(res, (double)res->bytes) / 1e9, per_second(res, (double)res->ops));
	(void)printf("latency  p50 %.2f us, p90 %.2f us, p99 %.2f us, max %.2f us\n", us(res, 0.5),
	             us(res, 0.9), us(res, 0.99), (double)res->latency.max / 1e3);
	if (s->verify)
		(void)printf("verified %s\n",
		             res->n_bad ? "NO" : "yes, every byte of every operation");
}

void perf_report(const struct perf_opts *o, const struct perf_result *res)
{
	if (o->json)
		report_json(o, res);
	else
		report_people(o, res);
}
