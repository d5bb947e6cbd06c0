/* SPDX-License-Identifier: Apache-2.0 */
/* Makes foreign bytes safe to print: on a terminal, in a log line, in JSON. */
#ifndef TX_COMMON_ESCAPE_H
#define TX_COMMON_ESCAPE_H

#include <stddef.h>

/*
 * Writes `len` bytes of `in` as printable UTF-8 into out[size], always NUL-terminated, and returns
 * the length that the whole would have had (as snprintf). Control characters (C0, DEL, C1), "\\"
 * and bytes that are not valid UTF-8 become \n, \t, \r, \\ or \xHH; Unicode's line and direction
 * controls (U+2028, U+2029, U+202A-202E, U+2066-2069) become \u{HHHH}. Never cuts inside an escape
 * or a character.
 */
size_t escape_text(char *out, size_t size, const void *in, size_t len);

/* The same for the inside of a JSON string; a byte that is not UTF-8 becomes U+FFFD. */
size_t escape_json(char *out, size_t size, const void *in, size_t len);

#endif
