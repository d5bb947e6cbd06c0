/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/fake_watch.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "telex/v1/watch.pb-c.h"
#include "tests/support/fake_agent.h"
#include "tests/support/fake_say.h"

#define TEXT(to, from) snprintf(to, sizeof(to), "%.*s", (int)(from).len, (const char *)(from).data)

static int64_t ms_of(const Google__Protobuf__Duration *d)
{
	return d != NULL ? d->seconds * 1000 + d->nanos / 1000000 : 0;
}

static void take_begin(struct fake_watch *w, const Telex__V1__WatchBegin *m)
{
	w->begins++;
	w->n_paths = m->n_paths;
	w->n_include = m->n_include;
	w->n_exclude = m->n_exclude;
	TEXT(w->path, m->paths[m->n_paths - 1]);
	snprintf(w->user, sizeof(w->user), "%s", m->user);
	snprintf(w->since, sizeof(w->since), "%s", m->since);
	snprintf(w->include, sizeof(w->include), "%s", m->n_include > 0 ? m->include[0] : "");
	snprintf(w->exclude, sizeof(w->exclude), "%s", m->n_exclude > 0 ? m->exclude[0] : "");
	w->recursive = m->recursive;
	w->depth = m->depth;
	w->state = m->state;
	w->wait = m->wait;
	w->across_mounts = m->across_mounts;
	w->allow_remote = m->allow_remote;
	w->kinds = 0;
	for (size_t i = 0; i < m->n_kinds; i++)
		w->kinds |= 1u << m->kinds[i];
	w->settle_ms = ms_of(m->settle);
	w->max_delay_ms = ms_of(m->max_delay);
	w->heartbeat_ms = ms_of(m->heartbeat_interval);
}

static void tell(struct fake_watch *w)
{
	fake_watch_armed(w, "c1", false);
	fake_watch_changes(w, 100, "");
	fake_watch_changes(w, 1, "c2");
	fake_watch_rescan(w, 1, true);
	fake_watch_warning(w, 0, "p0", "FILE_DENIED");
}

static void on_open(struct rpc_call *c)
{
	struct fake_watch *w = fake_agent_watch(rpc_call_context(c));

	w->call = c;
	w->half_closed = false;
}

static void on_message(struct rpc_call *c, const ProtobufCMessage *msg)
{
	const Telex__V1__WatchRequest *m = (const Telex__V1__WatchRequest *)msg;
	struct fake_watch *w = fake_agent_watch(rpc_call_context(c));

	if (m->request_case == TELEX__V1__WATCH_REQUEST__REQUEST_BEGIN) {
		take_begin(w, m->begin);
		if (w->tells)
			tell(w);
		return;
	}
	w->syncs++;
	w->sync = m->sync->id;
	if (w->tells)
		fake_watch_synced(w, w->sync, "c3");
}

static void on_half_close(struct rpc_call *c)
{
	struct fake_watch *w = fake_agent_watch(rpc_call_context(c));

	w->half_closed = true;
	if (w->tells)
		fake_watch_end(w, RPC_OK, NULL);
}

static void on_closed(struct rpc_call *c)
{
	struct fake_watch *w = fake_agent_watch(rpc_call_context(c));

	if (w->call == c)
		w->call = NULL;
}

const struct rpc_method fake_watches[] = {
    {.name = "Watch",
        .request = &telex__v1__watch_request__descriptor,
        .response = &telex__v1__watch_response__descriptor,
        .client_stream = true,
        .server_stream = true,
        .open = on_open,
        .message = on_message,
        .half_close = on_half_close,
        .closed = on_closed},
};
const size_t n_fake_watches = sizeof(fake_watches) / sizeof(fake_watches[0]);

/* ---- what it tells ---- */

static void send(struct fake_watch *w, Telex__V1__WatchResponse *m)
{
	if (rpc_send(w->call, &m->base) == TX_ENOMEM)
		abort();
}

void fake_watch_armed(struct fake_watch *w, const char *clock, bool fresh)
{
	Telex__V1__WatchResponse m = TELEX__V1__WATCH_RESPONSE__INIT;
	Telex__V1__WatchArmed armed = TELEX__V1__WATCH_ARMED__INIT;

	armed.clock = fake_text(clock);
	armed.fresh_instance = fresh;
	armed.folders = 3;
	armed.entries = 5;
	armed.backend = fake_text("inotify");
	m.response_case = TELEX__V1__WATCH_RESPONSE__RESPONSE_ARMED;
	m.armed = &armed;
	send(w, &m);
}

static void send_changes(
    struct fake_watch *w, Telex__V1__Change *changes, size_t n, const char *clock)
{
	Telex__V1__WatchResponse m = TELEX__V1__WATCH_RESPONSE__INIT;
	Telex__V1__WatchChanges all = TELEX__V1__WATCH_CHANGES__INIT;
	Telex__V1__Change **list = calloc(n + 1, sizeof(Telex__V1__Change *));

	if (list == NULL)
		abort();
	for (size_t i = 0; i < n; i++)
		list[i] = &changes[i];
	all.n_changes = n;
	all.changes = list;
	all.clock = fake_text(clock);
	m.response_case = TELEX__V1__WATCH_RESPONSE__RESPONSE_CHANGES;
	m.changes = &all;
	send(w, &m);
	free(list);
}

