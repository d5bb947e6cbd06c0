/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One call. What it was told is a tick (`cursor`); a turn sends what is owed, one thing after the
 * other, until the client's side takes no more.
 */
#include <stdlib.h>
#include <string.h>

#include "agent/watch/watch_client_internal.h"
#include "agent/watch/watch_remote.h"
#include "common/mem.h"

#define SYNCS_MAX ((size_t)1024)
#define AGAIN_MAX 8 /* batches for one barrier */

/* ---- its end ---- */

static void finish(struct watch_client *c)
{
	struct rpc_status status;

	rpc_status_set(&status, RPC_OK, NULL, "%s", "");
	c->ops.finish(&status, c->arg);
}

/* A root that was waited for, or took the place of another one, may be one that would have been
 * refused at first. Whether the call is over. */
static bool end_refused(struct watch_client *c)
{
	struct rpc_status status;

	for (size_t i = 0; i < c->asked.n_paths; i++) {
		const struct watch_tree *t = c->trees[i];

		if (t->refused == NULL || t->root_suspect)
			continue;
		(void)watch_remote_refuse(&status, t->path, t->refused);
		c->ops.finish(&status, c->arg);
		return true;
	}
	return false;
}

/* ---- armed ---- */

/* A tree that others have asked for before may be another one by now, and is armed all the same. */
static bool is_whole(const struct watch_tree *t)
{
	return t->armed && !t->root_suspect && !scan_pending(t);
}

static bool trees_armed(const struct watch_client *c)
{
	for (size_t i = 0; i < c->asked.n_paths; i++)
		if (!is_whole(c->trees[i]))
			return false;
	return true;
}

static bool is_known(const struct watch_client *c, uint64_t tick)
{
	for (size_t i = 0; i < c->asked.n_paths; i++)
		if (tick < watch_store_oldest(c->w->store, c->numbers[i]))
			return false;
	return true;
}

static void arm(struct watch_client *c)
{
	const struct watch_clock *since = &c->asked.since;
	uint64_t now = watch_store_tick(c->w->store);

	c->cursor = now;
	if (c->asked.has_since) {
		c->fresh = since->instance != watch_store_instance(c->w->store) ||
		           since->tick > now || !is_known(c, since->tick);
		if (!c->fresh)
			c->cursor = since->tick;
	} else {
		c->fresh = c->asked.state;
	}
	c->armed = true;
	c->seen = c->cursor;
	client_send_armed(c);
	client_join_rescans(c);
}

/* ---- batches ---- */

static uint64_t newest(const struct watch_client *c)
{
	uint64_t all = 0;

	for (size_t i = 0; i < c->asked.n_paths; i++) {
		uint64_t tick = watch_store_newest(c->w->store, c->numbers[i]);

		all = tick > all ? tick : all;
	}
	return all;
}

/* Whether what is there to be told is to be told now. */
static bool is_settled(struct watch_client *c, uint64_t last)
{
	if (c->asked.settle == 0)
		return true;
	if (c->first_held == 0)
		c->first_held = c->quiet_since = c->w->now;
	if (last > c->seen)
		c->quiet_since = c->w->now;
	c->seen = last;
	return c->w->now - c->quiet_since >= c->asked.settle ||
	       c->w->now - c->first_held >= c->asked.max_delay;
}

static bool is_owed(const struct watch_client *c)
{
	return (c->w->even && (c->n_syncs > 0 || c->half_closed)) || c->restart == RESTART_BEGUN ||
	       client_owes_rescan(c);
}

static bool wants_batch(struct watch_client *c)
{
	uint64_t last = newest(c);

	if (c->fresh)
		return true;
	if (last <= c->cursor) {
		c->first_held = 0;
		return false;
	}
	return is_owed(c) || is_settled(c, last);
}

static void begin_batch(struct watch_client *c)
{
	if (!c->fresh && !is_known(c, c->cursor)) {
		c->fresh = true;
		client_send_armed(c);
		return;
	}
	if (batch_begin(&c->batch, &c->listener, c->cursor, c->fresh) < 0)
		abort();
	c->first_held = 0;
	c->n_answered = c->w->even ? c->n_syncs : 0;
}

static void end_batch(struct watch_client *c)
{
	bool lost = batch_is_void(&c->batch, &c->listener);

	if (lost) {
		c->n_answered = 0;
	} else {
		c->again = c->batch.early ? c->again + 1 : 0;
		if (c->batch.early && c->again < AGAIN_MAX)
			c->n_answered = 0;
		c->fresh = false;
	}
	batch_end(&c->batch);
}

