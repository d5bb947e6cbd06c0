/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Which certificates are revoked, as this worker knows: the newest list that its CA has signed.
 * Asked at each handshake and for each call.
 *
 * Too old a list (revocations_max_age), or none where there is to be one, is told in the log; with
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
/* Puts it in force when it is newer than the one that is; takes it in any case. Whether it was. */
bool revoked_take(struct revoked *r, struct crl *list);
/* Both, for what the keeper gives: a file, read from its beginning. Whether there is a newer list;
 * what is wrong is logged. The descriptor stays the caller's. */
bool revoked_take_file(struct revoked *r, int fd);

int64_t revoked_number(const struct revoked *r); /* -1: there is no list */
size_t revoked_count(const struct revoked *r);
int64_t revoked_time(const struct revoked *r); /* seconds since the epoch; 0: there is no list */
/* Whether it is older than revocations_max_age. */
bool revoked_stale(const struct revoked *r);
bool revoked_is(const struct revoked *r, const char *serial);
/* For tls_ctx_set_revoked; arg: the struct revoked. */
int revoked_in_handshake(const char *serial, void *arg, struct err *e);
/* Whether a call may be: 0, or TX_EPERM with *refuse. r NULL: it may. */
int revoked_authorize(struct revoked *r, const struct peer *who, const char *service,
    const char *method, struct rpc_status *refuse);

#endif
