/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which certificates are revoked, as this worker knows: of each authority that is trusted the
 * newest list. Asked at each handshake and for each call. A serial number that is on any of them is
 * revoked: they are random, and none of an authority's is another's by chance.
 *
 * Too old a list (revocations_max_age; of several, the oldest counts), one of the future, or none
 * where there is to be one, is told in the log; with
 * revocations_stale = fail-closed every call is refused but the one that brings a newer list.
 */
#ifndef TX_AGENT_WORKER_REVOKED_H
#define TX_AGENT_WORKER_REVOKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "common/keeper_msg.h"
#include "common/rpc_status.h"

struct peer;
struct revoked;

/* Of a list that is verified and not in force yet: certs/crl.h. */
struct crl;

/* Copies ca (PEM: what a list must be signed by). There is no list yet. */
struct revoked *revoked_new(const char *ca, size_t ca_len, const struct km_config *config);
void revoked_free(struct revoked *r);

/* Verifies without taking it. TX_ECERT, TX_ETOOBIG, TX_ENOMEM with a sentence. */
int revoked_read(
    const struct revoked *r, struct crl **out, const char *pem, size_t len, struct err *e);
/* Puts it in force when it is newer than its issuer's that is; takes it in any case. Whether it
 * was.
 */
bool revoked_take(struct revoked *r, struct crl *list);
/* Both, for what the keeper gives: a file (revocation_file.h), read from its beginning. *newer:
 * whether there is a newer list. Negative with a sentence for a file that is damaged, of which the
 * lists that are good are taken all the same; those of authorities that are not trusted are passed
 * over with a warning. A list that is not what the line before it says is damage, too. The
 * descriptor stays the caller's. */
int revoked_take_file(struct revoked *r, int fd, bool *newer, struct err *e);

int64_t revoked_number(const struct revoked *r); /* the highest; -1: there is no list */
/* Of that issuer's list, crl_issuer's; -1: there is none. */
int64_t revoked_number_of(const struct revoked *r, const char *issuer);
size_t revoked_count(const struct revoked *r);
int64_t revoked_time(const struct revoked *r); /* the oldest's, seconds since the epoch; 0: there is
                                                  no list */
/* Whether it is older than revocations_max_age, or of the future, or missing. */
bool revoked_stale(const struct revoked *r);
bool revoked_is(const struct revoked *r, const char *serial);
/* For tls_ctx_set_revoked; arg: the struct revoked. */
int revoked_in_handshake(const char *serial, void *arg, struct err *e);
/* Whether a call may be: 0, or TX_EPERM with *refuse. r NULL: it may. */
int revoked_authorize(struct revoked *r, const struct peer *who, const char *service,
    const char *method, struct rpc_status *refuse);

#endif
