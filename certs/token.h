/* SPDX-License-Identifier: Apache-2.0 */
/*
 * An enrolment token: what a new machine or person gets to have a first certificate. One line of
 * text, "telex1." and base64url of: address of the CA's listener, the SHA-256 of the CA's public
 * key (SubjectPublicKeyInfo, so the first contact is authenticated), kind and name, hosts, when it
 * expires, 256 random bits, and a check sum, so that a line that was cut or mistyped is told as
 * such.
 */
#ifndef TX_CERTS_TOKEN_H
#define TX_CERTS_TOKEN_H

#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "common/identity.h"

#define TOKEN_SECRET_SIZE 32
#define TOKEN_PIN_SIZE    32
#define TOKEN_TEXT_MAX    4096
#define TOKEN_TTL_DEFAULT (INT64_C(15) * 60)
#define TOKEN_TTL_MAX     (INT64_C(7) * 86400)

struct token {
	enum identity_kind kind;
	char domain[IDENTITY_DOMAIN_MAX + 1];
	char name[IDENTITY_NAME_MAX + 1];
	char address[256]; /* HOST:PORT */
	uint8_t pin[TOKEN_PIN_SIZE];
	uint8_t secret[TOKEN_SECRET_SIZE];
	int64_t expires; /* seconds since the epoch */
	char **sans;     /* an agent's hosts; token_clear frees */
	size_t n_sans;
};

/* With a new random secret; the caller has set the rest. malloc'd, wiped by token_text_free. */
int token_make(struct token *t, char **text, struct err *e);
void token_text_free(char *text);
/* TX_EINVAL with a sentence: no token, cut or mistyped (check sum), of a newer version. */
int token_parse(struct token *out, const char *text, struct err *e);
void token_clear(struct token *t); /* wipes */
/* What the ledger keeps. */
void token_hash(const uint8_t secret[TOKEN_SECRET_SIZE], uint8_t out[32]);

#endif
