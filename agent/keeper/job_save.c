/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Times are of the monotonic clock, which goes on over execve. Timers are saved as the moments they
 * are due at; 0: not set.
 */
#include "agent/keeper/job_save.h"

#include <event2/event.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

#include "agent/keeper/cgroup.h"
#include "agent/keeper/ending.h"
#include "agent/keeper/group.h"
#include "agent/keeper/job.h"
#include "agent/keeper/job_internal.h"
#include "agent/keeper/pump.h"
#include "agent/keeper/readers_save.h"
#include "agent/keeper/state_io.h"
#include "agent/keeper/tree.h"
#include "common/duration.h"
#include "common/log.h"

#define SENT_MAX 64 /* one a signal */

struct saved {
	char id[KM_ID_SIZE];
	char owner[KM_IDENTITY_SIZE];
	struct job_spec *spec;
	enum km_state state;
	int pid, pidfd, terminal;
	int64_t start_ns, born_ns;
	char cgroup[CGROUP_SAVED_SIZE]; /* "": none */
	bool was_attached, reaped, attached, delivered, acknowledged;
	struct km_exit exit;
	enum km_reason cause;
	char cause_by[KM_IDENTITY_SIZE];
	int64_t kill_at, timeout_at, end_at, gone_at, close_at;
	uint64_t close_mark[3];
	bool close_late;
	int64_t ended_at, expire_ns;
	uint64_t starter_key;
	struct reader_saved *readers;
	size_t n_readers;
	size_t n_sent;
	struct {
		int signo;
		char by[KM_IDENTITY_SIZE];
	} sent[SENT_MAX];
	bool has_in, has_out;
	struct pump_in_saved in;
	struct pump_out_saved out[3];
};

/* ---- timers ---- */

static int64_t due_at(const struct event *timer)
{
	struct timeval due, now, left;

	if (!event_pending(timer, EV_TIMEOUT, &due))
		return 0;
	gettimeofday(&now, NULL);
	timersub(&due, &now, &left);
	return clock_monotonic_ns() + left.tv_sec * NS_PER_S + left.tv_usec * 1000;
}

static void set_due(struct event *timer, int64_t at)
{
	int64_t left = at - clock_monotonic_ns();
	struct timeval tv = duration_timeval(left > 0 ? left : 0);

	if (at != 0)
		event_add(timer, &tv);
}

/* ---- out ---- */

static void save_exit(struct state_out *o, const struct km_exit *x)
{
	state_put(o, x->kind);
	state_put(o, x->core);
	state_put(o, x->reason);
	state_put(o, x->streams_open);
	state_put_signed(o, x->value);
	state_put_signed(o, x->start_ns);
	state_put_signed(o, x->end_ns);
	state_put(o, x->stdout_length);
	state_put(o, x->stderr_length);
	state_put_signed(o, x->utime_us);
	state_put_signed(o, x->stime_us);
	state_put(o, x->maxrss_kib);
	state_put(o, x->minflt);
	state_put(o, x->majflt);
	state_put(o, x->inblock);
	state_put(o, x->oublock);
	state_put(o, x->nvcsw);
	state_put(o, x->nivcsw);
	state_put(o, x->stage);
	state_put_text(o, x->by);
	state_put_text(o, x->text);
}

static void save_sent(struct state_out *o, const struct job *j)
{
	uint64_t n = 0;

	for (const struct job_sent *s = j->sent; s != NULL; s = s->next)
		n++;
	state_put(o, n);
	for (const struct job_sent *s = j->sent; s != NULL; s = s->next) {
		state_put_signed(o, s->signo);
		state_put_text(o, s->by);
	}
}

