/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What `telex cert` does with an authority, in its ca-audit.log, where telex-ca writes too: a chain
 * of its own for each command, in which each record has the hash of the line before it. Written
 * before anybody gets what it tells of.
 */
#ifndef TX_CLI_CERT_AUDIT_H
#define TX_CLI_CERT_AUDIT_H

#include "certs/issue.h"
#include "common/audit.h"
#include "common/err.h"

/* Opens the log in the authority's folder and begins the record of an act ("issue", "token", …).
 * The caller adds members with audit_…, then cert_audit_end. */
int cert_audit_begin(struct audit **out, const char *dir, const char *act, struct err *e);
/* Writes it and closes. */
int cert_audit_end(struct audit *a, struct err *e);

/* The whole of it for a certificate that was made. */
int cert_audit_issued(const char *dir, const char *act, const struct issued *issued, struct err *e);

#endif
