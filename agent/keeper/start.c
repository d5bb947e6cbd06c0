/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A start either leaves a running job or nothing at all: pipes, pumps and lookups come first, the
 * fork last, so that after it nothing can fail.
 */
#include "agent/keeper/start.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/keeper/cgroup.h"
#include "agent/keeper/ending.h"
#include "agent/keeper/environment.h"
#include "agent/keeper/exec_log.h"
#include "agent/keeper/job.h"
#include "agent/keeper/pump.h"
#include "agent/keeper/spawn.h"
#include "agent/keeper/start_internal.h"
#include "agent/keeper/terminal.h"
#include "agent/keeper/tree.h"
#include "agent/keeper/user.h"
#include "agent/keeper/user_bounds.h"
#include "common/ceiling.h"
#include "common/duration.h"
#include "common/log.h"

int starter_new(
    struct starter **out, struct jobs *js, const struct starter_config *config, struct err *e)
{
	struct starter *st = calloc(1, sizeof(*st));
	struct rlimit now;
	int rc;

	if (st == NULL)
		return err_set(e, TX_ENOMEM, "out of memory");
	st->jobs = js;
	st->c = *config;
	st->fd_ceiling = INT_MAX;
	if (getrlimit(RLIMIT_NOFILE, &now) == 0 && now.rlim_cur < INT_MAX)
		st->fd_ceiling = (int)(now.rlim_cur / 5 * 4);
	st->tty = terminal_group();
	st->null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	rc = st->null_fd < 0 ? err_sys(e, errno, "/dev/null") : user_lookup(&st->own, NULL, e);
	if (rc == 0)
		rc = start_later_init(st, e);
	if (rc == 0)
		*out = st;
	else
		starter_free(st);
	return rc;
}

void starter_set_sizes(
    struct starter *st, uint64_t output_buffer, uint64_t max_output_buffer, uint64_t max_spool)
{
	st->c.output_buffer = output_buffer;
	st->c.max_output_buffer = max_output_buffer;
	st->c.max_spool = max_spool;
}

void starter_set_ceiling(struct starter *st, const struct ceiling *ceiling)
{
	st->ceiling = ceiling;
}

const char *starter_own_name(const struct starter *st)
{
	return st->own->name;
}

void starter_free(struct starter *st)
{
	if (st == NULL)
		return;
	start_later_free(st);
	if (st->null_fd >= 0)
		close(st->null_fd);
	user_free(st->own);
	free(st);
}

int start_refuse(struct km_refused *why, int reason, int stage, int sys_errno, const char *text)
{
	why->why = (uint32_t)reason;
	why->stage = (uint32_t)stage;
	why->sys_errno = sys_errno;
	snprintf(why->text, sizeof(why->text), "%s", text);
	return TX_ESYS;
}

int start_refuse_system(struct km_refused *why, int sys_errno, const char *what)
{
	char text[KM_TEXT_SIZE];

	snprintf(text, sizeof(text), "%s: %s", what, strerror(sys_errno));
	return start_refuse(why, KM_WHY_SYSTEM, KM_STAGE_NONE, sys_errno, text);
}

/* ---- who, and in what environment ---- */

/* What the ceiling says to the user that was found. */
static int check_uid(const struct starter *st, const struct user *u, struct km_refused *why)
{
	struct err e;

	if (user_bounds(st->ceiling, u, &e) == 0)
		return 0;
	log_error("%s (uid %u): %s", u->name, (unsigned)u->uid, e.message);
	exec_log_refused(st->c.exec_log, "start", "", "", e.message, false);
	return start_refuse(why, KM_WHY_CEILING, KM_STAGE_USER, EPERM, e.message);
}

static int find_user(struct job_spec *spec, struct user **found, struct km_refused *why)
{
	struct err e;
	int rc;

	if (spec->user == NULL)
		return 0;
	rc = user_lookup(found, spec->user, &e);
	switch (rc) {
	case 0:
		return 0;
	case TX_ENOENT:
		return start_refuse(why, KM_WHY_START, KM_STAGE_USER, ENOENT, e.message);
	case TX_EPERM:
		return start_refuse(why, KM_WHY_START, KM_STAGE_USER, EPERM, e.message);
	case TX_ENOMEM:
		return start_refuse_system(why, ENOMEM, "cannot look up the user");
	default:
		return start_refuse(why, KM_WHY_START, KM_STAGE_USER,
		    e.sys_errno != 0 ? e.sys_errno : EIO, e.message);
	}
}