void job_save(struct state_out *o, const struct job *j)
{
	size_t len;
	const uint8_t *spec = job_spec_bytes(j->spec, &len);
	char cgroup[CGROUP_SAVED_SIZE] = "";

	tree_strike_finish(j);
	if (j->cgroup != NULL)
		cgroup_save(j->cgroup, cgroup);

	state_begin(o, STATE_JOB);
	state_put_text(o, j->id);
	state_put_text(o, j->owner);
	state_put_bytes(o, spec, len);
	state_put(o, (uint64_t)j->state);
	state_put_signed(o, j->pid);
	state_put_fd(o, j->pidfd);
	state_put_fd(o, j->terminal);
	state_put_signed(o, j->start_ns);
	state_put_signed(o, j->born_ns);
	state_put_text(o, cgroup);
	state_put(o, j->was_attached);
	state_put(o, j->reaped);
	state_put(o, j->state == KM_STATE_ENDED ? !LIST_EMPTY(&j->attachments) : j->n_counted > 0);
	state_put(o, j->delivered);
	state_put(o, j->acknowledged);
	save_exit(o, &j->exit);
	state_put(o, (uint64_t)j->cause);
	state_put_text(o, j->cause_by != NULL ? j->cause_by : "");
	state_put_signed(o, j->kill_at);
	state_put_signed(o, j->timeout_at);
	state_put_signed(o, due_at(j->end_timer));
	state_put_signed(o, due_at(j->gone_timer));
	state_put_signed(o, due_at(j->close_timer));
	state_put(o, j->close_mark[KM_STDOUT]);
	state_put(o, j->close_mark[KM_STDERR]);
	state_put(o, j->close_late);
	state_put_signed(o, j->ended_at);
	state_put_signed(o, j->expire_ns);
	save_sent(o, j);
	state_put(o, j->in != NULL);
	if (j->in != NULL)
		pump_in_save(o, j->in);
	state_put(o, j->out[KM_STDOUT] != NULL);
	for (int s = KM_STDOUT; s <= KM_STDERR && j->out[KM_STDOUT] != NULL; s++)
		pump_out_save(o, j->out[s]);
	state_put(o, j->starter_key);
	readers_save(o, j);
	state_end(o);
}

/* ---- in ---- */

static void load_exit(struct state_in *in, struct km_exit *x)
{
	x->kind = (uint8_t)state_get_most(in, UINT8_MAX);
	x->core = (uint8_t)state_get_most(in, UINT8_MAX);
	x->reason = (uint8_t)state_get_most(in, UINT8_MAX);
	x->streams_open = (uint8_t)state_get_most(in, UINT8_MAX);
	x->value = (int32_t)state_get_signed(in);
	x->start_ns = state_get_signed(in);
	x->end_ns = state_get_signed(in);
	x->stdout_length = state_get(in);
	x->stderr_length = state_get(in);
	x->utime_us = state_get_signed(in);
	x->stime_us = state_get_signed(in);
	x->maxrss_kib = state_get(in);
	x->minflt = state_get(in);
	x->majflt = state_get(in);
	x->inblock = state_get(in);
	x->oublock = state_get(in);
	x->nvcsw = state_get(in);
	x->nivcsw = state_get(in);
	x->stage = (uint32_t)state_get_most(in, UINT32_MAX);
	state_get_text(in, x->by, sizeof(x->by));
	state_get_text(in, x->text, sizeof(x->text));
}

static void load_sent(struct state_in *in, struct saved *s)
{
	s->n_sent = (size_t)state_get_most(in, SENT_MAX);
	for (size_t i = 0; i < s->n_sent; i++) {
		s->sent[i].signo = (int)state_get_most(in, 64);
		state_get_text(in, s->sent[i].by, sizeof(s->sent[i].by));
	}
}

/* What must hold between the fields, so that nothing that comes later trips over it. */
static bool makes_sense(const struct saved *s)
{
	bool ran = s->state != KM_STATE_QUEUED &&
	           (s->state != KM_STATE_ENDED || s->exit.kind != KM_END_NOT_STARTED);

	if (!job_id_valid(s->id, strlen(s->id)) || s->owner[0] == '\0' || s->state == 0 ||
	    s->cause > KM_REASON_OUT_OF_MEMORY || (s->pid > 0) != ran || s->has_out != ran)
		return false;
	if (!ran)
		return !s->reaped && !s->has_in && s->pidfd < 0 && s->terminal < 0;
	return s->reaped ? s->state >= KM_STATE_ENDING && s->pidfd < 0 && s->terminal < 0
	                 : s->state != KM_STATE_ENDED;
}

static void load_times(struct state_in *in, struct saved *s)
{
	s->kill_at = state_get_signed(in);
	s->timeout_at = state_get_signed(in);
	s->end_at = state_get_signed(in);
	s->gone_at = state_get_signed(in);
	s->close_at = state_get_signed(in);
	s->close_mark[KM_STDOUT] = state_get(in);
	s->close_mark[KM_STDERR] = state_get(in);
	s->close_late = state_get_bool(in);
	s->ended_at = state_get_signed(in);
	s->expire_ns = state_get_signed(in);
}

