/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Who somebody is: spiffe://DOMAIN/agent/NAME or spiffe://DOMAIN/user/NAME, the one URI name of a
 * certificate.
 *
 * DOMAIN: 1 to 128 of a-z 0-9 . - _ ; NAME: 1 to 64 of A-Z a-z 0-9 . - _ and neither "." nor "..".
 * Nothing else is an identity: no port, query, percent escape, second slash or other case, so two
 * identities are equal when their texts are.
 */
#ifndef TX_COMMON_IDENTITY_H
#define TX_COMMON_IDENTITY_H

#include <stdbool.h>
#include <stddef.h>

#include "common/err.h"

#define IDENTITY_DOMAIN_MAX 128
#define IDENTITY_NAME_MAX   64
#define IDENTITY_SIZE       256 /* of the text, with its NUL */
/* The trust domain where none is given: .internal is reserved for private use and is nobody's on
 * the Internet. */
#define IDENTITY_DOMAIN "telex.internal"

enum identity_kind {
	IDENTITY_AGENT = 1,
	IDENTITY_USER = 2,
};

struct identity {
	enum identity_kind kind;
	char domain[IDENTITY_DOMAIN_MAX + 1];
	char name[IDENTITY_NAME_MAX + 1];
};

/* text[0..len) need not end with a NUL. TX_EINVAL, and *e says what is wrong with it. */
int identity_parse(struct identity *out, const char *text, size_t len, struct err *e);

/* Fills *out from its parts. TX_EINVAL, as above. */
int identity_make(struct identity *out, enum identity_kind kind, const char *domain,
    const char *name, struct err *e);

/* The text. Returns out. */
char *identity_format(char out[IDENTITY_SIZE], const struct identity *id);

/* "spiffe://DOMAIN" alone, as it stands in a CA certificate. */
int identity_parse_domain(
    char out[IDENTITY_DOMAIN_MAX + 1], const char *text, size_t len, struct err *e);
bool identity_domain_valid(const char *domain);

/* "agent", "user"; "" for anything else. */
const char *identity_kind_name(enum identity_kind kind);
/* False when it is no kind. */
bool identity_kind_parse(enum identity_kind *out, const char *text);

#endif
