/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "common/sort.h"

struct item {
	int key;
	char rest[17]; /* an odd size, so that nothing is aligned by luck */
};

static int by_key(const void *a, const void *b)
{
	const struct item *x = a, *y = b;

	return (x->key > y->key) - (x->key < y->key);
}

static void as_qsort_does(void **state)
{
	static const int ranges[] = {1, 2, 7, 100000};
	struct item ours[300], theirs[300];
	uint32_t seed = 12345;

	(void)state;
	for (size_t n = 0; n <= 300; n += n < 20 ? 1 : 70) {
		for (size_t r = 0; r < 4; r++) {
			memset(ours, 0, sizeof(ours));
			for (size_t i = 0; i < n; i++) {
				seed = seed * 1103515245u + 12345u;
				ours[i].key = (int)(seed >> 8) % ranges[r];
				memset(ours[i].rest, ours[i].key & 0x7f, sizeof(ours[i].rest));
			}
			memcpy(theirs, ours, sizeof(ours));
			qsort(theirs, n, sizeof(*theirs), by_key);
			sort_in_place(ours, n, sizeof(*ours), by_key);
			assert_memory_equal(ours, theirs, sizeof(ours));
		}
	}
	sort_in_place(NULL, 0, sizeof(*ours), by_key);
}

int main(void)
{
	const struct CMUnitTest tests[] = {cmocka_unit_test(as_qsort_does)};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
