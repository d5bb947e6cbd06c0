/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A generation's life: starting -> serving -> retired, or starting -> retired when it was given up.
 * Only what serves is started again; what is retired is freed when the last of it is gone.
 */
#include "agent/keeper/workers.h"

#include <assert.h>
#include <event2/event.h>
#include <stdlib.h>

#include "agent/keeper/worker_kit.h"
#include "agent/keeper/worker_proc.h"
#include "agent/keeper/workers_internal.h"
#include "common/duration.h"
#include "common/log.h"

/* Of those that never come to serve: the pause before the next start, doubled each time. */
#define PAUSE_FIRST_NS (10 * NS_PER_MS)
#define PAUSE_MAX_NS   (10 * NS_PER_S)
/*
 * Of those that do: somebody may be killing them, and the others are to be served. A place may be
 * filled again at once RESTARTS_AT_ONCE times in a row, and once each RESTART_NS in the long run.
 */
#define RESTART_NS       (200 * NS_PER_MS)
#define RESTARTS_AT_ONCE 20
/* More generations than this do not drain at the same time: the oldest is hurried. */
#define RETIRED_MAX 4

/* ---- generations ---- */

static void generation_free(struct generation *g)
{
	if (g == NULL)
		return;
	for (uint32_t i = 0; i < g->n; i++) {
		worker_proc_free(g->places[i].proc);
		if (g->places[i].again != NULL)
			event_free(g->places[i].again);
	}
	worker_kit_free(g->kit);
	free(g);
}

static void free_if_gone(struct generation *g)
{
	for (uint32_t i = 0; i < g->n; i++)
		if (!worker_proc_gone(g->places[i].proc))
			return;
	TAILQ_REMOVE(&g->ws->retired, g, in_retired);
	generation_free(g);
}

/* Gives it no more work. It is freed at once when nothing of it is left. */
static void retire(struct generation *g, int64_t timeout_ns)
{
	struct workers *ws = g->ws;
	struct generation *old;
	unsigned count = 0;

	g->phase = RETIRED;
	TAILQ_INSERT_TAIL(&ws->retired, g, in_retired);
	for (uint32_t i = 0; i < g->n; i++) {
		event_del(g->places[i].again);
		worker_proc_drain(g->places[i].proc, timeout_ns, true);
	}
	TAILQ_FOREACH_REVERSE(old, &ws->retired, retired, in_retired)
	{
		if (++count <= RETIRED_MAX || old->hurried)
			continue;
		old->hurried = true;
		for (uint32_t i = 0; i < old->n; i++)
			worker_proc_drain(old->places[i].proc, 0, true);
	}
	free_if_gone(g);
}

static bool all_were_ready(const struct generation *g)
{
	for (uint32_t i = 0; i < g->n; i++)
		if (!g->places[i].was_ready)
			return false;
	return true;
}

/* ---- starting again ---- */

static void plan_start(struct place *p, int64_t pause_ns)
{
	struct timeval tv = duration_timeval(pause_ns);

	if (event_add(p->again, &tv) != 0)
		log_error("no memory for a timer: a worker is not started again");
}

static int64_t pause_of_served(struct place *p)
{
	int64_t now = clock_monotonic_ns();
	int64_t ahead;

	p->pause_ns = 0;
	p->paid_until = (p->paid_until > now ? p->paid_until : now) + RESTART_NS;
	ahead = p->paid_until - now - RESTARTS_AT_ONCE * RESTART_NS;
	return ahead > 0 ? ahead : 0;
}

static int64_t next_pause(int64_t last_ns)
{
	int64_t pause_ns = last_ns == 0 ? PAUSE_FIRST_NS : last_ns * 2;

	return pause_ns < PAUSE_MAX_NS ? pause_ns : PAUSE_MAX_NS;
}

static int64_t pause_of_failed(struct place *p)
{
	p->pause_ns = next_pause(p->pause_ns);
	return p->pause_ns;
}

static void plan_again(struct place *p)
{
	bool served = worker_proc_ready_at(p->proc) != 0;

	plan_start(p, served ? pause_of_served(p) : pause_of_failed(p));
}

static void start_again(struct place *p)
{
	struct err e = {0};

	if (worker_proc_start(p->proc, &e) == 0)
		return;
	log_error("a worker cannot be started: %s", e.message);
	if (worker_proc_gone(p->proc))
		plan_again(p); /* else when it is reaped */
}

