/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A start is done by the spawner's thread, and as a rule it is over before anybody has missed the
 * loop. Where it is not (a file system that does not answer, a write lease on the program) the loop
 * goes on: the job is QUEUED, what the start needs stays with its launch (`flight`), and jobs that
 * are to be started meanwhile wait, QUEUED as well, in their order.
 */
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/keeper/cgroup.h"
#include "agent/keeper/exec_log.h"
#include "agent/keeper/job.h"
#include "agent/keeper/pump.h"
#include "agent/keeper/spawner.h"
#include "agent/keeper/start_internal.h"
#include "agent/keeper/terminal.h"
#include "common/duration.h"
#include "common/log.h"

/* A child that sleeps longer hangs. One that wants to run, on a busy machine, has more time. */
#define USUAL_NS      (20 * NS_PER_MS)
#define USUAL_TIMES   10
#define LIMIT_NS      (60 * NS_PER_S)
#define DUE_NS        (10 * NS_PER_S)
#define WAITING_BYTES ((size_t)64 << 20)
#define STARTS_A_TURN 8

static const struct timeval TICK = {1, 0};

static void on_done(evutil_socket_t fd, short what, void *arg);
static void on_tick(evutil_socket_t fd, short what, void *arg);
static void on_next(evutil_socket_t fd, short what, void *arg);

int start_later_init(struct starter *st, struct err *e)
{
	struct event_base *base = jobs_base(st->jobs);

	TAILQ_INIT(&st->waiting);
	st->tick = evtimer_new(base, on_tick, st);
	st->next = event_new(base, -1, 0, on_next, st);
	if (st->tick == NULL || st->next == NULL)
		return err_set(e, TX_ENOMEM, "out of memory");
	return 0;
}

/* At the first start: who does not come to it needs no thread. */
static struct spawner *get_spawner(struct starter *st)
{
	struct err e;

	if (st->spawner != NULL || st->no_spawner)
		return st->spawner;
	if (spawner_new(&st->spawner, &e) == 0) {
		st->done =
		    event_new(jobs_base(st->jobs), spawner_fd(st->spawner), EV_READ, on_done, st);
		if (st->done != NULL)
			return st->spawner;
		err_set(&e, TX_ENOMEM, "out of memory");
		spawner_free(st->spawner);
		st->spawner = NULL;
	}
	st->no_spawner = true;
	log_warn("%s; a start that hangs holds the agent up", e.message);
	return NULL;
}

/* ---- one that is not over yet ---- */

/* What the job is to have once it runs: until then it is as any that is queued. */
static void swap_parts(struct launch *l)
{
	struct job *j = l->job;
	struct launch had = *l;

	l->terminal = j->terminal;
	l->in = j->in;
	l->cgroup = j->cgroup;
	j->terminal = had.terminal;
	j->in = had.in;
	j->cgroup = had.cgroup;
	for (int s = KM_STDOUT; s <= KM_STDERR; s++) {
		l->out[s] = j->out[s];
		j->out[s] = had.out[s];
	}
}

static void take_off(struct starter *st, struct launch *l)
{
	struct job *j = l->job;

	log_info("job %s: its start takes long; it is queued until then", j->id);
	l->spec = j->spec;
	job_spec_hold(l->spec);
	l->rows = j->spec->rows;
	l->columns = j->spec->columns;
	swap_parts(l);
	st->flight = l;
	j->starting = true;
	j->starting_at = clock_monotonic_ns();
	if (j->state == 0)
		job_insert(j);
	/* Where there is no memory for the first, the second looks, too. */
	if (event_add(st->done, NULL) != 0 || event_add(st->tick, &TICK) != 0)
		log_error("job %s: no memory for a timer", j->id);
}

/* Whether it is on its way still, only slowly. */
static bool is_runnable(pid_t pid)
{
	char path[40], text[256];
	const char *at;
	ssize_t n;
	int fd;

	if (pid == 0)
		return true;
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return true;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[n > 0 ? n : 0] = '\0';
	at = strrchr(text, ')');
	return at == NULL || strchr("RZX", at[1] != '\0' ? at[2] : 'R') != NULL;
}

