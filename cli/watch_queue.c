/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/watch_queue.h"

#include <stdlib.h>

#include "common/mem.h"

#define FULL ((size_t)1 << 20) /* bytes held for the next run */

struct watch_queue {
	struct watch *watch;
	const struct watch_runner *runner;
	void *self;
	char *clock;     /* of the last batch that was whole */
	char *run_clock; /* of the run that goes on, or went last */
	size_t held;     /* changes for which the agent has no credit back */
	uint64_t left;   /* of --count; 0: without end */
	bool wanted;     /* there is something for a run */
	bool partial;    /* a batch has begun */
	bool full, overflow, running, stopping, signalled;
};

struct watch_queue *watch_queue_new(struct watch *w, const struct watch_runner *runner, void *self)
{
	struct watch_queue *q = xcalloc(1, sizeof(*q));

	q->watch = w;
	q->runner = runner;
	q->self = self;
	q->left = watch_get_options(w)->count;
	q->clock = xstrdup("");
	return q;
}

static void set_clock(char **to, const char *clock)
{
	char *copy = xstrdup(clock);

	free(*to);
	*to = copy;
}

static void release(struct watch_queue *q)
{
	watch_consumed(q->watch, q->held);
	q->held = 0;
}

static void pump(struct watch_queue *q)
{
	const bool overflow = q->overflow;

	if (q->running || q->stopping || !q->wanted || (q->partial && !q->full))
		return;
	set_clock(&q->run_clock, q->clock);
	q->running = true;
	q->wanted = q->full = q->overflow = false;
	release(q);
	q->runner->start(q->self, q->run_clock, overflow);
}

void watch_queue_ended(struct watch_queue *q, int status, enum watch_run_end how)
{
	q->running = false;
	q->wanted = q->wanted || how == WATCH_RUN_PART;
	q->overflow = q->overflow || how == WATCH_RUN_UNDONE;
	if (how == WATCH_RUN_WHOLE && q->run_clock[0] != '\0')
		watch_set_clock(q->watch, q->run_clock);
	if (q->left > 0 && --q->left == 0)
		watch_end(q->watch, status);
	if (q->stopping)
		watch_idle(q->watch);
	else
		pump(q);
}

void watch_queue_again(struct watch_queue *q)
{
	q->wanted = true;
	pump(q);
}

static void on_armed(void *self, const struct telex_watch_armed *armed, bool again)
{
	struct watch_queue *q = self;

	q->partial = q->partial || armed->fresh_instance; /* what had come of it comes again */
	q->overflow = q->overflow || (again && armed->fresh_instance);
	if (!armed->fresh_instance)
		set_clock(&q->clock, armed->clock);
	if (q->runner->armed != NULL && q->runner->armed(q->self, again, armed->fresh_instance))
		q->wanted = true;
	pump(q);
}

static void on_changes(void *self, const struct telex_change *changes, size_t n, const char *clock)
{
	struct watch_queue *q = self;
	size_t bytes = 0;

	for (size_t i = 0; i < n; i++)
		bytes = q->runner->add(q->self, &changes[i]);
	q->wanted = q->wanted || n > 0;
	q->held += n;
	q->full = q->full || bytes >= FULL;
	q->partial = clock == NULL;
	if (clock != NULL)
		set_clock(&q->clock, clock);
	if (!q->full)
		release(q);
	pump(q);
}

static void on_rescan(void *self, const struct telex_rescan *rescan)
{
	struct watch_queue *q = self;

	/* A root that is back is one of the names, and so is what is mounted. */
	if (rescan->reason != TELEX_RESCAN_ROOT_BACK && rescan->reason != TELEX_RESCAN_MOUNTS)
		q->overflow = true;
}

static void on_stop(void *self, int signo)
{
	struct watch_queue *q = self;

	q->stopping = true;
	if (!q->running) {
		watch_idle(q->watch);
		return;
	}
	if (signo == 0)
		return;
	q->runner->signal(q->self, signo, q->signalled);
	q->signalled = true;
}

static void on_free(void *self)
{
	struct watch_queue *q = self;

	q->runner->free(q->self);
	free(q->clock);
	free(q->run_clock);
	free(q);
}

const struct watch_way watch_queue_way = {.armed = on_armed,
    .changes = on_changes,
    .rescan = on_rescan,
    .stop = on_stop,
    .free = on_free};
