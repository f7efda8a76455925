/* SPDX-License-Identifier: BSD-3-Clause */
#include "tokens.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#include "ctrl/openssl_table.h"
#include "log.h"
#include "sentence.h"

enum { HASH = 32, MIN_LEN = 16 };

struct token {
	char *name;
	char *plain; /* NULL: only the hash is known */
	unsigned char hash[HASH];
	enum right right; /* the highest: each holds those below it */
	json_t *scopes;   /* strings; NULL: every scope */
};

struct tokens {
	unsigned int references;
	bool hashed; /* at least one of them */
	size_t n;
	struct token token[];
};

struct tokens *tokens_retain(struct tokens *tokens)
{
	tokens->references++;
	return tokens;
}

void tokens_release(struct tokens *tokens)
{
	if (!tokens || --tokens->references > 0)
		return;
	for (size_t i = 0; i < tokens->n; i++) {
		free(tokens->token[i].name);
		free(tokens->token[i].plain);
		json_decref(tokens->token[i].scopes);
	}
	free(tokens);
}

static int parse_hash(const char *text, unsigned char *out)
{
	static const char digits[] = "0123456789abcdef";

	if (strlen(text) != (size_t)2 * HASH || strspn(text, "0123456789abcdefABCDEF") != 2 * HASH)
		return -EINVAL;
	for (int i = 0; i < HASH; i++) {
		int high = (int)(strchr(digits, text[2 * i] | 0x20) - digits);
		int low = (int)(strchr(digits, text[2 * i + 1] | 0x20) - digits);

		out[i] = (unsigned char)(high * 16 + low);
	}
	return 0;
}

static enum right right_of(const char *word)
{
	if (word && strcmp(word, "read") == 0)
		return RIGHT_READ;
	if (word && strcmp(word, "register") == 0)
		return RIGHT_REGISTER;
	return word && strcmp(word, "admin") == 0 ? RIGHT_ADMIN : RIGHT_NONE;
}

/* What is wrong with OBJECT, or NULL; OUT is filled as far as it went. */
static const char *parse_token(json_t *object, struct token *out)
{
	const char *name = json_string_value(json_object_get(object, "name"));
	const char *plain = json_string_value(json_object_get(object, "token"));
	const char *hash = json_string_value(json_object_get(object, "sha256"));
	json_t *rights = json_object_get(object, "rights");
	json_t *scopes = json_object_get(object, "scopes");
	json_t *word;
	size_t i;

	if (!name || !*name)
		return "it has no \"name\"";
	if (!plain == !hash)
		return "it needs one of \"token\" and \"sha256\"";
	if (plain && strlen(plain) < MIN_LEN)
		return "its \"token\" has less than 16 characters";
	if (hash && parse_hash(hash, out->hash) < 0)
		return "its \"sha256\" is not 64 hexadecimal digits";
	if (json_array_size(rights) == 0)
		return "it has no \"rights\": a list of \"read\", \"register\", \"admin\"";
	json_array_foreach(rights, i, word)
	{
		enum right right = right_of(json_string_value(word));

		if (right == RIGHT_NONE)
			return "a right is none of \"read\", \"register\", \"admin\"";
		if (right > out->right)
			out->right = right;
	}
	if (scopes && !json_is_array(scopes))
		return "its \"scopes\" are not a list of strings";
	json_array_foreach(scopes, i, word)
	{
		if (!json_is_string(word))
			return "its \"scopes\" are not a list of strings";
	}
	out->name = strdup(name);
	out->plain = plain ? strdup(plain) : NULL;
	out->scopes = json_incref(scopes);
	return out->name && (!plain || out->plain) ? NULL : "there is no memory";
}

