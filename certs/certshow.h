/* SPDX-License-Identifier: Apache-2.0 */
/* What a certificate says, for people and for programs. Every text is safe to print. */
#ifndef TX_CERTS_CERTSHOW_H
#define TX_CERTS_CERTSHOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "common/identity.h"

enum certshow_state {
	CERTSHOW_VALID,
	CERTSHOW_NOT_YET,
	CERTSHOW_EXPIRED,
};

struct certshow {
	bool authority;
	bool server, client;          /* its extended key usage */
	char identity[IDENTITY_SIZE]; /* "" when it has none; an authority's is spiffe://DOMAIN */
	char flaw[160];               /* why it is no identity of telex; "" when it is one */
	char subject[96], issuer[96]; /* common names */
	char serial[64];              /* hexadecimal */
	char key[32];                 /* "P-256" */
	char fingerprint[65];         /* SHA-256 of the whole, hexadecimal */
	char **hosts;                 /* DNS names and IP addresses */
	size_t hosts_len;
	int64_t not_before, not_after;
	bool self_signed;
	bool signer_follows; /* the next certificate of the text has signed it */
};

/* All certificates in a PEM text, in its order. TX_ECERT when there is none. */
int certshow_read(struct certshow **out, size_t *count, const char *text, size_t len,
    const char *name, struct err *e);
void certshow_free(struct certshow *shown, size_t count);

enum certshow_state certshow_state(const struct certshow *shown, int64_t now);
/* "valid", "not yet valid", "expired" */
const char *certshow_state_name(enum certshow_state state);

/* Several lines, each ended; malloc'd. NULL: out of memory. */
char *certshow_words(const struct certshow *shown, int64_t now);

#endif
