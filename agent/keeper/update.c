/* SPDX-License-Identifier: Apache-2.0 */
/*
 * New limits for a process that runs: KM_UPDATE. All or nothing: what was set before a failure is
 * set back. An agent without privileges cannot raise again what it lowered: so whatever may fail
 * comes first, and what lowers something, which is always allowed, last.
 */

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>

#include "agent/keeper/bounds.h"
#include "agent/keeper/cgroup.h"
#include "agent/keeper/ending.h"
#include "agent/keeper/job.h"
#include "agent/keeper/link_internal.h"
#include "common/job_spec.h"
#include "common/log.h"

struct change {
	const struct km_update *m;
	const struct job *j;
	struct rlimit before[JOB_RLIMITS_MAX];
	bool changed[JOB_RLIMITS_MAX];
	int nice_before;
	bool nice_changed;
};

static int refuse(struct km_refused *why, enum km_why reason, int sys_errno)
{
	why->why = reason;
	why->sys_errno = sys_errno;
	return TX_ESYS;
}

/* ---- resource limits ---- */

static rlim_t to_rlim(uint64_t value)
{
	return value == UINT64_MAX ? RLIM_INFINITY : (rlim_t)value;
}

/* The process is not reaped: the number is its own. */
static int call_prlimit(
    const struct change *c, uint32_t i, const struct rlimit *now, struct rlimit *before)
{
	unsigned resource = c->m->rlimits[i].resource;

	return prlimit(c->j->pid, (__rlimit_resource_t)resource, now, before) == 0 ? 0 : errno;
}

/* Those whose hard limit goes down, or the others. */
static int set_rlimits(struct change *c, bool down, struct km_refused *why)
{
	for (uint32_t i = 0; i < c->m->n_rlimits; i++) {
		const struct job_rlimit *l = &c->m->rlimits[i];
		const struct rlimit now = {to_rlim(l->soft), to_rlim(l->hard)};
		int error = 0;

		if (!c->changed[i])
			error = call_prlimit(c, i, NULL, &c->before[i]);
		if (error == 0 && (now.rlim_max < c->before[i].rlim_max) != down)
			continue;
		if (error == 0)
			error = call_prlimit(c, i, &now, NULL);
		if (error != 0) {
			snprintf(why->text, sizeof(why->text), "cannot set the limit %s: %s",
			    job_rlimit_name((int)l->resource),
			    error == EPERM ? "the agent may not raise it so far" : strerror(error));
			return refuse(why, KM_WHY_SYSTEM, error);
		}
		c->changed[i] = true;
	}
	return 0;
}

/* ---- nice ---- */

/* To a lower priority, or to a higher one. */
static int set_nice(struct change *c, bool down, struct km_refused *why)
{
	id_t group = (id_t)c->j->pid;
	int error;

	if (!c->m->set_nice)
		return 0;
	errno = 0;
	if (!c->nice_changed)
		c->nice_before = getpriority(PRIO_PGRP, group);
	error = errno;
	if (error == 0 && (c->m->nice > c->nice_before) != down)
		return 0;
	if (error == 0 && setpriority(PRIO_PGRP, group, c->m->nice) != 0)
		error = errno;
	if (error != 0) {
		snprintf(why->text, sizeof(why->text), "cannot set the nice value to %d: %s",
		    c->m->nice,
		    error == EACCES || error == EPERM ? "the agent may not raise a priority"
		                                      : strerror(error));
		return refuse(why, KM_WHY_SYSTEM, error);
	}
	c->nice_changed = true;
	return 0;
}

/* ---- the control group ---- */

static int set_cgroup(const struct change *c, struct km_refused *why)
{
	const struct cgroup_limits limits = {
	    .memory = c->m->memory, .pids = c->m->pids, .cpu_millis = c->m->cpu_millis};
	struct err e;
	int rc;

	if (limits.memory == 0 && limits.pids == 0 && limits.cpu_millis == 0)
		return 0;
	if (c->j->cgroup == NULL)
		rc = err_set(&e, TX_EUNSUPPORTED,
		    "this process has no control group: limits of memory, cpu and pids cannot be "
		    "set");
	else
		rc = cgroup_set_limits(c->j->cgroup, &limits, &e);
	if (rc == 0)
		return 0;
	snprintf(why->text, sizeof(why->text), "%.*s", (int)sizeof(why->text) - 1, e.message);
	return refuse(why, rc == TX_EUNSUPPORTED ? KM_WHY_NO_CGROUP : KM_WHY_SYSTEM,
	    rc == TX_ESYS ? e.sys_errno : 0);
}

