/* SPDX-License-Identifier: Apache-2.0 */
/* What a call is told: its messages but for the changes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/watch/watch_client_internal.h"

/* ---- sending ---- */

void client_send(struct watch_client *c, Telex__V1__WatchResponse *m)
{
	c->last_sent = c->w->now;
	if (!c->ops.send(m, c->arg))
		c->blocked = true;
}

void client_clock(const struct watch_client *c, char out[WATCH_CLOCK_SIZE])
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

void client_send_armed(struct watch_client *c)
{
	Telex__V1__WatchResponse m = TELEX__V1__WATCH_RESPONSE__INIT;
	Telex__V1__WatchArmed armed = TELEX__V1__WATCH_ARMED__INIT;
	char clock[WATCH_CLOCK_SIZE];

	client_clock(c, clock);
	armed.clock = clock;
	armed.fresh_instance = c->fresh;
	armed.backend = (char *)(uintptr_t)backend(c);
	for (size_t i = 0; i < c->asked.n_paths; i++) {
		armed.folders += c->w->watched[c->numbers[i]];
		armed.entries += watch_store_living(c->w->store, c->numbers[i]);
	}
	m.response_case = TELEX__V1__WATCH_RESPONSE__RESPONSE_ARMED;
	m.armed = &armed;
	client_send(c, &m);
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
	client_send(c, &m);
}

static void send_warning(struct watch_client *c, size_t root, const char *path,
    const Telex__V1__FileError *error, bool over)
{
	Telex__V1__WatchResponse m = TELEX__V1__WATCH_RESPONSE__INIT;
	Telex__V1__WatchWarning warning = TELEX__V1__WATCH_WARNING__INIT;

	warning.root = (uint32_t)root;
	warning.path = (ProtobufCBinaryData){strlen(path), (uint8_t *)(uintptr_t)path};
	warning.error = (Telex__V1__FileError *)(uintptr_t)error;
	warning.over = over;
	m.response_case = TELEX__V1__WATCH_RESPONSE__RESPONSE_WARNING;
	m.warning = &warning;
	client_send(c, &m);
}

/* Folders that are too many to be named, once their number stands. */
static void send_unnamed(struct watch_client *c, size_t root)
{
	const struct watch_tree *t = c->trees[root];
	Telex__V1__FileError error = TELEX__V1__FILE_ERROR__INIT;
	char reason[] = "MORE_FOLDERS", text[96];

	if (t->n_unnamed == c->unnamed[root] || t->root_suspect || scan_pending(t))
		return;
	snprintf(text, sizeof(text), "and %zu more folder%s cannot be watched as it was asked for",
	    t->n_unnamed, t->n_unnamed == 1 ? "" : "s");
	error.code = RPC_FAILED_PRECONDITION;
	error.reason = reason;
	error.message = text;
	c->unnamed[root] = t->n_unnamed;
	send_warning(c, root, "", &error, t->n_unnamed == 0);
}

/* However full it is, as they are few: each tree's number is told as a whole. */
static void send_warnings_of(struct watch_client *c, size_t root)
{
	const struct watch_tree *t = c->trees[root];
	const uint64_t told = c->warned[root];

	for (size_t i = 0; i < t->n_warnings; i++) {
		const struct watch_warning *n = &t->warnings[i];

		if (n->over == 0 && n->number > told)
			send_warning(c, root, n->path, &n->error, false);
		else if (n->over > told && n->number <= told)
			send_warning(c, root, n->path, &n->error, true);
	}
	c->warned[root] = t->last_warning;
}

void client_send_warnings(struct watch_client *c)
{
	for (size_t i = 0; i < c->asked.n_paths && !c->blocked; i++) {
		if (c->warned[i] != c->trees[i]->last_warning)
			send_warnings_of(c, i);
		send_unnamed(c, i);
	}
}

uint64_t client_warned(const struct watch_client *c, const struct watch_tree *t)
{
	for (size_t i = 0; i < c->asked.n_paths && c->armed; i++)
		if (c->trees[i] == t)
			return c->warned[i];
	return UINT64_MAX;
}

