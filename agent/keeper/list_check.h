/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Whether a revocation list that a worker has brought is what it says: telex-renew reads it, and
 * says whose it is and which number it has. The keeper reads none itself, and a worker that was
 * taken over could say anything: what is kept is what an authority in `ca` has signed, and nothing
 * else. One after the other, with a pause between them, since each is a process; of several owners
 * in turn, so that none who brings many is in the way of another.
 */
#ifndef TX_KEEPER_LIST_CHECK_H
#define TX_KEEPER_LIST_CHECK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "agent/keeper/config.h"
#include "common/duration.h"
#include "common/err.h"

struct event_base;
struct list_check;
struct revocation_record;

/* Of one owner's, so many may wait. */
#define LIST_CHECK_EACH_MAX 4
/* From the end of one check to the next one's begin. */
#define LIST_CHECK_PAUSE_NS (250 * NS_PER_MS)

/* list: its issuer, its number and its text, until this returns. NULL: it is none of an authority
 * that is trusted here, or that could not be found out. Not from inside a call, but for
 * list_check_stop. */
typedef void list_checked(const struct revocation_record *list, void *owner, uint64_t seq);

/* program: telex-renew's path. Borrows all. */
int list_check_new(struct list_check **out, struct event_base *base, const char *program,
    list_checked *done, struct err *e);
void list_check_free(struct list_check *c); /* without a word to owners; NULL is allowed */
/* Whose `ca` it is. Takes a reference. */
void list_check_set(struct list_check *c, struct config *config);

/* Whether too many of this owner's wait: no other is to be asked about. */
bool list_check_full(const struct list_check *c, const void *owner);
/* Takes pem (malloc), also when it fails. `done` follows, once. */
int list_check_ask(
    struct list_check *c, uint8_t *pem, size_t len, void *owner, uint64_t seq, struct err *e);
/* `done` does not follow for any of this owner's. NULL is allowed. */
void list_check_forget(struct list_check *c, const void *owner);
/* What waits is told that it could not be found out. */
void list_check_stop(struct list_check *c);
/* A child has died. Whether it was this one's. */
bool list_check_reaped(struct list_check *c, pid_t pid, int status);

#endif
