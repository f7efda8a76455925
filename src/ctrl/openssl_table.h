/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * ctrl/openssl_table.h - the functions of OpenSSL that are used, opened when first needed, so
 * that who does without TLS runs where there is no OpenSSL. Declared here as versions 1.1 and 3
 * have them. Any thread may load; what is in the table has OpenSSL's own rules.
 */
#ifndef SL_OPENSSL_TABLE_H
#define SL_OPENSSL_TABLE_H

#include <stddef.h>

#include <slime/base.h>

typedef struct ssl_st SSL;
typedef struct ssl_ctx_st SSL_CTX;
typedef struct ssl_method_st SSL_METHOD;
struct x509_store_ctx_st;
struct x509_verify_param_st;
struct stack_of_names;

struct sl_openssl_table {
	const SSL_METHOD *(*TLS_server_method)(void);
	const SSL_METHOD *(*TLS_client_method)(void);
	SSL_CTX *(*SSL_CTX_new)(const SSL_METHOD *method);
	void (*SSL_CTX_free)(SSL_CTX *ctx);
	long (*SSL_CTX_ctrl)(SSL_CTX *ctx, int cmd, long larg, void *parg);
	void (*SSL_CTX_set_default_passwd_cb)(SSL_CTX *ctx, int (*callback)(char *buf, int len,
	                                                                    int writes, void *arg));
	void (*SSL_CTX_set_default_passwd_cb_userdata)(SSL_CTX *ctx, void *arg);
	int (*SSL_CTX_use_certificate_chain_file)(SSL_CTX *ctx, const char *file);
	int (*SSL_CTX_use_PrivateKey_file)(SSL_CTX *ctx, const char *file, int type);
	int (*SSL_CTX_check_private_key)(const SSL_CTX *ctx);
	int (*SSL_CTX_set_default_verify_paths)(SSL_CTX *ctx);
	int (*SSL_CTX_load_verify_locations)(SSL_CTX *ctx, const char *file, const char *dir);
	struct stack_of_names *(*SSL_load_client_CA_file)(const char *file);
	void (*SSL_CTX_set_client_CA_list)(SSL_CTX *ctx, struct stack_of_names *names);
	void (*SSL_CTX_set_verify)(SSL_CTX *ctx, int mode,
	                           int (*callback)(int ok, struct x509_store_ctx_st *store));
	SSL *(*SSL_new)(SSL_CTX *ctx);
	void (*SSL_free)(SSL *ssl);
	int (*SSL_set_fd)(SSL *ssl, int fd);
	void (*SSL_set_accept_state)(SSL *ssl);
	void (*SSL_set_connect_state)(SSL *ssl);
	int (*SSL_set1_host)(SSL *ssl, const char *host);
	struct x509_verify_param_st *(*SSL_get0_param)(SSL *ssl);
	int (*X509_VERIFY_PARAM_set1_ip_asc)(struct x509_verify_param_st *param,
	                                     const char *address);
	long (*SSL_get_verify_result)(const SSL *ssl);
	const char *(*X509_verify_cert_error_string)(long result);
	long (*SSL_ctrl)(SSL *ssl, int cmd, long larg, void *parg);
	int (*SSL_connect)(SSL *ssl);
	int (*SSL_read)(SSL *ssl, void *buf, int len);
	int (*SSL_write)(SSL *ssl, const void *buf, int len);
	int (*SSL_shutdown)(SSL *ssl);
	int (*SSL_get_error)(const SSL *ssl, int rc);
	unsigned long (*ERR_get_error)(void);
	unsigned long (*ERR_peek_error)(void);
	void (*ERR_clear_error)(void);
	void (*ERR_error_string_n)(unsigned long error, char *buf, size_t len);
	unsigned char *(*SHA256)(const unsigned char *bytes, size_t len, unsigned char *out);
};

extern struct sl_openssl_table sl_openssl;

/* Fill the table; again: nothing. -ENODEV: the library, or a function of it, is not here. */
int sl_openssl_load(struct slime_error *err);
/* The number of what it complains of first, as in its macros SSL_R_...; 0: of nothing. */
int sl_openssl_reason_code(void);
/* What it complained of first; "" for nothing. Returns BUF. */
const char *sl_openssl_reason(char *buf, size_t len);

#endif
