/* SPDX-License-Identifier: Apache-2.0 */
/* A client's revocation lists: agents whose certificates are on one are not talked to. */
#ifndef TX_LIB_CLIENT_REVOKED_H
#define TX_LIB_CLIENT_REVOKED_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

struct client_revoked;

/*
 * The lists of a file, of one authority or of several (revocation_file.h), each signed by one of
 * `ca` (PEM). Another's is passed over; TX_ECERT, with the file's name: none is of these, or one is
 * damaged. TX_ESYS, TX_ETOOBIG, TX_ENOMEM.
 */
int client_revoked_read(
    struct client_revoked **out, const char *path, const char *ca, size_t ca_len, struct err *e);
/* Whether its file is another one by now. */
bool client_revoked_changed(const struct client_revoked *r);
/* Reads the file once more; r stays where it is. As client_revoked_read; when that fails, what was
 * known before goes on. */
int client_revoked_again(struct client_revoked *r, const char *ca, size_t ca_len);
void client_revoked_free(struct client_revoked *r); /* NULL is allowed */
/* When the first of them is to be replaced, seconds since the epoch. */
int64_t client_revoked_next(const struct client_revoked *r);
/* As tls_ctx_set_revoked asks; arg is a client_revoked. */
int client_revoked_ask(const char *serial, void *arg, struct err *e);

#endif
