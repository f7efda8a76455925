/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * slime/slime.h - everything that libdlslime has. Agents are a library of their own,
 * libdlslime-agent: slime/agent.h.
 */
#ifndef SLIME_SLIME_H
#define SLIME_SLIME_H

#include <slime/base.h>
#include <slime/ctx.h>
#include <slime/ep.h>
#include <slime/mr.h>
#include <slime/op.h>

#endif
