/* SPDX-License-Identifier: Apache-2.0 */
/* What a worker asks about its attachments: to start a job, to attach to one, and what comes of it.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "agent/keeper/attach.h"
#include "agent/keeper/bounds.h"
#include "agent/keeper/ending.h"
#include "agent/keeper/group.h"
#include "agent/keeper/job.h"
#include "agent/keeper/link_internal.h"
#include "agent/keeper/pump.h"
#include "common/job_spec.h"
#include "common/log.h"

/* Also of a queued job: it will have it. */
static int answer_job(struct link *l, uint64_t seq, const struct job *j, uint32_t att, bool created)
{
	struct attachment *a = att != 0 ? attach_find(l->table, att) : NULL;
	struct km_job m = {
	    .att = att,
	    .pid = (uint32_t)j->pid,
	    .created = created,
	    .state = (uint8_t)j->state,
	    .stdin_pipe = job_has_stdin(j),
	    .stdin_held = a != NULL && attach_holds_stdin(a),
	    .stdin_closed = !job_has_stdin(j) || (j->in != NULL && pump_in_ended(j->in)),
	    .terminal = j->spec->terminal,
	    .start_ns = j->start_ns,
	};

	if (j->in != NULL) {
		m.stdin_head = pump_in_head(j->in);
		m.stdin_written = pump_in_written(j->in);
	}
	for (int s = KM_STDOUT; s <= KM_STDERR; s++) {
		m.tail[s] = pump_out_oldest(j->out[s]);
		m.head[s] = pump_out_head(j->out[s]);
	}
	memcpy(m.id, j->id, sizeof(m.id));
	memcpy(m.owner, j->owner, sizeof(m.owner));
	return km_send(l->chan, KM_JOB, seq, &m, NULL, 0);
}

/* ---- start and attach ---- */

/* Attaches and answers KM_JOB; what there is to see follows. */
static int attach_and_answer(struct link *l, uint64_t seq, uint32_t att, struct job *j,
    const struct attach_want *want, bool created)
{
	struct attachment *a;
	int rc = attach_add(&a, l->table, att, j, want);

	if (rc != 0 && created)
		ending_kill(j, KM_REASON_DISCONNECT);
	if (rc == TX_ELIMIT)
		return link_refuse_why(l, seq, KM_WHY_LIMIT, "too many clients are attached");
	if (rc != 0)
		return link_refuse_system(l, seq, ENOMEM, "cannot attach");
	rc = answer_job(l, seq, j, att, created);
	attach_flush(a);
	return rc;
}

/* The attachment of a start. */
static struct attach_want want_of_start(const struct km_start *m, const struct job *j)
{
	struct attach_want want = {
	    .owner = m->owner, .key = m->key, .starter = true, .stdin_too = job_has_stdin(j)};

	memcpy(want.offset, m->offset, sizeof(want.offset));
	return want;
}

/* The id is in use: the same request again, or somebody else's. */
static int start_again(
    struct link *l, const struct km_start *m, struct job *j, const struct job_spec *spec)
{
	struct attach_want want = want_of_start(m, j);
	struct km_refused why = {0};

	if (strcmp(j->owner, m->owner) != 0 || !job_spec_equal(j->spec, spec))
		return link_refuse_why(l, m->hdr.seq, KM_WHY_EXISTS,
		    strcmp(j->owner, m->owner) != 0
		        ? "the process id is in use by another identity; take another id"
		        : "the process id is in use for another command; take another id, or the "
		          "same command");
	if (m->att == 0)
		return answer_job(l, m->hdr.seq, j, 0, false);
	if (!attach_offsets_held(j, m->offset, &why))
		return link_refuse(l, m->hdr.seq, &why);
	return attach_and_answer(l, m->hdr.seq, m->att, j, &want, false);
}

static int start_new(struct link *l, const struct km_start *m, struct job_spec **spec)
{
	struct attach_want want;
	struct km_refused why = {0};
	struct job *j;

	if (l->env->stopping)
		return link_refuse_why(
		    l, m->hdr.seq, KM_WHY_SHUTTING_DOWN, "the agent is being shut down");
	if (m->offset[KM_STDOUT] != 0 || m->offset[KM_STDERR] != 0) {
		/* Its client has seen output: it ran before and is forgotten. It must not run
		 * twice. */
		why.why = KM_WHY_AHEAD;
		why.stream = m->offset[KM_STDOUT] != 0 ? KM_STDOUT : KM_STDERR;
		snprintf(why.text, sizeof(why.text), "no such process is held any longer");
		return link_refuse(l, m->hdr.seq, &why);
	}
	if (!bounds_quota(l, m, &why))
		return link_refuse(l, m->hdr.seq, &why);
	if (group_start(l->env->groups, m->id, m->owner, *spec, &j, &why) != 0) {
		log_info("job %s: not started: %s", m->id, why.text);
		return link_refuse(l, m->hdr.seq, &why);
	}
	*spec = NULL;
	if (m->att == 0)
		return answer_job(l, m->hdr.seq, j, 0, true);
	j->was_attached = true;
	want = want_of_start(m, j);
	return attach_and_answer(l, m->hdr.seq, m->att, j, &want, true);
}

