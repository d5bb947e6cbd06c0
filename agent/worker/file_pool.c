/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A helper is STARTING until the keeper has given its socket and it has said that it is ready, then
 * IDLE or LENT; RETURNING while what was sent to it still waits to be read. Everything that may
 * free or find a helper ends in the pool's turn, which matches those who wait with those that are
 * idle.
 */
#include "agent/worker/file_pool_internal.h"

#include <assert.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "agent/worker/worker.h"
#include "common/mem.h"

void file_pool_poke(struct file_pool *p)
{
	event_active(p->turn, EV_TIMEOUT, 0);
}

/* ---- helpers ---- */

static bool same_use(const struct file_use *a, const struct file_use *b)
{
	return a->watch == b->watch && strcmp(a->user, b->user) == 0;
}

static unsigned count(const struct file_pool *p, const struct file_use *use,
    enum file_helper_state from, enum file_helper_state to)
{
	const struct file_helper *h;
	unsigned n = 0;

	TAILQ_FOREACH(h, &p->helpers, entry)
	n += h->state >= from && h->state <= to && same_use(&h->use, use);
	return n;
}

static void free_ticket(struct file_ticket *t)
{
	TAILQ_REMOVE(&t->pool->waiting, t, entry);
	free(t->use.user);
	free(t);
}

void file_pool_fail(struct file_pool *p, const struct file_use *use, const struct rpc_status *why)
{
	struct file_ticket *t, *next;

	if (count(p, use, HELPER_STARTING, HELPER_RETURNING) > 0)
		return;
	for (t = TAILQ_FIRST(&p->waiting); t != NULL; t = next) {
		file_pool_answer *answer = t->answer;
		void *arg = t->arg;

		next = TAILQ_NEXT(t, entry);
		if (!same_use(&t->use, use))
			continue;
		free_ticket(t);
		answer(NULL, why, arg);
	}
}

/* ---- the turn ---- */

static struct file_helper *find_idle(struct file_pool *p, const struct file_use *use)
{
	struct file_helper *h;

	TAILQ_FOREACH(h, &p->helpers, entry)
	if (h->state == HELPER_IDLE && same_use(&h->use, use))
		return h;
	return NULL;
}

static void lend(struct file_helper *h, struct file_ticket *t)
{
	file_pool_answer *answer = t->answer;
	void *arg = t->arg;

	free_ticket(t);
	event_del(h->idle);
	h->state = HELPER_LENT;
	answer(h, NULL, arg);
}

/* The first that can be served. False: nobody can. */
static bool serve_one(struct file_pool *p)
{
	struct file_ticket *t;
	struct file_helper *h;

	TAILQ_FOREACH(t, &p->waiting, entry)
	{
		h = find_idle(p, &t->use);
		if (h == NULL)
			continue;
		lend(h, t);
		return true;
	}
	return false;
}

/* One more for each who waits, as far as may be. False: none was started. */
static bool start_one(struct file_pool *p)
{
	const struct file_ticket *t, *before;

	TAILQ_FOREACH(t, &p->waiting, entry)
	{
		unsigned place = 1;

		for (before = TAILQ_FIRST(&p->waiting); before != t;
		     before = TAILQ_NEXT(before, entry))
			place += same_use(&before->use, &t->use);
		if (count(p, &t->use, HELPER_STARTING, HELPER_STARTING) >= place ||
		    count(p, &t->use, HELPER_STARTING, HELPER_RETURNING) >= FILE_POOL_MAX)
			continue;
		file_helper_start(p, t);
		return true;
	}
	return false;
}

/* Those that watch are for nobody else. */
static void end_untaken(struct file_pool *p)
{
	struct file_helper *h, *next;

	for (h = TAILQ_FIRST(&p->helpers); h != NULL; h = next) {
		next = TAILQ_NEXT(h, entry);
		if (h->use.watch != 0 && h->state == HELPER_IDLE)
			file_helper_free(h);
	}
}

static void on_turn(evutil_socket_t fd, short what, void *arg)
{
	struct file_pool *p = arg;

	(void)fd;
	(void)what;
	while (serve_one(p))
		;
	end_untaken(p);
	for (int i = 0; i < FILE_POOL_MAX + FILE_POOL_WATCHES && start_one(p); i++)
		;
}

/* ---- for calls ---- */

static struct file_pool *pool_of(struct rpc_call *c)
{
	struct peer *peer = rpc_call_peer(c);
	struct file_pool *p = peer->files;

	if (p != NULL)
		return p;
	p = xcalloc(1, sizeof(*p));
	p->worker = rpc_call_context(c);
	TAILQ_INIT(&p->helpers);
	TAILQ_INIT(&p->waiting);
	p->turn = event_new(p->worker->base, -1, 0, on_turn, p);
	if (p->turn == NULL)
		abort();
	peer->files = p;
	return p;
}

static struct file_ticket *ask(
    struct rpc_call *c, const struct file_use *use, file_pool_answer *answer, void *arg)
{
	struct file_ticket *t = xcalloc(1, sizeof(*t));

	t->pool = pool_of(c);
	t->call = c;
	t->use = (struct file_use){xstrdup(use->user), use->watch};
	t->answer = answer;
	t->arg = arg;
	TAILQ_INSERT_TAIL(&t->pool->waiting, t, entry);
	file_pool_poke(t->pool);
	return t;
}

struct file_ticket *file_pool_ask(
    struct rpc_call *c, const char *user, file_pool_answer *answer, void *arg)
{
	const struct file_use use = {(char *)(uintptr_t)user, 0};

	return ask(c, &use, answer, arg);
}

static unsigned count_watches(const struct file_pool *p)
{
	const struct file_ticket *t;
	const struct file_helper *h;
	unsigned n = 0;

	TAILQ_FOREACH(t, &p->waiting, entry)
	n += t->use.watch != 0;
	/* What is starting is for one of these, or for nobody. */
	TAILQ_FOREACH(h, &p->helpers, entry)
	n += h->use.watch != 0 && h->state == HELPER_LENT;
	return n;
}

struct file_ticket *file_pool_watch(struct rpc_call *c, const char *user, file_pool_answer *answer,
    void *arg, struct rpc_status *refuse)
{
	struct file_pool *p = pool_of(c);
	struct file_use use = {(char *)(uintptr_t)user, 0};

	if (count_watches(p) >= FILE_POOL_WATCHES) {
		rpc_status_set(refuse, RPC_RESOURCE_EXHAUSTED, "LIMIT",
		    "%d calls watch on this connection already, and no more may; one call may "
		    "watch "
		    "several folders",
		    FILE_POOL_WATCHES);
		rpc_status_meta(refuse, "limit", "%d", FILE_POOL_WATCHES);
		return NULL;
	}
	p->watches = p->watches == UINT_MAX ? 1 : p->watches + 1;
	use.watch = p->watches;
	return ask(c, &use, answer, arg);
}

void file_ticket_drop(struct file_ticket *t)
{
	struct file_helper *h = NULL;

	if (t == NULL)
		return;
	/* What is starting for it alone is wanted no more. */
	if (t->use.watch != 0)
		TAILQ_FOREACH(h, &t->pool->helpers, entry)
	if (same_use(&h->use, &t->use))
		break;
	if (h != NULL)
		file_helper_free(h);
	free_ticket(t);
}

void file_pool_free(struct file_pool *p)
{
	struct file_helper *h;

	if (p == NULL)
		return;
	assert(TAILQ_EMPTY(&p->waiting));
	while ((h = TAILQ_FIRST(&p->helpers)) != NULL)
		file_helper_free(h);
	event_free(p->turn);
	free(p);
}
