/* SPDX-License-Identifier: Apache-2.0 */
/* What a worker asks about jobs and the table, without an attachment. Each question has one answer.
 */

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/keeper/ending.h"
#include "agent/keeper/job.h"
#include "agent/keeper/link_internal.h"
#include "common/job_record.h"

int ask_signal(struct link *l, const union km_any *any, int *fds)
{
	const struct km_signal *m = &any->signal;
	struct km_done done = {0};
	char text[KM_TEXT_SIZE];
	int sys_errno = 0;
	struct job *j;

	(void)fds;
	if (m->signo < 1 || m->signo > 64 || m->by[0] == '\0' ||
	    (m->target != KM_TARGET_PROCESS && m->target != KM_TARGET_GROUP))
		return link_violation(l, "a signal that is none");
	j = link_find_own(l, m->id, m->by);
	if (j == NULL)
		return link_refuse_why(l, m->hdr.seq, KM_WHY_NO_SUCH, "no such process");
	switch (ending_signal(j, (int)m->signo, (enum km_target)m->target, m->by, &sys_errno)) {
	case 0:
		return km_send(l->chan, KM_DONE, m->hdr.seq, &done, NULL, 0);
	case TX_ESYS:
		return link_refuse_system(l, m->hdr.seq, sys_errno, "cannot send the signal");
	default:
		ending_describe(j, text, sizeof(text));
		return link_refuse_why(l, m->hdr.seq, KM_WHY_ENDED, text);
	}
}

static int add_record(struct job_records *rs, const struct job *j)
{
	const struct job_spec *spec = j->spec;
	struct job_record r = {
	    .state = (uint8_t)j->state,
	    .pid = (uint32_t)j->pid,
	    .attached = j->n_attached,
	    .start_ns = j->start_ns,
	    .exit = j->exit,
	    .id = j->id,
	    .owner = j->owner,
	    .user = spec->user != NULL ? spec->user : "",
	    .group = spec->group != NULL ? spec->group : "",
	    .argc = spec->argc,
	    .argv = (const char *const *)spec->argv,
	};

	return job_records_add(rs, &r);
}

static bool in_states(const struct km_list *m, enum km_state state)
{
	if (m->states == 0)
		return state != KM_STATE_ENDED;
	return (m->states & KM_STATE_BIT(state)) != 0;
}

int ask_list(struct link *l, const union km_any *any, int *fds)
{
	const struct km_list *m = &any->list;
	struct job *j = m->one ? link_find_own(l, m->id, m->owner) : jobs_first(l->env->jobs);
	struct job_records *rs;
	struct km_table_msg table = {0};
	struct err e = {0};
	int fd = -1;
	int rc = 0;

	(void)fds;
	if (m->one && j == NULL)
		return link_refuse_why(l, m->hdr.seq, KM_WHY_NO_SUCH, "no such process");
	rs = job_records_new();
	if (rs == NULL)
		return link_refuse_system(l, m->hdr.seq, ENOMEM, "cannot list");
	for (; j != NULL && rc == 0; j = m->one ? NULL : jobs_next(j))
		if (m->one || (strcmp(j->owner, m->owner) == 0 && in_states(m, j->state)))
			rc = add_record(rs, j);
	if (rc == 0)
		rc = job_records_seal(rs, &fd, &table.count, &table.bytes, &e);
	job_records_free(rs);
	if (rc != 0)
		return link_refuse_system(
		    l, m->hdr.seq, rc == TX_ESYS ? e.sys_errno : ENOMEM, "cannot list");
	rc = km_send(l->chan, KM_TABLE, m->hdr.seq, &table, &fd, 1);
	close(fd);
	return rc;
}

int ask_info(struct link *l, const union km_any *any, int *fds)
{
	struct km_info_reply m = {
	    .processes = jobs_running(l->env->jobs), .held = jobs_held(l->env->jobs)};

	(void)fds;
	return km_send(l->chan, KM_INFO_REPLY, any->hdr.seq, &m, NULL, 0);
}
