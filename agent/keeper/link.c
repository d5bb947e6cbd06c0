/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/keeper/link.h"

#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/keeper/attach.h"
#include "agent/keeper/ending.h"
#include "agent/keeper/job.h"
#include "agent/keeper/pump.h"
#include "agent/keeper/start.h"
#include "common/job_record.h"
#include "common/job_spec.h"
#include "common/keeper_msg.h"
#include "common/log.h"

struct link {
	struct link_env *env;
	struct km_chan *chan;
	struct attach_table *table;
	const struct link_ops *ops;
	void *arg;
	struct event *fail; /* tells ops->closed, outside of everything */
	bool closed;
};

/* ---- answers ---- */

static int violation(const struct link *l, const char *what)
{
	(void)l;
	log_error("a worker broke the contract: %s", what);
	return TX_EPROTO;
}

static int answer_refused(struct link *l, uint64_t seq, struct km_refused *why)
{
	return km_send(l->chan, KM_REFUSED, seq, why, NULL, 0);
}

static int answer_why(struct link *l, uint64_t seq, enum km_why why, const char *text)
{
	struct km_refused m = {.why = why};

	snprintf(m.text, sizeof(m.text), "%s", text);
	return answer_refused(l, seq, &m);
}

static int answer_system(struct link *l, uint64_t seq, int sys_errno, const char *what)
{
	struct km_refused m = {.why = KM_WHY_SYSTEM, .sys_errno = sys_errno};

	snprintf(m.text, sizeof(m.text), "%s: %s", what, strerror(sys_errno));
	return answer_refused(l, seq, &m);
}

/* A job of this identity's: one of another's is as unknown as one that is not there. */
static struct job *find_own(const struct link *l, const char *id, const char *owner)
{
	struct job *j = jobs_find(l->env->jobs, id);

	return j != NULL && strcmp(j->owner, owner) == 0 ? j : NULL;
}

static int answer_job(struct link *l, uint64_t seq, const struct job *j, uint32_t att, bool created)
{
	struct attachment *a = att != 0 ? attach_find(l->table, att) : NULL;
	struct km_job m = {
	    .att = att,
	    .pid = (uint32_t)j->pid,
	    .created = created,
	    .state = (uint8_t)j->state,
	    .stdin_pipe = j->in != NULL,
	    .stdin_held = a != NULL && attach_holds_stdin(a),
	    .stdin_closed = j->in == NULL || pump_in_ended(j->in),
	    .start_ns = j->start_ns,
	};

	if (j->in != NULL) {
		m.stdin_head = pump_in_head(j->in);
		m.stdin_written = pump_in_written(j->in);
	}
	for (int s = KM_STDOUT; s <= KM_STDERR; s++) {
		m.tail[s] = pump_out_tail(j->out[s]);
		m.head[s] = pump_out_head(j->out[s]);
	}
	memcpy(m.id, j->id, sizeof(m.id));
	memcpy(m.owner, j->owner, sizeof(m.owner));
	return km_send(l->chan, KM_JOB, seq, &m, NULL, 0);
}

/* ---- start and attach ---- */

/* Attaches and answers KM_JOB; what there is to see follows. */
static int attach_and_answer(struct link *l, uint64_t seq, uint32_t att, struct job *j,
    const uint64_t offset[3], bool stdin_too, const char *who, bool created)
{
	struct attachment *a;
	int rc;

	if (attach_add(&a, l->table, att, j, offset, stdin_too) != 0) {
		if (created)
			ending_kill(j, KM_REASON_DISCONNECT);
		return answer_system(l, seq, ENOMEM, "cannot attach");
	}
	attach_set_owner(a, who);
	rc = answer_job(l, seq, j, att, created);
	attach_flush(a);
	return rc;
}

/* The id is in use: the same request again, or somebody else's. */
static int start_again(
    struct link *l, const struct km_start *m, struct job *j, const struct job_spec *spec)
{
	struct km_refused why = {0};

