/* SPDX-License-Identifier: Apache-2.0 */
/*
 * For tests of the worker: the keeper's end of a link, in the same process. It keeps what the
 * worker sends until a test takes it, and sends what the test says. What cannot be set up aborts.
 */
#ifndef TX_TESTS_SUPPORT_FAKE_KEEPER_H
#define TX_TESTS_SUPPORT_FAKE_KEEPER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/job_record.h"
#include "common/keeper_msg.h"
#include "common/ring.h"

struct event_base;
struct fake_keeper;

/* *worker_fd: the other end, for keeper_client_new. */
struct fake_keeper *fake_keeper_new(struct event_base *base, int *worker_fd);
void fake_keeper_free(struct fake_keeper *k);

/* KM_CONFIG (its files are /dev/null) and KM_GO. */
void fake_keeper_configure(struct fake_keeper *k);
/* Hangs up. */
void fake_keeper_die(struct fake_keeper *k);
/* Whether the worker's end is gone; why, is in *why when not NULL. */
bool fake_keeper_lost(const struct fake_keeper *k, struct err *why);

/* Takes the oldest message of `type` out of what has come; false: none. *fd (may be NULL) is the
 * caller's to close, or -1. */
bool fake_keeper_take(struct fake_keeper *k, enum km_type type, union km_any *out, int *fd);
/* How many of `type` wait to be taken. */
size_t fake_keeper_count(const struct fake_keeper *k, enum km_type type);

/* Sends; fd -1: none. */
void fake_keeper_send(struct fake_keeper *k, enum km_type type, uint64_t seq, void *msg, int fd);
/* KM_RING of a ring. */
void fake_keeper_ring(
    struct fake_keeper *k, uint32_t att, enum km_stream stream, const struct ring *ring);
/* KM_WAKE. */
void fake_keeper_wake(struct fake_keeper *k, uint32_t att, uint32_t eof);
/* KM_REFUSED with no more than a reason. */
void fake_keeper_refuse(struct fake_keeper *k, uint64_t seq, enum km_why why);
/* KM_TABLE of n records. */
void fake_keeper_table(
    struct fake_keeper *k, uint64_t seq, const struct job_record *records, size_t n);

/* Appends to an output ring (that has room: asserted). */
void fake_keeper_write(struct ring *ring, const void *data, size_t len);

#endif
