/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The file of revocation lists, of one authority or of several: before each list there is a line
 *
 *     # telex list ISSUER NUMBER BYTES
 *
 * so that the keeper, which knows nothing of what a list says, holds each to growing numbers. PEM
 * readers pass such lines over. A file without them is one list that somebody else has put there.
 */
#ifndef TX_COMMON_REVOCATION_FILE_H
#define TX_COMMON_REVOCATION_FILE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"

/* Bytes of one list, for all who make, send, take or keep one: what is made can be spread. */
#define REVOCATION_LIST_MAX ((size_t)8 << 20)
/* Of a message with one in it. */
#define REVOCATION_MESSAGE_MAX (REVOCATION_LIST_MAX + 4096)
#define REVOCATION_ISSUER_SIZE 65                 /* with its NUL; crl.h says what it is */
#define REVOCATION_ISSUERS_MAX 16                 /* in one file */
#define REVOCATION_FILE_MAX    ((size_t)32 << 20) /* bytes */

struct revocation_record {
	char issuer[REVOCATION_ISSUER_SIZE]; /* "": not known */
	int64_t number;                      /* -1: not known */
	const char *pem;
	size_t len;
};

/* 64 digits of 0-9a-f, and a NUL within the field. */
bool revocation_issuer_valid(const char issuer[REVOCATION_ISSUER_SIZE]);

/* The record at *at, which is moved on; it points into text. False: there is no more. */
bool revocation_next(const char *text, size_t len, size_t *at, struct revocation_record *out);

/* Whether it is a list and nothing beside it, no certificate above all: so were they once. */
bool revocation_is_bare(const struct revocation_record *r);

/*
 * The file with r in its issuer's place; *out is the caller's to free. TX_ESTATE: there is one with
 * a higher number, or one that has its signer's certificate beside it, and r is bare. TX_ELIMIT: it
 * would have too many lists, or too long ones. TX_ENOMEM.
 */
int revocation_merge(char **out, size_t *out_len, const char *text, size_t len,
    const struct revocation_record *r, struct err *e);

#endif
