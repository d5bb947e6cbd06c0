/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A group has its members in the order in which they came, and of these the queued ones in another
 * list; it counts them by state. Groups with a queue and room are `ready`: an event starts some of
 * theirs each turn of the loop, so that many at once do not stop the pumps. One whose first cannot
 * start for want of what others may give back soon is `stalled`: a timer makes it ready again.
 */
#include "agent/keeper/group.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "agent/keeper/attach.h"
#include "agent/keeper/job.h"
#include "agent/keeper/start.h"
#include "common/duration.h"
#include "common/log.h"

#define BUCKETS       1024
#define STARTS_A_TURN 8
#define STALL_MIN_NS  (20 * NS_PER_MS)
#define STALL_MAX_NS  NS_PER_S

struct group {
	LIST_ENTRY(group) by_name;
	struct groups *gs;
	TAILQ_HEAD(, job) members, queue;
	uint32_t maximum; /* 0: none */
	uint32_t queued, running, ended;
	bool ready, stalled;
	TAILQ_ENTRY(group) in_ready; /* or in the stalled ones */
	char name[KM_ID_SIZE];
	char owner[KM_IDENTITY_SIZE];
};

struct groups {
	struct jobs *jobs;
	struct starter *starter;
	struct event *turn, *again;
	int64_t stall_ns; /* how long the stalled ones wait next */
	uint32_t n;
	size_t queued_bytes; /* of the specs of those that are queued */
	bool stopped;
	TAILQ_HEAD(, group) ready, stalled;
	LIST_HEAD(, group) buckets[BUCKETS];
};

static void on_turn(evutil_socket_t fd, short what, void *arg);
static void on_again(evutil_socket_t fd, short what, void *arg);

int groups_new(struct groups **out, struct jobs *js, struct starter *st, struct err *e)
{
	struct groups *gs = calloc(1, sizeof(*gs));

	if (gs == NULL)
		return err_set(e, TX_ENOMEM, "out of memory");
	gs->jobs = js;
	gs->starter = st;
	TAILQ_INIT(&gs->ready);
	TAILQ_INIT(&gs->stalled);
	gs->stall_ns = STALL_MIN_NS;
	gs->turn = event_new(jobs_base(js), -1, 0, on_turn, gs);
	gs->again = evtimer_new(jobs_base(js), on_again, gs);
	if (gs->turn == NULL || gs->again == NULL) {
		groups_free(gs);
		return err_set(e, TX_ENOMEM, "out of memory");
	}
	*out = gs;
	return 0;
}

/* ---- one group ---- */

static size_t bucket_of(const char *owner, const char *name)
{
	uint32_t h = 2166136261u;

	for (; *owner != '\0'; owner++)
		h = (h ^ (uint8_t)*owner) * 16777619u;
	for (; *name != '\0'; name++)
		h = (h ^ (uint8_t)*name) * 16777619u;
	return (h ^ h >> 15) % BUCKETS;
}

struct group *group_find(struct groups *gs, const char *owner, const char *name)
{
	struct group *g;

	LIST_FOREACH(g, &gs->buckets[bucket_of(owner, name)], by_name)
	if (strcmp(g->name, name) == 0 && strcmp(g->owner, owner) == 0)
		return g;
	return NULL;
}

static struct group *group_new(struct groups *gs, const char *owner, const char *name)
{
	struct group *g = calloc(1, sizeof(*g));

	if (g == NULL)
		return NULL;
	g->gs = gs;
	TAILQ_INIT(&g->members);
	TAILQ_INIT(&g->queue);
	memcpy(g->name, name, strlen(name) + 1);
	memcpy(g->owner, owner, strlen(owner) + 1);
	LIST_INSERT_HEAD(&gs->buckets[bucket_of(owner, name)], g, by_name);
	gs->n++;
	return g;
}

static void group_free(struct group *g)
{
	if (g->ready)
		TAILQ_REMOVE(&g->gs->ready, g, in_ready);
	if (g->stalled)
		TAILQ_REMOVE(&g->gs->stalled, g, in_ready);
	LIST_REMOVE(g, by_name);
	g->gs->n--;
	free(g);
}

static void free_if_done(struct group *g)
{
	if (g->maximum == 0 && TAILQ_EMPTY(&g->members))
		group_free(g);
}

void groups_free(struct groups *gs)
{
	if (gs == NULL)
		return;
	for (size_t i = 0; i < BUCKETS; i++)
		while (!LIST_EMPTY(&gs->buckets[i])) {
			assert(TAILQ_EMPTY(&LIST_FIRST(&gs->buckets[i])->members));
			group_free(LIST_FIRST(&gs->buckets[i]));
		}
	if (gs->turn != NULL)
		event_free(gs->turn);
	if (gs->again != NULL)
		event_free(gs->again);
	free(gs);
}

void groups_stop(struct groups *gs)
{
	gs->stopped = true;
}

