/* SPDX-License-Identifier: Apache-2.0 */
/* All workers, of the generations that serve, start and drain. */
#include "agent/keeper/worker_proc.h"
#include "agent/keeper/workers_internal.h"

/* Calls each() for every worker until it returns true; then that worker may be gone. */
static bool for_each(
    const struct workers *ws, bool (*each)(struct worker_proc *w, void *arg), void *arg)
{
	struct generation *const two[] = {ws->serving, ws->starting};
	struct generation *g, *next;

	for (int k = 0; k < 2; k++)
		for (uint32_t i = 0; two[k] != NULL && i < two[k]->n; i++)
			if (each(two[k]->places[i].proc, arg))
				return true;
	for (g = TAILQ_FIRST(&ws->retired); g != NULL; g = next) {
		next = TAILQ_NEXT(g, in_retired);
		for (uint32_t i = 0; i < g->n; i++)
			if (each(g->places[i].proc, arg))
				return true;
	}
	return false;
}

struct death {
	pid_t pid;
	int status;
};

static bool is_reaped(struct worker_proc *w, void *arg)
{
	const struct death *d = arg;

	return worker_proc_reaped(w, d->pid, d->status);
}

bool workers_reaped(struct workers *ws, pid_t pid, int status)
{
	struct death d = {pid, status};

	return for_each(ws, is_reaped, &d);
}

static bool has_pid(struct worker_proc *w, void *arg)
{
	return worker_proc_pid(w) == *(pid_t *)arg;
}

bool workers_has(const struct workers *ws, pid_t pid)
{
	return for_each(ws, has_pid, &pid);
}

struct visit {
	void (*each)(pid_t pid, uint64_t writer, void *arg);
	void *arg;
};

static bool visit_one(struct worker_proc *w, void *arg)
{
	const struct visit *v = arg;

	if (worker_proc_pid(w) > 0)
		v->each(worker_proc_pid(w), worker_proc_writer(w), v->arg);
	return false;
}

void workers_each(
    const struct workers *ws, void (*each)(pid_t pid, uint64_t writer, void *arg), void *arg)
{
	struct visit v = {each, arg};

	(void)for_each(ws, visit_one, &v);
}

struct serving_visit {
	void (*each)(struct worker_proc *w, void *arg);
	void *arg;
};

static bool visit_serving(struct worker_proc *w, void *arg)
{
	const struct serving_visit *v = arg;

	if (worker_proc_ready(w))
		v->each(w, v->arg);
	return false;
}

void workers_each_serving(
    const struct workers *ws, void (*each)(struct worker_proc *w, void *arg), void *arg)
{
	struct serving_visit v = {each, arg};

	(void)for_each(ws, visit_serving, &v);
}

static bool count_alive(struct worker_proc *w, void *arg)
{
	*(unsigned *)arg += worker_proc_pid(w) > 0;
	return false;
}

unsigned workers_alive(const struct workers *ws)
{
	unsigned n = 0;

	(void)for_each(ws, count_alive, &n);
	return n;
}

static bool kill_one(struct worker_proc *w, void *arg)
{
	(void)arg;
	worker_proc_kill(w);
	return false;
}

void workers_kill(struct workers *ws)
{
	(void)for_each(ws, kill_one, NULL);
}

static bool move_one(struct worker_proc *w, void *arg)
{
	(void)arg;
	worker_proc_drain(w, 0, true);
	return false;
}

void workers_move(struct workers *ws)
{
	(void)for_each(ws, move_one, NULL);
}

static bool revoke_one(struct worker_proc *w, void *arg)
{
	(void)arg;
	worker_proc_revoke(w);
	return false;
}

void workers_revoke(struct workers *ws)
{
	(void)for_each(ws, revoke_one, NULL);
}
