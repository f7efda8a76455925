/* SPDX-License-Identifier: BSD-3-Clause */
/* nanoctrl/notify.h - telling who started us how it goes, as sd_notify(3) does. Any thread. */
#ifndef NANOCTRL_NOTIFY_H
#define NANOCTRL_NOTIFY_H

/* "READY=1", "STOPPING=1". Nobody may be listening; that is fine. */
void notify_supervisor(const char *state);

#endif