/* Whether the sizes are within the agent's maxima. */
static int check_sizes(
    const struct starter *st, const struct job_spec *spec, struct km_refused *why)
{
	const bool too_big = spec->output_buffer > st->c.max_output_buffer;
	char text[KM_TEXT_SIZE];

	if (!too_big && spec->spool <= st->c.max_spool)
		return 0;
	why->newest = too_big ? st->c.max_output_buffer : st->c.max_spool;
	snprintf(text, sizeof(text), "%s of %llu bytes is above this agent's maximum, %llu",
	    too_big ? "an output buffer" : "an output spool",
	    (unsigned long long)(too_big ? spec->output_buffer : spec->spool),
	    (unsigned long long)why->newest);
	return start_refuse(why, KM_WHY_MAXIMUM, KM_STAGE_NONE, 0, text);
}

/* The spec's limits, and the agent's original limit of open files: ours was raised. */
static size_t fill_rlimits(
    const struct starter *st, const struct job_spec *spec, struct spawn_rlimit *out)
{
	size_t n = 0;

	out[n].resource = RLIMIT_NOFILE;
	out[n].at_most = false;
	out[n++].value = st->c.nofile;
	for (size_t i = 0; i < spec->n_rlimits && n < START_RLIMITS_MAX; i++) {
		const struct job_rlimit *l = &spec->rlimits[i];

		out[n].resource = l->resource;
		out[n].at_most = l->at_most != 0;
		out[n].value.rlim_cur = l->soft == UINT64_MAX ? RLIM_INFINITY : (rlim_t)l->soft;
		out[n++].value.rlim_max = l->hard == UINT64_MAX ? RLIM_INFINITY : (rlim_t)l->hard;
	}
	return n;
}

/* Its own control group, with the limits that it asks for. */
static int plan_cgroup(
    struct starter *st, struct job *j, struct spawn_plan *plan, struct km_refused *why)
{
	const struct cgroup_limits limits = {
	    .memory = j->spec->memory, .pids = j->spec->pids, .cpu_millis = j->spec->cpu_millis};
	struct err e;
	int rc = cgroup_new(&j->cgroup, st->c.cgroups, &limits, &e);

	if (rc == 0 && j->cgroup != NULL)
		rc = cgroup_plan(j->cgroup, plan, &e);
	switch (rc) {
	case 0:
		return 0;
	case TX_ENOMEM:
		return start_refuse_system(why, ENOMEM, "cannot make a control group");
	default:
		return start_refuse(why, KM_WHY_START, KM_STAGE_CGROUP,
		    rc == TX_ESYS ? e.sys_errno : EOPNOTSUPP, e.message);
	}
}

/* Points into the spec, the user and l. */
static int make_plan(
    struct starter *st, struct launch *l, const struct user *user, struct km_refused *why)
{
	const struct job_spec *spec = l->job->spec;
	const struct environment_plan env_plan = {
	    .user = user,
	    .process_id = l->job->id,
	    .clean = spec->clean_env,
	    .extra = spec->env,
	    .n_extra = spec->envc,
	};

	l->env = environment_new(&env_plan);
	if (l->env == NULL)
		return start_refuse_system(why, ENOMEM, "cannot make the environment");
	l->plan = (struct spawn_plan){
	    .argv = spec->argv,
	    .envp = l->env,
	    .default_path = environment_path(user),
	    .fds = {l->ends.fds[0], l->ends.fds[1], l->ends.fds[2]},
	    .n_fds = 3,
	    .terminal = spec->terminal,
	    .cwd = spec->cwd,
	    .home = user->home,
	    .change_user = user->change,
	    .uid = user->uid,
	    .gid = user->gid,
	    .groups = user->groups,
	    .n_groups = user->n_groups,
	    .rlimits = l->limits,
	    .n_rlimits = fill_rlimits(st, spec, l->limits),
	    .umask = spec->umask,
	    .nice = spec->nice,
	    /* Else a program with the setuid bit would be root. */
	    .no_new_privs = spec->no_new_privs || (st->ceiling != NULL && !st->ceiling->root),
	    .blocked = spec->blocked,
	    .ignored = spec->ignored,
	    .plain_priority = true,
	};
	return plan_cgroup(st, l->job, &l->plan, why);
}

