/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A helper is STARTING until the keeper has given its socket and it has said that it is ready, then
 * IDLE or LENT; RETURNING while what was sent to it still waits to be read. Everything that may
 * free or find a helper ends in the pool's turn, which matches those who wait with those that are
 * idle.
 */
#include "agent/worker/file_pool.h"

#include <assert.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#include "agent/worker/authz.h"
#include "agent/worker/keeper_client.h"
#include "agent/worker/process_reply.h"
#include "agent/worker/worker.h"
#include "common/files_frame.h"
#include "common/log.h"
#include "common/mem.h"

#define IDLE_S 60

enum state { STARTING, IDLE, LENT, RETURNING };

struct file_helper {
	TAILQ_ENTRY(file_helper) entry;
	struct file_pool *pool;
	enum state state;
	char *user;
	struct keeper_call *asked; /* until the keeper's answer */
	struct file_link *link;    /* from then on */
	uint8_t *setup;            /* FilesSetup, until it is sent */
	size_t setup_len;
	char home[KM_HOME_SIZE];
	struct event *idle;
	const struct file_borrower *to;
	void *arg;
};

struct file_ticket {
	TAILQ_ENTRY(file_ticket) entry;
	struct file_pool *pool;
	struct rpc_call *call;
	char *user;
	file_pool_answer *answer;
	void *arg;
};

struct file_pool {
	struct worker *worker;
	struct event *turn;
	TAILQ_HEAD(, file_helper) helpers;
	TAILQ_HEAD(, file_ticket) waiting;
};

static void poke(struct file_pool *p)
{
	event_active(p->turn, EV_TIMEOUT, 0);
}

/* ---- helpers ---- */

static void destroy(struct file_helper *h)
{
	TAILQ_REMOVE(&h->pool->helpers, h, entry);
	keeper_call_forget(h->asked);
	file_link_free(h->link);
	if (h->idle != NULL)
		event_free(h->idle);
	free(h->setup);
	free(h->user);
	free(h);
}

static unsigned count(const struct file_pool *p, const char *user, enum state from, enum state to)
{
	const struct file_helper *h;
	unsigned n = 0;

	TAILQ_FOREACH(h, &p->helpers, entry)
	n += h->state >= from && h->state <= to && strcmp(h->user, user) == 0;
	return n;
}

/* Those who wait for this user: all of them where nobody is left who could serve them. */
static void fail_waiting(struct file_pool *p, const char *user, const struct rpc_status *why)
{
	struct file_ticket *t, *next;

	if (count(p, user, STARTING, RETURNING) > 0)
		return;
	for (t = TAILQ_FIRST(&p->waiting); t != NULL; t = next) {
		next = TAILQ_NEXT(t, entry);
		if (strcmp(t->user, user) != 0)
			continue;
		TAILQ_REMOVE(&p->waiting, t, entry);
		t->answer(NULL, why, t->arg);
		free(t->user);
		free(t);
	}
}

/* One that never came to be lent. Where others of its user's run, these are waited for. */
static void fail_start(struct file_helper *h, const struct rpc_status *why)
{
	struct file_pool *p = h->pool;
	char *user = h->user;

	h->user = NULL;
	destroy(h);
	fail_waiting(p, user, why);
	free(user);
}

static void set_died(struct rpc_status *status)
{
	rpc_status_set(status, RPC_ABORTED, "HELPER_DIED",
	    "the agent's process for files has ended; try again");
}

static void keep_confinement(struct worker *w, const Telex__Internal__V1__FilesReady *m)
{
	struct confine_report *r = &w->files_confinement;

	r->n = 0;
	for (size_t i = 0; i < m->n_confinements && i < CONFINE_MEASURES_MAX; i++) {
		const Telex__V1__Confinement *from = m->confinements[i];
		struct confine_measure *to = &r->list[r->n++];

		snprintf(w->files_measures[i], sizeof(w->files_measures[i]), "%s", from->name);
		to->name = w->files_measures[i];
		to->in_force = from->in_force;
		snprintf(to->note, sizeof(to->note), "%s", from->note);
	}
}

static void make_idle(struct file_helper *h)
{
	const struct timeval limit = {IDLE_S, 0};

	h->state = IDLE;
	h->to = NULL;
	if (event_add(h->idle, &limit) != 0)
		abort();
	poke(h->pool);
}

static void on_idle(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	destroy(arg);
}

/* ---- its link ---- */

