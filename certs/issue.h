/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Certificates for agents and users. An agent's is for servers (serverAuth) and names its hosts; a
 * user's is for clients (clientAuth) and names none. Either has one URI name, its identity, and
 * never outlives its authority.
 */
#ifndef TX_CERTS_ISSUE_H
#define TX_CERTS_ISSUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "certs/ca.h"
#include "certs/key.h"
#include "certs/sans.h"
#include "common/err.h"
#include "common/identity.h"

#define ISSUE_AGENT_TTL (INT64_C(7) * 86400)
#define ISSUE_USER_TTL  (INT64_C(24) * 3600)
#define ISSUE_TTL_MIN   INT64_C(60)
#define ISSUE_SANS_MAX  SANS_MAX
/* notBefore lies this far back, for clocks that are behind. */
#define ISSUE_SKEW INT64_C(300)

struct issue_request {
	enum identity_kind kind;
	const char *name;
	/* DNS names ("*." in front is allowed) and IP addresses of an agent. None: `name`, when it
	 * is a host name. */
	const char *const *sans;
	size_t sans_len;
	int64_t ttl_s; /* 0: ISSUE_AGENT_TTL or ISSUE_USER_TTL */
	enum key_type key_type;
};

/* PEM texts, with a NUL; the key is new. The certificate has its authority's chain after it, so
 * that whoever trusts the root alone can check it. */
struct issued {
	char *certificate, *key;
	size_t certificate_len, key_len;
	char identity[IDENTITY_SIZE];
	char serial[64]; /* hexadecimal */
	int64_t not_before, not_after;
	bool shortened; /* the authority ends before the time that was asked for */
};

/* TX_EINVAL for what is wrong in the request, TX_ECERT when the authority cannot (any more). */
int issue_certificate(
    struct issued *out, const struct ca *ca, const struct issue_request *request, struct err *e);
/* For a key that is there already: out->key is NULL, request->key_type is not looked at. */
int issue_for_key(struct issued *out, const struct ca *ca, const struct issue_request *request,
    EVP_PKEY *key, struct err *e);
/* Wipes the key. */
void issue_free(struct issued *issued);

/* sans_valid, for those who issue. */
bool issue_host_valid(const char *text);

#endif