void client_send_synced(struct watch_client *c)
{
	Telex__V1__WatchResponse m = TELEX__V1__WATCH_RESPONSE__INIT;
	Telex__V1__WatchSynced synced = TELEX__V1__WATCH_SYNCED__INIT;
	char clock[WATCH_CLOCK_SIZE];

	client_clock(c, clock);
	synced.id = c->syncs[0];
	synced.clock = clock;
	m.response_case = TELEX__V1__WATCH_RESPONSE__RESPONSE_SYNCED;
	m.synced = &synced;
	c->n_syncs--;
	memmove(c->syncs, c->syncs + 1, c->n_syncs * sizeof(*c->syncs));
	client_send(c, &m);
}

void client_send_heartbeat(struct watch_client *c)
{
	Telex__V1__WatchResponse m = TELEX__V1__WATCH_RESPONSE__INIT;
	Telex__V1__Heartbeat beat = TELEX__V1__HEARTBEAT__INIT;

	m.response_case = TELEX__V1__WATCH_RESPONSE__RESPONSE_HEARTBEAT;
	m.heartbeat = &beat;
	client_send(c, &m);
}

/* ---- rescans ---- */

void client_join_rescans(struct watch_client *c)
{
	c->rescan_begun = c->rescan_done = c->w->rescan.done;
	for (size_t i = 0; i < c->asked.n_paths; i++) {
		const uint64_t back = c->trees[i]->back_tick, mounts = c->trees[i]->mount_number;

		c->back[i] = (struct client_rescan){back, back};
		c->mounts[i] = (struct client_rescan){mounts, mounts};
	}
	if (c->asked.has_since && !c->fresh && c->cursor < c->w->restarted)
		c->restart = RESTART_BEGUN;
	if (c->restart == RESTART_BEGUN)
		send_rescan(c, TELEX__V1__WATCH_RESCAN__REASON__REASON_RESTARTED, false, 0);
}

static void begin_one(struct watch_client *c, struct client_rescan *r, uint64_t now,
    Telex__V1__WatchRescan__Reason reason)
{
	if (c->blocked || now <= r->begun || r->done != r->begun)
		return;
	r->begun = now;
	send_rescan(c, reason, false, 0);
}

void client_begin_rescans(struct watch_client *c)
{
	const struct watch_rescan_now *r = &c->w->rescan;

	if (!c->blocked && r->number > c->rescan_begun && c->rescan_done == c->rescan_begun) {
		c->rescan_begun = r->number;
		send_rescan(c, TELEX__V1__WATCH_RESCAN__REASON__REASON_OVERFLOW, false, r->waited);
	}
	for (size_t i = 0; i < c->asked.n_paths; i++) {
		begin_one(c, &c->back[i], c->trees[i]->back_tick,
		    TELEX__V1__WATCH_RESCAN__REASON__REASON_ROOT_BACK);
		begin_one(c, &c->mounts[i], c->trees[i]->mount_number,
		    TELEX__V1__WATCH_RESCAN__REASON__REASON_MOUNTS);
	}
}

/* What has begun since is over, too. */
static void end_one(struct watch_client *c, struct client_rescan *r, uint64_t now,
    Telex__V1__WatchRescan__Reason reason)
{
	if (c->blocked || r->done == r->begun)
		return;
	r->done = r->begun = now;
	send_rescan(c, reason, true, 0);
}

bool client_owes_rescan(const struct watch_client *c)
{
	return c->rescan_done != c->rescan_begun && c->w->rescan.done >= c->rescan_begun;
}

void client_end_rescans(struct watch_client *c)
{
	if (c->restart == RESTART_BEGUN) {
		c->restart = RESTART_SENT;
		send_rescan(c, TELEX__V1__WATCH_RESCAN__REASON__REASON_RESTARTED, true, 0);
	}
	if (!c->blocked && client_owes_rescan(c)) {
		c->rescan_done = c->rescan_begun;
		send_rescan(c, TELEX__V1__WATCH_RESCAN__REASON__REASON_OVERFLOW, true, 0);
	}
	for (size_t i = 0; i < c->asked.n_paths; i++) {
		const struct watch_tree *t = c->trees[i];

		if (t->root_suspect || scan_pending(t))
			continue;
		end_one(c, &c->back[i], t->back_tick,
		    TELEX__V1__WATCH_RESCAN__REASON__REASON_ROOT_BACK);
		end_one(c, &c->mounts[i], t->mount_number,
		    TELEX__V1__WATCH_RESCAN__REASON__REASON_MOUNTS);
	}
	/* One that began meanwhile is told of behind the one before. */
	client_begin_rescans(c);
}
