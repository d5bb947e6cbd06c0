/* SPDX-License-Identifier: Apache-2.0 */
/* The agent names the field of a request that it refuses; who typed an option knows that. */
#ifndef TX_CLI_FIELD_WORDS_H
#define TX_CLI_FIELD_WORDS_H

#include <stddef.h>

/* "spec.output.buffer_bytes: no …" -> "--output-buffer", and in *rest ": no …". NULL: it names no
 * field that is an option. */
const char *field_words(const char *message, const char **rest);

#endif
