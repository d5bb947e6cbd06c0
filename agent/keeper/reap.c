/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/keeper/reap.h"

#include <dirent.h>
#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/keeper/ending.h"
#include "agent/keeper/job.h"
#include "agent/keeper/tree.h"
#include "common/duration.h"
#include "common/log.h"
#include "common/signals.h"

/* From so many jobs on, a look at all children is worth being put off. */
#define MANY 64

#define LATER_NS (20 * NS_PER_MS)
#define SHARE    10 /* a look at all takes no more than this part of the time */

struct reap {
	struct signal_watch *sigchld;
	struct jobs *jobs;
	const struct reap_ops *ops;
	void *arg;
	bool zombies; /* some are kept: waiting for any child would show the same one for ever */
	uint64_t rounds;
	struct event *later;
	int64_t later_ns;
	uint64_t looked; /* children, one after the other */
};

static void run_dead(struct reap *r);

static void on_sigchld(int signo, void *arg)
{
	struct reap *r = arg;

	(void)signo;
	if (!r->zombies && jobs_running(r->jobs) < MANY)
		reap_run(r);
	else
		run_dead(r);
}

static void on_later(evutil_socket_t fd, short what, void *arg)
{
	struct reap *r = arg;
	int64_t took = clock_monotonic_ns();

	(void)fd;
	(void)what;
	reap_run(r);
	took = clock_monotonic_ns() - took;
	r->later_ns = took * SHARE > LATER_NS ? took * SHARE : LATER_NS;
}

int reap_new(struct reap **out, struct event_base *base, struct jobs *js,
    const struct reap_ops *ops, void *arg, struct err *e)
{
	struct reap *r = calloc(1, sizeof(*r));
	int rc;

	if (r == NULL)
		return err_set(e, TX_ENOMEM, "out of memory");
	r->jobs = js;
	r->ops = ops;
	r->arg = arg;
	r->later_ns = LATER_NS;
	r->later = evtimer_new(base, on_later, r);
	if (r->later == NULL) {
		reap_free(r);
		return err_set(e, TX_ENOMEM, "out of memory");
	}
	rc = signals_watch(&r->sigchld, base, SIGCHLD, on_sigchld, r, e);
	if (rc != 0) {
		reap_free(r);
		return rc;
	}
	if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0)
		log_warn("cannot become a subreaper: %s", strerror(errno));
	*out = r;
	return 0;
}

void reap_free(struct reap *r)
{
	if (r == NULL)
		return;
	signals_unwatch(r->sigchld);
	if (r->later != NULL)
		event_free(r->later);
	free(r);
}

/* ---- the list of children ---- */

/* Adds to *n; false: there is no such list (any more). */
static bool list_task(const char *task, void (*each)(pid_t pid, void *arg), void *arg, int *n)
{
	char path[64];
	FILE *f;
	int pid;

	snprintf(path, sizeof(path), "/proc/self/task/%.20s/children", task);
	f = fopen(path, "re");
	if (f == NULL)
		return false;
	while (fscanf(f, "%d", &pid) == 1) {
		++*n;
		each((pid_t)pid, arg);
	}
	fclose(f);
	return true;
}

/* Each thread has a list of its own: of those that it has made, or that were handed to it. */
int reap_children(void (*each)(pid_t pid, void *arg), void *arg)
{
	DIR *dir = opendir("/proc/self/task");
	const struct dirent *d;
	bool any = false;
	int n = 0;

	if (dir == NULL)
		return TX_ESYS;
	while ((d = readdir(dir)) != NULL)
		if (d->d_name[0] != '.' && list_task(d->d_name, each, arg, &n))
			any = true;
	closedir(dir);
	return any ? n : TX_ESYS;
}

/* ---- one child ---- */

static void fill_exit(struct km_exit *x, int status, const struct rusage *ru)
{
	if (WIFEXITED(status)) {
		x->kind = KM_END_CODE;
		x->value = WEXITSTATUS(status);
	} else {
		x->kind = KM_END_SIGNAL;
		x->value = WTERMSIG(status);
		x->core = WCOREDUMP(status) ? 1 : 0;
	}
	x->utime_us = (int64_t)ru->ru_utime.tv_sec * 1000000 + ru->ru_utime.tv_usec;
	x->stime_us = (int64_t)ru->ru_stime.tv_sec * 1000000 + ru->ru_stime.tv_usec;
	x->maxrss_kib = (uint64_t)ru->ru_maxrss;
	x->minflt = (uint64_t)ru->ru_minflt;
	x->majflt = (uint64_t)ru->ru_majflt;
	x->inblock = (uint64_t)ru->ru_inblock;
	x->oublock = (uint64_t)ru->ru_oublock;
	x->nvcsw = (uint64_t)ru->ru_nvcsw;
	x->nivcsw = (uint64_t)ru->ru_nivcsw;
}

/* A signal to its tree goes on: without a control group, its orphans are known by the leader. */
static bool is_needed(const struct job *j)
{
	return j->cgroup == NULL && tree_strike_pending(j);
}

/* Others of it live, or that is not known yet. */
static bool may_be_kept(const struct job *j)
{
	return is_needed(j) || (j->kill_at != 0 && (j->cgroup == NULL || tree_lives(j)));
}

static void look_later(struct reap *r)
{
	struct timeval tv = duration_timeval(r->later_ns);

	if (!event_pending(r->later, EV_TIMEOUT, NULL) && event_add(r->later, &tv) != 0)
		log_error("no memory for a timer");
}