/* The clock is of the batch's end, which the last of it is. */
static void continue_batch(struct watch_client *c, struct watch_message *buffer)
{
	Telex__V1__WatchChanges *changes = batch_next(&c->batch, &c->listener, buffer);
	bool last = batch_is_over(&c->batch, &c->listener);
	bool lost = batch_is_void(&c->batch, &c->listener);
	Telex__V1__WatchResponse m = TELEX__V1__WATCH_RESPONSE__INIT;
	char clock[WATCH_CLOCK_SIZE];

	if (last && !lost) {
		c->cursor = c->batch.to;
		client_clock(c, clock);
		changes->clock = clock;
	}
	if (changes->n_changes > 0 || (last && !lost && (c->batch.sent || c->fresh))) {
		c->batch.sent = true;
		m.response_case = TELEX__V1__WATCH_RESPONSE__RESPONSE_CHANGES;
		m.changes = changes;
		client_send(c, &m);
	}
	if (last || lost)
		end_batch(c);
}

/* ---- a turn ---- */

/* One thing that is owed. False: there is none. */
static bool step(struct watch_client *c)
{
	if (c->batch.going) {
		struct watch_message *buffer = watch_message_new();

		continue_batch(c, buffer);
		watch_message_free(buffer);
		return true;
	}
	if (c->n_answered > 0) {
		c->n_answered--;
		client_send_synced(c);
		return true;
	}
	if (wants_batch(c)) {
		begin_batch(c);
		return true;
	}
	/* There is nothing newer than the cursor. */
	if (newest(c) <= c->cursor) {
		client_end_rescans(c);
		if (c->w->even && c->n_syncs > 0 && !c->blocked) {
			c->n_answered = c->n_syncs;
			return true;
		}
	}
	return false;
}

void client_turn(struct watch_client *c)
{
	if (!c->blocked && end_refused(c))
		return;
	if (!c->armed && trees_armed(c) && !c->blocked)
		arm(c);
	if (c->armed && !c->blocked)
		client_send_warnings(c);
	if (c->armed && !c->blocked)
		client_begin_rescans(c);
	while (c->armed && !c->blocked && step(c))
		;
	if (!c->blocked && c->asked.heartbeat > 0 && c->w->now - c->last_sent >= c->asked.heartbeat)
		client_send_heartbeat(c);
	if (c->half_closed && c->armed && !c->blocked && c->w->even && !c->batch.going &&
	    c->n_syncs == 0 && newest(c) <= c->cursor)
		finish(c);
}

int64_t client_due(const struct watch_client *c)
{
	int64_t due = NEVER_DUE, settled, delayed;

	if (c->blocked)
		return NEVER_DUE;
	if (c->asked.heartbeat > 0)
		due = c->last_sent + c->asked.heartbeat;
	if (!c->armed)
		return trees_armed(c) ? 0 : due;
	if (c->batch.going || c->n_syncs > 0 || c->half_closed || c->fresh)
		return 0;
	if (c->first_held == 0)
		return due;
	settled = c->quiet_since + c->asked.settle;
	delayed = c->first_held + c->asked.max_delay;
	settled = settled < delayed ? settled : delayed;
	return settled < due ? settled : due;
}

bool client_waits(const struct watch_client *c)
{
	return c->n_syncs > 0 || c->half_closed;
}

struct watch_client *client_next(const struct watch_client *c)
{
	return c->next;
}

uint64_t client_cursor(const struct watch_client *c)
{
	return c->armed ? c->cursor : UINT64_MAX;
}

/* ---- the call ---- */

static int no_source(const struct watcher *w, struct rpc_status *status)
{
	rpc_status_set(status, RPC_RESOURCE_EXHAUSTED, "WATCH_LIMIT",
	    "there is no inotify instance to be had (%s); raise the sysctl "
	    "fs.inotify.max_user_instances, or end another program that watches",
	    strerror(w->source_errno));
	rpc_status_meta(status, "sysctl", "fs.inotify.max_user_instances");
	rpc_status_meta(status, "limit", "%u", w->max_instances);
	return TX_ELIMIT;
}

