/* SPDX-License-Identifier: Apache-2.0 */
/* Whose certificate was meant. */
#ifndef TX_CLI_CERT_NEAREST_H
#define TX_CLI_CERT_NEAREST_H

#include "certs/ledger.h"
#include "common/err.h"

/* Adds to e's message the identity of the ledger that is nearest to the text: by its name alone, or
 * mistyped. Nothing when there is none. */
void cert_nearest(struct ledger *l, const char *text, struct err *e);

#endif
