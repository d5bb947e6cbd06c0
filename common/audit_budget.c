/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A table of a fixed size: what there is no room for goes to the last line of its kind, "others".
 * To look through all of it costs little beside the handshake or the signature that was asked for.
 */
#include "common/audit_budget.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/audit.h"
#include "common/duration.h"
#include "common/mem.h"

#define WHO_SIZE 256 /* of an identity's text, or a source's */

struct line {
	char source[WHO_SIZE]; /* "": others */
	uint32_t written[AUDIT_KINDS];
	uint64_t more[AUDIT_KINDS];
};

struct audit_budget {
	struct audit *audit;
	struct audit_budget_limits limits;
	int64_t end_ns, since_ns; /* of the interval: monotonic; since the epoch */
	bool counted;             /* something is to be told */
	uint32_t written[AUDIT_KINDS];
	size_t n;
	struct line others, lines[AUDIT_BUDGET_SOURCES];
};

static const struct {
	bool identity; /* is who it is of, not the source */
	const char *event, *member, *value, *what;
} kinds[AUDIT_KINDS] = {
    [AUDIT_HANDSHAKE] = {false, "handshake", "outcome", "refused", "failed handshakes"},
    [AUDIT_HANDSHAKE_NAMED] = {false, "handshake", "outcome", "refused",
        "failed handshakes of who has a certificate"},
    [AUDIT_CONNECTION] = {false, "handshake", "outcome", "accepted", "connections"},
    [AUDIT_CALL] = {false, "call", NULL, NULL, "calls"},
    [AUDIT_CUT] = {false, "cut", NULL, NULL, "connections cut off"},
    [AUDIT_CERTIFICATE] = {false, "certificate", NULL, NULL, "refusals"},
    [AUDIT_DENIED] = {true, "call", "decision", "denied", "denied calls"},
    [AUDIT_CONNECTION_NAMED] = {true, "handshake", "outcome", "accepted",
        "connections on which nothing was allowed yet"},
    [AUDIT_CUT_NAMED] = {true, "cut", NULL, NULL,
        "connections cut off on which nothing was allowed"},
};

static void begin(struct audit_budget *b, int64_t now_ns)
{
	b->end_ns = now_ns + b->limits.interval_ns;
	b->since_ns = clock_realtime_ns();
	memset(b->written, 0, sizeof(b->written));
}

struct audit_budget *audit_budget_new(
    struct audit *a, const struct audit_budget_limits *limits, int64_t now_ns)
{
	struct audit_budget *b = xcalloc(1, sizeof(*b));

	b->audit = a;
	b->limits = *limits;
	if (b->limits.per_source == 0)
		b->limits.per_source = AUDIT_BUDGET_PER_SOURCE;
	if (b->limits.total == 0)
		b->limits.total = AUDIT_BUDGET_TOTAL;
	if (b->limits.interval_ns == 0)
		b->limits.interval_ns = AUDIT_BUDGET_INTERVAL_S * NS_PER_S;
	begin(b, now_ns);
	return b;
}

void audit_budget_free(struct audit_budget *b)
{
	free(b);
}

void audit_budget_source(char out[AUDIT_BUDGET_SOURCE], const char *peer)
{
	const char *end = strrchr(peer, ':');
	struct in6_addr six;
	size_t len;

	if (*peer == '[')
		peer++;
	len = end != NULL && end >= peer ? (size_t)(end - peer) : strlen(peer);
	if (len > 0 && peer[len - 1] == ']')
		len--;
	snprintf(out, AUDIT_BUDGET_SOURCE, "%.*s", (int)len, peer);
	/* As a socket for both families has IPv4. */
	if (inet_pton(AF_INET6, out, &six) != 1)
		return;
	if (IN6_IS_ADDR_V4MAPPED(&six)) {
		inet_ntop(AF_INET, six.s6_addr + 12, out, AUDIT_BUDGET_SOURCE);
		return;
	}
	memset(six.s6_addr + 8, 0, 8);
	inet_ntop(AF_INET6, &six, out, AUDIT_BUDGET_SOURCE - 4);
	strcat(out, "/64");
}

static struct line *find(struct audit_budget *b, const char *source)
{
	struct line *l;

	for (size_t i = 0; i < b->n; i++)
		if (strcmp(b->lines[i].source, source) == 0)
			return &b->lines[i];
	if (b->n == AUDIT_BUDGET_SOURCES)
		return &b->others;
	l = &b->lines[b->n++];
	memset(l, 0, sizeof(*l));
	strcpy(l->source, source);
	return l;
}

/* ---- telling ---- */

static void tell_one(struct audit_budget *b, struct line *l, enum audit_kind kind)
{
	char reason[128];

	if (l->more[kind] == 0)
		return;
	audit_begin(b->audit, kinds[kind].event);
	audit_text(b->audit, kinds[kind].identity ? "identity" : "peer",
	    l->source[0] != '\0' ? l->source : "others");
	if (kinds[kind].member != NULL)
		audit_text(b->audit, kinds[kind].member, kinds[kind].value);
	snprintf(
	    reason, sizeof(reason), "%s, counted and not written one by one", kinds[kind].what);
	audit_number(b->audit, "more", (int64_t)l->more[kind]);
	audit_time(b->audit, "since", b->since_ns);
	audit_text(b->audit, "reason", reason);
	if (audit_end(b->audit, NULL) == 0)
		l->more[kind] = 0;
	else
		b->counted = true;
}

static void tell_line(struct audit_budget *b, struct line *l)
{
	for (int kind = 0; kind < AUDIT_KINDS; kind++)
		tell_one(b, l, (enum audit_kind)kind);
	memset(l->written, 0, sizeof(l->written));
}

/* What could not be told has to stay, with the time since when. */
void audit_budget_tell(struct audit_budget *b, int64_t now_ns)
{
	int64_t since_ns;

	if (b == NULL)
		return;
	b->counted = false;
	since_ns = b->since_ns;
	for (size_t i = 0; i < b->n; i++)
		tell_line(b, &b->lines[i]);
	tell_line(b, &b->others);
	begin(b, now_ns);
	if (b->counted)
		b->since_ns = since_ns;
	else
		b->n = 0;
}

int64_t audit_budget_due(const struct audit_budget *b)
{
	return b != NULL && b->counted ? b->end_ns : 0;
}

bool audit_budget_take(
    struct audit_budget *b, enum audit_kind kind, const char *peer, int64_t now_ns)
{
	char source[WHO_SIZE];
	struct line *l;

	if (b == NULL || b->audit == NULL)
		return true;
	if (now_ns >= b->end_ns)
		audit_budget_tell(b, now_ns);
	if (kinds[kind].identity)
		snprintf(source, sizeof(source), "%s", peer);
	else
		audit_budget_source(source, peer);
	l = find(b, source);
	if (l->written[kind] < b->limits.per_source && b->written[kind] < b->limits.total) {
		l->written[kind]++;
		b->written[kind]++;
		return true;
	}
	l->more[kind]++;
	b->counted = true;
	return false;
}
