/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Patterns of identities and absolute paths: '*' is any text without '/', '**' any text, '?' one
 * character but '/', '\' takes the next character as it is. Nothing else is special. The whole text
 * must match. Linear in the text for each '*': no pattern takes exponential time. What would take
 * longer than some milliseconds (100 kB of text, and stars that could be anywhere) does not match.
 */
#ifndef TX_COMMON_GLOB_H
#define TX_COMMON_GLOB_H

#include <stdbool.h>

bool glob_match(const char *pattern, const char *text);
/* Whether it is a pattern: not empty, no '\' at its end. */
bool glob_valid(const char *pattern);
/* Whether a pattern of paths takes a plain path (else: false). One that ends with a slash and two
 * stars takes the folder itself, too. */
bool glob_path_match(const char *pattern, const char *path);
/* Whether `path` begins with '/' and has no empty, "." or ".." component and no '/' at its end
 * (but "/" itself). */
bool glob_path_plain(const char *path);

#endif