static void launch_free(struct starter *st, struct launch *l, int terminal)
{
	start_close_ends(st, terminal, &l->ends);
	cgroup_unplan(&l->plan);
	user_free(l->found);
	free(l->env);
	job_spec_free(l->spec);
	free(l);
}

int start_prepare(struct starter *st, struct launch **out, struct job *j, struct km_refused *why)
{
	struct launch *l = calloc(1, sizeof(*l));
	const struct user *user;
	int rc;

	if (l == NULL)
		return start_refuse_system(why, ENOMEM, "cannot start a process");
	l->job = j;
	l->ends = (struct start_ends){{-1, -1, -1}};
	l->terminal = -1;
	rc = find_user(j->spec, &l->found, why);
	user = l->found != NULL ? l->found : st->own;
	if (rc == 0)
		rc = check_uid(st, user, why);
	if (rc == 0)
		rc = start_streams(st, j, user, &l->ends, why);
	if (rc == 0)
		rc = make_plan(st, l, user, why);
	if (rc == 0)
		rc = exec_log_exec(st->c.exec_log, j, user, why);
	l->start_ns = clock_realtime_ns();
	l->born_ns = tree_now_ns();
	if (rc != 0) {
		start_fail(st, l);
		return rc;
	}
	*out = l;
	return 0;
}

void start_fail(struct starter *st, struct launch *l)
{
	struct job *j = l->job;

	launch_free(st, l, j->terminal);
	start_drop_pumps(j);
	cgroup_put(j->cgroup);
	j->cgroup = NULL;
}

void start_succeed(struct starter *st, struct launch *l, const struct spawn_result *got)
{
	struct job *j = l->job;

	j->pid = got->pid;
	j->pidfd = got->pidfd;
	j->start_ns = l->start_ns;
	j->born_ns = l->born_ns;
	launch_free(st, l, j->terminal);
	if (j->state == KM_STATE_QUEUED)
		job_started(j);
	else
		job_insert(j);
	ending_started(j);
	exec_log_started(st->c.exec_log, j);
	log_info(
	    "job %s: started %s as pid %d for %s", j->id, j->spec->argv[0], (int)j->pid, j->owner);
}

int start_admit(struct starter *st, const char *id, const char *owner, struct job_spec *spec,
    struct job **out, struct km_refused *why)
{
	char text[KM_TEXT_SIZE];
	int rc;

	if (jobs_running(st->jobs) >= jobs_max(st->jobs)) {
		snprintf(text, sizeof(text),
		    "%u processes are running or queued, and no more are allowed",
		    jobs_max(st->jobs));
		return start_refuse(why, KM_WHY_LIMIT, KM_STAGE_NONE, 0, text);
	}
	rc = check_sizes(st, spec, why);
	if (rc != 0)
		return rc;
	*out = job_new(st->jobs, id, owner, spec);
	return *out != NULL ? 0 : start_refuse_system(why, ENOMEM, "cannot hold another process");
}

void start_withdraw(struct job *j)
{
	j->spec = NULL;
	job_free(j);
}

int start_check(struct starter *st, struct job *j, struct km_refused *why)
{
	struct user *user = NULL;
	int rc = find_user(j->spec, &user, why);

	if (rc == 0)
		rc = check_uid(st, user != NULL ? user : st->own, why);
	user_free(user);
	return rc;
}

int start_launch(struct starter *st, struct job *j, struct km_refused *why)
{
	struct launch *l;
	int rc;

	if (start_later_waits(st, j, why, &rc))
		return rc;
	rc = start_prepare(st, &l, j, why);
	return rc == 0 ? start_later_run(st, l, why) : rc;
}

int start_job(struct starter *st, const char *id, const char *owner, struct job_spec *spec,
    struct job **out, struct km_refused *why)
{
	struct job *j;
	int rc = start_admit(st, id, owner, spec, &j, why);

	if (rc != 0)
		return rc;
	rc = start_launch(st, j, why);
	if (rc == 0) {
		*out = j;
		return 0;
	}
	start_withdraw(j);
	return rc;
}
