/* SPDX-License-Identifier: Apache-2.0 */
/* What a worker asks about jobs and the table, without an attachment. Each question has one answer.
 */

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/keeper/bounds.h"
#include "agent/keeper/budget.h"
#include "agent/keeper/ending.h"
#include "agent/keeper/group.h"
#include "agent/keeper/job.h"
#include "agent/keeper/link_internal.h"
#include "agent/keeper/pump.h"
#include "agent/keeper/terminal.h"
#include "agent/keeper/tree.h"
#include "common/job_record.h"
#include "common/job_spec.h"
#include "common/log.h"

/* ---- KM_SIGNAL and KM_REMOVE ---- */

int ask_signal(struct link *l, const union km_any *any, int *fds)
{
	const struct km_signal *m = &any->signal;
	const struct ending_signal s = {
	    .signo = (int)m->signo,
	    .target = (enum km_target)m->target,
	    .has_value = m->has_value != 0,
	    .value = m->value,
	    .kill_after_ns = m->kill_after_ns,
	    .by = m->by,
	};
	struct km_done done = {0};
	char text[KM_TEXT_SIZE];
	int sys_errno = 0, rc;
	struct job *j;

	(void)fds;
	if (m->signo > 64 || m->by[0] == '\0' || m->target < KM_TARGET_PROCESS ||
	    m->target > KM_TARGET_TREE || (m->has_value && m->target != KM_TARGET_PROCESS) ||
	    m->kill_after_ns > JOB_STOP_GRACE_MAX_NS)
		return link_violation(l, "a signal that is none");
	j = bounds_find(l, m->hdr.seq, m->id, m->by, m->any != 0, &rc);
	if (j == NULL)
		return rc;
	switch (ending_signal(j, &s, &sys_errno)) {
	case 0:
		return km_send(l->chan, KM_DONE, m->hdr.seq, &done, NULL, 0);
	case TX_ESYS:
		return link_refuse_system(l, m->hdr.seq, sys_errno, "cannot send the signal");
	default:
		ending_describe(j, text, sizeof(text));
		return link_refuse_why(l, m->hdr.seq, KM_WHY_ENDED, text);
	}
}

int ask_remove(struct link *l, const union km_any *any, int *fds)
{
	const struct km_remove *m = &any->remove;
	struct km_done done = {0};
	int rc;
	struct job *j = bounds_find(l, m->hdr.seq, m->id, m->by, m->any != 0, &rc);

	(void)fds;
	if (j == NULL)
		return rc;
	if (j->state != KM_STATE_ENDED)
		return link_refuse_why(l, m->hdr.seq, KM_WHY_RUNNING, "the process has not ended");
	log_info("job %s: removed by %s", j->id, m->by);
	job_forget(j);
	return km_send(l->chan, KM_DONE, m->hdr.seq, &done, NULL, 0);
}

/* ---- KM_RESIZE ---- */

int ask_resize(struct link *l, const union km_any *any, int *fds)
{
	const struct km_resize *m = &any->resize;
	struct km_done done = {0};
	char text[KM_TEXT_SIZE];
	int error = 0, rc;
	struct job *j = bounds_find(l, m->hdr.seq, m->id, m->by, m->any != 0, &rc);

	(void)fds;
	if (j == NULL)
		return rc;
	if (!j->spec->terminal)
		return link_refuse_why(
		    l, m->hdr.seq, KM_WHY_NO_TERMINAL, "the process has no terminal");
	if (m->rows < 1 || m->rows > JOB_TERMINAL_MAX || m->columns < 1 ||
	    m->columns > JOB_TERMINAL_MAX)
		return link_refuse_why(
		    l, m->hdr.seq, KM_WHY_BAD_FIELD, "a size must be 1 to 10000 each way");
	if (j->reaped || j->state == KM_STATE_ENDED) {
		ending_describe(j, text, sizeof(text));
		return link_refuse_why(l, m->hdr.seq, KM_WHY_ENDED, text);
	}
	/* One that is queued begins with it. */
	j->spec->rows = m->rows;
	j->spec->columns = m->columns;
	if (j->terminal >= 0)
		error = terminal_resize(j->terminal, m->rows, m->columns);
	if (error != 0)
		return link_refuse_system(l, m->hdr.seq, error, "cannot set the size");
	return km_send(l->chan, KM_DONE, m->hdr.seq, &done, NULL, 0);
}

