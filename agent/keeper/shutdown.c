/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Phases, each entered when the one before has nothing left to wait for; every wait has an end:
 *   jobs     until every leader is reaped (their own grace and SIGKILL see to it)
 *   orphans  SIGTERM; when the grace is over, SIGKILL; until no child but workers is left
 *   exits    until every exit is published; not those whose output nobody reads
 *   workers  until they have drained; then SIGKILL
 */
#include "agent/keeper/shutdown.h"

#include <event2/event.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/types.h>

#include "agent/keeper/ending.h"
#include "agent/keeper/group.h"
#include "agent/keeper/job.h"
#include "agent/keeper/link.h"
#include "agent/keeper/reap.h"
#include "agent/keeper/workers.h"
#include "common/duration.h"
#include "common/log.h"

#define TICK_NS (50 * NS_PER_MS)
/* SIGKILL was sent: what is there after this cannot be helped. */
#define UNKILLABLE_NS (5 * NS_PER_S)
#define EXITS_NS      (JOB_CLOSE_GRACE_NS + NS_PER_S)
#define DRAIN_NS      (2 * NS_PER_S)

enum phase { IDLE, JOBS, ORPHANS, EXITS, WORKERS, DONE };

struct shutdown {
	struct link_env *env;
	struct workers *workers;
	struct reap *reap;
	int64_t grace_ns;
	void (*done)(void *arg);
	void *arg;
	struct event *step;
	enum phase phase;
	int64_t begun_at, phase_at, now_at;
	bool now; /* asked twice */
	int orphan_signal;
	unsigned orphans;
};

static void on_step(evutil_socket_t fd, short what, void *arg);

int shutdown_new(struct shutdown **out, struct link_env *env, struct workers *ws, struct reap *reap,
    int64_t grace_ns, void (*done)(void *arg), void *arg, struct err *e)
{
	struct shutdown *sd = calloc(1, sizeof(*sd));

	if (sd == NULL)
		return err_set(e, TX_ENOMEM, "out of memory");
	sd->env = env;
	sd->workers = ws;
	sd->reap = reap;
	sd->grace_ns = grace_ns;
	sd->done = done;
	sd->arg = arg;
	sd->step = event_new(env->base, -1, 0, on_step, sd);
	if (sd->step == NULL) {
		free(sd);
		return err_set(e, TX_ENOMEM, "out of memory");
	}
	*out = sd;
	return 0;
}

void shutdown_free(struct shutdown *sd)
{
	if (sd == NULL)
		return;
	event_free(sd->step);
	free(sd);
}

/* ---- jobs ---- */

static void end_jobs(struct shutdown *sd)
{
	struct job *j;

	for (j = jobs_first(sd->env->jobs); j != NULL; j = jobs_next(j)) {
		int64_t grace = j->spec->stop_grace_ns;

		if (sd->now)
			ending_kill(j, KM_REASON_SHUTDOWN);
		else
			ending_begin(j, KM_REASON_SHUTDOWN, j->spec->stop_signal,
			    grace < sd->grace_ns ? grace : sd->grace_ns);
	}
}

/* Whether there is such a job, and it is still worth waiting for. */
static bool wait_for_job(
    const struct shutdown *sd, bool (*is)(const struct job *j), int64_t since, int64_t limit_ns)
{
	struct job *j;

	if (clock_monotonic_ns() - since >= limit_ns)
		return false;
	for (j = jobs_first(sd->env->jobs); j != NULL; j = jobs_next(j))
		if (is(j))
			return true;
	return false;
}

static bool is_unreaped(const struct job *j)
{
	return j->pid > 0 && !j->reaped;
}

static bool is_unpublished(const struct job *j)
{
	return j->state != KM_STATE_ENDED;
}

/* ---- orphans: children that are neither jobs nor workers ---- */

