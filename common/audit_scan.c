/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads a record's line by its fixed places, strictly and without a JSON parser: what is written by
 * audit.c is read to the byte, and everything else is no record.
 */
#include <sha2.h>
#include <stdio.h>
#include <string.h>

#include "common/audit_internal.h"

#define TIME_SIZE 27 /* 2026-01-31T12:00:00.123456Z */

/* What is still to be read. */
struct rest {
	const char *at, *end;
};

static bool take(struct rest *r, const char *literal)
{
	size_t n = strlen(literal);

	if ((size_t)(r->end - r->at) < n || memcmp(r->at, literal, n) != 0)
		return false;
	r->at += n;
	return true;
}

static bool take_number(struct rest *r, uint64_t *out)
{
	const char *first = r->at;
	uint64_t n = 0;

	while (r->at < r->end && *r->at >= '0' && *r->at <= '9')
		if (__builtin_mul_overflow(n, 10u, &n) ||
		    __builtin_add_overflow(n, (uint64_t)(*r->at++ - '0'), &n))
			return false;
	*out = n;
	/* As it is written: without a zero in front. */
	return r->at > first && (*first != '0' || r->at == first + 1);
}

static bool take_time(struct rest *r)
{
	static const char form[] = "dddd-dd-ddTdd:dd:dd.ddddddZ";

	if (r->end - r->at < TIME_SIZE)
		return false;
	for (int i = 0; i < TIME_SIZE; i++, r->at++)
		if (form[i] == 'd' ? *r->at < '0' || *r->at > '9' : *r->at != form[i])
			return false;
	return true;
}

static bool take_hex(struct rest *r, const char **out)
{
	*out = r->at;
	if (r->end - r->at < (ptrdiff_t)AUDIT_HEX)
		return false;
	for (size_t i = 0; i < AUDIT_HEX; i++, r->at++)
		if (strchr("0123456789abcdef", *r->at) == NULL || *r->at == '\0')
			return false;
	return true;
}

static bool take_head(struct audit_line *l, struct rest *r)
{
	if (!take(r, LINE_HEAD) || !take_number(r, &l->writer) || !take(r, LINE_SEQ) ||
	    !take_number(r, &l->seq) || !take(r, LINE_TIME) || !take_time(r) ||
	    !take(r, LINE_EVENT))
		return false;
	l->event = r->at;
	while (r->at < r->end && ((*r->at >= 'a' && *r->at <= 'z') || *r->at == '-'))
		r->at++;
	l->event_len = (size_t)(r->at - l->event);
	return l->event_len > 0 && take(r, "\"");
}

bool audit_scan_head(struct audit_line *l, const char *text, size_t len)
{
	struct rest r = {text, text + len};

	return take_head(l, &r) && l->seq > 0;
}

bool audit_scan(struct audit_line *l, const char *text, size_t len)
{
	struct rest r = {text, text + len};
	const size_t tail = LINE_TAIL_SIZE - 1; /* without the newline */
	const char *after;

	l->text = text;
	l->len = len;
	if (!take_head(l, &r) || l->seq == 0 || len < tail || r.at > text + len - tail)
		return false;
	/* A member, or the tail, follows. */
	after = r.at;
	r.at = text + len - tail;
	if (after < r.at && *after != ',')
		return false;
	if (!take(&r, LINE_PREV) || !take_hex(&r, &l->prev))
		return false;
	l->hashed = (size_t)(r.at - text);
	return take(&r, LINE_HASH) && take_hex(&r, &l->hash) && take(&r, "\"}") && r.at == r.end;
}

bool audit_scan_whole(const struct audit_line *l)
{
	static const char digits[] = "0123456789abcdef";
	uint8_t hash[AUDIT_HASH_SIZE];
	SHA2_CTX sha;

	SHA256Init(&sha);
	SHA256Update(&sha, (const uint8_t *)l->text, l->hashed);
	SHA256Final(hash, &sha);
	for (size_t i = 0; i < AUDIT_HASH_SIZE; i++)
		if (l->hash[2 * i] != digits[hash[i] >> 4] ||
		    l->hash[2 * i + 1] != digits[hash[i] & 15])
			return false;
	return true;
}

bool audit_scan_is(const struct audit_line *l, const char *event)
{
	return strlen(event) == l->event_len && memcmp(l->event, event, l->event_len) == 0;
}

/* Where a member's value begins: its name in quotes is in no text. */
static bool find(const struct audit_line *l, const char *key, const char *after, struct rest *r)
{
	char name[48];
	int n = snprintf(name, sizeof(name), ",\"%s\":%s", key, after);
	const char *at = memmem(l->text, l->hashed, name, (size_t)n);

	if (at == NULL)
		return false;
	*r = (struct rest){at + n, l->text + l->hashed};
	return true;
}

bool audit_scan_number(const struct audit_line *l, const char *key, uint64_t *out)
{
	struct rest r;

	return find(l, key, "", &r) && take_number(&r, out);
}

const char *audit_scan_hash(const struct audit_line *l, const char *key)
{
	const char *hex;
	struct rest r;

	return find(l, key, "\"", &r) && take_hex(&r, &hex) && take(&r, "\"") ? hex : NULL;
}
