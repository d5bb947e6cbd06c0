/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the attachments of a job need of its outputs, and how long one that does not read may keep
 * the others waiting. There is one timer a job; it runs only while an output is full, one hinders
 * and another waits.
 */
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

#include "agent/keeper/attach.h"
#include "agent/keeper/attach_internal.h"
#include "agent/keeper/job.h"
#include "agent/keeper/pump.h"
#include "common/duration.h"
#include "common/log.h"
#include "common/ring.h"

static int64_t drop_away(struct job *j, int64_t now);

#define NEVER INT64_MAX
/* What a process never waits for. */
#define NOT_WAITED (KM_ATTACH_PASSIVE | KM_ATTACH_LOSSY | KM_ATTACH_NO_OUTPUT)

bool readers_waited(const struct attachment *a)
{
	return (a->flags & NOT_WAITED) == 0;
}

/* All of a job: those that are attached, then those that are away. */
static struct attachment *first(const struct job *j)
{
	struct attachment *a = LIST_FIRST(&j->attachments);

	return a != NULL ? a : LIST_FIRST(&j->away);
}

static struct attachment *next(const struct attachment *a)
{
	struct attachment *n = LIST_NEXT(a, in_job);

	return n != NULL || a->away_since != 0 ? n : LIST_FIRST(&a->job->away);
}

static void lower(uint64_t *least, uint64_t offset)
{
	if (offset < *least)
		*least = offset;
}

void attach_readers(struct job *j, enum km_stream s, struct store_readers *r)
{
	const uint64_t oldest = pump_out_oldest(j->out[s]);
	uint64_t aside = UINT64_MAX;
	bool lossy = false;

	*r = (struct store_readers){.hold = UINT64_MAX, .guard = UINT64_MAX};
	for (const struct attachment *a = first(j); a != NULL; a = next(a)) {
		const uint64_t acked = a->out[s].acked;

		/* Passive and lossy ones copy, and look afterwards whether it was still there. */
		if (readers_waited(a) && a->away_since == 0)
			lower(&r->guard, acked);
		if ((a->flags & (KM_ATTACH_PASSIVE | KM_ATTACH_NO_OUTPUT)) != 0)
			continue;
		if ((a->flags & KM_ATTACH_LOSSY) != 0)
			lossy = true;
		else if (acked >= oldest)
			lower(a->set_aside ? &aside : &r->hold, acked);
	}
	if (r->hold == UINT64_MAX && !lossy)
		r->hold = aside;
	r->unwaited = r->hold == UINT64_MAX && lossy;
}

void readers_last_leaves(struct attachment *a)
{
	for (int s = KM_STDOUT; s <= KM_STDERR; s++)
		(void)pump_out_release(a->job->out[s], a->out[s].acked);
}

void readers_leave_together(struct attachment *a, uint64_t round)
{
	struct job *j = a->job;

	if (j->leaving_seen == round)
		return;
	j->leaving_seen = round;
	for (int s = KM_STDOUT; s <= KM_STDERR; s++) {
		struct store_readers r;

		attach_readers(j, (enum km_stream)s, &r);
		if (r.hold != UINT64_MAX)
			(void)pump_out_release(j->out[s], r.hold);
	}
}

/* ---- those that are away ---- */

static void drop_one_away(struct attachment *a)
{
	struct job *j = a->job;

	LIST_REMOVE(a, in_job);
	j->n_away--;
	if (j->n_waited == 0 && j->n_away == 0)
		readers_last_leaves(a);
	free(a);
	readers_changed(j);
}

void readers_go_away(struct attachment *a)
{
	struct job *j = a->job;
	int64_t now = clock_monotonic_ns();

	drop_away(j, now);
	if (j->n_away == READERS_AWAY_MAX) {
		free(a);
		return;
	}
	a->table = NULL;
	a->away_since = now;
	LIST_INSERT_HEAD(&j->away, a, in_job);
	j->n_away++;
}

void readers_came_back(struct job *j, const char *owner, uint64_t key)
{
	struct attachment *a;

	if (key == 0)
		return;
	LIST_FOREACH(a, &j->away, in_job)
	{
		if (a->key != key || strcmp(a->owner, owner) != 0)
			continue;
		drop_one_away(a);
		return;
	}
}

void readers_forget_away(struct job *j)
{
	while (!LIST_EMPTY(&j->away))
		drop_one_away(LIST_FIRST(&j->away));
}

