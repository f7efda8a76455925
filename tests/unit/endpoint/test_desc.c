/* SPDX-License-Identifier: BSD-3-Clause */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "endpoint/desc.h"

static struct sl_desc_head endpoint_head(void)
{
	struct sl_desc_head head = {.kind = SL_DESC_EP, .ep_id = 7, .pid = 4711, .lanes = 3};

	memset(head.ctx_id, 0xab, sizeof(head.ctx_id));
	(void)snprintf(head.host, sizeof(head.host), "hut");
	return head;
}

static struct sl_blob blob_of(const char *text)
{
	struct sl_blob blob = {.len = (uint32_t)strlen(text)};

	memcpy(blob.bytes, text, blob.len);
	return blob;
}

static struct slime_desc an_endpoint(void)
{
	struct sl_desc_head head = endpoint_head();
	struct sl_blob one = blob_of("first"), two = blob_of(""), three = blob_of("third");
	struct slime_desc desc;

	memset(&desc, 0xee, sizeof(desc));
	sl_desc_begin(&desc, &head);
	assert_int_equal(sl_desc_add(&desc, "shm", 0, 0, &one), 0);
	assert_int_equal(sl_desc_add(&desc, "tcp", 1, 0, &two), 0);
	assert_int_equal(sl_desc_add(&desc, "tcp", 1, 1, &three), 0);
	sl_desc_end(&desc);
	return desc;
}

static struct slime_error err;
static struct sl_desc_section sections[SL_DESC_SECTIONS];

static int read_as(const struct slime_desc *desc, enum sl_desc_kind kind, struct sl_desc_head *head)
{
	return sl_desc_read(desc, kind, head, sections, &err);
}

static void what_was_written_is_read(void **state)
{
	struct slime_desc desc = an_endpoint();
	struct sl_desc_head want = endpoint_head(), head;
	const struct sl_desc_section *s;

	(void)state;
	assert_int_equal(read_as(&desc, SL_DESC_EP, &head), 3);
	assert_memory_equal(head.ctx_id, want.ctx_id, sizeof(want.ctx_id));
	assert_true(head.ep_id == 7 && head.pid == 4711 && head.lanes == 3);
	assert_string_equal(head.host, "hut");
	s = sl_desc_find(sections, 3, "tcp", 1, 1);
	assert_non_null(s);
	assert_int_equal(s->len, 5);
	assert_memory_equal(s->bytes, "third", 5);
	assert_int_equal(sl_desc_find(sections, 3, "tcp", -1, 0)->len, 0);
	assert_null(sl_desc_find(sections, 3, "tcp", 0, 0));
	assert_null(sl_desc_find(sections, 3, "tc", -1, 0));
	assert_null(sl_desc_find(sections, 3, "shm", -1, 1));
}

static void regions_are_read_too(void **state)
{
	struct sl_desc_head want = {
	    .kind = SL_DESC_MR,
	    .len = UINT64_MAX,
	    .access = 3,
	    .mem_kind = SLIME_MEM_HOST,
	};
	struct sl_desc_head head;
	struct slime_desc desc;

	(void)state;
	sl_desc_begin(&desc, &want);
	sl_desc_end(&desc);
	assert_int_equal(read_as(&desc, SL_DESC_MR, &head), 0);
	assert_true(head.len == UINT64_MAX && head.access == 3 && head.mem_kind == SLIME_MEM_HOST);
}

/* Two runs must not differ in what lies in memory around: a description may be compared. */
static void writing_twice_gives_the_same_bytes(void **state)
{
	struct slime_desc a = an_endpoint(), b = an_endpoint();

	(void)state;
	assert_int_equal(a.len, b.len);
	assert_memory_equal(a.bytes, b.bytes, a.len);
}

static void damage_is_found(void **state)
{
	struct slime_desc desc = an_endpoint();
	struct sl_desc_head head;

	(void)state;
	for (uint32_t bit = 0; bit < 8 * desc.len; bit++) {
		desc.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
		err.text[0] = '\0';
		assert_int_equal(read_as(&desc, SL_DESC_EP, &head), -EPROTO);
		assert_true(err.text[0] != '\0');
		desc.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
	}
	for (uint32_t len = 0; len < desc.len; len++) {
		struct slime_desc cut = desc;

		cut.len = len;
		assert_int_equal(read_as(&cut, SL_DESC_EP, &head), -EPROTO);
	}
	desc.len = SLIME_DESC_MAX + 1;
	assert_int_equal(read_as(&desc, SL_DESC_EP, &head), -EPROTO);
}

