/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One run after the other of something that deals with changes: never two at once; what comes while
 * one goes on makes another one. A run begins when a batch is whole. Of what waits for the next run
 * so much is held here; the rest is held back at the agent, where what happens to a path again and
 * again is joined.
 */
#ifndef TX_CLI_WATCH_QUEUE_H
#define TX_CLI_WATCH_QUEUE_H

#include <stdbool.h>
#include <stddef.h>

#include "cli/watch.h"

struct watch_queue;

struct watch_runner {
	/* One change more for the next run. How many bytes are held for it now. */
	size_t (*add)(void *self, const struct telex_change *c);
	/* All is watched, for the first time or again; fresh: all that is there follows as changes.
	 * Whether a run is wanted even if nothing changes. NULL: it is not. */
	bool (*armed)(void *self, bool again, bool fresh);
	/* Begins a run with what was added. clock: up to it nothing is missing. overflow: the names
	 * alone do not tell what happened. watch_queue_ended follows, perhaps from inside. */
	void (*start)(void *self, const char *clock, bool overflow);
	/* For the run that goes on. last: it came before, and now it is to be left or killed. */
	void (*signal)(void *self, int signo, bool last);
	void (*free)(void *self);
};

/* `self` becomes the queue's. */
struct watch_queue *watch_queue_new(struct watch *w, const struct watch_runner *runner, void *self);
enum watch_run_end {
	WATCH_RUN_WHOLE,  /* it had all that there was: its clock is where another watch goes on */
	WATCH_RUN_PART,   /* it was given a part; the rest makes another run at once */
	WATCH_RUN_UNDONE, /* it did not do what it was given, or was ended by us: that is for the
	                   * next one, whose names alone do not tell, and until that is whole the
	                   * clock stays */
};
/* The run is over, with this exit status. */
void watch_queue_ended(struct watch_queue *q, int status, enum watch_run_end how);

/* A run is wanted, even if nothing changes. */
void watch_queue_again(struct watch_queue *q);

/* The way whose self is a watch_queue. */
extern const struct watch_way watch_queue_way;

/* Runners: each makes a queue. */
void *watch_local_new(struct watch *w);
void *watch_remote_new(struct watch *w);
void *watch_mirror_new(struct watch *w);

#endif
