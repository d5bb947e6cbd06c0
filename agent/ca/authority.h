/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What telex-ca has: the authority with its key, its ledger and its audit log; and what it does
 * with them. Every act is decided here alone: a worker only hands on what a client says.
 */
#ifndef TX_AGENT_CA_AUTHORITY_H
#define TX_AGENT_CA_AUTHORITY_H

#include <stddef.h>
#include <stdint.h>

#include "certs/ca.h"
#include "certs/ledger.h"
#include "common/audit.h"
#include "common/audit_budget.h"
#include "common/err.h"
#include "telex/internal/v1/ca.pb-c.h"

struct authority {
	struct ca *ca;
	struct ledger *ledger;
	struct audit *audit;
	struct audit_budget *refusals; /* how many are written; NULL: all */
	char *list;                    /* the newest revocation list; NULL: none was made yet */
	size_t list_len;
	int64_t list_number, list_made, list_version;
	int64_t list_warned; /* when it was told last that it is long; 0: it is not */
};

/* What a request gets. Texts of `answer` are ours to free (answer_clear) when they are not
 * protobuf-c's empty string. */
struct answer {
	Telex__Internal__V1__CaAnswer message;
	char text[256]; /* of a refusal, for the client */
	int list_fd;    /* -1: none */
	/* For the audit: what the act was, on whom, and the true reason of a refusal. */
	const char *act;
	char identity[IDENTITY_SIZE], serial[LEDGER_SERIAL_SIZE];
	char why[sizeof(((struct err *)0)->message)];
	int64_t not_after;
	bool again;
};

void answer_init(struct answer *a);
void answer_clear(struct answer *a);
/* The client reads `reason` and `text`, the audit reads e's message too (NULL: it has no more to
 * say). Returns e's code, or TX_EPERM. */
int answer_refuse(
    struct answer *a, int code, const char *reason, const char *text, const struct err *e);
/* It is our own fault, and the client is to come back later. */
int answer_unable(struct answer *a, const struct err *e);
/* Gives this chain (taken, malloc'd), which is what is in the ledger. */
int answer_give(struct answer *a, const struct authority *au, char *chain);

/* Each fills *a, whatever becomes of it. */
void authority_enroll(
    struct authority *au, const Telex__V1__EnrollRequest *request, struct answer *a);
void authority_renew(
    struct authority *au, const Telex__V1__RenewRequest *request, struct answer *a);
void authority_revocations(
    struct authority *au, const Telex__V1__GetRevocationsRequest *request, struct answer *a);

/* Acts and writes it down, before anybody is answered. */
void authority_answer(
    struct authority *au, const Telex__Internal__V1__CaRequest *request, struct answer *a);

#endif
