/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One call. What it was told is a tick (`cursor`); a turn sends what is owed, one thing after the
 * other, until the client's side takes no more.
 */
#include <stdlib.h>
#include <string.h>

#include "agent/watch/watch_batch.h"
#include "agent/watch/watch_begin.h"
#include "agent/watch/watch_engine.h"
#include "agent/watch/watch_remote.h"
#include "agent/watch/watcher.h"
#include "common/mem.h"

#define SYNCS_MAX ((size_t)1024)
#define AGAIN_MAX 8 /* batches for one barrier */

struct watch_client {
	struct watch_client *next;
	struct watcher *w;
	struct watch_client_ops ops;
	void *arg;
	struct watch_asked asked;
	struct watch_tree *trees[WATCH_ROOTS_MAX];
	unsigned numbers[WATCH_ROOTS_MAX];
	struct watch_listener listener;
	Telex__V1__TreeFilter *filters;
	Telex__V1__TreeFilter **filter_list;

	bool armed, blocked, half_closed;
	bool fresh; /* the whole state comes next */
	uint64_t cursor;
	struct watch_batch batch;
	size_t again;

	uint64_t *syncs;
	size_t n_syncs, n_answered; /* those that the batch that is going answers */

	uint64_t warned[WATCH_ROOTS_MAX];
	uint64_t rescan_begun, rescan_done; /* told */
	uint64_t back_begun[WATCH_ROOTS_MAX], back_done[WATCH_ROOTS_MAX];
	enum { RESTART_NONE, RESTART_BEGUN, RESTART_SENT } restart;

	int64_t first_held, quiet_since; /* 0: nothing is held */
	uint64_t seen;                   /* the newest tick that was looked at */
	int64_t last_sent;
};

/* ---- sending ---- */

static void send(struct watch_client *c, Telex__V1__WatchResponse *m)
{
	c->last_sent = c->w->now;
	if (!c->ops.send(m, c->arg))
		c->blocked = true;
}

static void write_clock(const struct watch_client *c, char out[WATCH_CLOCK_SIZE])
{
	const struct watch_clock clock = {
	    watch_store_instance(c->w->store), c->cursor, c->asked.asked};

	watch_clock_write(out, &clock);
}

/* fanotify, where that has all of its roots. */
static const char *backend(const struct watch_client *c)
{
	for (size_t i = 0; i < c->asked.n_paths; i++)
		if (c->trees[i]->cover.number == 0)
			return "inotify";
	return "fanotify";
}

static void send_armed(struct watch_client *c)
{
	Telex__V1__WatchResponse m = TELEX__V1__WATCH_RESPONSE__INIT;
	Telex__V1__WatchArmed armed = TELEX__V1__WATCH_ARMED__INIT;
	char clock[WATCH_CLOCK_SIZE];

	write_clock(c, clock);
	armed.clock = clock;
	armed.fresh_instance = c->fresh;
	armed.backend = (char *)(uintptr_t)backend(c);
	for (size_t i = 0; i < c->asked.n_paths; i++) {
		armed.folders += c->w->watched[c->numbers[i]];
		armed.entries += watch_store_living(c->w->store, c->numbers[i]);
	}
	m.response_case = TELEX__V1__WATCH_RESPONSE__RESPONSE_ARMED;
	m.armed = &armed;
	send(c, &m);
}

static void send_rescan(
    struct watch_client *c, Telex__V1__WatchRescan__Reason reason, bool done, int64_t waited)
{
	Telex__V1__WatchResponse m = TELEX__V1__WATCH_RESPONSE__INIT;
	Telex__V1__WatchRescan rescan = TELEX__V1__WATCH_RESCAN__INIT;
	Google__Protobuf__Duration d = GOOGLE__PROTOBUF__DURATION__INIT;

	rescan.reason = reason;
	rescan.done = done;
	if (waited > 0) {
		d.seconds = waited / 1000000000;
		d.nanos = (int32_t)(waited % 1000000000);
		rescan.waited = &d;
	}
	m.response_case = TELEX__V1__WATCH_RESPONSE__RESPONSE_RESCAN;
	m.rescan = &rescan;
	send(c, &m);
}

static void send_warnings(struct watch_client *c)
{
	for (size_t i = 0; i < c->asked.n_paths; i++) {
		const struct watch_tree *t = c->trees[i];

		for (size_t k = 0; k < t->n_warnings && !c->blocked; k++) {
			Telex__V1__WatchResponse m = TELEX__V1__WATCH_RESPONSE__INIT;
			Telex__V1__WatchWarning warning = TELEX__V1__WATCH_WARNING__INIT;
			struct watch_note_of_tree *n = &t->warnings[k];

			if (n->number <= c->warned[i])
				continue;
			c->warned[i] = n->number;
			warning.root = (uint32_t)i;
			warning.path = (ProtobufCBinaryData){strlen(n->path), (uint8_t *)n->path};
			warning.error = &n->error;
			m.response_case = TELEX__V1__WATCH_RESPONSE__RESPONSE_WARNING;
			m.warning = &warning;
			send(c, &m);
		}
	}
}