static int load(struct state_in *in, struct saved *s, struct err *e)
{
	const uint8_t *spec;
	size_t len;
	int rc;

	state_get_text(in, s->id, sizeof(s->id));
	state_get_text(in, s->owner, sizeof(s->owner));
	spec = state_get_bytes(in, &len);
	s->state = (enum km_state)state_get_most(in, KM_STATE_ENDED);
	s->pid = (int)state_get_most(in, INT32_MAX);
	s->pidfd = state_get_fd(in);
	s->terminal = state_get_fd(in);
	s->start_ns = state_get_signed(in);
	s->born_ns = state_get_signed(in);
	state_get_text(in, s->cgroup, sizeof(s->cgroup));
	s->was_attached = state_get_bool(in);
	s->reaped = state_get_bool(in);
	s->attached = state_get_bool(in);
	s->delivered = state_get_bool(in);
	s->acknowledged = state_get_bool(in);
	load_exit(in, &s->exit);
	s->cause = (enum km_reason)state_get_most(in, UINT8_MAX);
	state_get_text(in, s->cause_by, sizeof(s->cause_by));
	load_times(in, s);
	load_sent(in, s);
	s->has_in = state_get_bool(in);
	if (s->has_in)
		pump_in_load(in, &s->in);
	s->has_out = state_get_bool(in);
	for (int i = KM_STDOUT; i <= KM_STDERR && s->has_out; i++) {
		pump_out_load(in, &s->out[i]);
		if (!s->out[i].has_store)
			state_bad(in);
	}
	s->starter_key = state_get(in);
	readers_load(in, &s->readers, &s->n_readers);
	if (!state_record_good(in) || spec == NULL || !makes_sense(s))
		return err_set(e, TX_EPROTO, "process %s: its record is not possible", s->id);
	rc = job_spec_parse(&s->spec, spec, len, e);
	return rc != 0 ? err_wrap(e, "process %s", s->id) : 0;
}

static int restore_names(struct job *j, const struct saved *s)
{
	struct job_sent **last = &j->sent;

	if (s->cause_by[0] != '\0' && (j->cause_by = strdup(s->cause_by)) == NULL)
		return TX_ENOMEM;
	for (size_t i = 0; i < s->n_sent; i++) {
		struct job_sent *one = calloc(1, sizeof(*one));

		if (one == NULL)
			return TX_ENOMEM;
		one->signo = s->sent[i].signo;
		memcpy(one->by, s->sent[i].by, sizeof(one->by));
		*last = one;
		last = &one->next;
	}
	return 0;
}

static void close_fd(int *fd)
{
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
}

/* What its process wrote and nobody has read is lost; where that does not help its pipe is, too. */
static int restore_output(const struct job_place *to, struct job *j, enum km_stream stream,
    const struct store_config *config, const struct pump_out_saved *saved, struct err *e)
{
	struct event_base *base = jobs_base(to->jobs);
	const struct pump_out_ops *ops = job_output_ops(stream);
	struct pump_out_saved s = *saved;
	int rc = pump_out_restore(&j->out[stream], base, &s, config, ops, j, e);

	if (rc == 0)
		return 0;
	log_error("job %s: %llu bytes of its output are lost: %s", j->id,
	    (unsigned long long)(s.store.head - s.store.tail), e->message);
	close_fd(&s.store.ring_fd);
	if (s.store.has_spool) {
		close_fd(&s.store.spool.fd);
		close_fd(&s.store.spool.reader);
	}
	s.store.has_spool = false;
	s.store.tail = s.store.released = s.store.head;
	rc = pump_out_restore(&j->out[stream], base, &s, config, ops, j, e);
	if (rc == 0)
		return 0;
	log_error("job %s: no more of its output is read: %s", j->id, e->message);
	close_fd(&s.fd);
	return pump_out_restore(&j->out[stream], base, &s, config, ops, j, e);
}

static int restore_input(
    const struct job_place *to, struct job *j, const struct pump_in_saved *saved, struct err *e)
{
	struct event_base *base = jobs_base(to->jobs);
	struct pump_in_saved s = *saved;
	int rc = pump_in_restore(&j->in, base, &s, job_stdin_moved, j, e);

	if (rc == 0)
		return 0;
	log_error("job %s: its input ends here: %s", j->id, e->message);
	close_fd(&s.fd);
	close_fd(&s.ring_fd);
	s.closed = true;
	return pump_in_restore(&j->in, base, &s, job_stdin_moved, j, e);
}

/* One that cannot be had any more does not end the others, nor its process. */
static int restore_pumps(
    const struct job_place *to, struct job *j, const struct saved *s, struct err *e)
{
	const struct store_config config = {
	    .drop_oldest = j->spec->output_policy == JOB_OUTPUT_DROP_OLDEST,
	    .spool = j->spec->spool,
	    .spool_folder = to->spool_dir,
	    .job = j->id,
	};
	int rc = 0;

	if (s->has_in)
		rc = restore_input(to, j, &s->in, e);
	for (int i = KM_STDOUT; i <= KM_STDERR && rc == 0 && s->has_out; i++)
		rc = restore_output(to, j, (enum km_stream)i, &config, &s->out[i], e);
	return rc != 0 ? err_wrap(e, "process %s", s->id) : 0;
}

