/* SPDX-License-Identifier: Apache-2.0 */
/* The records come in the order of their tags: groups before the jobs that are in them. */
#include "agent/keeper/state.h"
#include "agent/keeper/cgroup.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/keeper/group.h"
#include "agent/keeper/job.h"
#include "agent/keeper/job_save.h"
#include "agent/keeper/listener.h"
#include "agent/keeper/old_workers.h"
#include "agent/keeper/pump.h"
#include "agent/keeper/state_io.h"
#include "agent/keeper/workers.h"
#include "common/log.h"

/* ---- out ---- */

static void save_worker(pid_t pid, uint64_t writer, void *arg)
{
	struct state_out *o = arg;

	state_begin(o, STATE_WORKER);
	state_put_signed(o, pid);
	state_put(o, writer);
	state_end(o);
}

static void save_keeper(struct state_out *o, const struct state_keeper *k)
{
	state_begin(o, STATE_KEEPER);
	state_put_signed(o, getpid());
	state_put_signed(o, k->start_ns);
	state_put(o, k->nofile.rlim_cur);
	state_put(o, k->nofile.rlim_max);
	state_put_fd(o, k->state_dir);
	state_put_fd(o, k->lock);
	state_put(o, k->dropped);
	state_put(o, k->exec.last_id);
	state_put(o, k->exec.writer);
	state_put(o, k->exec.seq);
	state_put_bytes(o, k->exec.hash, sizeof(k->exec.hash));
	state_end(o);
}

static void save_group(const char *owner, const char *name, uint32_t maximum, void *arg)
{
	struct state_out *o = arg;

	state_begin(o, STATE_GROUP);
	state_put_text(o, owner);
	state_put_text(o, name);
	state_put(o, maximum);
	state_end(o);
}

static void save_listeners(struct state_out *o, const struct listeners *ls)
{
	for (size_t i = 0; i < ls->n; i++) {
		state_begin(o, STATE_LISTENER);
		state_put_fd(o, ls->list[i].fd);
		state_put_text(o, ls->list[i].text);
		state_put_text(o, ls->list[i].address);
		state_put(o, ls->list[i].kind);
		state_end(o);
	}
}

struct state_out *state_save(const struct state_keeper *k, const struct state_parts *p)
{
	struct state_out *o = state_out_new();
	uint64_t n = 0;

	if (o == NULL)
		return NULL;
	save_keeper(o, k);
	save_listeners(o, p->listeners);
	workers_each(p->workers, save_worker, o);
	old_workers_each(p->old_workers, save_worker, o);
	groups_each(p->groups, save_group, o);
	for (struct job *j = jobs_first(p->jobs); j != NULL; j = jobs_next(j)) {
		job_save(o, j);
		n++;
	}
	pump_out_save_abandoned(o);
	state_begin(o, STATE_END);
	state_put(o, n);
	state_end(o);
	return o;
}

/* ---- in ---- */

struct restoring {
	struct state_in *in;
	bool check; /* only */
	pid_t pid;
	struct state_keeper *keeper;
	struct listeners *listeners;
	struct state_parts *parts; /* not to check */
	uint64_t n_jobs;
	bool ended;
};

static int bad(struct err *e, const char *what)
{
	return err_set(e, TX_EPROTO, "the state's record of %s is not possible", what);
}

/* Of a version that did not have it: 0. */
static void read_exec(struct state_in *in, struct exec_log_state *x)
{
	const uint8_t *hash;
	size_t len;

	*x = (struct exec_log_state){.last_id = state_get(in)};
	x->writer = state_get(in);
	x->seq = state_get(in);
	hash = state_get_bytes(in, &len);
	if (len == sizeof(x->hash))
		memcpy(x->hash, hash, len);
	else if (x->seq != 0)
		state_bad(in);
}

static int on_keeper(struct restoring *r, struct err *e)
{
	r->pid = (pid_t)state_get_most(r->in, INT32_MAX);
	r->keeper->start_ns = state_get_signed(r->in);
	r->keeper->nofile.rlim_cur = state_get(r->in);
	r->keeper->nofile.rlim_max = state_get(r->in);
	r->keeper->state_dir = state_get_fd(r->in);
	r->keeper->lock = state_get_fd(r->in);
	r->keeper->dropped = state_get(r->in);
	read_exec(r->in, &r->keeper->exec);
	if (!state_record_good(r->in) || r->keeper->state_dir < 0 || r->keeper->lock < 0)
		return bad(e, "the agent itself");
	return 0;
}

static int on_listener(struct restoring *r, struct err *e)
{
	struct listener *l = &r->listeners->list[r->listeners->n];

	if (r->listeners->n == KM_LISTEN_MAX)
		return bad(e, "a listening socket");
	l->fd = state_get_fd(r->in);
	state_get_text(r->in, l->text, sizeof(l->text));
	state_get_text(r->in, l->address, sizeof(l->address));
	l->kind = (enum km_listen_kind)state_get_most(r->in, KM_LISTEN_ENROLL);
	if (!state_record_good(r->in) || l->fd < 0)
		return bad(e, "a listening socket");
	r->listeners->n++;
	return 0;
}