	if (strcmp(j->owner, m->owner) != 0 || !job_spec_equal(j->spec, spec))
		return answer_why(l, m->hdr.seq, KM_WHY_EXISTS,
		    strcmp(j->owner, m->owner) != 0
		        ? "the process id is in use by another identity; take another id"
		        : "the process id is in use for another command; take another id, or the "
		          "same command");
	if (m->att == 0)
		return answer_job(l, m->hdr.seq, j, 0, false);
	if (!attach_offsets_held(j, m->offset, &why))
		return answer_refused(l, m->hdr.seq, &why);
	return attach_and_answer(
	    l, m->hdr.seq, m->att, j, m->offset, j->in != NULL, m->owner, false);
}

static int start_new(struct link *l, const struct km_start *m, struct job_spec **spec)
{
	struct km_refused why = {0};
	struct job *j;

	if (l->env->stopping)
		return answer_why(
		    l, m->hdr.seq, KM_WHY_SHUTTING_DOWN, "the agent is being shut down");
	if (m->offset[KM_STDOUT] != 0 || m->offset[KM_STDERR] != 0) {
		/* Its client has seen output: it ran before and is forgotten. It must not run
		 * twice. */
		why.why = KM_WHY_AHEAD;
		why.stream = m->offset[KM_STDOUT] != 0 ? KM_STDOUT : KM_STDERR;
		snprintf(why.text, sizeof(why.text), "no such process is held any longer");
		return answer_refused(l, m->hdr.seq, &why);
	}
	if (start_job(l->env->starter, m->id, m->owner, *spec, &j, &why) != 0) {
		log_info("job %s: not started: %s", m->id, why.text);
		return answer_refused(l, m->hdr.seq, &why);
	}
	*spec = NULL;
	if (m->att == 0)
		return answer_job(l, m->hdr.seq, j, 0, true);
	j->was_attached = true;
	return attach_and_answer(
	    l, m->hdr.seq, m->att, j, m->offset, j->in != NULL, m->owner, true);
}

static int on_start(struct link *l, const union km_any *any, int *fds)
{
	const struct km_start *m = &any->start;
	struct km_refused why = {.why = KM_WHY_START, .stage = KM_STAGE_SPEC, .sys_errno = EINVAL};
	struct job_spec *spec = NULL;
	struct job *j;
	struct err e = {0};
	int rc;

	if (!job_id_valid(m->id, strlen(m->id)) || m->owner[0] == '\0')
		return violation(l, "a start without a valid id and owner");
	if (m->att != 0 && attach_find(l->table, m->att) != NULL)
		return violation(l, "an attachment's number is in use");
	rc = job_spec_open(&spec, fds[0], &e);
	if (rc == TX_EINVAL || rc == TX_ETOOBIG) {
		snprintf(why.text, sizeof(why.text), "%.*s", (int)sizeof(why.text) - 1, e.message);
		return answer_refused(l, m->hdr.seq, &why);
	}
	if (rc == TX_ENOMEM || rc == TX_ESYS)
		return answer_system(
		    l, m->hdr.seq, rc == TX_ESYS ? e.sys_errno : ENOMEM, "cannot take the spec");
	if (rc != 0)
		return violation(l, e.message);
	j = jobs_find(l->env->jobs, m->id);
	rc = j != NULL ? start_again(l, m, j, spec) : start_new(l, m, &spec);
	job_spec_free(spec);
	return rc;
}

static int on_attach(struct link *l, const union km_any *any, int *fds)
{
	const struct km_attach *m = &any->attach;
	struct km_refused why = {0};
	uint64_t offset[3];
	struct job *j;

	(void)fds;
	if (m->att == 0 || attach_find(l->table, m->att) != NULL)
		return violation(l, "an attachment's number is 0 or in use");
	if (m->owner[0] == '\0')
		return violation(l, "an attachment without an owner");
	j = find_own(l, m->id, m->owner);
	if (j == NULL)
		return answer_why(l, m->hdr.seq, KM_WHY_NO_SUCH, "no such process");
	memcpy(offset, m->offset, sizeof(offset));
	for (int s = KM_STDOUT; s <= KM_STDERR && m->from != KM_FROM_OFFSET; s++)
		offset[s] =
		    m->from == KM_FROM_OLDEST ? pump_out_tail(j->out[s]) : pump_out_head(j->out[s]);
	if (!attach_offsets_held(j, offset, &why))
		return answer_refused(l, m->hdr.seq, &why);
	if (m->want_stdin && j->stdin_holder != NULL) {
		why.why = KM_WHY_STDIN_HELD;
		snprintf(why.text, sizeof(why.text), "stdin is held by %.200s",
		    attach_owner(j->stdin_holder));
		return answer_refused(l, m->hdr.seq, &why);
	}
	return attach_and_answer(l, m->hdr.seq, m->att, j, offset, m->want_stdin, m->owner, false);
}

