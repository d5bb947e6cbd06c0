/* SPDX-License-Identifier: Apache-2.0 */
/* Clocks and spans of time, in nanoseconds as int64_t (292 years). */
#ifndef TX_COMMON_DURATION_H
#define TX_COMMON_DURATION_H

#include <stddef.h>
#include <stdint.h>
#include <sys/time.h>

#define NS_PER_S  INT64_C(1000000000)
#define NS_PER_MS INT64_C(1000000)
#define NS_PER_US INT64_C(1000)

int64_t clock_monotonic_ns(void);
int64_t clock_realtime_ns(void);

/*
 * "90", "1.5s", "250ms", "10us", "7ns", "5m", "2h", "3d", "1h30m"; no unit means seconds. No sign,
 * no spaces. Returns 0, TX_EINVAL (not a duration) or TX_ETOOBIG (does not fit).
 */
int duration_parse(const char *text, int64_t *ns);

/* The shortest exact form, "1h30m", "250ms"; "0s". Returns out. size >= 48 is enough. */
char *duration_format(char *out, size_t size, int64_t ns);

/* Never negative; rounds up to a microsecond, so that a timer is not early. */
struct timeval duration_timeval(int64_t ns);

#endif
