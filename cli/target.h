/* SPDX-License-Identifier: Apache-2.0 */
/* Which agent: the word after -w. */
#ifndef TX_CLI_TARGET_H
#define TX_CLI_TARGET_H

#include "common/err.h"

#define TARGET_MAX 280

/*
 * Checks one host: "host", "host:port", "1.2.3.4:port", "[v6]:port" or a bare v6 address, which
 * gets its brackets, and writes it to out[TARGET_MAX]. TX_EINVAL with a sentence for anything else;
 * TX_EUNSUPPORTED for a list.
 */
int target_parse(const char *text, char *out, struct err *e);

#endif