/* Nothing is in force by it yet, and nobody has what another would not get. */
static bool has_never_served(const struct generation *g)
{
	for (uint32_t i = 0; i < g->n; i++)
		if (g->places[i].was_ready || !worker_proc_gone(g->places[i].proc))
			return false;
	return true;
}

static void on_again(evutil_socket_t fd, short what, void *arg)
{
	struct place *p = arg;
	struct err e;

	(void)fd;
	(void)what;
	if (p->g->phase != SERVING || p->g->ws->draining || !worker_proc_gone(p->proc))
		return;
	/* After an upgrade: the files may have been put right. */
	if (has_never_served(p->g) && worker_kit_reread(p->g->kit, &e) != 0)
		log_error("%s", e.message);
	start_again(p);
}

/* ---- what becomes of a generation that starts ---- */

static void serve(struct generation *g)
{
	struct workers *ws = g->ws;
	struct generation *old = ws->serving;
	const struct config *c = worker_kit_config(g->kit);

	ws->starting = NULL;
	ws->serving = g;
	g->phase = SERVING;
	if (old != NULL)
		retire(old, c->drain_timeout_ns);
}

static void give_up(struct generation *g)
{
	g->ws->starting = NULL;
	retire(g, worker_kit_config(g->kit)->drain_timeout_ns);
}

static void on_ready(void *arg)
{
	struct place *p = arg;
	struct generation *g = p->g;
	struct workers *ws = g->ws;
	bool first = ws->serving == NULL && !ws->again;

	p->was_ready = true;
	if (ws->ops->serves != NULL)
		ws->ops->serves(p->proc, ws->arg);
	if (g->phase == RETIRED || !all_were_ready(g))
		return;
	if (g->phase == STARTING) {
		serve(g);
		if (!first)
			ws->ops->renewed((struct config *)(uintptr_t)worker_kit_config(g->kit),
			    worker_kit_listeners(g->kit), ws->arg);
	}
	if (!ws->first_told) {
		ws->first_told = true;
		ws->ops->all_ready(ws->arg);
	}
}

static void on_gone(const char *why, void *arg)
{
	struct place *p = arg;
	struct generation *g = p->g;
	struct workers *ws = g->ws;

	if (g->phase == RETIRED) {
		free_if_gone(g);
	} else if (g->phase == SERVING) {
		if (!ws->draining)
			plan_again(p);
	} else if (ws->serving != NULL || ws->again) {
		give_up(g);
		ws->ops->not_renewed(why, ws->arg);
	} else if (!ws->first_told) {
		ws->first_told = true;
		ws->ops->cannot_start(why, ws->arg);
	}
}

static const struct worker_proc_ops proc_ops = {on_ready, on_gone};

/* ---- making one ---- */

/* The kit becomes its own. */
static int generation_of(
    struct generation **out, struct workers *ws, struct worker_kit *kit, struct err *e)
{
	uint32_t n = worker_kit_config(kit)->workers;
	struct generation *g = calloc(1, sizeof(*g) + n * sizeof(g->places[0]));
	int rc = 0;

	if (g == NULL) {
		worker_kit_free(kit);
		return err_set(e, TX_ENOMEM, "out of memory");
	}
	g->ws = ws;
	g->kit = kit;
	for (uint32_t i = 0; i < n && rc == 0; i++) {
		struct place *p = &g->places[i];

		g->n = i + 1;
		p->g = g;
		p->again = evtimer_new(ws->env->base, on_again, p);
		if (p->again == NULL)
			rc = err_set(e, TX_ENOMEM, "out of memory");
		else
			rc = worker_proc_new(&p->proc, ws->env, g->kit, i, &proc_ops, p, e);
	}
	if (rc == 0)
		*out = g;
	else
		generation_free(g);
	return rc;
}

static int generation_new(struct generation **out, struct workers *ws, struct config *c,
    struct listeners *ls, struct err *e)
{
	struct worker_kit *kit;
	int rc = worker_kit_new(&kit, ws->path, c, ls, ws->start_ns, ws->env->can, e);

	return rc == 0 ? generation_of(out, ws, kit, e) : rc;
}

static int start_all(struct generation *g, struct err *e)
{
	for (uint32_t i = 0; i < g->n; i++) {
		int rc = worker_proc_start(g->places[i].proc, e);

		if (rc != 0)
			return err_wrap(e, "cannot start a worker");
	}
	return 0;
}