struct job *group_first(const struct group *g)
{
	return TAILQ_FIRST(&g->members);
}

struct job *group_next(const struct job *j)
{
	return TAILQ_NEXT(j, in_group);
}

void group_count(const struct group *g, struct km_group_reply *out)
{
	out->maximum = g->maximum;
	out->queued = g->queued;
	out->running = g->running;
	out->ended = g->ended;
}

/* ---- who is in it ---- */

static void join(struct group *g, struct job *j)
{
	j->group = g;
	TAILQ_INSERT_TAIL(&g->members, j, in_group);
	if (j->state == KM_STATE_QUEUED) {
		TAILQ_INSERT_TAIL(&g->queue, j, in_queue);
		g->queued++;
		g->gs->queued_bytes += job_spec_memory(j->spec);
	} else if (j->state == KM_STATE_ENDED) {
		g->ended++;
	} else {
		g->running++;
	}
}

static void unqueue(struct group *g, struct job *j)
{
	TAILQ_REMOVE(&g->queue, j, in_queue);
	g->queued--;
	g->gs->queued_bytes -= job_spec_memory(j->spec);
}

static bool has_room(const struct group *g)
{
	return g->maximum == 0 || g->running < g->maximum;
}

/* There may be something to start. */
static void look(struct group *g)
{
	struct groups *gs = g->gs;

	if (gs->stopped || g->ready || g->stalled || TAILQ_EMPTY(&g->queue) || !has_room(g) ||
	    TAILQ_FIRST(&g->queue)->starting)
		return;
	g->ready = true;
	TAILQ_INSERT_TAIL(&gs->ready, g, in_ready);
	event_active(gs->turn, EV_TIMEOUT, 0);
}

void group_set_maximum(struct group *g, uint32_t maximum)
{
	if (g->maximum != maximum)
		log_info("group %s: at most %u at a time", g->name, maximum);
	g->maximum = maximum;
	look(g);
	free_if_done(g);
}

void group_on_started(struct job *j)
{
	struct group *g = j->group;

	if (g == NULL)
		return;
	unqueue(g, j);
	g->running++;
	look(g);
}

void group_on_ended(struct job *j)
{
	struct group *g = j->group;

	if (g == NULL)
		return;
	if (j->exit.kind == KM_END_NOT_STARTED)
		unqueue(g, j);
	else
		g->running--;
	g->ended++;
	look(g);
}

void group_on_forgotten(struct job *j)
{
	struct group *g = j->group;

	if (g == NULL)
		return;
	j->group = NULL;
	TAILQ_REMOVE(&g->members, j, in_group);
	if (j->state == KM_STATE_ENDED)
		g->ended--;
	else if (j->state == KM_STATE_QUEUED)
		unqueue(g, j);
	else
		g->running--;
	free_if_done(g);
}

/* ---- starting ---- */

/* Nothing is wrong with the job: descriptors, memory or processes are out, for now. */
static bool is_passing(const struct km_refused *why)
{
	switch (why->sys_errno) {
	case EMFILE:
	case ENFILE:
	case ENOMEM:
		return why->why == KM_WHY_SYSTEM || why->stage == KM_STAGE_FORK ||
		       why->stage == KM_STAGE_CGROUP;
	case EAGAIN:
		return why->stage == KM_STAGE_FORK;
	default:
		return false;
	}
}

static void stall(struct group *g, const struct km_refused *why)
{
	struct groups *gs = g->gs;
	struct timeval tv = duration_timeval(gs->stall_ns);

	g->stalled = true;
	TAILQ_INSERT_TAIL(&gs->stalled, g, in_ready);
	if (event_pending(gs->again, EV_TIMEOUT, NULL))
		return;
	if (gs->stall_ns == STALL_MIN_NS)
		log_warn("group %s: its next process waits: %s", g->name, why->text);
	if (event_add(gs->again, &tv) != 0)
		log_error("no memory for a timer");
	gs->stall_ns = gs->stall_ns < STALL_MAX_NS / 2 ? gs->stall_ns * 2 : STALL_MAX_NS;
}

static void on_again(evutil_socket_t fd, short what, void *arg)
{
	struct groups *gs = arg;
	struct group *g;

	(void)fd;
	(void)what;
	while ((g = TAILQ_FIRST(&gs->stalled)) != NULL) {
		TAILQ_REMOVE(&gs->stalled, g, in_ready);
		g->stalled = false;
		look(g);
	}
}

/* The first of the queue runs, or has ended, or waits for better times. */
static void start_next(struct group *g)
{
	struct km_refused why = {0};
	struct job *j = TAILQ_FIRST(&g->queue);

	if (start_launch(g->gs->starter, j, &why) == 0) {
		g->gs->stall_ns = STALL_MIN_NS;
		if (j->state == KM_STATE_QUEUED)
			return; /* group_on_started follows, or its end */
		unqueue(g, j);
		g->running++;
		attach_on_started(j);
		return;
	}
	if (is_passing(&why)) {
		stall(g, &why);
		return;
	}
	j->exit.reason = KM_REASON_EXITED;
	j->exit.value = why.sys_errno;
	j->exit.stage = why.stage;
	memcpy(j->exit.text, why.text, sizeof(j->exit.text));
	job_never_ran(j);
}

