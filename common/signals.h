/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A program's own signals, all of them through here: watched from the event loop, ignored, blocked
 * for a while. No handler of ours does any work; what is to be done is done in the loop.
 */
#ifndef TX_COMMON_SIGNALS_H
#define TX_COMMON_SIGNALS_H

#include <signal.h>
#include <stdbool.h>

#include "common/err.h"

struct event_base;
struct signal_watch;

typedef void (*signals_fn)(int signo, void *arg);

/*
 * Calls fn from the loop when signo came; several that come together may be one call. A signal may
 * be watched more than once, but in one loop only. TX_EINVAL: it cannot be caught; TX_ENOMEM. *out
 * is the caller's: signals_unwatch.
 */
int signals_watch(struct signal_watch **out, struct event_base *base, int signo, signals_fn fn,
    void *arg, struct err *e);
/* After the last watch of a signal it has its old effect again. Allowed in its own callback. NULL
 * is allowed. */
void signals_unwatch(struct signal_watch *w);

/* From now on, where it is not watched. */
void signals_ignore(int signo);
void signals_default(int signo);

/* Whether it was ignored when the program was started (nohup), whatever became of it since. The
 * first call of any function here notes that for all. */
bool signals_were_ignored(int signo);

/* All signals of this thread, until they are restored; the two nest. */
struct signals_held {
	sigset_t before;
};
void signals_block(struct signals_held *held);
void signals_restore(const struct signals_held *held);
/* Blocks none: whoever started us may have blocked some. */
void signals_unblock_all(void);

/* As a new program is to have them: none blocked, all with their default effect. Between fork and
 * exec. */
void signals_reset(void);

#endif