static int on_worker(struct restoring *r, struct err *e)
{
	pid_t pid = (pid_t)state_get_most(r->in, INT32_MAX);
	uint64_t writer = state_get(r->in); /* of a version that did not have it: 0 */

	if (!state_record_good(r->in) || pid <= 0)
		return bad(e, "a worker");
	if (!r->check)
		old_workers_add(r->parts->old_workers, pid, writer);
	return 0;
}

static int on_group(struct restoring *r, struct err *e)
{
	char owner[KM_IDENTITY_SIZE], name[KM_ID_SIZE];
	uint32_t maximum;

	state_get_text(r->in, owner, sizeof(owner));
	state_get_text(r->in, name, sizeof(name));
	maximum = (uint32_t)state_get_most(r->in, UINT32_MAX);
	if (!state_record_good(r->in) || owner[0] == '\0' || !job_id_valid(name, strlen(name)))
		return bad(e, "a group");
	if (!r->check && group_restore(r->parts->groups, owner, name, maximum) != 0)
		return err_set(e, TX_ENOMEM, "out of memory");
	return 0;
}

static int on_job(struct restoring *r, struct err *e)
{
	struct job_place to;

	r->n_jobs++;
	if (r->check)
		return job_restore(NULL, r->in, e);
	to = (struct job_place){.jobs = r->parts->jobs,
	    .groups = r->parts->groups,
	    .cgroups = r->parts->cgroups,
	    .spool_dir = r->parts->spool_dir};
	return job_restore(&to, r->in, e);
}

static int on_abandoned(struct restoring *r, struct err *e)
{
	struct pump_out_saved s;

	pump_out_load(r->in, &s);
	if (!state_record_good(r->in) || s.fd < 0 || s.has_store)
		return bad(e, "a pipe");
	if (!r->check && pump_out_restore_abandoned(jobs_base(r->parts->jobs), &s, e) != 0) {
		log_warn("a pipe that a forgotten process left is closed: %s", e->message);
		close(s.fd);
	}
	return 0;
}

static int on_end(struct restoring *r, struct err *e)
{
	uint64_t n = state_get(r->in);

	r->ended = true;
	if (!r->check)
		cgroups_settle(r->parts->cgroups);
	return state_record_good(r->in) && n == r->n_jobs && state_fds_done(r->in)
	           ? 0
	           : bad(e, "its end");
}

static const struct {
	enum state_tag tag;
	int (*take)(struct restoring *r, struct err *e);
} records[] = {
    {STATE_KEEPER, on_keeper},
    {STATE_LISTENER, on_listener},
    {STATE_WORKER, on_worker},
    {STATE_GROUP, on_group},
    {STATE_JOB, on_job},
    {STATE_ABANDONED, on_abandoned},
    {STATE_END, on_end},
};

static int take_one(struct restoring *r, enum state_tag tag, struct err *e)
{
	for (size_t i = 0; i < sizeof(records) / sizeof(records[0]); i++)
		if (records[i].tag == tag)
			return records[i].take(r, e);
	return err_set(e, TX_EPROTO, "the state has a record of an unknown kind (%d)", (int)tag);
}

static int take_all(struct restoring *r, struct err *e)
{
	enum state_tag tag, last = STATE_KEEPER;
	bool first = true;
	int rc = 0;

	state_rewind(r->in);
	while (rc == 0 && state_next(r->in, &tag)) {
		if (first != (tag == STATE_KEEPER) || tag < last)
			return bad(e, "something that is out of its order");
		first = false;
		last = tag;
		rc = take_one(r, tag, e);
	}
	if (rc == 0 && !r->ended)
		rc = bad(e, "its end");
	return rc;
}

int state_check(struct state_in *in, struct listeners *found, struct err *e)
{
	struct state_keeper k;
	struct restoring r = {.in = in, .check = true, .keeper = &k, .listeners = found};

	found->n = 0;
	return take_all(&r, e);
}

int state_read_keeper(struct state_in *in, struct state_keeper *k, struct err *e)
{
	struct restoring r = {.in = in, .keeper = k};
	enum state_tag tag;
	int rc;

	state_rewind(in);
	if (!state_next(in, &tag) || tag != STATE_KEEPER)
		return bad(e, "the agent itself");
	rc = on_keeper(&r, e);
	if (rc == 0 && r.pid != getpid())
		rc = err_set(e, TX_EPROTO, "the state is another process's (%d)", (int)r.pid);
	return rc;
}

int state_restore(struct state_in *in, struct state_keeper *k, struct state_parts *p, struct err *e)
{
	struct listeners *found = calloc(1, sizeof(*found));
	struct restoring r = {.in = in, .keeper = k, .listeners = found, .parts = p};
	int rc;

	if (found == NULL)
		return err_set(e, TX_ENOMEM, "out of memory");
	found->refs = 1;
	rc = state_check(in, found, e);
	found->n = 0;
	if (rc == 0)
		rc = state_read_keeper(in, k, e);
	if (rc == 0)
		rc = state_claim_fds(in, e);
	if (rc == 0)
		rc = take_all(&r, e);
	if (rc == 0)
		p->listeners = found;
	else
		listeners_unref(found);
	return rc;
}