static bool is_over_soon(struct spawner *sp)
{
	for (int i = 0; i < USUAL_TIMES; i++) {
		if (spawner_wait(sp, USUAL_NS))
			return true;
		if (!is_runnable(spawner_pid(sp)))
			break;
	}
	return false;
}

/* Nobody else waits for it. */
static void reap_failed(pid_t pid)
{
	while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}

int start_later_run(struct starter *st, struct launch *l, struct km_refused *why)
{
	struct spawner *sp = get_spawner(st);
	struct spawn_failure failure;
	struct spawn_result got;
	pid_t failed = 0;
	int rc;

	if (sp != NULL) {
		spawner_begin(sp, &l->plan);
		if (!is_over_soon(sp)) {
			take_off(st, l);
			return 0;
		}
		rc = spawner_take(sp, &got, &failure, &failed);
		reap_failed(failed);
	} else {
		rc = spawn_run(&l->plan, &got, &failure);
	}
	if (rc == 0) {
		start_succeed(st, l, &got);
		return 0;
	}
	exec_log_not_started(
	    st->c.exec_log, l->job, failure.stage, failure.sys_errno, failure.text);
	start_fail(st, l);
	return start_refuse(why, KM_WHY_START, failure.stage, failure.sys_errno, failure.text);
}

/* ---- and how it comes out ---- */

static void never_ran(struct job *j, int stage, int sys_errno, const char *text)
{
	j->exit.reason = KM_REASON_EXITED;
	j->exit.value = sys_errno;
	j->exit.stage = (uint32_t)stage;
	snprintf(j->exit.text, sizeof(j->exit.text), "%s", text);
	j->starting = false;
	job_never_ran(j);
}

/* What it was to have, when the job wants it no more: through a job that is none. */
static void throw_away(struct starter *st, struct launch *l)
{
	struct job nobody = {.terminal = -1, .pidfd = -1};

	/* cppcheck-suppress autoVariables ; until it is freed below */
	l->job = &nobody;
	swap_parts(l);
	start_fail(st, l);
}

/* It has come to execute all the same. It is no job: reap lets it go as any orphan. */
static void put_away(struct launch *l, const struct spawn_result *got)
{
	(void)kill(-got->pid, SIGKILL);
	(void)kill(got->pid, SIGKILL);
	if (l->cgroup != NULL)
		(void)cgroup_kill(l->cgroup);
	if (got->pidfd >= 0)
		close(got->pidfd);
}

static void arrive(struct starter *st, struct launch *l, const struct spawn_result *got)
{
	struct job *j = l->job;
	bool resized = l->rows != j->spec->rows || l->columns != j->spec->columns;

	swap_parts(l);
	j->starting = false;
	start_succeed(st, l, got);
	if (resized && j->terminal >= 0)
		(void)terminal_resize(j->terminal, j->spec->rows, j->spec->columns);
	st->c.started(j, st->c.arg);
}

static void settle(struct starter *st)
{
	struct launch *l = st->flight;
	struct job *j = l->job;
	struct spawn_failure failure;
	struct spawn_result got;
	pid_t failed;
	int rc = spawner_take(st->spawner, &got, &failure, &failed);

	event_del(st->done);
	st->flight = NULL;
	reap_failed(failed);
	if (TAILQ_EMPTY(&st->waiting))
		event_del(st->tick);
	else
		event_active(st->next, EV_TIMEOUT, 0);
	if (rc == 0 && j != NULL) {
		arrive(st, l, &got);
		return;
	}
	if (rc == 0)
		put_away(l, &got);
	throw_away(st, l);
	if (j != NULL)
		never_ran(j, failure.stage, failure.sys_errno, failure.text);
}

static void on_done(evutil_socket_t fd, short what, void *arg)
{
	struct starter *st = arg;

	(void)fd;
	(void)what;
	if (st->flight != NULL && spawner_wait(st->spawner, 0))
		settle(st);
}

void start_later_died(struct starter *st, pid_t pid)
{
	pid_t seen = st->flight != NULL ? spawner_pid(st->spawner) : 0;

	if (st->flight == NULL || (seen != 0 && seen != pid))
		return;
	/* It has executed, or failed to: the thread is about to say so. */
	if (spawner_wait(st->spawner, seen == pid ? DUE_NS : USUAL_NS))
		settle(st);
}