static void reap_job(struct job *j)
{
	struct rusage ru;
	char how[64];
	int status;
	pid_t got;

	/* What is ended by telex ends whole: nobody of it survives its leader's last moment. */
	if (j->cause != 0) {
		(void)kill(-j->pid, SIGKILL);
		if (tree_lives(j))
			tree_kill(j);
	}
	do
		got = wait4(j->pid, &status, 0, &ru);
	while (got < 0 && errno == EINTR);
	if (got == j->pid) {
		fill_exit(&j->exit, status, &ru);
	} else {
		j->exit.kind = KM_END_UNKNOWN;
		snprintf(j->exit.text, sizeof(j->exit.text), "its status could not be had: %s",
		    strerror(errno));
	}
	j->exit.end_ns = clock_realtime_ns();
	ending_explain(j);
	job_reaped(j);
	ending_describe(j, how, sizeof(how));
	log_info("job %s: pid %d %s", j->id, (int)j->pid, how);
}

/* One whose start is not over yet is a job only after that. */
static struct job *find_job(struct reap *r, pid_t pid)
{
	struct job *j = jobs_find_pid(r->jobs, pid);

	if (j != NULL || r->ops->unknown == NULL)
		return j;
	r->ops->unknown(pid, r->arg);
	return jobs_find_pid(r->jobs, pid);
}

static void reap_other(struct reap *r, pid_t pid)
{
	int status = 0;

	if (waitpid(pid, &status, WNOHANG) != pid)
		return;
	if (r->ops->other == NULL || !r->ops->other(pid, status, r->arg))
		log_debug("orphan %d is gone", (int)pid);
}

/* ---- rounds ---- */

/*
 * The usual round: whoever is dead, one after the other. It ends at a job that telex is ending:
 * whether that may be reaped depends on the other children. Whether all that is dead was dealt
 * with.
 */
static bool run_any(struct reap *r, bool *any)
{
	for (;;) {
		siginfo_t si = {.si_pid = 0};
		struct job *j;

		if (waitid(P_ALL, 0, &si, WEXITED | WNOHANG | WNOWAIT) != 0) {
			if (errno == EINTR)
				continue;
			return true;
		}
		if (si.si_pid == 0)
			return true;
		j = find_job(r, si.si_pid);
		if (j != NULL && may_be_kept(j))
			return false;
		if (j != NULL)
			reap_job(j);
		else
			reap_other(r, si.si_pid);
		*any = true;
	}
}

/* Whether others of it live, and it is not time yet to end them: its leader stays a zombie. */
static bool is_kept(const struct reap *r, const struct job *j)
{
	if (j->kill_at == 0)
		return false;
	return j->cgroup != NULL ? tree_lives(j) : j->group_seen == r->rounds;
}

/* A look at all children: the dead ones, and which jobs still have somebody. */
struct look {
	struct reap *r;
	pid_t *dead;
	size_t n, size;
};

static void note_child(pid_t pid, void *arg)
{
	struct look *look = arg;
	siginfo_t si = {.si_pid = 0};
	struct job *j;

	look->r->looked++;
	if (waitid(P_PID, (id_t)pid, &si, WEXITED | WNOHANG | WNOWAIT) != 0)
		return;
	if (si.si_pid == 0) {
		/* Alive, and no leader itself: whose is it? */
		if (jobs_find_pid(look->r->jobs, pid) == NULL &&
		    (j = tree_owner(look->r->jobs, pid)) != NULL)
			j->group_seen = look->r->rounds;
		return;
	}
	if (look->n == look->size) {
		size_t size = look->size == 0 ? 64 : look->size * 2;
		pid_t *more = reallocarray(look->dead, size, sizeof(*more));

		if (more == NULL)
			return;
		look->dead = more;
		look->size = size;
	}
	look->dead[look->n++] = pid;
}

static bool run_listed(struct reap *r)
{
	struct look look = {.r = r};
	bool any = false;

	r->rounds++;
	if (reap_children(note_child, &look) < 0)
		log_warn("cannot list the children: %s", strerror(errno));
	r->zombies = false;
	for (size_t i = 0; i < look.n; i++) {
		struct job *j = find_job(r, look.dead[i]);

		if (j != NULL && (is_needed(j) || is_kept(r, j))) {
			if (is_needed(j))
				look_later(r);
			r->zombies = true;
			continue;
		}
		if (j != NULL)
			reap_job(j);
		else
			reap_other(r, look.dead[i]);
		any = true;
	}
	free(look.dead);
	return any;
}

void reap_run(struct reap *r)
{
	bool any = false;

	if (r->zombies || !run_any(r, &any))
		while (run_listed(r))
			any = true;
	if (any && r->ops->round != NULL)
		r->ops->round(r->arg);
}

/*
 * The kernel looks at every child to find a dead one: among many jobs, that would be the most of
 * each one's end. Those that died say so by their pidfds; whatever else there is (orphans, workers)
 * is looked for a little later, once for all.
 */
static void run_dead(struct reap *r)
{
	bool any = false;
	struct job *j;

	while ((j = jobs_find_dead(r->jobs)) != NULL) {
		/* One that is kept, as it seems, is not to be shown again and again. */
		if (may_be_kept(j)) {
			job_hide_dead(j);
			r->zombies = true;
			continue;
		}
		reap_job(j);
		any = true;
	}
	if (any && r->ops->round != NULL)
		r->ops->round(r->arg);
	look_later(r);
}

uint64_t reap_looked(const struct reap *r)
{
	return r->looked;
}

void reap_set_later(struct reap *r, int64_t ns)
{
	r->later_ns = ns;
}
