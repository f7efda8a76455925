/* SPDX-License-Identifier: BSD-3-Clause */
/* doctor_pid.h - dlslime doctor --pid: what the agents of a running process last did. */
#ifndef DLSLIME_DOCTOR_PID_H
#define DLSLIME_DOCTOR_PID_H

/* Print the flight recorder of each agent of process PID. Returns what the program exits with. */
int doctor_pid(const char *pid);

#endif