static int parse_file(json_t *root, const char *path, struct tokens **out, struct slime_error *err)
{
	json_t *list = json_object_get(root, "tokens");
	size_t n = json_array_size(list);
	struct tokens *tokens;

	if (n == 0)
		return refuse(err, -EINVAL, "'%s' has no list \"tokens\" with anything in it",
		              path);
	tokens = calloc(1, sizeof(*tokens) + n * sizeof(tokens->token[0]));
	if (!tokens)
		return refuse(err, -ENOMEM, "no memory for the tokens");
	tokens->references = 1;
	for (; tokens->n < n; tokens->n++) {
		struct token *token = &tokens->token[tokens->n];
		const char *wrong = parse_token(json_array_get(list, tokens->n), token);

		if (wrong) {
			size_t i = tokens->n++; /* what it holds already is freed with the rest */

			tokens_release(tokens);
			return refuse(err, -EINVAL, "token %zu of '%s': %s", i, path, wrong);
		}
		tokens->hashed = tokens->hashed || !token->plain;
	}
	*out = tokens;
	return 0;
}

static void warn_of_readers(const char *path, const struct tokens *tokens)
{
	struct stat st;
	bool plain = false;

	for (size_t i = 0; i < tokens->n; i++)
		plain = plain || tokens->token[i].plain;
	if (plain && stat(path, &st) == 0 && (st.st_mode & 0007))
		log_line(
		    SLIME_LOG_WARN,
		    "everybody on this host can read the tokens in '%s': chmod 0600 it, or keep "
		    "hashes in it",
		    path);
}

int tokens_load(const char *path, struct tokens **out, struct slime_error *err)
{
	json_error_t error;
	struct stat st;
	json_t *root;
	int rc;

	/* a pipe would be waited for, at SIGHUP with every client of the daemon */
	if (stat(path, &st) == 0 && !S_ISREG(st.st_mode))
		return refuse(err, -EINVAL, "the token file '%s' is no regular file", path);
	root = json_load_file(path, JSON_REJECT_DUPLICATES, &error);
	if (!root && error.line < 0)
		return refuse(err, -ENOENT, "the token file: %.200s", error.text);
	if (!root)
		return refuse(err, -EINVAL, "'%s' is not JSON: %.100s, line %d", path, error.text,
		              error.line);
	rc = parse_file(root, path, out, err);
	json_decref(root);
	if (rc == 0 && (*out)->hashed) {
		rc = sl_openssl_load(err);
		if (rc < 0) {
			tokens_release(*out);
			*out = NULL;
		}
	}
	if (rc == 0)
		warn_of_readers(path, *out);
	return rc;
}

/* The time depends on the length of THEIRS, which they know, and on nothing else. */
static bool same_text(const char *ours, const char *theirs)
{
	size_t our_len = strlen(ours);
	size_t their_len = strlen(theirs);
	unsigned char differs = our_len != their_len;

	for (size_t i = 0; i < their_len; i++)
		differs |= (unsigned char)(ours[i % our_len] ^ theirs[i]);
	return !differs;
}

static bool same_hash(const unsigned char *a, const unsigned char *b)
{
	unsigned char differs = 0;

	for (int i = 0; i < HASH; i++)
		differs |= (unsigned char)(a[i] ^ b[i]);
	return !differs;
}

const struct token *tokens_find(const struct tokens *tokens, const char *authorization)
{
	const struct token *found = NULL;
	unsigned char hash[HASH] = {0};
	const char *given;

	if (!authorization || strncasecmp(authorization, "Bearer ", 7) != 0)
		return NULL;
	given = authorization + 7 + strspn(authorization + 7, " ");
	if (!*given)
		return NULL;
	if (tokens->hashed)
		(void)sl_openssl.SHA256((const unsigned char *)given, strlen(given), hash);
	for (size_t i = 0; i < tokens->n; i++) {
		const struct token *token = &tokens->token[i];
		bool same =
		    token->plain ? same_text(token->plain, given) : same_hash(token->hash, hash);

		if (same && !found)
			found = token;
	}
	return found;
}

const char *token_name(const struct token *token)
{
	return token ? token->name : "";
}

bool token_may(const struct token *token, enum right right, const char *scope)
{
	json_t *word;
	size_t i;

	if (right == RIGHT_NONE)
		return true;
	if (!token || right > token->right)
		return false;
	if (!scope || !token->scopes)
		return true;
	json_array_foreach(token->scopes, i, word)
	{
		if (strcmp(json_string_value(word), scope) == 0)
			return true;
	}
	return false;
}
