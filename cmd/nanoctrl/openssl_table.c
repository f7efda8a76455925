/* SPDX-License-Identifier: BSD-3-Clause */
#include "openssl_table.h"

#include <dlfcn.h>
#include <errno.h>
#include <stdbool.h>
#include <string.h>

#include "sentence.h"

struct openssl_table openssl;

static const struct {
	size_t place;
	const char *name;
} symbols[] = {
#define SYMBOL(name)                                        \
	{                                                   \
		offsetof(struct openssl_table, name), #name \
	}
    SYMBOL(TLS_server_method),
    SYMBOL(TLS_client_method),
    SYMBOL(SSL_CTX_new),
    SYMBOL(SSL_CTX_free),
    SYMBOL(SSL_CTX_ctrl),
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
    SYMBOL(SSL_ctrl),
    SYMBOL(SSL_connect),
    SYMBOL(SSL_read),
    SYMBOL(SSL_write),
    SYMBOL(SSL_shutdown),
    SYMBOL(SSL_get_error),
    SYMBOL(ERR_get_error),
    SYMBOL(ERR_clear_error),
    SYMBOL(ERR_error_string_n),
    SYMBOL(SHA256),
#undef SYMBOL
};

int openssl_load(struct slime_error *err)
{
	static const char *const names[] = {"libssl.so.3", "libssl.so.1.1"};
	static bool loaded;
	void *library = NULL;

	for (size_t i = 0; !loaded && !library && i < sizeof(names) / sizeof(names[0]); i++)
		library = dlopen(names[i], RTLD_NOW | RTLD_GLOBAL);
	if (!loaded && !library)
		return refuse(err, -ENODEV,
		              "TLS and hashed tokens need OpenSSL (libssl.so.3 or libssl.so.1.1), "
		              "which is not installed here");
	for (size_t i = 0; !loaded && i < sizeof(symbols) / sizeof(symbols[0]); i++) {
		/* libcrypto's are found through what libssl needs */
		void *symbol = dlsym(library, symbols[i].name);

		if (!symbol)
			return refuse(err, -ENODEV, "this OpenSSL has no function '%s'",
			              symbols[i].name);
		/* a pointer to a function is what a pointer to an object is, says POSIX */
		memcpy((char *)&openssl + symbols[i].place, &symbol, sizeof(symbol));
	}
	loaded = true;
	return 0;
}

const char *openssl_reason(char *buf, size_t len)
{
	unsigned long error = openssl.ERR_get_error();

	buf[0] = '\0';
	if (error)
		openssl.ERR_error_string_n(error, buf, len);
	openssl.ERR_clear_error();
	return buf;
}
