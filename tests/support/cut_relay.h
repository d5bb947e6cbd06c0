/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A relay on a loopback port in front of another one, in the test's own event base. Each connection
 * through it may be cut after a number of bytes, both directions together: where that is, inside a
 * handshake, a record, a frame, is up to chance.
 */
#ifndef TX_TESTS_CUT_RELAY_H
#define TX_TESTS_CUT_RELAY_H

#include <stdint.h>

struct cut_relay;
struct event_base;

/* How many bytes the n-th connection (from 0) lets through; UINT64_MAX: all. */
typedef uint64_t cut_relay_limit(unsigned n, void *arg);

struct cut_relay *cut_relay_new(
    struct event_base *base, uint16_t to_port, cut_relay_limit *limit, void *arg);
void cut_relay_free(struct cut_relay *r);
uint16_t cut_relay_port(const struct cut_relay *r);
/* How many there were, and how many of them were cut. */
unsigned cut_relay_connections(const struct cut_relay *r);
unsigned cut_relay_cuts(const struct cut_relay *r);
/* Cuts all that are open. */
void cut_relay_cut(struct cut_relay *r);

#endif
