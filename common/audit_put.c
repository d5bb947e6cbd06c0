/* SPDX-License-Identifier: Apache-2.0 */
/* A record's text: what goes into the line's buffer, escaped and within its room. audit.c writes
 * it. */
#include <string.h>
#include <time.h>

#include "common/audit_internal.h"
#include "common/duration.h"
#include "common/escape.h"

/* What is kept free for the tail. */
#define AFTER_SIZE (sizeof(LINE_AFTER) + AUDIT_HEX)
#define ROOM_MAX   (AUDIT_RECORD_MAX - LINE_TAIL_SIZE - sizeof(LINE_CUT) - AFTER_SIZE)
/* What a long list leaves for the members after it. */
#define LIST_KEEPS_FREE (2 * AUDIT_TEXT_MAX)

/* ---- pieces; each is put whole or, where there is no room, not at all ---- */

static bool put(struct audit *a, const char *bytes, size_t len)
{
	if (a->used + len > ROOM_MAX) {
		a->cut = true;
		return false;
	}
	memcpy(a->line + a->used, bytes, len);
	a->used += len;
	return true;
}

static void put_word(struct audit *a, const char *word)
{
	put(a, word, strlen(word));
}

static void put_u64(struct audit *a, uint64_t n)
{
	char digits[24];
	size_t at = sizeof(digits);

	do
		digits[--at] = (char)('0' + n % 10);
	while ((n /= 10) != 0);
	put(a, digits + at, sizeof(digits) - at);
}

static bool put_key(struct audit *a, const char *key)
{
	size_t len = strlen(key);

	/* The longest of what is not a text follows, and a list's or text's end. */
	if (a->used + len + 64 > ROOM_MAX) {
		a->cut = true;
		return false;
	}
	put(a, ",\"", 2);
	put(a, key, len);
	return put(a, "\":", 2);
}