/* The first ones of an agent that has served before; a reload may have been faster. */
static void try_serving(struct workers *ws)
{
	struct generation *g;
	struct timeval tv;
	struct err e;

	if (ws->serving != NULL || ws->draining)
		return;
	if (generation_new(&g, ws, ws->config, ws->listeners, &e) == 0) {
		ws->serving = g;
		g->phase = SERVING;
		for (uint32_t i = 0; i < g->n; i++)
			start_again(&g->places[i]);
		return;
	}
	log_error("no worker can be started: %s", e.message);
	ws->retry_ns = next_pause(ws->retry_ns);
	tv = duration_timeval(ws->retry_ns);
	if (event_add(ws->retry, &tv) != 0)
		log_error("no memory for a timer: workers are started by a reload only");
}

static void on_retry(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	try_serving(arg);
}

int workers_start(
    struct workers *ws, struct config *c, struct listeners *ls, bool again, struct err *e)
{
	struct generation *g;
	int rc;

	assert(ws->serving == NULL && ws->starting == NULL && !ws->again);
	if (again) {
		ws->again = true;
		ws->config = config_ref(c);
		ws->listeners = listeners_ref(ls);
		try_serving(ws);
		return 0;
	}
	rc = generation_new(&g, ws, c, ls, e);
	if (rc != 0)
		return rc;
	ws->starting = g;
	return start_all(g, e);
}

/* In the place of one that was still on its way. */
static int start_beside(struct workers *ws, struct generation *g, struct err *e)
{
	int rc;

	if (ws->starting != NULL)
		give_up(ws->starting);
	ws->starting = g;
	rc = start_all(g, e);
	if (rc != 0)
		give_up(g);
	return rc;
}

int workers_reload(struct workers *ws, struct config *c, struct listeners *ls, struct err *e)
{
	struct generation *g;
	int rc = generation_new(&g, ws, c, ls, e);

	return rc == 0 ? start_beside(ws, g, e) : rc;
}

int workers_renew(struct workers *ws, struct err *e)
{
	/* What a reload that is on its way has read was asked for: it is not undone. */
	const struct generation *of = ws->starting != NULL ? ws->starting : ws->serving;
	struct worker_kit *kit;
	struct generation *g;
	int rc;

	if (of == NULL)
		return err_set(e, TX_ESTATE, "no worker serves");
	rc = worker_kit_renewed(&kit, of->kit, e);
	if (rc == 0)
		rc = generation_of(&g, ws, kit, e);
	return rc == 0 ? start_beside(ws, g, e) : rc;
}

int workers_new(struct workers **out, struct link_env *env, const char *path, int64_t start_ns,
    const struct workers_ops *ops, void *arg, struct err *e)
{
	struct workers *ws = calloc(1, sizeof(*ws));

	if (ws == NULL)
		return err_set(e, TX_ENOMEM, "out of memory");
	ws->env = env;
	ws->path = path;
	ws->start_ns = start_ns;
	ws->ops = ops;
	ws->arg = arg;
	TAILQ_INIT(&ws->retired);
	ws->retry = evtimer_new(env->base, on_retry, ws);
	if (ws->retry == NULL) {
		free(ws);
		return err_set(e, TX_ENOMEM, "out of memory");
	}
	*out = ws;
	return 0;
}

void workers_free(struct workers *ws)
{
	struct generation *g;

	if (ws == NULL)
		return;
	while ((g = TAILQ_FIRST(&ws->retired)) != NULL) {
		TAILQ_REMOVE(&ws->retired, g, in_retired);
		generation_free(g);
	}
	generation_free(ws->starting);
	generation_free(ws->serving);
	event_free(ws->retry);
	config_unref(ws->config);
	listeners_unref(ws->listeners);
	free(ws);
}

void workers_drain(struct workers *ws)
{
	struct generation *g = ws->serving;

	ws->draining = true;
	if (g == NULL && ws->starting != NULL) {
		/* The first ones, on their way: none has a client. */
		ws->first_told = true;
		workers_kill(ws);
		return;
	}
	if (ws->starting != NULL)
		give_up(ws->starting);
	for (uint32_t i = 0; g != NULL && i < g->n; i++) {
		event_del(g->places[i].again);
		worker_proc_drain(g->places[i].proc, 0, false);
	}
}

int workers_certificate(const struct workers *ws)
{
	return ws->serving != NULL ? worker_kit_certificate(ws->serving->kit) : -1;
}
