/* SPDX-License-Identifier: Apache-2.0 */
/* What was issued goes into its authority's ledger, before anybody gets it. */
#ifndef TX_CERTS_RECORD_H
#define TX_CERTS_RECORD_H

#include "certs/issue.h"
#include "certs/ledger.h"
#include "common/err.h"

/* As the ledger has it. */
void record_certificate(struct ledger_certificate *out, const struct issued *issued);
/* Into the ledger of the authority in dir. */
int record_issued(const char *dir, const struct issued *issued, struct err *e);
/* The authority in dir is new: what an old one there had issued is over (ledger_retire). */
int record_replaced(const char *dir, struct err *e);

#endif