static bool is_plain(uint8_t c)
{
	return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

/* The length of what stands for one character at p, made in `out` of at least 64 bytes; *n: how
 * many bytes it was. */
static size_t escape_one(char *out, const uint8_t *p, size_t len, size_t *n)
{
	size_t want = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : p[0] >= 0xc2 ? 2 : 1;
	char printable[32];
	size_t used = 0;

	*n = 1;
	while (*n < want && *n < len && (p[*n] & 0xc0) == 0x80)
		++*n;
	escape_text(printable, sizeof(printable), p, *n);
	for (const char *c = printable; *c != '\0'; c++) {
		if (*c == '"' || *c == '\\')
			out[used++] = '\\';
		out[used++] = *c;
	}
	return used;
}

/* The inside of a string, as far as it may go. */
static void put_text(struct audit *a, const uint8_t *p, size_t len, size_t max)
{
	size_t end = a->used + max < ROOM_MAX - 4 ? a->used + max : ROOM_MAX - 4;

	while (len > 0) {
		char piece[64];
		size_t n = 0, room = end - a->used;

		while (n < len && is_plain(p[n]))
			n++;
		if (n > 0) {
			size_t take = n < room ? n : room;

			memcpy(a->line + a->used, p, take);
			a->used += take;
			if (take < n)
				break;
		} else {
			size_t size = escape_one(piece, p, len, &n);

			if (size > room)
				break;
			memcpy(a->line + a->used, piece, size);
			a->used += size;
		}
		p += n;
		len -= n;
	}
	if (len > 0)
		a->cut = true;
}

static void put_string(struct audit *a, const void *bytes, size_t len)
{
	put(a, "\"", 1);
	put_text(a, bytes, len, AUDIT_TEXT_MAX);
	a->line[a->used++] = '"';
}

char *audit_put_hex(char *out, const uint8_t *bytes, size_t len)
{
	static const char digits[] = "0123456789abcdef";

	for (size_t i = 0; i < len; i++) {
		*out++ = digits[bytes[i] >> 4];
		*out++ = digits[bytes[i] & 15];
	}
	return out;
}

static void put_time(struct audit *a)
{
	int64_t now = clock_realtime_ns();
	char fraction[] = ".000000Z";
	int64_t us = now % NS_PER_S / 1000;

	if (now / NS_PER_S != a->second) {
		time_t seconds = (time_t)(now / NS_PER_S);
		struct tm tm;

		gmtime_r(&seconds, &tm);
		strftime(a->when, sizeof(a->when), "%Y-%m-%dT%H:%M:%S", &tm);
		a->second = now / NS_PER_S;
	}
	for (int i = 6; i > 0; i--, us /= 10)
		fraction[i] = (char)('0' + us % 10);
	put_word(a, a->when);
	put_word(a, fraction);
}

/* ---- a record's head and its members ---- */

void audit_put_head(struct audit *a, const char *event)
{
	a->used = 0;
	put_word(a, LINE_HEAD);
	put_u64(a, a->o.writer);
	put_word(a, LINE_SEQ);
	put_u64(a, a->seq + 1);
	put_word(a, LINE_TIME);
	put_time(a);
	put_word(a, LINE_EVENT);
	put_word(a, event);
	put(a, "\"", 1);
}

void audit_bytes(struct audit *a, const char *key, const void *bytes, size_t len)
{
	if (a != NULL && put_key(a, key))
		put_string(a, bytes, len);
}

void audit_text(struct audit *a, const char *key, const char *text)
{
	if (text != NULL)
		audit_bytes(a, key, text, strlen(text));
}

void audit_number(struct audit *a, const char *key, int64_t number)
{
	if (a == NULL || !put_key(a, key))
		return;
	if (number < 0)
		put(a, "-", 1);
	put_u64(a, number < 0 ? 0 - (uint64_t)number : (uint64_t)number);
}

void audit_time(struct audit *a, const char *key, int64_t ns)
{
	time_t seconds = (time_t)(ns / NS_PER_S);
	char text[32];
	struct tm tm;

	gmtime_r(&seconds, &tm);
	strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &tm);
	audit_text(a, key, text);
}

void audit_flag(struct audit *a, const char *key, bool flag)
{
	if (a != NULL && put_key(a, key))
		put_word(a, flag ? "true" : "false");
}

void audit_hex(struct audit *a, const char *key, const void *bytes, size_t len)
{
	char piece[AUDIT_HEX];

	if (a == NULL || !put_key(a, key))
		return;
	put(a, "\"", 1);
	for (const uint8_t *p = bytes; len > 0;) {
		size_t n = len < AUDIT_HASH_SIZE ? len : AUDIT_HASH_SIZE;

		put_text(a, (const uint8_t *)piece, (size_t)(audit_put_hex(piece, p, n) - piece),
		    AUDIT_TEXT_MAX);
		p += n;
		len -= n;
	}
	a->line[a->used++] = '"';
}

void audit_list_open(struct audit *a, const char *key)
{
	if (a == NULL)
		return;
	a->first_item = true;
	a->in_list = put_key(a, key) && put(a, "[", 1);
}

void audit_list_item(struct audit *a, const void *bytes, size_t len)
{
	if (a == NULL || !a->in_list)
		return;
	if (a->used + LIST_KEEPS_FREE > ROOM_MAX) {
		a->cut = true;
		return;
	}
	if (!a->first_item)
		put(a, ",", 1);
	a->first_item = false;
	put_string(a, bytes, len);
}

void audit_list_close(struct audit *a)
{
	if (a == NULL || !a->in_list)
		return;
	a->line[a->used++] = ']';
	a->in_list = false;
}

void audit_list(struct audit *a, const char *key, char *const *texts, size_t n)
{
	audit_list_open(a, key);
	for (size_t i = 0; i < n; i++)
		audit_list_item(a, texts[i], strlen(texts[i]));
	audit_list_close(a);
}
