/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * nanoctrl/verbs.h - a function for each verb. ARGV[0] is the verb. Returns what the program
 * exits with: see sentence.h.
 */
#ifndef NANOCTRL_VERBS_H
#define NANOCTRL_VERBS_H

int verb_server(int argc, char **argv);
int verb_start(int argc, char **argv);
int verb_status(int argc, char **argv);
int verb_stop(int argc, char **argv);
int verb_obs(int argc, char **argv);
int verb_top(int argc, char **argv);

#endif
