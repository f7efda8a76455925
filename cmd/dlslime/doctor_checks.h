/* SPDX-License-Identifier: BSD-3-Clause */
/* doctor_checks.h - what 'dlslime doctor' looks at, one function for each thing. */
#ifndef DLSLIME_DOCTOR_CHECKS_H
#define DLSLIME_DOCTOR_CHECKS_H

enum level {
	LEVEL_OK,
	LEVEL_BETTER,  /* works, and could be better */
	LEVEL_PROBLEM, /* does not work and should */
};

struct finding {
	enum level level;
	char found[320];
	char fix[320]; /* the command; "" if there is nothing to fix */
};

struct check {
	const char *name;
	void (*look)(struct finding *out); /* OUT is all zero; left so there is nothing to say */
};

extern const struct check doctor_checks[];
extern const unsigned n_doctor_checks;

/* About RDMA: doctor_rdma.c */
extern const struct check doctor_rdma_checks[];
extern const unsigned n_doctor_rdma_checks;

__attribute__((format(printf, 3, 4))) void found(struct finding *f, enum level level,
                                                 const char *fmt, ...);
__attribute__((format(printf, 2, 3))) void fix(struct finding *f, const char *fmt, ...);

#endif
