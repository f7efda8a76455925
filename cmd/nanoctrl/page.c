/* SPDX-License-Identifier: BSD-3-Clause */
#include "page.h"

enum { PAGE_DEFAULT = 1000, PAGE_MAX = 10000 };

/* One more than is answered: so we know whether there is a next page. */
struct store_op page_op(struct fields *f, enum store_class class, const char *scope,
                        const char *type)
{
	int64_t limit = query_int_or(f, "limit", 1, PAGE_MAX, PAGE_DEFAULT);

	return (struct store_op){
	    .verb = STORE_LIST,
	    .key = {class, scope, type, query_name_or(f, "after", NULL)},
	    .limit = (uint32_t)limit + 1,
	};
}

json_t *page_json(const struct call *call, const struct store_res *res, const char *name,
                  page_row *row)
{
	const char *text = call_query(call, "limit");
	int64_t limit = PAGE_DEFAULT;
	json_t *list = json_array();
	const char *next = NULL;
	size_t n = res->n;

	if (text)
		(void)number_of(text, 1, PAGE_MAX, &limit);
	if (n > (size_t)limit) {
		n = (size_t)limit;
		next = res->row[n - 1].key.id;
	}
	for (size_t i = 0; i < n; i++) {
		json_t *item = row(&res->row[i]);

		if (item)
			(void)json_array_append_new(list, item);
	}
	return json_pack("{s:o,s:I,s:s?}", name, list, "revision", (json_int_t)res->number, "next",
	                 next);
}