static int acquire(struct watch_client *c, const struct roots *roots, struct rpc_status *status)
{
	const struct watch_options o = {.recursive = c->asked.recursive,
	    .across_mounts = c->asked.across_mounts,
	    .allow_remote = c->asked.allow_remote,
	    .depth = c->asked.depth,
	    .exclude = c->asked.exclude};

	for (size_t i = 0; i < c->asked.n_paths; i++) {
		c->trees[i] = tree_acquire(c->w, roots, c->asked.paths[i], &o, status);
		if (c->trees[i] == NULL)
			return TX_ELIMIT;
		c->numbers[i] = c->trees[i]->number;
	}
	return 0;
}

static void set_listener(struct watch_client *c)
{
	size_t n = 0;

	while (c->asked.include[n] != NULL)
		n++;
	c->filters = xcalloc(n + 1, sizeof(*c->filters));
	c->filter_list = xcalloc(n + 1, sizeof(*c->filter_list));
	for (size_t i = 0; i < n; i++) {
		telex__v1__tree_filter__init(&c->filters[i]);
		c->filters[i].pattern = c->asked.include[i];
		c->filters[i].exclude = true;
		c->filter_list[i] = &c->filters[i];
	}
	c->listener.store = c->w->store;
	c->listener.trees = c->numbers;
	c->listener.n_trees = c->asked.n_paths;
	c->listener.kinds = c->asked.kinds;
	telex__v1__tree_options__init(&c->listener.include);
	c->listener.include.filters = c->filter_list;
	c->listener.include.n_filters = n;
}

struct watch_client *watch_client_new(struct watcher *w, const struct roots *roots,
    const Telex__V1__WatchBegin *begin, const struct watch_client_ops *ops, void *arg,
    struct rpc_status *status)
{
	struct watch_client *c = xcalloc(1, sizeof(*c));
	int rc;

	c->w = w;
	c->ops = *ops;
	c->arg = arg;
	rc = w->source == NULL ? no_source(w, status) : watch_asked_read(&c->asked, begin, status);
	if (rc == 0)
		rc = watch_asked_check(&c->asked, roots, status);
	if (rc == 0)
		rc = acquire(c, roots, status);
	if (rc < 0) {
		watch_client_free(c);
		return NULL;
	}
	set_listener(c);
	/* One that is not armed in its first turn is told at once that there is somebody. */
	c->last_sent = w->now - c->asked.heartbeat;
	c->next = w->clients;
	w->clients = c;
	return c;
}

void watch_client_free(struct watch_client *c)
{
	if (c == NULL)
		return;
	for (struct watch_client **at = &c->w->clients; *at != NULL; at = &(*at)->next) {
		if (*at != c)
			continue;
		*at = c->next;
		break;
	}
	for (size_t i = 0; i < c->asked.n_paths; i++)
		if (c->trees[i] != NULL)
			tree_release(c->trees[i]);
	batch_end(&c->batch);
	watch_asked_clear(&c->asked);
	free(c->filters);
	free(c->filter_list);
	free(c->syncs);
	free(c);
}

/* For a barrier: of a root that is not there, and of what cannot be watched, nothing tells. */
static void suspect_all(struct watch_client *c)
{
	for (size_t i = 0; i < c->asked.n_paths; i++) {
		c->trees[i]->root_suspect = true;
		interval_now(c->trees[i]);
	}
	c->w->more = true;
}

int watch_client_message(
    struct watch_client *c, const Telex__V1__WatchRequest *m, struct rpc_status *status)
{
	if (m->request_case != TELEX__V1__WATCH_REQUEST__REQUEST_SYNC) {
		rpc_status_set(status, RPC_INVALID_ARGUMENT, "BAD_REQUEST",
		    "after its first message, a watch is sent nothing but sync");
		return TX_EINVAL;
	}
	if (c->n_syncs == SYNCS_MAX) {
		rpc_status_set(status, RPC_RESOURCE_EXHAUSTED, "TOO_MANY_REQUESTS",
		    "more than %zu barriers wait; wait for their answers", SYNCS_MAX);
		return TX_ELIMIT;
	}
	if (c->syncs == NULL)
		c->syncs = xcalloc(SYNCS_MAX, sizeof(*c->syncs));
	c->syncs[c->n_syncs++] = m->sync->id;
	suspect_all(c);
	return 0;
}

void watch_client_half_closed(struct watch_client *c)
{
	c->half_closed = true;
	suspect_all(c);
}

void watch_client_writable(struct watch_client *c)
{
	c->blocked = false;
	c->w->more = true;
}
