/* SPDX-License-Identifier: Apache-2.0 */
/* A record of an audit log in words. */
#ifndef TX_CLI_AUDIT_WORDS_H
#define TX_CLI_AUDIT_WORDS_H

#include <jansson.h>
#include <stdio.h>

/* One line, safe for terminals whatever the record holds. */
void audit_words_print(FILE *to, const json_t *record);

#endif
