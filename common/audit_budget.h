/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How much of the audit log those may fill whom nobody knows, or who may do nothing. Without it
 * each attempt would be a record, and who has no certificate, or one without a grant, could fill
 * the disk.
 *
 * In an interval so many records of a kind are written of one source (an IPv4 address, or the /64
 * of an IPv6 one; from AUDIT_DENIED on, an identity), and so many of all sources together. What is
 * beyond that is counted, and at the interval's end one record says how many more there were: of
 * each of AUDIT_BUDGET_SOURCES sources, and of all others in one. Nothing is left out that no
 * number tells of.
 *
 * It has no timer: its owner calls audit_budget_tell when audit_budget_due has come, and before it
 * ends its log.
 */
#ifndef TX_COMMON_AUDIT_BUDGET_H
#define TX_COMMON_AUDIT_BUDGET_H

#include <stdbool.h>
#include <stdint.h>

#define AUDIT_BUDGET_SOURCES    64u
#define AUDIT_BUDGET_SOURCE     48 /* size of a source's text */
#define AUDIT_BUDGET_PER_SOURCE 20u
#define AUDIT_BUDGET_TOTAL      200u
#define AUDIT_BUDGET_INTERVAL_S 300
/* So many times as much is written of what identities were denied. */
#define AUDIT_BUDGET_DENIED 10u

struct audit;
struct audit_budget;

/* What a record is about; each kind has numbers of its own, so that none hides another. */
enum audit_kind {
	AUDIT_HANDSHAKE,        /* a handshake that failed, of somebody unknown */
	AUDIT_HANDSHAKE_NAMED,  /* of somebody whose certificate has been verified */
	AUDIT_CONNECTION,       /* accepted, without a certificate: an authority's listener */
	AUDIT_CALL,             /* there */
	AUDIT_CUT,              /* there */
	AUDIT_CERTIFICATE,      /* a certificate was refused */
	AUDIT_DENIED,           /* a call of an identity was denied */
	AUDIT_CONNECTION_NAMED, /* of an identity, and nothing was allowed on it yet */
	AUDIT_CUT_NAMED,        /* the same */
	AUDIT_KINDS
};

/* 0: the default, as above. */
struct audit_budget_limits {
	uint32_t per_source, total; /* records of a kind in an interval */
	int64_t interval_ns;
};

/* `a` outlives it; may be NULL: then everything may be written. Aborts when there is no memory. */
struct audit_budget *audit_budget_new(
    struct audit *a, const struct audit_budget_limits *limits, int64_t now_ns);
void audit_budget_free(struct audit_budget *b); /* NULL is allowed */

/* One more record, of `peer` ("192.0.2.1:50000", "[2001:db8::1]:50000"; from AUDIT_DENIED
 * on the identity): whether it may be
 * written; else it is counted. It writes what is due before. b may be NULL: true. */
bool audit_budget_take(
    struct audit_budget *b, enum audit_kind kind, const char *peer, int64_t now_ns);
/* When there is something to tell of: the end of the interval (CLOCK_MONOTONIC); 0: never. */
int64_t audit_budget_due(const struct audit_budget *b);
/* Writes what was counted, and begins a new interval. What cannot be written stays counted. */
void audit_budget_tell(struct audit_budget *b, int64_t now_ns);

/* The source of a peer: "192.0.2.1", "2001:db8::/64"; what is no address is itself. */
void audit_budget_source(char out[AUDIT_BUDGET_SOURCE], const char *peer);

#endif
