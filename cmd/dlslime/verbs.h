/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * verbs.h - a function for each verb. ARGV[0] is the verb. Returns what the
 * program exits with: see say.h.
 */
#ifndef DLSLIME_VERBS_H
#define DLSLIME_VERBS_H

int verb_info(int argc, char **argv);
int verb_doctor(int argc, char **argv);
int verb_perf(int argc, char **argv);
int verb_serve(int argc, char **argv);
int verb_get(int argc, char **argv);

/* Only in a build with libdlslime-agent. */
int verb_peers(int argc, char **argv);
int verb_regions(int argc, char **argv);
int verb_resources(int argc, char **argv);
int verb_ping(int argc, char **argv);
int verb_links(int argc, char **argv);

#endif
