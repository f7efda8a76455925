/* SPDX-License-Identifier: BSD-3-Clause */
#include "ctrl/openssl_table.h"

#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>

#include "base/error.h"

struct sl_openssl_table sl_openssl;

static const struct {
	size_t place;
	const char *name;
} symbols[] = {
#define SYMBOL(name)                                           \
	{                                                      \
		offsetof(struct sl_openssl_table, name), #name \
	}
    SYMBOL(TLS_server_method),
    SYMBOL(TLS_client_method),
    SYMBOL(SSL_CTX_new),
    SYMBOL(SSL_CTX_free),
    SYMBOL(SSL_CTX_ctrl),
    SYMBOL(SSL_CTX_set_default_passwd_cb),
    SYMBOL(SSL_CTX_set_default_passwd_cb_userdata),
    SYMBOL(SSL_CTX_use_certificate_chain_file),
    SYMBOL(SSL_CTX_use_PrivateKey_file),
    SYMBOL(SSL_CTX_check_private_key),
    SYMBOL(SSL_CTX_set_default_verify_paths),
    SYMBOL(SSL_CTX_load_verify_locations),
    SYMBOL(SSL_load_client_CA_file),
    SYMBOL(SSL_CTX_set_client_CA_list),
    SYMBOL(SSL_CTX_set_verify),
    SYMBOL(SSL_new),
    SYMBOL(SSL_free),
    SYMBOL(SSL_set_fd),
    SYMBOL(SSL_set_accept_state),
    SYMBOL(SSL_set_connect_state),
    SYMBOL(SSL_set1_host),
    SYMBOL(SSL_get0_param),
    SYMBOL(X509_VERIFY_PARAM_set1_ip_asc),
    SYMBOL(SSL_get_verify_result),
    SYMBOL(X509_verify_cert_error_string),
    SYMBOL(SSL_ctrl),
    SYMBOL(SSL_connect),
    SYMBOL(SSL_read),
    SYMBOL(SSL_write),
    SYMBOL(SSL_shutdown),
    SYMBOL(SSL_get_error),
    SYMBOL(ERR_get_error),
    SYMBOL(ERR_peek_error),
    SYMBOL(ERR_clear_error),
    SYMBOL(ERR_error_string_n),
    SYMBOL(SHA256),
#undef SYMBOL
};

/* What is loaded stays: OpenSSL has code of its own for the end of the process. */
static int fill(struct slime_error *err)
{
	static const char *const names[] = {"libssl.so.3", "libssl.so.1.1"};
	struct sl_openssl_table table;
	void *library = NULL;

	for (size_t i = 0; !library && i < sizeof(names) / sizeof(names[0]); i++)
		library = dlopen(names[i], RTLD_NOW | RTLD_LOCAL);
	if (!library)
		return sl_fail(err, -ENODEV,
		               "TLS and hashed tokens need OpenSSL (libssl.so.3 or libssl.so.1.1), "
		               "which is not installed here");
	for (size_t i = 0; i < sizeof(symbols) / sizeof(symbols[0]); i++) {
		/* libcrypto's are found through what libssl needs */
		void *symbol = dlsym(library, symbols[i].name);

		if (!symbol)
			return sl_fail(err, -ENODEV, "this OpenSSL has no function '%s'",
			               symbols[i].name);
		/* a pointer to a function is what a pointer to an object is, says POSIX */
		memcpy((char *)&table + symbols[i].place, &symbol, sizeof(symbol));
	}
	sl_openssl = table;
	return 0;
}

int sl_openssl_load(struct slime_error *err)
{
	static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of LOADED, and of the table */
	static bool loaded;
	int rc = 0;

	(void)pthread_mutex_lock(&lock);
	if (!loaded)
		rc = fill(err);
	loaded = rc == 0;
	(void)pthread_mutex_unlock(&lock);
	return rc;
}

int sl_openssl_reason_code(void)
{
	return (int)(sl_openssl.ERR_peek_error() &
	             0xfff); /* 3 has more bits, and no use for them */
}

const char *sl_openssl_reason(char *buf, size_t len)
{
	unsigned long error = sl_openssl.ERR_get_error();
	const char *words;

	buf[0] = '\0';
	if (error)
		sl_openssl.ERR_error_string_n(error, buf, len);
	sl_openssl.ERR_clear_error();
	/* of "error:0A000086:SSL routines::certificate verify failed" what is for people */
	words = strrchr(buf, ':');
	if (words && words[1])
		memmove(buf, words + 1, strlen(words + 1) + 1);
	return buf;
}