/* ---- KM_LIST ---- */

/* What a list gives of a command: as a whole no more than JOB_RECORD_ARGV bytes. */
struct short_argv {
	const char *argv[JOB_RECORD_ARGV / 16];
	char last[JOB_RECORD_ARGV];
};

static void cut_argv(struct job_record *r, struct short_argv *to)
{
	const size_t most = sizeof(to->argv) / sizeof(to->argv[0]);
	size_t room = JOB_RECORD_ARGV, n;

	for (n = 0; n < r->argc && n < most && room > 0; n++) {
		size_t len = strlen(r->argv[n]) + 1;

		to->argv[n] = r->argv[n];
		if (len <= room) {
			room -= len;
			continue;
		}
		memcpy(to->last, r->argv[n], room - 1);
		to->last[room - 1] = '\0';
		to->argv[n] = to->last;
		r->argv_cut = 1;
		room = 0;
	}
	r->argv_cut |= n < r->argc;
	r->argc = n;
	r->argv = to->argv;
}

static int add_record(struct job_records *rs, const struct job *j, bool whole, bool usage)
{
	const struct job_spec *spec = j->spec;
	struct short_argv cut;
	struct job_record r = {
	    .state = (uint8_t)j->state,
	    .pid = (uint32_t)j->pid,
	    .attached = j->n_attached,
	    .start_ns = j->start_ns,
	    .exit = j->exit,
	    .terminal = spec->terminal,
	    .disconnect = (uint8_t)spec->disconnect,
	    .disconnect_wait_ns = spec->disconnect_wait_ns,
	    .expire_ns = j->expire_ns,
	    .id = j->id,
	    .owner = j->owner,
	    .user = spec->user != NULL ? spec->user : "",
	    .group = spec->group != NULL ? spec->group : "",
	    .argc = spec->argc,
	    .argv = (const char *const *)spec->argv,
	};

	for (int s = KM_STDOUT; s <= KM_STDERR; s++) {
		r.oldest[s] = pump_out_oldest(j->out[s]);
		r.newest[s] = pump_out_head(j->out[s]);
	}
	if (!whole)
		cut_argv(&r, &cut);
	if (usage)
		r.usage = (uint8_t)tree_usage(j, &r.cpu_us, &r.memory);
	return job_records_add(rs, &r);
}

static bool in_states(const struct km_list *m, enum km_state state)
{
	if (m->states == 0)
		return state != KM_STATE_ENDED;
	return (m->states & KM_STATE_BIT(state)) != 0;
}

/* What all lists of a turn have no time for goes without. */
static bool may_look(const struct link *l, const struct km_list *m)
{
	return m->usage != 0 && budget_left(l->env->looks);
}

/* All of a group's, or all that there are: oldest first. */
static int add_records(
    struct link *l, const struct km_list *m, const struct group *g, struct job_records *rs)
{
	struct job *j = g != NULL ? group_first(g) : jobs_first(l->env->jobs);
	int rc = 0;

	for (; j != NULL && rc == 0; j = g != NULL ? group_next(j) : jobs_next(j))
		if (in_states(m, j->state) && (m->any || strcmp(j->owner, m->owner) == 0))
			rc = add_record(rs, j, false, may_look(l, m));
	return rc;
}

static int answer_table(struct link *l, uint64_t seq, struct job_records *rs)
{
	struct km_table_msg table = {.dropped = jobs_dropped(l->env->jobs)};
	struct err e = {0};
	int fd = -1;
	int rc = job_records_seal(rs, &fd, &table.count, &table.bytes, &e);

	if (rc != 0)
		return link_refuse_system(
		    l, seq, rc == TX_ESYS ? e.sys_errno : ENOMEM, "cannot list");
	rc = km_send(l->chan, KM_TABLE, seq, &table, &fd, 1);
	close(fd);
	return rc == TX_EAGAIN ? link_refuse_system(l, seq, EMFILE, "cannot list") : rc;
}

