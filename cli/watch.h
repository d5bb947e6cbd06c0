/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One watch, from its begin to its exit status. What is done with what it tells is a way: lines on
 * standard output (watch_lines.c), or one run after the other of something (watch_queue.h).
 */
#ifndef TX_CLI_WATCH_H
#define TX_CLI_WATCH_H

#include <stdbool.h>
#include <stddef.h>

#include "cli/session.h"
#include "cli/watch_options.h"
#include "lib/telex.h"

struct watch;

struct watch_way {
	/* Of the agent's; `again`: after it was lost. All may be NULL but changes, stop and free.
	 */
	void (*armed)(void *self, const struct telex_watch_armed *armed, bool again);
	void (*changes)(
	    void *self, const struct telex_change *changes, size_t n, const char *clock);
	void (*rescan)(void *self, const struct telex_rescan *rescan);
	void (*warning)(
	    void *self, const char *path, const struct telex_file_failure *failure, bool over);
	void (*interrupted)(void *self, const struct telex_error *why);
	/* The watch has failed (said); stop follows. */
	void (*failed)(void *self, const struct telex_error *error);
	/* It is over, and nothing of the above comes any more: call watch_idle when nothing goes on
	 * (perhaps from inside). signo: what goes on gets this signal; 0: it is let finish. May
	 * come again, with a signal: then it is left where it is. */
	void (*stop)(void *self, int signo);
	void (*free)(void *self);
};

/* Runs it, and answers the exit status. make: makes the way's `self`; NULL: it cannot be (said). */
int watch_run(struct cli *cli, const struct watch_options *options, const struct watch_way *way,
    void *(*make)(struct watch *w));

/* ---- for ways ---- */

struct session *watch_session(struct watch *w);
const struct watch_options *watch_get_options(const struct watch *w);
/* n changes are dealt with. */
void watch_consumed(struct watch *w, size_t n);
/* All up to here is dealt with: where another watch would go on. */
void watch_set_clock(struct watch *w, const char *clock);
/* It is to end with this status, unless it is ending already. `stop` comes from inside. */
void watch_end(struct watch *w, int status);
/* After stop: nothing goes on any more. */
void watch_idle(struct watch *w);

extern const struct watch_way watch_lines;
void *watch_lines_new(struct watch *w);

#endif
