/* SPDX-License-Identifier: Apache-2.0 */
/* So many bytes a second, on the average: what went is paid for by waiting. */
#ifndef TX_CLI_PACE_H
#define TX_CLI_PACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct event_base;
struct pace;

/* rate 0: no limit. `turn` is called from the event loop when a wait is over. */
struct pace *pace_new(struct event_base *base, uint64_t rate, void (*turn)(void *arg), void *arg);
/* NULL is allowed. */
void pace_free(struct pace *p);
/* n bytes went. */
void pace_went(struct pace *p, size_t n);
/* Whether more may go now; if not, `turn` follows. */
bool pace_may(struct pace *p);

#endif
