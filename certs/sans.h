/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The hosts that a certificate names: DNS names and IP addresses, as texts. A set of them is
 * sorted, has each once, DNS names in lower case and addresses in their shortest form, so that two
 * sets are the same when their texts are.
 */
#ifndef TX_CERTS_SANS_H
#define TX_CERTS_SANS_H

#include <stdbool.h>
#include <stddef.h>

#include "common/err.h"

#define SANS_MAX 64

/* Whether `text` may stand as a host in a certificate: a DNS name ("*." in front is allowed), or an
 * IP address. */
bool sans_valid(const char *text);
/* 4 or 16; 0: it is no address. */
size_t sans_address(const char *text, unsigned char out[16]);

/* The set of texts[0..n). TX_EINVAL when one is no host or there are more than SANS_MAX. *out is
 * sans_free's. */
int sans_set(char ***out, size_t *out_n, const char *const *texts, size_t n, struct err *e);
bool sans_same(
    const char *const *a, size_t a_n, const char *const *b, size_t b_n); /* of two sets */
void sans_free(char **sans, size_t n);

#endif
