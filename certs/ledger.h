/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The book-keeping of a CA: what it issued, what is revoked, which tokens are out; a SQLite
 * database in its folder (CA_LEDGER_FILE). Safe under concurrent use by several processes (WAL,
 * immediate transactions, a busy time-out) and power cut (synchronous FULL): what a call has
 * returned 0 for is there after it.
 *
 * A handle is one thread's at a time, and not to be carried over a fork. Failures: TX_ESTATE (it is
 * damaged, newer, or no ledger), TX_EAGAIN (another program holds it), TX_ESYS, TX_ENOMEM.
 */
#ifndef TX_CERTS_LEDGER_H
#define TX_CERTS_LEDGER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "common/identity.h"

#define CA_LEDGER_FILE     "ledger.db"
#define LEDGER_SERIAL_SIZE 64 /* hexadecimal, with its NUL */
#define LEDGER_HASH_SIZE   32 /* SHA-256 */
/* Certificates in force of an identity, beyond which no renewal adds one. */
#define LEDGER_LIVE_MAX 8
/* The same for who is late: in the second half of its life a certificate that was renewed gets one
 * more each sixteenth of it, as long as fewer than these are in force. */
#define LEDGER_LATE_MAX  16
#define LEDGER_LATE_PART 16

/*
 * By how much a clock may be wrong. An agent whose clock is behind takes a certificate for good
 * that is over, so what is revoked stays on the lists for so long after its end; and a ledger whose
 * own clock was ahead for a while forgets nothing before.
 */
#define LEDGER_MARGIN_S (INT64_C(30) * 86400)

struct ledger;

/* Opens or makes it (0600; dir must be there). */
int ledger_open(struct ledger **out, const char *dir, struct err *e);
void ledger_close(struct ledger *l);

/* ---- certificates ---- */

struct ledger_certificate {
	char serial[LEDGER_SERIAL_SIZE];
	char identity[IDENTITY_SIZE];
	int64_t not_before, not_after; /* seconds since the epoch */
	int64_t issued;
	int64_t revoked; /* 0: it is not */
	int reason;      /* RFC 5280 5.3.1; 0: unspecified */
};

/* Before the certificate is given to anybody. `pem` is kept: the same request gets it again.
 * TX_EEXIST when the serial is there. */
int ledger_add(
    struct ledger *l, const struct ledger_certificate *c, const char *pem, struct err *e);
/* TX_ENOENT when there is none of that serial (as pem_serial writes it). */
int ledger_find(
    struct ledger *l, const char *serial, struct ledger_certificate *out, struct err *e);
/* A number that is another one whenever another program, or another handle, has changed anything.
 */
int ledger_version(struct ledger *l, int64_t *version, struct err *e);
/* Newest first. `one` returns false to end it. */
int ledger_each(struct ledger *l, bool (*one)(const struct ledger_certificate *c, void *arg),
    void *arg, struct err *e);
struct ledger_revoked {
	size_t certificates; /* that were not */
	size_t renewed;      /* that were not, and that were renewed from the one of the serial */
	size_t tokens;       /* that were unused, and are withdrawn */
	/* When the last of them ends that is an agent's; 0: none is. Until then clients, who ask
	 * for no list, take it for good. */
	int64_t agent_until;
};
/*
 * By serial (hexadecimal in either case, colons allowed), and with it all unexpired ones that were
 * renewed from it, and from those: who has copied its key may have had them. Or an identity by its
 * whole text: all its unexpired certificates, and its unused tokens where it is of `domain`, the
 * authority's own, in one transaction. TX_ENOENT when there is no certificate of that serial or
 * identity, and no unused token.
 */
int ledger_revoke(struct ledger *l, const char *domain, const char *serial_or_identity, int reason,
    struct ledger_revoked *out, struct err *e);
/* The next CRL number, one higher at each call. What is over for a month is forgotten then, what
 * was revoked for a year. */
int ledger_crl_number(struct ledger *l, int64_t *number, struct err *e);

/* The authority is replaced by another: all that is unexpired is revoked (cessation of operation),
 * and no token is good any more. */
int ledger_retire(struct ledger *l, struct err *e);

/* ---- tokens ---- */