int link_on_start(struct link *l, const union km_any *any, int *fds)
{
	const struct km_start *m = &any->start;
	struct km_refused why = {.why = KM_WHY_START, .stage = KM_STAGE_SPEC, .sys_errno = EINVAL};
	struct job_spec *spec = NULL;
	struct job *j;
	struct err e = {0};
	int rc;

	if (!job_id_valid(m->id, strlen(m->id)) || m->owner[0] == '\0')
		return link_violation(l, "a start without a valid id and owner");
	if (m->att != 0 && attach_find(l->table, m->att) != NULL)
		return link_violation(l, "an attachment's number is in use");
	rc = job_spec_open(&spec, fds[0], &e);
	if (rc == TX_EINVAL || rc == TX_ETOOBIG) {
		snprintf(why.text, sizeof(why.text), "%.*s", (int)sizeof(why.text) - 1, e.message);
		return link_refuse(l, m->hdr.seq, &why);
	}
	if (rc == TX_ENOMEM || rc == TX_ESYS)
		return link_refuse_system(
		    l, m->hdr.seq, rc == TX_ESYS ? e.sys_errno : ENOMEM, "cannot take the spec");
	if (rc != 0)
		return link_violation(l, e.message);
	if (!bounds_start(l, m, spec, &rc)) {
		job_spec_free(spec);
		return rc;
	}
	j = jobs_find(l->env->jobs, m->id);
	rc = j != NULL ? start_again(l, m, j, spec) : start_new(l, m, &spec);
	job_spec_free(spec);
	return rc;
}

/* Where a KM_ATTACH begins to read. */
static void begin_offsets(const struct km_attach *m, const struct job *j, uint64_t offset[3])
{
	offset[KM_STDIN] = 0;
	for (int s = KM_STDOUT; s <= KM_STDERR; s++) {
		if (m->from == KM_FROM_OLDEST ||
		    (m->from == KM_FROM_OFFSET && m->offset[s] == KM_OFFSET_OLDEST))
			offset[s] = pump_out_oldest(j->out[s]);
		else if (m->from == KM_FROM_NEWEST || m->offset[s] == UINT64_MAX)
			offset[s] = pump_out_head(j->out[s]);
		else
			offset[s] = m->offset[s];
	}
}

/* What its client says it has dealt with: not what it does not want. */
static uint8_t acknowledged(const struct km_attach *m)
{
	unsigned bits = 0;

	for (int s = KM_STDOUT; s <= KM_STDERR; s++)
		if (m->from == KM_FROM_OFFSET && m->offset[s] < KM_OFFSET_OLDEST)
			bits |= KM_BIT(s);
	return (m->flags & KM_ATTACH_ACKNOWLEDGE) != 0 ? (uint8_t)bits : 0;
}

/* Whether another attachment, that this one does not replace, holds stdin. */
static bool stdin_is_held(const struct km_attach *m, const struct job *j)
{
	return j->stdin_holder != NULL && j->stdin_holder != attach_of_key(j, m->owner, m->key);
}

int link_on_attach(struct link *l, const union km_any *any, int *fds)
{
	const struct km_attach *m = &any->attach;
	struct attach_want want = {
	    .owner = m->owner, .key = m->key, .flags = m->flags, .stdin_too = m->want_stdin != 0};
	struct km_refused why = {0};
	struct job *j;
	int rc;

	(void)fds;
	if (m->att == 0 || attach_find(l->table, m->att) != NULL)
		return link_violation(l, "an attachment's number is 0 or in use");
	if (m->owner[0] == '\0')
		return link_violation(l, "an attachment without an owner");
	j = bounds_find(l, m->hdr.seq, m->id, m->owner, m->any != 0, &rc);
	if (j == NULL)
		return rc;
	begin_offsets(m, j, want.offset);
	want.acknowledged = acknowledged(m);
	if (!attach_offsets_held(j, want.offset, &why))
		return link_refuse(l, m->hdr.seq, &why);
	if (want.stdin_too && stdin_is_held(m, j))
		return link_refuse_why(
		    l, m->hdr.seq, KM_WHY_STDIN_HELD, attach_owner(j->stdin_holder));
	return attach_and_answer(l, m->hdr.seq, m->att, j, &want, false);
}

/* ---- messages of an attachment: one that is gone is no violation, they cross on the way ---- */

int link_on_detach(struct link *l, const union km_any *any, int *fds)
{
	struct attachment *a = attach_find(l->table, any->detach.att);

	(void)fds;
	if (a != NULL)
		attach_detach(a, &any->detach);
	return 0;
}

int link_on_release(struct link *l, const union km_any *any, int *fds)
{
	struct attachment *a = attach_find(l->table, any->release.att);

	(void)fds;
	if (a != NULL && attach_release(a, &any->release) != 0)
		return link_violation(l, "a release of what was never there");
	return 0;
}

int link_on_input(struct link *l, const union km_any *any, int *fds)
{
	struct attachment *a = attach_find(l->table, any->input.att);

	(void)fds;
	if (a != NULL && attach_input(a, &any->input) != 0)
		return link_violation(l, "an input offset outside of the ring");
	return 0;
}