static void on_message(struct evbuffer *msg, void *arg)
{
	struct file_helper *h = arg;

	if (h->state == LENT)
		h->to->message(msg, h->arg);
	else
		log_warn("telex-files answers what nobody asked");
}

static void on_ready(const Telex__Internal__V1__FilesReady *m, void *arg)
{
	struct file_helper *h = arg;

	if (h->state != STARTING)
		return;
	keep_confinement(h->pool->worker, m);
	make_idle(h);
}

static void on_status(const Telex__Internal__V1__FilesStatus *m, void *arg)
{
	struct file_helper *h = arg;
	struct rpc_status status;

	if (h->state == LENT) {
		h->to->status(m, h->arg);
	} else if (h->state == STARTING) {
		rpc_status_set(&status, RPC_INTERNAL, "SYSTEM", "%s", m->message);
		fail_start(h, &status);
	}
}

static void on_sent(size_t n, void *arg)
{
	struct file_helper *h = arg;

	if (h->state == LENT)
		h->to->sent(n, h->arg);
}

static void on_drained(void *arg)
{
	struct file_helper *h = arg;

	if (h->state == RETURNING)
		make_idle(h);
}

static void on_lost(void *arg)
{
	struct file_helper *h = arg;
	struct rpc_status status;

	set_died(&status);
	if (h->state == LENT) {
		h->to->lost(h->arg);
	} else if (h->state == STARTING) {
		fail_start(h, &status);
	} else {
		struct file_pool *p = h->pool;

		destroy(h);
		poke(p);
	}
}

static const struct file_link_ops link_ops = {.message = on_message,
    .ready = on_ready,
    .status = on_status,
    .sent = on_sent,
    .drained = on_drained,
    .lost = on_lost};

/* ---- starting one ---- */

static void refused(struct rpc_status *out, const union km_any *msg)
{
	if (msg == NULL)
		process_reply_gone(out);
	else if (msg->hdr.type == KM_REFUSED)
		process_reply_refused(out, &msg->refused);
	else
		rpc_status_set(
		    out, RPC_INTERNAL, "SYSTEM", "the agent gave an answer of the wrong kind");
}

static void on_answer(const union km_any *msg, int fd, void *arg)
{
	struct file_helper *h = arg;
	struct rpc_status status;
	int own;

	h->asked = NULL;
	if (msg == NULL || msg->hdr.type != KM_FILES_REPLY) {
		refused(&status, msg);
		fail_start(h, &status);
		return;
	}
	own = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (own < 0) {
		rpc_status_set(&status, RPC_RESOURCE_EXHAUSTED, "LIMIT",
		    "the agent's worker is out of file descriptors");
		fail_start(h, &status);
		return;
	}
	memcpy(h->home, msg->files_reply.home, sizeof(h->home));
	h->link = file_link_new(h->pool->worker->base, own, &link_ops, h);
	(void)file_link_send(h->link, FILES_SETUP, h->setup, h->setup_len);
	free(h->setup);
	h->setup = NULL;
}

static char **as_texts(const char *const *list, size_t *n)
{
	for (*n = 0; list != NULL && list[*n] != NULL; ++*n)
		;
	return (char **)(uintptr_t)list;
}

/* Of the roles that the ticket's caller has; packed. */
static void pack_setup(struct file_helper *h, struct rpc_call *c)
{
	Telex__Internal__V1__FilesSetup m = TELEX__INTERNAL__V1__FILES_SETUP__INIT;
	const struct worker *w = h->pool->worker;
	struct policy_file_role *roles;
	size_t n = authz_file_roles(c, h->user, &roles);
	Telex__Internal__V1__FilesRole *list = xcalloc(n + 1, sizeof(*list));
	Telex__Internal__V1__FilesRole **of = xcalloc(n + 1, sizeof(*of));

	for (size_t i = 0; i < n; i++) {
		telex__internal__v1__files_role__init(&list[i]);
		list[i].read = as_texts(roles[i].read, &list[i].n_read);
		list[i].write = as_texts(roles[i].write, &list[i].n_write);
		list[i].watch = as_texts(roles[i].watch, &list[i].n_watch);
		list[i].max_upload_bytes = roles[i].max_upload;
		list[i].max_upload_files = roles[i].max_upload_files;
		of[i] = &list[i];
	}
	m.roles = of;
	m.n_roles = n;
	m.log_level = w->config.log_level;
	m.log_json = w->config.log_json != 0;
	h->setup_len = telex__internal__v1__files_setup__get_packed_size(&m);
	h->setup = xmalloc(h->setup_len + 1);
	telex__internal__v1__files_setup__pack(&m, h->setup);
	free(of);
	free(list);
	free(roles);
}