static void restore_fields(struct job *j, const struct saved *s)
{
	j->pid = s->pid;
	j->pidfd = s->pidfd;
	j->terminal = s->terminal;
	j->start_ns = s->start_ns;
	j->born_ns = s->born_ns;
	j->was_attached = s->was_attached;
	j->starter_key = s->starter_key;
	j->reaped = s->reaped;
	j->exit = s->exit;
	j->cause = s->cause;
	j->kill_at = s->kill_at;
	j->timeout_at = s->timeout_at;
	j->delivered = s->delivered;
	j->acknowledged = s->acknowledged;
	memcpy(j->close_mark, s->close_mark, sizeof(j->close_mark));
	j->close_late = s->close_late;
	j->ended_at = s->ended_at;
	j->expire_ns = s->expire_ns;
	j->lost_worker = s->attached;
	set_due(j->end_timer, s->end_at);
	set_due(j->gone_timer, s->gone_at);
	set_due(j->close_timer, s->close_at);
}

/* Where its control group cannot be had any more it goes on without. */
static void restore_cgroup(struct job *j, struct cgroups *cs, const struct saved *s)
{
	int rc = s->cgroup[0] != '\0' ? cgroup_restore(&j->cgroup, cs, s->cgroup) : 0;

	if (rc != 0)
		log_warn("job %s: its control group is not found again: %s", j->id, err_name(rc));
}

/* Takes s->spec. What fails here leaves descriptors open: the process is at its end then. */
static int restore(const struct job_place *to, struct saved *s, struct err *e)
{
	struct jobs *js = to->jobs;
	struct job *j = jobs_find(js, s->id) == NULL ? job_new(js, s->id, s->owner, s->spec) : NULL;
	int rc;

	if (j == NULL)
		return err_set(e, TX_ENOMEM, "process %s is there twice, or out of memory", s->id);
	s->spec = NULL;
	if (restore_names(j, s) != 0)
		log_warn("job %s: out of memory: who ended it may not be known", j->id);
	rc = restore_pumps(to, j, s, e);
	if (rc != 0) {
		job_free(j);
		return rc;
	}
	restore_fields(j, s);
	job_adopt(j, s->state);
	readers_restore(j, s->readers, s->n_readers);
	restore_cgroup(j, to->cgroups, s);
	rc = group_adopt(to->groups, j);
	return rc != 0 ? err_set(e, rc, "out of memory") : 0;
}

int job_restore(const struct job_place *to, struct state_in *in, struct err *e)
{
	struct saved *s = calloc(1, sizeof(*s));
	int rc;

	if (s == NULL)
		return err_set(e, TX_ENOMEM, "out of memory");
	rc = load(in, s, e);
	if (rc == 0 && to != NULL)
		rc = restore(to, s, e);
	job_spec_free(s->spec);
	free(s->readers);
	free(s);
	return rc;
}

/* ---- all of them are there ---- */

static int by_end(const void *a, const void *b)
{
	const struct job *x = *(struct job *const *)a, *y = *(struct job *const *)b;

	return x->ended_at < y->ended_at ? -1 : x->ended_at > y->ended_at;
}

/* In the order of their ends, as they were held. */
static void hold_ended(struct jobs *js)
{
	struct job **all;
	size_t n = 0, at = 0;

	for (struct job *j = jobs_first(js); j != NULL; j = jobs_next(j))
		n += j->state == KM_STATE_ENDED;
	all = calloc(n + 1, sizeof(struct job *));
	for (struct job *j = jobs_first(js); j != NULL; j = jobs_next(j)) {
		if (j->state != KM_STATE_ENDED)
			continue;
		if (all != NULL)
			all[at++] = j;
		else
			job_hold(j); /* in the order of their starts, then */
	}
	if (at > 0)
		qsort(all, at, sizeof(struct job *), by_end);
	for (size_t i = 0; i < at; i++)
		job_hold(all[i]);
	free(all);
}

void jobs_resume(struct jobs *js)
{
	struct job *j, *next;

	hold_ended(js);
	for (j = jobs_first(js); j != NULL; j = next) {
		next = jobs_next(j);
		if (j->lost_worker && j->state != KM_STATE_ENDED)
			ending_left(j, true);
		job_resume(j);
	}
}
