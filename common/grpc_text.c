/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The texts in gRPC's header fields: grpc-timeout, the percent-encoding of grpc-message, base64 of
 * "-bin" values. Pure functions on a peer's bytes; none allocates.
 */
#include <stdio.h>
#include <string.h>

#include "common/duration.h"
#include "common/grpc.h"

#define TIMEOUT_DIGITS 8
#define TIMEOUT_MAX    99999999

static const struct timeout_unit {
	char letter;
	int64_t ns;
} timeout_units[] = {
    {'n', 1},
    {'u', NS_PER_US},
    {'m', NS_PER_MS},
    {'S', NS_PER_S},
    {'M', 60 * NS_PER_S},
    {'H', 3600 * NS_PER_S},
};
#define N_TIMEOUT_UNITS (sizeof(timeout_units) / sizeof(timeout_units[0]))

int grpc_timeout_parse(const char *text, size_t len, int64_t *ns)
{
	int64_t value = 0;

	if (len < 2 || len > TIMEOUT_DIGITS + 1)
		return TX_EINVAL;
	for (size_t i = 0; i < len - 1; i++) {
		if (text[i] < '0' || text[i] > '9')
			return TX_EINVAL;
		value = value * 10 + (text[i] - '0');
	}
	for (size_t i = 0; i < N_TIMEOUT_UNITS; i++) {
		if (timeout_units[i].letter != text[len - 1])
			continue;
		/* 99999999 hours are more than int64_t holds; then it is as good as never. */
		if (__builtin_mul_overflow(value, timeout_units[i].ns, ns))
			*ns = INT64_MAX;
		return 0;
	}
	return TX_EINVAL;
}

char *grpc_timeout_format(char out[16], int64_t ns)
{
	if (ns < 0)
		ns = 0;
	for (size_t i = 0; i < N_TIMEOUT_UNITS; i++) {
		int64_t unit = timeout_units[i].ns;
		int64_t value = ns / unit + (ns % unit != 0);

		if (value > TIMEOUT_MAX)
			continue;
		snprintf(out, 16, "%d%c", (int)value, timeout_units[i].letter);
		break;
	}
	return out;
}

/* Puts one character where there is room for it and the NUL; counts it in any case. */
static void put(char *out, size_t size, size_t *used, char c)
{
	if (*used + 1 < size)
		out[*used] = c;
	(*used)++;
}

static void finish(char *out, size_t size, size_t used)
{
	if (size > 0)
		out[used < size ? used : size - 1] = '\0';
}

size_t grpc_percent_encode(char *out, size_t size, const char *in, size_t len)
{
	static const char hex[] = "0123456789ABCDEF";
	size_t used = 0, room = size;

	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)in[i];

		if (c >= ' ' && c <= '~' && c != '%') {
			put(out, room, &used, (char)c);
			continue;
		}
		/* No escape is cut in two: from here on only the length is counted. */
		if (used < room && used + 3 >= room) {
			finish(out, size, used);
			room = 0;
		}
		put(out, room, &used, '%');
		put(out, room, &used, hex[c >> 4]);
		put(out, room, &used, hex[c & 15]);
	}
	if (room > 0)
		finish(out, size, used);
	return used;
}

/* -1: not a hexadecimal digit. */
static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

size_t grpc_percent_decode(char *out, size_t size, const char *in, size_t len)
{
	size_t used = 0;

	for (size_t i = 0; i < len; i++) {
		int high = -1, low = -1;

		if (in[i] == '%' && len - i > 2) {
			high = hex_value(in[i + 1]);
			low = hex_value(in[i + 2]);
		}
		if (high >= 0 && low >= 0) {
			put(out, size, &used, (char)(high << 4 | low));
			i += 2;
		} else {
			put(out, size, &used, in[i]);
		}
	}
	finish(out, size, used);
	return used;
}

static int base64_value(char c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	if (c == '+')
		return 62;
	if (c == '/')
		return 63;
	return -1;
}

int grpc_base64_decode(uint8_t *out, const char *in, size_t len)
{
	uint32_t bits = 0;
	size_t used = 0, padding = 0;

	while (padding < 2 && len > 0 && in[len - 1] == '=') {
		len--;
		padding++;
	}
	if (len % 4 == 1 || (padding > 0 && (len + padding) % 4 != 0) || len > INT32_MAX)
		return TX_EINVAL;
	for (size_t i = 0; i < len; i++) {
		int value = base64_value(in[i]);

		if (value < 0)
			return TX_EINVAL;
		bits = bits << 6 | (uint32_t)value;
		/* Characters 2, 3 and 4 of a group complete a byte each; what is left over has 4,
		 * 2, 0 bits. */
		if (i % 4 != 0)
			out[used++] = (uint8_t)(bits >> (6 - 2 * (i % 4)));
	}
	return (int)used;
}

int grpc_base64_encode(char *out, const uint8_t *in, size_t len)
{
	static const char digits[] =
	    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	size_t used = 0;

	if (len > (size_t)INT32_MAX / 4 * 3 - 3)
		return TX_ETOOBIG;
	for (size_t i = 0; i < len; i += 3) {
		size_t n = len - i < 3 ? len - i : 3;
		uint32_t bits = (uint32_t)in[i] << 16;

		if (n > 1)
			bits |= (uint32_t)in[i + 1] << 8;
		if (n > 2)
			bits |= in[i + 2];
		out[used++] = digits[bits >> 18];
		out[used++] = digits[bits >> 12 & 63];
		if (n > 1)
			out[used++] = digits[bits >> 6 & 63];
		if (n > 2)
			out[used++] = digits[bits & 63];
	}
	return (int)used;
}