/* ---- messages of an attachment: one that is gone is no violation, they cross on the way ---- */

static int on_detach(struct link *l, const union km_any *any, int *fds)
{
	struct attachment *a = attach_find(l->table, any->detach.att);

	(void)fds;
	if (a != NULL)
		attach_detach(a, any->detach.delivered != 0);
	return 0;
}

static int on_release(struct link *l, const union km_any *any, int *fds)
{
	struct attachment *a = attach_find(l->table, any->release.att);

	(void)fds;
	if (a != NULL && attach_release(a, &any->release) != 0)
		return violation(l, "a release of what was never there");
	return 0;
}

static int on_input(struct link *l, const union km_any *any, int *fds)
{
	struct attachment *a = attach_find(l->table, any->input.att);

	(void)fds;
	if (a != NULL && attach_input(a, &any->input) != 0)
		return violation(l, "an input offset outside of the ring");
	return 0;
}

/* ---- questions ---- */

static int on_signal(struct link *l, const union km_any *any, int *fds)
{
	const struct km_signal *m = &any->signal;
	struct km_done done = {0};
	char text[KM_TEXT_SIZE];
	int sys_errno = 0;
	struct job *j;

	(void)fds;
	if (m->signo < 1 || m->signo > 64 || m->by[0] == '\0' ||
	    (m->target != KM_TARGET_PROCESS && m->target != KM_TARGET_GROUP))
		return violation(l, "a signal that is none");
	j = find_own(l, m->id, m->by);
	if (j == NULL)
		return answer_why(l, m->hdr.seq, KM_WHY_NO_SUCH, "no such process");
	switch (ending_signal(j, (int)m->signo, (enum km_target)m->target, m->by, &sys_errno)) {
	case 0:
		return km_send(l->chan, KM_DONE, m->hdr.seq, &done, NULL, 0);
	case TX_ESYS:
		return answer_system(l, m->hdr.seq, sys_errno, "cannot send the signal");
	default:
		ending_describe(j, text, sizeof(text));
		return answer_why(l, m->hdr.seq, KM_WHY_ENDED, text);
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

static int on_list(struct link *l, const union km_any *any, int *fds)
{
	const struct km_list *m = &any->list;
	struct job *j = m->one ? find_own(l, m->id, m->owner) : jobs_first(l->env->jobs);
	struct job_records *rs;
	struct km_table_msg table = {0};
	struct err e = {0};
	int fd = -1;
	int rc = 0;

	(void)fds;
	if (m->one && j == NULL)
		return answer_why(l, m->hdr.seq, KM_WHY_NO_SUCH, "no such process");
	rs = job_records_new();
	if (rs == NULL)
		return answer_system(l, m->hdr.seq, ENOMEM, "cannot list");
	for (; j != NULL && rc == 0; j = m->one ? NULL : jobs_next(j))
		if (m->one || (strcmp(j->owner, m->owner) == 0 && in_states(m, j->state)))
			rc = add_record(rs, j);
	if (rc == 0)
		rc = job_records_seal(rs, &fd, &table.count, &table.bytes, &e);
	job_records_free(rs);
	if (rc != 0)
		return answer_system(
		    l, m->hdr.seq, rc == TX_ESYS ? e.sys_errno : ENOMEM, "cannot list");
	rc = km_send(l->chan, KM_TABLE, m->hdr.seq, &table, &fd, 1);
	close(fd);
	return rc;
}

static int on_info(struct link *l, const union km_any *any, int *fds)
{
	struct km_info_reply m = {
	    .processes = jobs_running(l->env->jobs), .held = jobs_held(l->env->jobs)};

	(void)fds;
	return km_send(l->chan, KM_INFO_REPLY, any->hdr.seq, &m, NULL, 0);
}

/* ---- the link itself ---- */

static int on_ready(struct link *l, const union km_any *any, int *fds)
{
	(void)any;
	(void)fds;
	if (km_chan_state(l->chan) == KM_LINK_CONFIGURED)
		km_chan_set_state(l->chan, KM_LINK_READY);
	l->ops->ready(l->arg);
	return 0;
}

static int on_failed(struct link *l, const union km_any *any, int *fds)
{
	(void)fds;
	l->ops->failed(any->failed.text, l->arg);
	return 0;
}

static int on_pong(struct link *l, const union km_any *any, int *fds)
{
	(void)any;
	(void)fds;
	l->ops->pong(l->arg);
	return 0;
}

static const struct {
	uint16_t type;
	int (*handle)(struct link *l, const union km_any *m, int *fds);
} handlers[] = {
    {KM_READY, on_ready},
    {KM_FAILED, on_failed},
    {KM_PONG, on_pong},
    {KM_START, on_start},
    {KM_ATTACH, on_attach},
    {KM_DETACH, on_detach},
    {KM_RELEASE, on_release},
    {KM_INPUT, on_input},
    {KM_SIGNAL, on_signal},
    {KM_LIST, on_list},
    {KM_INFO, on_info},
};

static int on_message(struct km_chan *c, const union km_any *msg, int *fds, size_t n_fds, void *arg)
{
	struct link *l = arg;
	int rc = TX_EPROTO;

	(void)c;
	for (size_t i = 0; i < sizeof(handlers) / sizeof(handlers[0]); i++)
		if (handlers[i].type == msg->hdr.type)
			rc = handlers[i].handle(l, msg, fds);
	for (size_t i = 0; i < n_fds; i++)
		close(fds[i]);
	return rc;
}

static void on_writable(struct km_chan *c, void *arg)
{
	struct link *l = arg;

	(void)c;
	attach_table_writable(l->table);
}

static void tell_closed(struct link *l, const struct err *why)
{
	if (l->closed)
		return;
	l->closed = true;
	l->ops->closed(why, l->arg);
}

static void on_closed(struct km_chan *c, const struct err *why, void *arg)
{
	(void)c;
	tell_closed(arg, why);
}

static const struct km_chan_ops chan_ops = {on_message, on_writable, on_closed};

static void on_fail(evutil_socket_t fd, short what, void *arg)
{
	struct err e;

	(void)fd;
	(void)what;
	err_set(&e, TX_ELIMIT, "it does not take its messages");
	tell_closed(arg, &e);
}

static void on_table_failed(void *arg)
{
	struct link *l = arg;

	event_active(l->fail, EV_TIMEOUT, 0);
}

int link_new(struct link **out, struct link_env *env, int fd, const struct link_ops *ops, void *arg,
    struct err *e)
{
	struct link *l = calloc(1, sizeof(*l));
	int rc = TX_ENOMEM;

	if (l == NULL) {
		close(fd);
		return err_set(e, rc, "out of memory");
	}
	l->env = env;
	l->ops = ops;
	l->arg = arg;
	rc = km_chan_new(&l->chan, env->base, fd, KM_KEEPER, &chan_ops, l, e);
	if (rc == 0) {
		l->fail = event_new(env->base, -1, 0, on_fail, l);
		rc = l->fail == NULL
		         ? TX_ENOMEM
		         : attach_table_new(&l->table, env->base, l->chan, on_table_failed, l);
		if (rc != 0)
			err_set(e, rc, "out of memory");
	}
	if (rc == 0) {
		*out = l;
		return 0;
	}
	if (l->chan == NULL)
		close(fd);
	link_free(l);
	return rc;
}

void link_free(struct link *l)
{
	if (l == NULL)
		return;
	attach_table_free(l->table);
	if (l->fail != NULL)
		event_free(l->fail);
	km_chan_free(l->chan);
	free(l);
}

struct km_chan *link_chan(struct link *l)
{
	return l->chan;
}