static void signal_orphan(pid_t pid, void *arg)
{
	struct shutdown *sd = arg;

	if (workers_has(sd->workers, pid) || jobs_find_pid(sd->env->jobs, pid) != NULL)
		return;
	sd->orphans++;
	/* A child that is not reaped: the number is its own. */
	if (sd->orphan_signal != 0)
		(void)kill(pid, sd->orphan_signal);
}

static unsigned signal_orphans(struct shutdown *sd, int signo)
{
	sd->orphans = 0;
	sd->orphan_signal = signo;
	(void)reap_children(signal_orphan, sd);
	return sd->orphans;
}

/* Whether there are still some that are worth waiting for. New ones appear as their parents die. */
static bool orphans_left(struct shutdown *sd)
{
	int64_t now = clock_monotonic_ns();
	bool kill_now = sd->now || now - sd->begun_at >= sd->grace_ns;

	if (signal_orphans(sd, kill_now ? SIGKILL : 0) == 0)
		return false;
	if (now - sd->phase_at < UNKILLABLE_NS || now - sd->begun_at < sd->grace_ns + UNKILLABLE_NS)
		return true;
	log_error("%u processes could not be killed and are left", sd->orphans);
	return false;
}

/* ---- phases ---- */

static void enter(struct shutdown *sd, enum phase phase)
{
	static const char *const names[] = {"idle", "jobs", "orphans", "exits", "workers", "done"};

	log_debug("shutdown: %s -> %s", names[sd->phase], names[phase]);
	sd->phase = phase;
	sd->phase_at = clock_monotonic_ns();
	if (phase == ORPHANS)
		(void)signal_orphans(sd, sd->now ? SIGKILL : SIGTERM);
}

static bool workers_left(struct shutdown *sd)
{
	if (workers_alive(sd->workers) == 0)
		return false;
	if (sd->now || clock_monotonic_ns() - sd->phase_at >= DRAIN_NS)
		workers_kill(sd->workers);
	return true;
}

/* Whether the phase still has to wait. */
static bool waits(struct shutdown *sd)
{
	switch (sd->phase) {
	case JOBS:
		return wait_for_job(sd, is_unreaped, sd->now ? sd->now_at : sd->begun_at,
		    sd->now ? UNKILLABLE_NS : sd->grace_ns + UNKILLABLE_NS);
	case ORPHANS:
		return orphans_left(sd);
	case EXITS:
		return wait_for_job(sd, is_unpublished, sd->phase_at, sd->now ? 0 : EXITS_NS);
	case WORKERS:
		return workers_left(sd);
	case IDLE:
	case DONE:
		break;
	}
	return true;
}

static void step(struct shutdown *sd)
{
	struct timeval tick = duration_timeval(TICK_NS);

	if (sd->phase == IDLE || sd->phase == DONE)
		return;
	while (sd->phase != DONE && !waits(sd))
		enter(sd, sd->phase + 1);
	if (sd->phase == DONE)
		sd->done(sd->arg);
	else
		event_add(sd->step, &tick);
}

static void on_step(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	step(arg);
}

void shutdown_request(struct shutdown *sd)
{
	if (sd->phase == IDLE) {
		log_info("shutting down: %u processes", jobs_running(sd->env->jobs));
		sd->env->stopping = true;
		groups_stop(sd->env->groups);
		sd->begun_at = clock_monotonic_ns();
		enter(sd, JOBS);
		workers_drain(sd->workers);
	} else {
		log_warn("asked again: killing what is left");
		sd->now = true;
		sd->now_at = clock_monotonic_ns();
	}
	end_jobs(sd);
	/* Those that were kept for their groups. */
	reap_run(sd->reap);
	shutdown_poke(sd);
}

void shutdown_set_grace(struct shutdown *sd, int64_t grace_ns)
{
	sd->grace_ns = grace_ns;
}

void shutdown_poke(struct shutdown *sd)
{
	if (sd->phase != IDLE && sd->phase != DONE)
		event_active(sd->step, EV_TIMEOUT, 0);
}