void fake_watch_changes(struct fake_watch *w, size_t n, const char *clock)
{
	static Telex__V1__ChangeKind created[] = {TELEX__V1__CHANGE_KIND__CHANGE_KIND_CREATED};
	Telex__V1__Change *changes = calloc(n + 1, sizeof(*changes));
	char(*paths)[24] = calloc(n + 1, sizeof(*paths));

	if (changes == NULL || paths == NULL)
		abort();
	for (size_t i = 0; i < n; i++) {
		telex__v1__change__init(&changes[i]);
		snprintf(paths[i], sizeof(paths[i]), "p%zu", i);
		changes[i].path.data = (uint8_t *)paths[i];
		changes[i].path.len = strlen(paths[i]);
		changes[i].n_kinds = 1;
		changes[i].kinds = created;
		changes[i].exists = true;
		changes[i].type = TELEX__V1__FILE_TYPE__FILE_TYPE_REGULAR;
	}
	send_changes(w, changes, n, clock);
	free(changes);
	free(paths);
}

static ProtobufCBinaryData bytes(const char *text)
{
	return (ProtobufCBinaryData){
	    text != NULL ? strlen(text) : 0, (uint8_t *)fake_text(text != NULL ? text : "")};
}

void fake_watch_change(struct fake_watch *w, const struct fake_change *c, const char *clock)
{
	Google__Protobuf__Timestamp time = GOOGLE__PROTOBUF__TIMESTAMP__INIT;
	Telex__V1__Change m = TELEX__V1__CHANGE__INIT;
	Telex__V1__ChangeKind kinds[10];

	time.seconds = 1000;
	time.nanos = 5;
	m.time = &time;
	m.root = c->root;
	m.moved_root = c->moved_root;
	m.path = bytes(c->path);
	m.moved_from = bytes(c->moved_from);
	m.moved_to = bytes(c->moved_to);
	m.kinds = kinds;
	for (unsigned i = 1; i < 10; i++)
		if ((c->kinds & 1u << i) != 0)
			kinds[m.n_kinds++] = (Telex__V1__ChangeKind)i;
	m.exists = c->exists;
	m.type = TELEX__V1__FILE_TYPE__FILE_TYPE_DIRECTORY;
	m.mode = 0102755;
	m.size = 11;
	m.inode = 12;
	m.mtime_ns = -13;
	m.count = 4;
	m.order = 14;
	send_changes(w, &m, 1, clock);
}

void fake_watch_rescan(struct fake_watch *w, int reason, bool done)
{
	Telex__V1__WatchResponse m = TELEX__V1__WATCH_RESPONSE__INIT;
	Telex__V1__WatchRescan rescan = TELEX__V1__WATCH_RESCAN__INIT;
	Google__Protobuf__Duration waited = GOOGLE__PROTOBUF__DURATION__INIT;

	waited.seconds = 1;
	waited.nanos = 500000000;
	rescan.waited = &waited;
	rescan.reason = (Telex__V1__WatchRescan__Reason)reason;
	rescan.done = done;
	m.response_case = TELEX__V1__WATCH_RESPONSE__RESPONSE_RESCAN;
	m.rescan = &rescan;
	send(w, &m);
}

static void warn(
    struct fake_watch *w, uint32_t root, const char *path, const char *reason, bool over)
{
	Telex__V1__WatchResponse m = TELEX__V1__WATCH_RESPONSE__INIT;
	Telex__V1__WatchWarning warning = TELEX__V1__WATCH_WARNING__INIT;
	Telex__V1__FileError error = TELEX__V1__FILE_ERROR__INIT;

	error.reason = fake_text(reason);
	error.message = fake_text("it is so");
	error.errno_value = 13;
	warning.root = root;
	warning.path = bytes(path);
	warning.error = &error;
	warning.over = over;
	m.response_case = TELEX__V1__WATCH_RESPONSE__RESPONSE_WARNING;
	m.warning = &warning;
	send(w, &m);
}

void fake_watch_warning(struct fake_watch *w, uint32_t root, const char *path, const char *reason)
{
	warn(w, root, path, reason, false);
}

void fake_watch_warning_over(
    struct fake_watch *w, uint32_t root, const char *path, const char *reason)
{
	warn(w, root, path, reason, true);
}

void fake_watch_synced(struct fake_watch *w, uint64_t id, const char *clock)
{
	Telex__V1__WatchResponse m = TELEX__V1__WATCH_RESPONSE__INIT;
	Telex__V1__WatchSynced synced = TELEX__V1__WATCH_SYNCED__INIT;

	synced.id = id;
	synced.clock = fake_text(clock);
	m.response_case = TELEX__V1__WATCH_RESPONSE__RESPONSE_SYNCED;
	m.synced = &synced;
	send(w, &m);
}

void fake_watch_heartbeat(struct fake_watch *w)
{
	Telex__V1__WatchResponse m = TELEX__V1__WATCH_RESPONSE__INIT;
	Telex__V1__Heartbeat heartbeat = TELEX__V1__HEARTBEAT__INIT;

	m.response_case = TELEX__V1__WATCH_RESPONSE__RESPONSE_HEARTBEAT;
	m.heartbeat = &heartbeat;
	send(w, &m);
}

void fake_watch_end(struct fake_watch *w, int code, const char *reason)
{
	struct rpc_call *c = w->call;

	w->call = NULL;
	if (reason == NULL)
		rpc_finish(c, NULL);
	else
		rpc_fail(c, code, reason, "it was ended");
}
