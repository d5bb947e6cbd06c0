/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/fake_watcher.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "common/watch_control.h"

struct watch_client {
	TAILQ_ENTRY(watch_client) entry;
	struct watcher *w;
	const struct watch_client_ops *ops;
	void *arg;
	char clock[256];
	uint64_t role;
	bool armed, waits, ending;
	uint64_t flood, order;
	int code;
};

struct watcher {
	TAILQ_HEAD(, watch_client) list;
};

char fake_watcher_roots[8];
static atomic_int calls, sent;

int fake_watcher_calls(void)
{
	return atomic_load(&calls);
}

int fake_watcher_sent(void)
{
	return atomic_load(&sent);
}

static atomic_ullong allowed;

unsigned long long fake_watcher_allowed(void)
{
	return atomic_load(&allowed);
}

void watcher_allow(struct watcher *w, const struct watch_allow *allow)
{
	(void)w;
	atomic_store(&allowed, allow->memory);
}

int watcher_new(struct watcher **out, int store_fd, const struct watch_wide *wide, struct err *e)
{
	(void)wide;
	(void)store_fd;
	*out = calloc(1, sizeof(**out));
	if (*out == NULL)
		return err_set(e, TX_ENOMEM, "out of memory");
	TAILQ_INIT(&(*out)->list);
	return 0;
}

void watcher_free(struct watcher *w)
{
	free(w);
}

size_t watcher_poll(const struct watcher *w, struct pollfd fds[WATCHER_FDS])
{
	(void)w;
	(void)fds;
	return 0;
}

static bool has_work(const struct watch_client *c)
{
	return !c->armed || c->ending || (c->flood > 0 && !c->waits);
}

int64_t watcher_due(const struct watcher *w)
{
	const struct watch_client *c;

	TAILQ_FOREACH(c, &w->list, entry)
	if (has_work(c))
		return 0;
	return INT64_MAX;
}

static void send_armed(struct watch_client *c)
{
	Telex__V1__WatchResponse m = TELEX__V1__WATCH_RESPONSE__INIT;
	Telex__V1__WatchArmed armed = TELEX__V1__WATCH_ARMED__INIT;

	armed.clock = c->clock;
	armed.folders = c->role;
	m.response_case = TELEX__V1__WATCH_RESPONSE__RESPONSE_ARMED;
	m.armed = &armed;
	c->armed = true;
	(void)c->ops->send(&m, c->arg);
}

static void send_chunk(struct watch_client *c)
{
	static uint8_t big[FAKE_CHUNK];
	Telex__V1__WatchResponse m = TELEX__V1__WATCH_RESPONSE__INIT;
	Telex__V1__WatchChanges changes = TELEX__V1__WATCH_CHANGES__INIT;
	Telex__V1__Change one = TELEX__V1__CHANGE__INIT, *list[] = {&one};

	one.path = (ProtobufCBinaryData){sizeof(big), big};
	one.order = c->order++;
	changes.changes = list;
	changes.n_changes = 1;
	m.response_case = TELEX__V1__WATCH_RESPONSE__RESPONSE_CHANGES;
	m.changes = &changes;
	c->flood--;
	atomic_fetch_add(&sent, 1);
	c->waits = !c->ops->send(&m, c->arg);
}

static void end(struct watch_client *c)
{
	struct rpc_status status;

	rpc_status_set(&status, c->code, c->code != RPC_OK ? "ENOUGH" : NULL, "%s", "it has ended");
	c->ops->finish(&status, c->arg);
}

void watcher_run(struct watcher *w)
{
	struct watch_client *c, *next;

	for (c = TAILQ_FIRST(&w->list); c != NULL; c = next) {
		next = TAILQ_NEXT(c, entry);
		if (!c->armed)
			send_armed(c);
		while (c->flood > 0 && !c->waits)
			send_chunk(c);
		if (c->ending)
			end(c);
	}
}

struct watch_client *watch_client_new(struct watcher *w, const struct roots *roots,
    const Telex__V1__WatchBegin *begin, const struct watch_client_ops *ops, void *arg,
    struct rpc_status *status)
{
	struct watch_client *c = calloc(1, sizeof(*c));

	if (c == NULL)
		abort();
	snprintf(c->clock, sizeof(c->clock), "%.*s", (int)begin->paths[0].len,
	    (const char *)begin->paths[0].data);
	if (strcmp(c->clock, "/refuse") == 0) {
		rpc_status_set(status, RPC_NOT_FOUND, "NO_SUCH_FILE", "there is no %s", c->clock);
		rpc_status_meta(status, "path", "%s", c->clock);
		free(c);
		return NULL;
	}
	c->w = w;
	c->role = (uint64_t)((const char *)roots - fake_watcher_roots);
	c->ops = ops;
	c->arg = arg;
	TAILQ_INSERT_TAIL(&w->list, c, entry);
	atomic_fetch_add(&calls, 1);
	return c;
}

void watch_client_free(struct watch_client *c)
{
	if (c == NULL)
		return;
	TAILQ_REMOVE(&c->w->list, c, entry);
	atomic_fetch_sub(&calls, 1);
	free(c);
}

static void answer(struct watch_client *c, uint64_t id)
{
	Telex__V1__WatchResponse m = TELEX__V1__WATCH_RESPONSE__INIT;
	Telex__V1__WatchSynced synced = TELEX__V1__WATCH_SYNCED__INIT;

	synced.id = id;
	m.response_case = TELEX__V1__WATCH_RESPONSE__RESPONSE_SYNCED;
	m.synced = &synced;
	(void)c->ops->send(&m, c->arg);
}

int watch_client_message(
    struct watch_client *c, const Telex__V1__WatchRequest *m, struct rpc_status *status)
{
	uint64_t id = m->request_case == TELEX__V1__WATCH_REQUEST__REQUEST_SYNC ? m->sync->id : 0;

	if (id >= FAKE_END) {
		c->ending = true;
		c->code = RPC_CANCELLED;
	} else if (id >= FAKE_WRONG) {
		rpc_status_set(status, RPC_INVALID_ARGUMENT, "BAD_REQUEST", "that is wrong");
		return TX_EINVAL;
	} else if (id >= FAKE_FLOOD) {
		c->flood += id - FAKE_FLOOD;
	} else {
		answer(c, id);
	}
	return 0;
}

void watch_client_half_closed(struct watch_client *c)
{
	c->ending = true;
}

void watch_client_writable(struct watch_client *c)
{
	c->waits = false;
}