/* With a true checksum: someone meant it. */
static void a_cut_behind_the_checksum_is_found(void **state)
{
	struct slime_desc desc = an_endpoint();
	struct sl_desc_head head;

	(void)state;
	for (uint32_t len = desc.len; len-- > 16;) {
		struct slime_desc cut = desc;
		int rc;

		cut.len = len;
		sl_desc_end(&cut);
		rc = read_as(&cut, SL_DESC_EP, &head);
		assert_true(rc == -EPROTO || (rc >= 0 && rc < 3)); /* a whole section less */
	}
}

static void the_other_kind_is_told_apart(void **state)
{
	struct slime_desc desc = an_endpoint();
	struct sl_desc_head head;

	(void)state;
	assert_int_equal(read_as(&desc, SL_DESC_MR, &head), -EPROTO);
	assert_non_null(strstr(err.text, "endpoint"));
	assert_non_null(strstr(err.text, "region"));
}

static void another_version_is_named(void **state)
{
	struct slime_desc desc = an_endpoint();
	struct sl_desc_head head;

	(void)state;
	desc.bytes[4] = 9;
	sl_desc_end(&desc);
	assert_int_equal(read_as(&desc, SL_DESC_EP, &head), -EPROTO);
	assert_non_null(strstr(err.text, "version 9"));
}

static void a_full_description_takes_no_more_and_stays_whole(void **state)
{
	struct sl_desc_head head = endpoint_head();
	struct sl_blob blob = {.len = 400};
	struct slime_desc desc;
	int n = 0;

	(void)state;
	sl_desc_begin(&desc, &head);
	while (sl_desc_add(&desc, "tcp", 0, (unsigned)n, &blob) == 0)
		n++;
	assert_int_equal(n, 4);
	sl_desc_end(&desc);
	assert_int_equal(read_as(&desc, SL_DESC_EP, &head), n);
}

static void more_sections_than_fit_are_refused(void **state)
{
	struct sl_desc_head head = endpoint_head();
	struct sl_blob blob = {.len = 0};
	struct slime_desc desc;

	(void)state;
	sl_desc_begin(&desc, &head);
	for (unsigned i = 0; i <= SL_DESC_SECTIONS; i++)
		assert_int_equal(sl_desc_add(&desc, "tcp", 0, i, &blob), 0);
	sl_desc_end(&desc);
	assert_int_equal(read_as(&desc, SL_DESC_EP, &head), -EPROTO);
}

static void long_host_names_are_cut(void **state)
{
	struct sl_desc_head head = endpoint_head();
	struct slime_desc desc;

	(void)state;
	memset(head.host, 'h', sizeof(head.host)); /* not even ended */
	sl_desc_begin(&desc, &head);
	sl_desc_end(&desc);
	assert_int_equal(read_as(&desc, SL_DESC_EP, &head), 0);
	assert_int_equal(strlen(head.host), SL_DESC_HOST_MAX - 1);
}

/* They go into sentences, and onto terminals. */
static void names_of_the_peer_are_made_printable(void **state)
{
	struct sl_desc_head head = endpoint_head();
	struct sl_blob blob = blob_of("x");
	struct slime_desc desc;

	(void)state;
	memcpy(head.host, "a\033[2Jb c\nd\177\200\377", 14);
	sl_desc_begin(&desc, &head);
	assert_int_equal(sl_desc_add(&desc, "t\ncp", 0, 0, &blob), 0);
	sl_desc_end(&desc);
	assert_int_equal(read_as(&desc, SL_DESC_EP, &head), 1);
	assert_string_equal(head.host, "a?[2Jb?c?d???");
	assert_string_equal(sections[0].transport, "t?cp");
	memset(head.host, 0, sizeof(head.host));
	memcpy(head.host, "ab", 2);
	sl_desc_begin(&desc, &head);
	desc.bytes[16 + 16 + 8 + 4 + 2 + 1] = 0; /* the 'a' */
	sl_desc_end(&desc);
	assert_int_equal(read_as(&desc, SL_DESC_EP, &head), 0);
	assert_string_equal(head.host, "?b");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_was_written_is_read),
	    cmocka_unit_test(regions_are_read_too),
	    cmocka_unit_test(writing_twice_gives_the_same_bytes),
	    cmocka_unit_test(damage_is_found),
	    cmocka_unit_test(a_cut_behind_the_checksum_is_found),
	    cmocka_unit_test(the_other_kind_is_told_apart),
	    cmocka_unit_test(another_version_is_named),
	    cmocka_unit_test(a_full_description_takes_no_more_and_stays_whole),
	    cmocka_unit_test(more_sections_than_fit_are_refused),
	    cmocka_unit_test(long_host_names_are_cut),
	    cmocka_unit_test(names_of_the_peer_are_made_printable),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