struct ledger_token {
	uint8_t hash[LEDGER_HASH_SIZE]; /* of the secret; the secret itself is nowhere here */
	enum identity_kind kind;
	char name[IDENTITY_NAME_MAX + 1];
	const char *sans; /* the whole set, sorted, one a line; "" for a user */
	int64_t ttl_s;    /* of the certificate */
	int64_t expires;  /* of the token, seconds since the epoch */
};

int ledger_add_token(struct ledger *l, const struct ledger_token *t, struct err *e);

/* What a token is good for. It may be used again by its CSR after it expired. */
enum ledger_use {
	LEDGER_USE_NEW,     /* unused: issue, then ledger_redeem */
	LEDGER_USE_AGAIN,   /* used by this very CSR: *pem is what it got */
	LEDGER_USE_UNKNOWN, /* the rest are refusals */
	LEDGER_USE_EXPIRED,
	LEDGER_USE_SPENT, /* by another CSR */
	LEDGER_USE_WITHDRAWN,
	LEDGER_USE_REVOKED, /* used by this very CSR, and what it got is revoked */
};
/* t->sans is *sans; that and *pem are malloc'd, the caller's, NULL where there is none. Nothing is
 * known of an UNKNOWN one. */
int ledger_look_token(struct ledger *l, const uint8_t hash[LEDGER_HASH_SIZE],
    const uint8_t csr_hash[LEDGER_HASH_SIZE], int64_t now, enum ledger_use *use,
    struct ledger_token *t, char **sans, char **pem, struct err *e);
/*
 * Spends the token for this CSR and records the certificate, in one transaction: of any number at
 * the same time one gets LEDGER_USE_NEW, those with the same CSR get AGAIN and its *pem, the others
 * SPENT.
 */
int ledger_redeem(struct ledger *l, const uint8_t hash[LEDGER_HASH_SIZE],
    const uint8_t csr_hash[LEDGER_HASH_SIZE], const struct ledger_certificate *c,
    const char *new_pem, int64_t now, enum ledger_use *use, char **pem, struct err *e);

/* A token as a person sees it: its secret cannot be told from its hash. */
#define LEDGER_TOKEN_ID_SIZE 17
struct ledger_token_row {
	char id[LEDGER_TOKEN_ID_SIZE]; /* the first half of the hash, in hexadecimal */
	enum identity_kind kind;
	char name[IDENTITY_NAME_MAX + 1];
	const char *sans;                /* one a line */
	int64_t expires;                 /* withdrawn: when */
	char serial[LEDGER_SERIAL_SIZE]; /* "": unused */
	bool withdrawn;
};
void ledger_token_id(char out[LEDGER_TOKEN_ID_SIZE], const uint8_t hash[LEDGER_HASH_SIZE]);
/* By the time they expire, last one first. `one` returns false to end it. */
int ledger_each_token(struct ledger *l, bool (*one)(const struct ledger_token_row *t, void *arg),
    void *arg, struct err *e);
/* By its id. TX_ENOENT: there is none; TX_EEXIST: it was used, and the message says for which
 * certificate. Withdrawn twice is fine. */
int ledger_withdraw_token(struct ledger *l, const char *id, struct err *e);

/* A renewal: the same CSR gets the same certificate. *pem is malloc'd; NULL: none was made for it.
 * TX_EPERM: it is revoked. */
int ledger_renewal(
    struct ledger *l, const uint8_t csr_hash[LEDGER_HASH_SIZE], char **pem, struct err *e);
/* TX_EEXIST when another was faster with this CSR: ledger_renewal has what to give. TX_EPERM when
 * the certificate with old_serial has been revoked, or forgotten, in the meantime. TX_ELIMIT, with
 * the time to come back: it is neither the first renewal of old_serial's after half of its life (by
 * c->issued, which is now), nor one that follows the last by a LEDGER_LATE_PART of that life with
 * fewer than LEDGER_LATE_MAX of the identity's in force, nor are fewer than LEDGER_LIVE_MAX. */
int ledger_add_renewal(struct ledger *l, const uint8_t csr_hash[LEDGER_HASH_SIZE],
    const char *old_serial, const struct ledger_certificate *c, const char *pem, struct err *e);

#endif