static int ask_keeper(struct file_helper *h, struct rpc_call *c)
{
	const struct peer *peer = rpc_call_peer(c);
	struct km_files m = {0};

	snprintf(m.owner, sizeof(m.owner), "%s", peer->identity);
	snprintf(m.user, sizeof(m.user), "%s", h->user);
	return keeper_call(h->pool->worker->keeper, KM_FILES, &m, -1, on_answer, h, &h->asked);
}

static void start(struct file_pool *p, const struct file_ticket *t)
{
	struct file_helper *h = xcalloc(1, sizeof(*h));
	struct rpc_status status;
	int rc;

	h->pool = p;
	h->state = STARTING;
	h->user = xstrdup(t->user);
	h->idle = evtimer_new(p->worker->base, on_idle, h);
	if (h->idle == NULL)
		abort();
	TAILQ_INSERT_TAIL(&p->helpers, h, entry);
	pack_setup(h, t->call);
	if (h->setup_len > FILES_FRAME_MAX) {
		rpc_status_set(&status, RPC_RESOURCE_EXHAUSTED, "LIMIT", "the policy is too long");
		fail_start(h, &status);
		return;
	}
	rc = ask_keeper(h, t->call);
	if (rc == 0)
		return;
	process_reply_link(&status, rc);
	fail_start(h, &status);
}

/* ---- the turn ---- */

static struct file_helper *find_idle(struct file_pool *p, const char *user)
{
	struct file_helper *h;

	TAILQ_FOREACH(h, &p->helpers, entry)
	if (h->state == IDLE && strcmp(h->user, user) == 0)
		return h;
	return NULL;
}

static void lend(struct file_helper *h, struct file_ticket *t)
{
	TAILQ_REMOVE(&h->pool->waiting, t, entry);
	event_del(h->idle);
	h->state = LENT;
	t->answer(h, NULL, t->arg);
	free(t->user);
	free(t);
}

/* The first that can be served. False: nobody can. */
static bool serve_one(struct file_pool *p)
{
	struct file_ticket *t;
	struct file_helper *h;

	TAILQ_FOREACH(t, &p->waiting, entry)
	{
		h = find_idle(p, t->user);
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
			place += strcmp(before->user, t->user) == 0;
		if (count(p, t->user, STARTING, STARTING) >= place ||
		    count(p, t->user, STARTING, RETURNING) >= FILE_POOL_MAX)
			continue;
		start(p, t);
		return true;
	}
	return false;
}

static void on_turn(evutil_socket_t fd, short what, void *arg)
{
	struct file_pool *p = arg;

	(void)fd;
	(void)what;
	while (serve_one(p))
		;
	for (int i = 0; i < FILE_POOL_MAX && start_one(p); i++)
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

struct file_ticket *file_pool_ask(
    struct rpc_call *c, const char *user, file_pool_answer *answer, void *arg)
{
	struct file_ticket *t = xcalloc(1, sizeof(*t));

	t->pool = pool_of(c);
	t->call = c;
	t->user = xstrdup(user);
	t->answer = answer;
	t->arg = arg;
	TAILQ_INSERT_TAIL(&t->pool->waiting, t, entry);
	poke(t->pool);
	return t;
}

void file_ticket_drop(struct file_ticket *t)
{
	if (t == NULL)
		return;
	TAILQ_REMOVE(&t->pool->waiting, t, entry);
	free(t->user);
	free(t);
}

void file_helper_lend(struct file_helper *h, const struct file_borrower *to, void *arg)
{
	h->to = to;
	h->arg = arg;
}

struct file_link *file_helper_link(struct file_helper *h)
{
	return h->link;
}

const char *file_helper_home(const struct file_helper *h)
{
	return h->home;
}

void file_helper_return(struct file_helper *h)
{
	assert(h->state == LENT);
	file_link_pause(h->link, false);
	h->state = RETURNING;
	h->to = NULL;
	if (file_link_is_drained(h->link))
		make_idle(h);
}

void file_helper_end(struct file_helper *h)
{
	struct file_pool *p = h->pool;

	destroy(h);
	poke(p);
}

void file_pool_free(struct file_pool *p)
{
	struct file_helper *h;

	if (p == NULL)
		return;
	assert(TAILQ_EMPTY(&p->waiting));
	while ((h = TAILQ_FIRST(&p->helpers)) != NULL)
		destroy(h);
	event_free(p->turn);
	free(p);
}
