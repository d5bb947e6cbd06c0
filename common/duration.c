/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Durations as people write them. Parsing is exact: a value finer than a nanosecond is rounded up,
 * so that a small span never becomes 0, which means "no limit" in many places. Units go from the
 * largest to the smallest, each once.
 */
#include "common/duration.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "common/err.h"

#define FRACTION_DIGITS 18

/* Largest first: a later part of a duration must have a smaller unit. */
static const struct unit {
	char name[3];
	int64_t ns;
} units[] = {
    {"d", 86400 * NS_PER_S},
    {"h", 3600 * NS_PER_S},
    {"m", 60 * NS_PER_S},
    {"s", NS_PER_S},
    {"ms", NS_PER_MS},
    {"us", NS_PER_US},
    {"ns", 1},
};
#define N_UNITS      (sizeof(units) / sizeof(units[0]))
#define UNIT_SECONDS 3

static int64_t clock_ns(clockid_t clock)
{
	struct timespec ts;

	clock_gettime(clock, &ts);
	return (int64_t)ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

int64_t clock_monotonic_ns(void)
{
	return clock_ns(CLOCK_MONOTONIC);
}

int64_t clock_realtime_ns(void)
{
	return clock_ns(CLOCK_REALTIME);
}

/* A decimal number: whole + fraction / 10^18, rounded up; `big`: the whole does not fit. */
struct number {
	int64_t whole, fraction;
	bool big;
};

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Returns the first character after the number, or NULL when there is none. */
static const char *parse_number(const char *p, struct number *n)
{
	int digits = 0;
	bool more = false;

	*n = (struct number){0, 0, false};
	if (!is_digit(*p))
		return NULL;
	for (; is_digit(*p); p++)
		if (__builtin_mul_overflow(n->whole, 10, &n->whole) ||
		    __builtin_add_overflow(n->whole, *p - '0', &n->whole))
			n->big = true;
	if (*p != '.')
		return p;
	if (!is_digit(*++p))
		return NULL;
	for (; is_digit(*p); p++) {
		if (digits == FRACTION_DIGITS) {
			more = more || *p != '0';
			continue;
		}
		n->fraction = n->fraction * 10 + (*p - '0');
		digits++;
	}
	for (; digits < FRACTION_DIGITS; digits++)
		n->fraction *= 10;
	if (more)
		n->fraction++;
	return p;
}

/* Adds n units of `unit` ns to *total; true when it does not fit. */
static bool add_overflows(int64_t *total, const struct number *n, int64_t unit)
{
	const __int128 scale = (__int128)NS_PER_S * NS_PER_S; /* 10^FRACTION_DIGITS */
	int64_t part;

	if (n->big || __builtin_mul_overflow(n->whole, unit, &part) ||
	    __builtin_add_overflow(*total, part, total))
		return true;
	part = (int64_t)(((__int128)n->fraction * unit + scale - 1) / scale);
	return __builtin_add_overflow(*total, part, total);
}

/* The unit at p, of at most two letters, that ends before a digit or the text's end; N_UNITS: none.
 */
static size_t find_unit(const char *p)
{
	size_t len = strcspn(p, "0123456789");

	for (size_t i = 0; i < N_UNITS; i++)
		if (strlen(units[i].name) == len && memcmp(units[i].name, p, len) == 0)
			return i;
	return N_UNITS;
}

int duration_parse(const char *text, int64_t *ns)
{
	int64_t total = 0;
	bool big = false;
	size_t next = 0;
	struct number n;
	const char *p = text;

	do {
		size_t unit;

		p = parse_number(p, &n);
		if (p == NULL)
			return TX_EINVAL;
		unit = *p == '\0' && next == 0 ? UNIT_SECONDS : find_unit(p);
		if (unit < next || unit == N_UNITS)
			return TX_EINVAL;
		big = add_overflows(&total, &n, units[unit].ns) || big;
		p += strcspn(p, "0123456789");
		next = unit + 1;
	} while (*p != '\0');
	if (big)
		return TX_ETOOBIG;
	*ns = total;
	return 0;
}

/* "1.5ms": the value in `unit` (at most 10^9 ns), without trailing zeros. Returns the length. */
static int format_fraction(char *out, size_t size, uint64_t ns, const struct unit *unit)
{
	const uint64_t per = (uint64_t)unit->ns;
	char digits[16];
	int n = 0;

	for (uint64_t d = per / 10, rest = ns % per; d > 0 && rest > 0; d /= 10) {
		digits[n++] = (char)('0' + rest / d);
		rest %= d;
	}
	digits[n] = '\0';
	return snprintf(
	    out, size, "%" PRIu64 "%s%s%s", ns / per, n > 0 ? "." : "", digits, unit->name);
}

char *duration_format(char *out, size_t size, int64_t ns)
{
	uint64_t rest = ns < 0 ? 0 - (uint64_t)ns : (uint64_t)ns;
	char text[64];
	size_t used = 0;
	size_t i;

	if (ns < 0)
		text[used++] = '-';
	for (i = 0; i < UNIT_SECONDS; i++) {
		uint64_t per = (uint64_t)units[i].ns;

		if (rest >= per)
			used += (size_t)snprintf(text + used, sizeof(text) - used, "%" PRIu64 "%s",
			    rest / per, units[i].name);
		rest %= per;
	}
	/* Below a second alone: in the largest unit that has something before the point. */
	if (rest > 0 && (used == 0 || (used == 1 && ns < 0)))
		while (rest < (uint64_t)units[i].ns)
			i++;
	if (rest > 0 || used == 0)
		format_fraction(text + used, sizeof(text) - used, rest, &units[i]);
	snprintf(out, size, "%s", text);
	return out;
}

struct timeval duration_timeval(int64_t ns)
{
	struct timeval tv = {0, 0};
	int64_t us;

	if (ns <= 0)
		return tv;
	us = ns / NS_PER_US + (ns % NS_PER_US != 0);
	tv.tv_sec = (time_t)(us / 1000000);
	tv.tv_usec = (suseconds_t)(us % 1000000);
	return tv;
}
