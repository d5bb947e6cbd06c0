/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Escaping, one character at a time: decode, make the piece that stands for it, put the piece whole
 * or not at all. Once a piece did not fit, nothing more is written, so that the output is a true
 * beginning of the whole.
 */
#include "common/escape.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

struct sink {
	char *out;
	size_t size, used, total;
	bool full;
};

static void put(struct sink *s, const char *piece, size_t len)
{
	s->total += len;
	if (s->full || s->used + len >= s->size) {
		s->full = true;
		return;
	}
	memcpy(s->out + s->used, piece, len);
	s->used += len;
}

static size_t finish(struct sink *s)
{
	if (s->size > 0)
		s->out[s->used] = '\0';
	return s->total;
}

static bool is_tail(uint8_t byte)
{
	return (byte & 0xc0) == 0x80;
}

/* The length of the valid UTF-8 character at p and its code point; 0 when there is none. */
static size_t decode(const uint8_t *p, size_t len, uint32_t *code)
{
	static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
	size_t n;

	if (p[0] < 0x80) {
		*code = p[0];
		return 1;
	}
	if (p[0] >= 0xc2 && p[0] <= 0xdf)
		n = 2;
	else if (p[0] >= 0xe0 && p[0] <= 0xef)
		n = 3;
	else if (p[0] >= 0xf0 && p[0] <= 0xf4)
		n = 4;
	else
		return 0;
	if (n > len)
		return 0;
	*code = p[0] & (0xffu >> (n + 1));
	for (size_t i = 1; i < n; i++) {
		if (!is_tail(p[i]))
			return 0;
		*code = *code << 6 | (p[i] & 0x3fu);
	}
	if (*code < least[n] || *code > 0x10ffff || (*code >= 0xd800 && *code <= 0xdfff))
		return 0;
	return n;
}

static bool is_control(uint32_t code)
{
	return code < 0x20 || (code >= 0x7f && code <= 0x9f);
}

/* Unicode's line separators and the controls that turn the direction of what follows. */
static bool is_layout(uint32_t code)
{
	return code == 0x2028 || code == 0x2029 || (code >= 0x202a && code <= 0x202e) ||
	       (code >= 0x2066 && code <= 0x2069);
}

/* The letter of a short escape, or 0. */
static char short_escape(uint32_t code)
{
	switch (code) {
	case '\n':
		return 'n';
	case '\t':
		return 't';
	case '\r':
		return 'r';
	case '\\':
		return '\\';
	default:
		return 0;
	}
}

static void put_hex(struct sink *s, const uint8_t *p, size_t n)
{
	char piece[4 * 4 + 1];
	int len = 0;

	for (size_t i = 0; i < n; i++)
		len += snprintf(piece + len, sizeof(piece) - (size_t)len, "\\x%02x", p[i]);
	put(s, piece, (size_t)len);
}

/* The code point in four hexadecimal digits, between `before` and `after`. */
static void put_code(struct sink *s, const char *before, uint32_t code, const char *after)
{
	char piece[16];
	int len = snprintf(piece, sizeof(piece), "%s%04x%s", before, code, after);

	put(s, piece, (size_t)len);
}

size_t escape_text(char *out, size_t size, const void *in, size_t len)
{
	struct sink s = {.out = out, .size = size};
	const uint8_t *p = in;

	for (size_t n; len > 0; p += n, len -= n) {
		uint32_t code = 0;
		char letter;

		n = decode(p, len, &code);
		letter = n == 1 ? short_escape(code) : '\0';
		if (n == 0)
			put_hex(&s, p, n = 1);
		else if (letter != '\0')
			put(&s, (const char[2]){'\\', letter}, 2);
		else if (is_control(code))
			put_hex(&s, p, n);
		else if (is_layout(code))
			put_code(&s, "\\u{", code, "}");
		else
			put(&s, (const char *)p, n);
	}
	return finish(&s);
}

size_t escape_json(char *out, size_t size, const void *in, size_t len)
{
	struct sink s = {.out = out, .size = size};
	const uint8_t *p = in;

	for (size_t n; len > 0; p += n, len -= n) {
		uint32_t code = 0;
		char letter;

		n = decode(p, len, &code);
		letter = n == 1 ? (code == '"' ? '"' : short_escape(code)) : '\0';
		if (n == 0) {
			put(&s, "\xef\xbf\xbd", 3);
			n = 1;
		} else if (letter != '\0')
			put(&s, (const char[2]){'\\', letter}, 2);
		else if (is_control(code) || is_layout(code))
			put_code(&s, "\\u", code, "");
		else
			put(&s, (const char *)p, n);
	}
	return finish(&s);
}