int ask_list(struct link *l, const union km_any *any, int *fds)
{
	const struct km_list *m = &any->list;
	struct job *one = NULL;
	struct group *g = NULL;
	struct job_records *rs;
	int rc = 0;

	(void)fds;
	if (!bounds_any(l, m->hdr.seq, m->owner, m->id, m->any != 0, &rc))
		return rc;
	if (m->one)
		one = bounds_find(l, m->hdr.seq, m->id, m->owner, m->any != 0, &rc);
	if (m->one && one == NULL)
		return rc;
	if (m->group[0] != '\0' && (g = group_find(l->env->groups, m->owner, m->group)) == NULL)
		return link_refuse_why(l, m->hdr.seq, KM_WHY_NO_GROUP, "no such group");
	rs = job_records_new();
	if (rs == NULL)
		return link_refuse_system(l, m->hdr.seq, ENOMEM, "cannot list");
	rc = one != NULL ? add_record(rs, one, true, may_look(l, m)) : add_records(l, m, g, rs);
	if (rc == 0)
		rc = answer_table(l, m->hdr.seq, rs);
	else if (rc == TX_ETOOBIG)
		rc = link_refuse_why(l, m->hdr.seq, KM_WHY_LIMIT,
		    "the list is too large; ask for one group, or for fewer states");
	else
		rc = link_refuse_system(l, m->hdr.seq, ENOMEM, "cannot list");
	job_records_free(rs);
	return rc;
}

/* ---- KM_GROUP ---- */

static void signal_group(const struct km_group *m, struct group *g, struct km_group_reply *reply)
{
	const struct ending_signal s = {
	    .signo = (int)m->signo,
	    .target = (enum km_target)m->target,
	    .kill_after_ns = m->kill_after_ns,
	    .by = m->by,
	};

	for (struct job *j = group_first(g); j != NULL; j = group_next(j)) {
		bool queued = j->state == KM_STATE_QUEUED;
		int sys_errno;

		if (j->state != KM_STATE_ENDED && ending_signal(j, &s, &sys_errno) == 0)
			reply->did[queued ? 1 : 0]++;
	}
}

static void remove_ended(struct group *g, struct km_group_reply *reply)
{
	struct job *j, *next;

	for (j = group_first(g); j != NULL; j = next) {
		next = group_next(j);
		if (j->state != KM_STATE_ENDED)
			continue;
		reply->did[0]++;
		reply->ended--;
		job_forget(j);
	}
}

/* The group may be gone afterwards. */
static void do_group(const struct km_group *m, struct group *g, struct km_group_reply *reply)
{
	switch (m->op) {
	case KM_GROUP_SIGNAL:
		signal_group(m, g, reply);
		group_count(g, reply);
		break;
	case KM_GROUP_REMOVE:
		group_count(g, reply);
		remove_ended(g, reply);
		break;
	case KM_GROUP_UPDATE:
		group_count(g, reply);
		reply->maximum = m->maximum;
		group_set_maximum(g, m->maximum);
		break;
	default:
		group_count(g, reply);
	}
}

static bool group_valid(const struct km_group *m)
{
	if (m->op < KM_GROUP_GET || m->op > KM_GROUP_UPDATE || m->by[0] == '\0')
		return false;
	return m->op != KM_GROUP_SIGNAL ||
	       (m->signo <= 64 && m->target >= KM_TARGET_PROCESS && m->target <= KM_TARGET_TREE &&
	           m->kill_after_ns <= JOB_STOP_GRACE_MAX_NS);
}

int ask_group(struct link *l, const union km_any *any, int *fds)
{
	const struct km_group *m = &any->group;
	struct km_group_reply reply = {0};
	struct group *g;

	(void)fds;
	if (!group_valid(m))
		return link_violation(l, "a question about a group that is none");
	if (!job_id_valid(m->name, strlen(m->name)))
		return link_refuse_why(
		    l, m->hdr.seq, KM_WHY_BAD_FIELD, "the group's name is not valid");
	g = group_find(l->env->groups, m->by, m->name);
	if (g == NULL)
		return link_refuse_why(l, m->hdr.seq, KM_WHY_NO_GROUP, "no such group");
	do_group(m, g, &reply);
	return km_send(l->chan, KM_GROUP_REPLY, m->hdr.seq, &reply, NULL, 0);
}

/* ---- KM_INFO ---- */

int ask_info(struct link *l, const union km_any *any, int *fds)
{
	struct km_info_reply m = {
	    .processes = jobs_running(l->env->jobs) - jobs_queued(l->env->jobs),
	    .held = jobs_held(l->env->jobs)};

	(void)fds;
	return km_send(l->chan, KM_INFO_REPLY, any->hdr.seq, &m, NULL, 0);
}
