/* SPDX-License-Identifier: Apache-2.0 */
/* "Did you mean": the word of a list that is nearest to a mistyped one. */
#ifndef TX_COMMON_NEAREST_H
#define TX_COMMON_NEAREST_H

#include <stddef.h>

/*
 * The nearest of words[0..n) by edit distance (a swap of neighbours counts one), when it is near
 * enough to be meant (distance at most a third of the longer word, at least 1); else NULL. NULL
 * entries are passed over.
 */
const char *nearest_word(const char *word, const char *const *words, size_t n);

#endif
