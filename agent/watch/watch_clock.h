/* SPDX-License-Identifier: Apache-2.0 */
/* Clocks as text: which store, which tick of it, and of which roots and options. */
#ifndef TX_WATCH_CLOCK_H
#define TX_WATCH_CLOCK_H

#include <stdint.h>

#include "telex/v1/watch.pb-c.h"

struct watch_clock {
	uint64_t instance, tick, asked;
};

#define WATCH_CLOCK_SIZE 64

void watch_clock_write(char out[WATCH_CLOCK_SIZE], const struct watch_clock *c);
/* TX_EINVAL: it is none. */
int watch_clock_read(struct watch_clock *out, const char *text);
/* Of all that decides on what is told. */
uint64_t watch_clock_asked(const Telex__V1__WatchBegin *begin);

#endif