static void give_up(struct starter *st)
{
	if (spawner_pid(st->spawner) > 0)
		(void)kill(spawner_pid(st->spawner), SIGKILL);
	st->flight->job = NULL;
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
	struct starter *st = arg;
	int64_t since = clock_monotonic_ns() - LIMIT_NS;
	struct job *j;

	(void)fd;
	(void)what;
	if (st->flight != NULL && spawner_wait(st->spawner, 0)) {
		settle(st);
		return;
	}
	if (start_later_busy(st) && event_add(st->tick, &TICK) != 0)
		log_error("no memory for a timer");
	j = st->flight != NULL ? st->flight->job : NULL;
	if (j != NULL && j->starting_at < since) {
		give_up(st);
		never_ran(j, KM_STAGE_EXEC, ETIMEDOUT, "it did not come to execute within 60 s");
	}
	while ((j = TAILQ_FIRST(&st->waiting)) != NULL && j->starting_at < since) {
		start_later_drop(st, j);
		never_ran(j, KM_STAGE_FORK, ETIMEDOUT,
		    "the start of another process did not come to an end within 60 s");
	}
}

/* ---- those that wait for it ---- */

bool start_later_busy(const struct starter *st)
{
	return st->flight != NULL || !TAILQ_EMPTY(&st->waiting);
}

static int wait_in_line(struct starter *st, struct job *j, struct km_refused *why)
{
	int rc;

	if (st->waiting_bytes + job_spec_memory(j->spec) > WAITING_BYTES)
		return start_refuse(why, KM_WHY_LIMIT, KM_STAGE_NONE, 0,
		    "the start of another process hangs, and too many wait for it");
	rc = start_check(st, j, why);
	if (rc != 0)
		return rc;
	st->waiting_bytes += job_spec_memory(j->spec);
	TAILQ_INSERT_TAIL(&st->waiting, j, in_starting);
	j->starting = true;
	if (j->state == 0)
		job_insert(j);
	log_info("job %s: queued: the start of another process takes long", j->id);
	return 0;
}

bool start_later_waits(struct starter *st, struct job *j, struct km_refused *why, int *rc)
{
	j->starting_at = clock_monotonic_ns();
	if (!start_later_busy(st))
		return false;
	*rc = wait_in_line(st, j, why);
	return true;
}

static void leave_line(struct starter *st, struct job *j)
{
	TAILQ_REMOVE(&st->waiting, j, in_starting);
	st->waiting_bytes -= job_spec_memory(j->spec);
	j->starting = false;
}

void start_later_drop(struct starter *st, struct job *j)
{
	if (!j->starting)
		return;
	if (st->flight == NULL || st->flight->job != j) {
		leave_line(st, j);
		return;
	}
	give_up(st);
	j->starting = false;
}

static void start_waiting(struct starter *st, struct job *j)
{
	struct km_refused why = {0};
	struct launch *l;
	int rc = start_prepare(st, &l, j, &why);

	if (rc == 0)
		rc = start_later_run(st, l, &why);
	if (rc != 0)
		never_ran(j, (int)why.stage, why.sys_errno, why.text);
	else if (j->state == KM_STATE_RUNNING)
		st->c.started(j, st->c.arg);
}

static void on_next(evutil_socket_t fd, short what, void *arg)
{
	struct starter *st = arg;
	struct job *j;

	(void)fd;
	(void)what;
	for (int n = 0; n < STARTS_A_TURN && st->flight == NULL; n++) {
		j = TAILQ_FIRST(&st->waiting);
		if (j == NULL)
			break;
		leave_line(st, j);
		start_waiting(st, j);
	}
	if (st->flight == NULL && !TAILQ_EMPTY(&st->waiting))
		event_active(st->next, EV_TIMEOUT, 0);
	else if (st->flight == NULL)
		event_del(st->tick);
}

void start_later_free(struct starter *st)
{
	struct launch *l = st->flight;

	if (st->spawner != NULL && l != NULL) {
		give_up(st);
		if (spawner_wait(st->spawner, NS_PER_S))
			settle(st);
	}
	if (st->done != NULL)
		event_free(st->done);
	if (st->tick != NULL)
		event_free(st->tick);
	if (st->next != NULL)
		event_free(st->next);
	spawner_free(st->spawner);
}