/* ---- the whole ---- */

static void set_back(const struct change *c)
{
	if (c->nice_changed && setpriority(PRIO_PGRP, (id_t)c->j->pid, c->nice_before) != 0)
		log_warn(
		    "job %s: its nice value cannot be set back: %s", c->j->id, strerror(errno));
	for (uint32_t i = c->m->n_rlimits; i-- > 0;) {
		int error = c->changed[i] ? call_prlimit(c, i, &c->before[i], NULL) : 0;

		if (error != 0)
			log_warn("job %s: the limit %s cannot be set back: %s", c->j->id,
			    job_rlimit_name((int)c->m->rlimits[i].resource), strerror(error));
	}
}

/* NULL, or what is wrong with it. */
static const char *find_fault(const struct km_update *m, char *text, size_t size)
{
	for (uint32_t i = 0; i < m->n_rlimits; i++) {
		const struct job_rlimit *l = &m->rlimits[i];
		const char *name =
		    l->resource > INT32_MAX ? NULL : job_rlimit_name((int)l->resource);

		if (name == NULL)
			return "limits: no such limit";
		if (l->soft > l->hard) {
			snprintf(text, size, "limits: %s: soft is above hard", name);
			return text;
		}
	}
	if (m->set_nice && (m->nice < -20 || m->nice > 19))
		return "nice: not -20 to 19";
	if (m->memory != 0 && m->memory < JOB_MEMORY_MIN)
		return "control_limits.memory_bytes: less than 1 MiB";
	if (m->cpu_millis != 0 && m->cpu_millis < JOB_CPU_MILLIS_MIN)
		return "control_limits.cpu_millis: less than 10";
	return NULL;
}

static int apply(const struct km_update *m, const struct job *j, struct km_refused *why)
{
	struct change c = {.m = m, .j = j};
	int rc = set_rlimits(&c, false, why);

	if (rc == 0)
		rc = set_nice(&c, false, why);
	if (rc == 0)
		rc = set_cgroup(&c, why);
	if (rc == 0)
		rc = set_nice(&c, true, why);
	if (rc == 0)
		rc = set_rlimits(&c, true, why);
	if (rc != 0)
		set_back(&c);
	return rc;
}

int update_ask(struct link *l, const union km_any *any, int *fds)
{
	const struct km_update *m = &any->update;
	struct km_refused why = {0};
	struct km_done done = {0};
	char text[KM_TEXT_SIZE];
	const char *fault;
	struct job *j;
	int rc;

	(void)fds;
	if (m->n_rlimits > JOB_RLIMITS_MAX || m->by[0] == '\0')
		return link_violation(l, "an update that is none");
	j = bounds_find(l, m->hdr.seq, m->id, m->by, m->any != 0, &rc);
	if (j == NULL)
		return rc;
	fault = find_fault(m, text, sizeof(text));
	if (fault != NULL)
		return link_refuse_why(l, m->hdr.seq, KM_WHY_BAD_FIELD, fault);
	if (j->state == KM_STATE_QUEUED)
		return link_refuse_why(l, m->hdr.seq, KM_WHY_BAD_FIELD,
		    "process_id: it is queued; only a running process has limits to change");
	if (!ending_is_alive(j)) {
		ending_describe(j, text, sizeof(text));
		return link_refuse_why(l, m->hdr.seq, KM_WHY_ENDED, text);
	}
	if (apply(m, j, &why) != 0)
		return link_refuse(l, m->hdr.seq, &why);
	log_info("job %s: limits were changed by %s", j->id, m->by);
	return km_send(l->chan, KM_DONE, m->hdr.seq, &done, NULL, 0);
}
