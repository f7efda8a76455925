/* SPDX-License-Identifier: BSD-3-Clause */
#include "info_rdma.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "say.h"

static void gid_line(const struct rdma_gid *g)
{
	(void)printf("    %s gid %-3u %s  %s", g->chosen ? "->" : "  ", g->index, g->text, g->type);
	(void)printf("%s%s  (%s)\n", g->netdev[0] ? " on " : "", g->netdev, g->why);
}

static void port_lines(const struct rdma_port *p)
{
	(void)printf("  %s port %u %s, %s", p->device, p->port, p->state,
	             p->ethernet ? "Ethernet" : "InfiniBand");
	if (!p->active)
		(void)printf(" (%s)", p->phys_state);
	if (!p->ethernet)
		(void)printf(" lid %u", p->lid);
	if (p->rate[0])
		(void)printf(", %s", p->rate);
	if (p->numa >= 0)
		(void)printf(", numa %d", p->numa);
	if (p->firmware[0])
		(void)printf(", firmware %s", p->firmware);
	(void)printf("%s%s\n", p->driver[0] ? ", " : "", p->driver);
	for (size_t i = 0; i < p->n_gids; i++)
		gid_line(&p->gids[i]);
	if (!rdma_port_gid(p))
		(void)printf("       no GID that can be taken: see 'dlslime doctor'\n");
}

void info_rdma_people(const struct rdma_facts *f)
{
	(void)printf("rdma%s\n", f->n_ports ? "" : "       no device; see 'dlslime doctor'");
	for (size_t i = 0; i < f->n_ports; i++)
		port_lines(&f->ports[i]);
}

static void json_field(const char *name, const char *text)
{
	(void)printf("\"%s\":", name);
	print_json_string(stdout, text);
	(void)fputc(',', stdout);
}

static void gid_json(const struct rdma_gid *g)
{
	(void)printf("{\"index\":%u,\"chosen\":%s,", g->index, g->chosen ? "true" : "false");
	json_field("gid", g->text);
	json_field("type", g->type);
	json_field("netdev", g->netdev);
	(void)printf("\"why\":\"%s\"}", g->why);
}

static void port_json(const struct rdma_port *p)
{
	(void)putchar('{');
	json_field("device", p->device);
	(void)printf("\"port\":%u,", p->port);
	json_field("state", p->state);
	json_field("phys_state", p->phys_state);
	json_field("link_layer", p->ethernet ? "Ethernet" : "InfiniBand");
	json_field("rate", p->rate);
	json_field("firmware", p->firmware);
	json_field("driver", p->driver);
	(void)printf("\"bits_per_s\":%" PRIu64 ",\"numa\":%d,\"lid\":%u,\"gids\":[", p->bits_per_s,
	             p->numa, p->lid);
	for (size_t i = 0; i < p->n_gids; i++) {
		(void)fputs(i ? "," : "", stdout);
		gid_json(&p->gids[i]);
	}
	(void)fputs("]}", stdout);
}

void info_rdma_json(const struct rdma_facts *f)
{
	(void)putchar('[');
	for (size_t i = 0; i < f->n_ports; i++) {
		(void)fputs(i ? "," : "", stdout);
		port_json(&f->ports[i]);
	}
	(void)putchar(']');
}
