/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * nanoctrl/tokens.h - who may do what: the file behind --token-file (docs/nanoctrl.md has its
 * form). The loop's thread only.
 */
#ifndef NANOCTRL_TOKENS_H
#define NANOCTRL_TOKENS_H

#include "http.h"

struct token;
struct tokens;

/*
 * Read PATH. The caller holds the only reference. -EINVAL: not the form, with the place;
 * -ENOENT, -EACCES, ...: as the file says; -ENODEV: there are hashes, and no libcrypto.
 */
int tokens_load(const char *path, struct tokens **out, struct slime_error *err);
struct tokens *tokens_retain(struct tokens *tokens);
void tokens_release(struct tokens *tokens); /* NULL is fine */

/* Whose token AUTHORIZATION, a header, brings; NULL: nobody's. As long for a near miss as for a
 * far one. */
const struct token *tokens_find(const struct tokens *tokens, const char *authorization);

/* "" for NULL. */
const char *token_name(const struct token *token);
/* In SCOPE; NULL: in any scope at all. NULL may nothing but RIGHT_NONE. */
bool token_may(const struct token *token, enum right right, const char *scope);

#endif