static void on_turn(evutil_socket_t fd, short what, void *arg)
{
	struct groups *gs = arg;
	struct group *g;
	int n = 0;

	(void)fd;
	(void)what;
	while (n < STARTS_A_TURN && !gs->stopped && (g = TAILQ_FIRST(&gs->ready)) != NULL) {
		TAILQ_REMOVE(&gs->ready, g, in_ready);
		g->ready = false;
		if (TAILQ_EMPTY(&g->queue) || !has_room(g) || TAILQ_FIRST(&g->queue)->starting)
			continue;
		start_next(g);
		n++;
		/* The others' turn, too. */
		look(g);
	}
	if (!TAILQ_EMPTY(&gs->ready) && !gs->stopped)
		event_active(gs->turn, EV_TIMEOUT, 0);
}

/* The job waits: what can be checked is checked now. */
static int enqueue(struct groups *gs, struct job *j, struct km_refused *why)
{
	int rc;

	/* One that is queued costs nothing but this. */
	if (gs->queued_bytes + job_spec_memory(j->spec) > GROUPS_QUEUED_BYTES) {
		why->why = KM_WHY_LIMIT;
		snprintf(why->text, sizeof(why->text),
		    "the commands of the processes that are queued take %zu MiB, and no more is "
		    "allowed",
		    GROUPS_QUEUED_BYTES >> 20);
		return TX_ELIMIT;
	}
	rc = start_check(gs->starter, j, why);

	if (rc != 0)
		return rc;
	job_insert(j);
	log_info("job %s: queued in group %s for %s", j->id, j->spec->group, j->owner);
	return 0;
}

static int get_group(struct groups *gs, const char *owner, const char *name, struct group **out,
    struct km_refused *why)
{
	*out = group_find(gs, owner, name);
	if (*out != NULL)
		return 0;
	if (gs->n >= GROUPS_MAX) {
		why->why = KM_WHY_LIMIT;
		snprintf(why->text, sizeof(why->text),
		    "there are %u groups, and no more are allowed; a group without members goes "
		    "when its maximum is set to 0",
		    gs->n);
		return TX_ELIMIT;
	}
	*out = group_new(gs, owner, name);
	if (*out != NULL)
		return 0;
	why->why = KM_WHY_SYSTEM;
	why->sys_errno = ENOMEM;
	snprintf(why->text, sizeof(why->text), "cannot hold another group: out of memory");
	return TX_ENOMEM;
}

int group_start(struct groups *gs, const char *id, const char *owner, struct job_spec *spec,
    struct job **out, struct km_refused *why)
{
	uint32_t maximum;
	struct group *g;
	struct job *j;
	int rc;

	if (spec->group == NULL)
		return start_job(gs->starter, id, owner, spec, out, why);
	rc = start_admit(gs->starter, id, owner, spec, &j, why);
	if (rc != 0)
		return rc;
	rc = get_group(gs, owner, spec->group, &g, why);
	if (rc != 0) {
		start_withdraw(j);
		return rc;
	}
	maximum = spec->group_max != 0 ? spec->group_max : g->maximum;
	if (!TAILQ_EMPTY(&g->queue) || (maximum != 0 && g->running >= maximum))
		rc = enqueue(gs, j, why);
	else
		rc = start_launch(gs->starter, j, why);
	if (rc != 0) {
		start_withdraw(j);
		free_if_done(g);
		return rc;
	}
	join(g, j);
	group_set_maximum(g, maximum);
	*out = j;
	return 0;
}

/* ---- an upgrade ---- */

void groups_each(const struct groups *gs,
    void (*each)(const char *owner, const char *name, uint32_t maximum, void *arg), void *arg)
{
	const struct group *g;

	for (size_t i = 0; i < BUCKETS; i++)
		LIST_FOREACH(g, &gs->buckets[i], by_name)
	each(g->owner, g->name, g->maximum, arg);
}

int group_restore(struct groups *gs, const char *owner, const char *name, uint32_t maximum)
{
	struct group *g = group_find(gs, owner, name);

	if (g == NULL)
		g = group_new(gs, owner, name);
	if (g == NULL)
		return TX_ENOMEM;
	g->maximum = maximum;
	return 0;
}

int group_adopt(struct groups *gs, struct job *j)
{
	struct group *g;

	if (j->spec->group == NULL)
		return 0;
	g = group_find(gs, j->owner, j->spec->group);
	if (g == NULL)
		g = group_new(gs, j->owner, j->spec->group);
	if (g == NULL)
		return TX_ENOMEM;
	join(g, j);
	look(g);
	return 0;
}
