/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/file.h"

/* A file of its own with TEXT in it; PATH is filled in. */
static void make_file(char *path, size_t cap, const char *text)
{
	int fd;

	(void)snprintf(path, cap, "/tmp/slime-test-file.XXXXXX");
	fd = mkstemp(path);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	assert_int_equal(close(fd), 0);
}

static void a_file_is_read_as_a_string(void **state)
{
	char path[64], buf[16];

	(void)state;
	make_file(path, sizeof(path), "hello\n");
	assert_int_equal(sl_file_read(path, buf, sizeof(buf)), 0);
	assert_string_equal(buf, "hello\n");
	assert_int_equal(unlink(path), 0);
}

static void a_longer_file_is_cut_and_ended(void **state)
{
	char path[64], buf[6] = "xxxxx";

	(void)state;
	make_file(path, sizeof(path), "0123456789");
	assert_int_equal(sl_file_read(path, buf, 5), 0);
	assert_string_equal(buf, "0123");
	assert_int_equal(buf[5], 0);
	assert_int_equal(unlink(path), 0);
}

static void what_cannot_be_read_is_an_error_and_leaves_the_buffer(void **state)
{
	char path[64], buf[4] = "abc";

	(void)state;
	make_file(path, sizeof(path), "");
	assert_int_equal(sl_file_read(path, buf, sizeof(buf)), -EIO);
	assert_int_equal(sl_file_read("/tmp", buf, sizeof(buf)), -EIO);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(sl_file_read(path, buf, sizeof(buf)), -ENOENT);
	assert_string_equal(buf, "abc");
}

static void past_the_limit_of_file_sizes_is_an_error_and_no_signal(void **state)
{
	struct rlimit old, low;
	int fd = memfd_create("test", MFD_CLOEXEC);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	low = (struct rlimit){.rlim_cur = 4096, .rlim_max = old.rlim_max};
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &low), 0);
	assert_int_equal(sl_file_resize(fd, 4097), -EFBIG);
	assert_int_equal(sl_file_resize(fd, 4096), 0);
	assert_int_equal(lseek(fd, 0, SEEK_END), 4096);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_int_equal(close(fd), 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_file_is_read_as_a_string),
	    cmocka_unit_test(a_longer_file_is_cut_and_ended),
	    cmocka_unit_test(what_cannot_be_read_is_an_error_and_leaves_the_buffer),
	    cmocka_unit_test(past_the_limit_of_file_sizes_is_an_error_and_no_signal),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
