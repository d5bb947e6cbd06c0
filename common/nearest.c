/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Edit distance by rows: insert, delete, replace and the swap of two neighbours cost one each. A
 * word of more than WORD_MAX bytes is near to nothing.
 */
#include "common/nearest.h"

#include <stdbool.h>
#include <string.h>

#define WORD_MAX 64

static size_t least(size_t a, size_t b)
{
	return a < b ? a : b;
}

/* Both lengths are at most WORD_MAX. */
static size_t distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
	/* row[i % 3][j]: from the first i letters of a to the first j of b. */
	size_t row[3][WORD_MAX + 1];

	for (size_t j = 0; j <= b_len; j++)
		row[0][j] = j;
	for (size_t i = 1; i <= a_len; i++) {
		const size_t *before = row[(i + 2) % 3], *earlier = row[(i + 1) % 3];
		size_t *now = row[i % 3];

		now[0] = i;
		for (size_t j = 1; j <= b_len; j++) {
			now[j] = least(before[j], now[j - 1]) + 1;
			now[j] = least(now[j], before[j - 1] + (a[i - 1] != b[j - 1]));
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
				now[j] = least(now[j], earlier[j - 2] + 1);
		}
	}
	return row[a_len % 3][b_len];
}

/* A third of the longer word, at least one edit; but something of the word must be left. */
static bool near_enough(size_t d, size_t longer)
{
	return d < longer && (d <= 1 || d <= longer / 3);
}

const char *nearest_word(const char *word, const char *const *words, size_t n)
{
	const size_t len = strlen(word);
	const char *best = NULL;
	size_t best_distance = 0;

	if (len > WORD_MAX)
		return NULL;
	for (size_t i = 0; i < n; i++) {
		size_t other, d;

		if (words[i] == NULL || (other = strlen(words[i])) > WORD_MAX)
			continue;
		d = distance(word, len, words[i], other);
		if (!near_enough(d, len > other ? len : other))
			continue;
		if (best == NULL || d < best_distance) {
			best = words[i];
			best_distance = d;
		}
	}
	return best;
}