static void send_synced(struct watch_client *c)
{
	Telex__V1__WatchResponse m = TELEX__V1__WATCH_RESPONSE__INIT;
	Telex__V1__WatchSynced synced = TELEX__V1__WATCH_SYNCED__INIT;
	char clock[WATCH_CLOCK_SIZE];

	write_clock(c, clock);
	synced.id = c->syncs[0];
	synced.clock = clock;
	m.response_case = TELEX__V1__WATCH_RESPONSE__RESPONSE_SYNCED;
	m.synced = &synced;
	c->n_syncs--;
	memmove(c->syncs, c->syncs + 1, c->n_syncs * sizeof(*c->syncs));
	send(c, &m);
}

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
	c->rescan_begun = c->w->rescan.done;
	c->rescan_done = c->w->rescan.done;
	for (size_t i = 0; i < c->asked.n_paths; i++)
		c->back_begun[i] = c->back_done[i] = c->trees[i]->back_tick;
	send_armed(c);
	if (c->asked.has_since && !c->fresh && c->cursor < c->w->restarted)
		c->restart = RESTART_BEGUN;
	if (c->restart == RESTART_BEGUN)
		send_rescan(c, TELEX__V1__WATCH_RESCAN__REASON__REASON_RESTARTED, false, 0);
}

/* ---- rescans ---- */

static void begin_rescans(struct watch_client *c)
{
	const struct watch_rescan_now *r = &c->w->rescan;

	if (r->number > c->rescan_begun) {
		c->rescan_begun = r->number;
		send_rescan(c, TELEX__V1__WATCH_RESCAN__REASON__REASON_OVERFLOW, false, r->waited);
	}
	for (size_t i = 0; i < c->asked.n_paths && !c->blocked; i++) {
		if (c->trees[i]->back_tick <= c->back_begun[i])
			continue;
		c->back_begun[i] = c->trees[i]->back_tick;
		send_rescan(c, TELEX__V1__WATCH_RESCAN__REASON__REASON_ROOT_BACK, false, 0);
	}
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
	       c->w->rescan.done > c->rescan_done;
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
		send_armed(c);
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
		write_clock(c, clock);
		changes->clock = clock;
	}
	if (changes->n_changes > 0 || (last && !lost && (c->batch.sent || c->fresh))) {
		c->batch.sent = true;
		m.response_case = TELEX__V1__WATCH_RESPONSE__RESPONSE_CHANGES;
		m.changes = changes;
		send(c, &m);
	}
	if (last || lost)
		end_batch(c);
}

/* ---- a turn ---- */

static void end_rescans(struct watch_client *c)
{
	if (c->restart == RESTART_BEGUN) {
		c->restart = RESTART_SENT;
		send_rescan(c, TELEX__V1__WATCH_RESCAN__REASON__REASON_RESTARTED, true, 0);
	}
	if (!c->blocked && c->w->rescan.done > c->rescan_done) {
		c->rescan_done = c->w->rescan.done;
		send_rescan(c, TELEX__V1__WATCH_RESCAN__REASON__REASON_OVERFLOW, true, 0);
	}
	for (size_t i = 0; i < c->asked.n_paths && !c->blocked; i++) {
		if (c->back_done[i] >= c->back_begun[i] || c->trees[i]->root_suspect ||
		    scan_pending(c->trees[i]))
			continue;
		c->back_done[i] = c->back_begun[i];
		send_rescan(c, TELEX__V1__WATCH_RESCAN__REASON__REASON_ROOT_BACK, true, 0);
	}
}

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
		send_synced(c);
		return true;
	}
	if (wants_batch(c)) {
		begin_batch(c);
		return true;
	}
	/* There is nothing newer than the cursor. */
	if (newest(c) <= c->cursor) {
		end_rescans(c);
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
		send_warnings(c);
	if (c->armed && !c->blocked)
		begin_rescans(c);
	while (c->armed && !c->blocked && step(c))
		;
	if (!c->blocked && c->asked.heartbeat > 0 &&
	    c->w->now - c->last_sent >= c->asked.heartbeat) {
		Telex__V1__WatchResponse m = TELEX__V1__WATCH_RESPONSE__INIT;
		Telex__V1__Heartbeat beat = TELEX__V1__HEARTBEAT__INIT;

		m.response_case = TELEX__V1__WATCH_RESPONSE__RESPONSE_HEARTBEAT;
		m.heartbeat = &beat;
		send(c, &m);
	}
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
	c->last_sent = w->now;
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