/* ---- patience ---- */

static bool hinders(const struct attachment *a, int s, const struct ring *ring)
{
	const uint64_t tail = ring_tail(ring), acked = a->out[s].acked;

	return readers_waited(a) && !a->set_aside && acked >= pump_out_oldest(a->job->out[s]) &&
	       acked < tail + ring_size(ring) / 4;
}

static bool waits(const struct attachment *a, int s)
{
	return (a->flags & (KM_ATTACH_PASSIVE | KM_ATTACH_NO_OUTPUT)) == 0 &&
	       a->out[s].acked == pump_out_head(a->job->out[s]);
}

static bool another_waits(const struct job *j, int s)
{
	const struct attachment *a;

	LIST_FOREACH(a, &j->attachments, in_job)
	if (waits(a, s))
		return true;
	return false;
}

/* When its time is over, given that it hinders since out->since. */
static int64_t deadline(const struct attachment *a, const struct attach_out *out)
{
	bool owner = a->starter || a->job->stdin_holder == a;
	int64_t patience = jobs_patience(a->job->jobs, owner);

	if (!owner)
		return out->since + patience - out->hindered;
	return (out->acked_at > out->since ? out->acked_at : out->since) + patience;
}

static void calm(struct attach_out *out, int64_t now)
{
	if (out->since == 0)
		return;
	out->hindered += now - out->since;
	out->since = 0;
	out->calm_at = now;
}

/* The time in which it kept nobody waiting it has earned back: readers of about the same speed take
 * turns in being the slowest. */
static void begin_hindering(struct attach_out *out, int64_t now)
{
	if (out->since != 0)
		return;
	out->since = now;
	out->hindered -= now - out->calm_at;
	if (out->hindered < 0)
		out->hindered = 0;
}

/* Looks at one output's readers; returns when to look again. */
static int64_t look(struct job *j, int s, int64_t now)
{
	const struct ring *ring = store_ring(pump_out_store(j->out[s]));
	bool waiting = pump_out_full(j->out[s]) && another_waits(j, s);
	int64_t then = NEVER;
	bool aside = false;

	for (struct attachment *a = first(j); a != NULL; a = next(a)) {
		struct attach_out *out = &a->out[s];
		int64_t due;

		if (!waiting || !hinders(a, s, ring)) {
			calm(out, now);
			continue;
		}
		begin_hindering(out, now);
		due = deadline(a, out);
		if (now < due) {
			then = due < then ? due : then;
			continue;
		}
		log_info("job %s: a reader of %s that does not read is waited for no longer", j->id,
		    s == KM_STDOUT ? "stdout" : "stderr");
		a->set_aside = aside = true;
		calm(out, now);
	}
	if (aside)
		pump_out_poke(j->out[s]);
	return then;
}

/* Forgets those that do not come back; returns when the next has had its time. */
static int64_t drop_away(struct job *j, int64_t now)
{
	struct attachment *a = LIST_FIRST(&j->away), *after;
	int64_t then = NEVER;

	for (; a != NULL; a = after) {
		int64_t due = a->away_since + READERS_AWAY_NS;

		after = LIST_NEXT(a, in_job);
		if (now >= due)
			drop_one_away(a);
		else if (due < then)
			then = due;
	}
	return then;
}

void attach_on_patience(struct job *j)
{
	int64_t now = clock_monotonic_ns();
	int64_t away = drop_away(j, now);
	int64_t out = look(j, KM_STDOUT, now), err = look(j, KM_STDERR, now);
	int64_t due = out < err ? out : err;
	struct timeval tv;

	if (away < due)
		due = away;
	if (due == NEVER) {
		event_del(j->patience);
		return;
	}
	tv = duration_timeval(due - now);
	event_add(j->patience, &tv);
}

void attach_on_full(struct job *j, enum km_stream s)
{
	struct attachment *a = first(j);

	(void)s;
	/* One alone hinders nobody. Not from here: this is told from inside calls. */
	if (a != NULL && next(a) != NULL)
		event_active(j->patience, EV_TIMEOUT, 0);
}

void readers_changed(struct job *j)
{
	for (int s = KM_STDOUT; s <= KM_STDERR; s++) {
		if (!pump_out_full(j->out[s]))
			continue;
		pump_out_poke(j->out[s]);
		attach_on_full(j, (enum km_stream)s);
	}
}
