/* SPDX-License-Identifier: Apache-2.0 */
/* Heapsort: n log n whatever comes, as what is sorted may be a peer's. */
#include "common/sort.h"

struct heap {
	unsigned char *list;
	size_t size;
	int (*compare)(const void *a, const void *b);
};

static void *at(const struct heap *h, size_t i)
{
	return h->list + i * h->size;
}

static void swap(const struct heap *h, size_t i, size_t k)
{
	unsigned char *a = at(h, i), *b = at(h, k);

	for (size_t n = 0; n < h->size; n++) {
		unsigned char c = a[n];

		a[n] = b[n];
		b[n] = c;
	}
}

/* Down with what is at i, until none of the n below it is greater. */
static void sink(const struct heap *h, size_t i, size_t n)
{
	size_t child;

	while ((child = 2 * i + 1) < n) {
		if (child + 1 < n && h->compare(at(h, child), at(h, child + 1)) < 0)
			child++;
		if (h->compare(at(h, i), at(h, child)) >= 0)
			return;
		swap(h, i, child);
		i = child;
	}
}

void sort_in_place(void *list, size_t n, size_t size, int (*compare)(const void *a, const void *b))
{
	const struct heap h = {list, size, compare};

	for (size_t i = n / 2; i > 0; i--)
		sink(&h, i - 1, n);
	for (size_t left = n; left > 1; left--) {
		swap(&h, 0, left - 1);
		sink(&h, 0, left - 1);
	}
}
