/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Watch: one call after another, each with the clock of the last batch that came whole. A message's
 * window credit goes back as the caller deals with its changes, so that what a slow one does not
 * take is joined at the agent and not held here.
 *
 * `fresh`: all that is there is still to come, and until it has come whole no clock is good; a call
 * that is begun again asks for all of it again.
 *
 * The watch is freed by its call's end; a callback may cancel it, so whoever calls one holds
 * `busy`.
 */
#include <stdlib.h>
#include <string.h>

#include "common/duration.h"
#include "common/rpc.h"
#include "common/rpc_arena.h"
#include "lib/client.h"
#include "lib/credit.h"
#include "lib/error.h"
#include "lib/request.h"
#include "lib/retry.h"
#include "lib/watch_message.h"
#include "lib/watch_request.h"
#include "lib/watchdog.h"

#define SYNCS_MAX 64
/* So often what watches may die with nothing but `armed` between: it dies of that. Longer where it
 * does not even come to be armed, which may be others' doing: how long a tree takes is not ours. */
#define DEATHS_MAX         20
#define DEATHS_UNARMED_MAX 100

struct telex_watch {
	struct call call;
	struct telex_watch_ops ops;
	void *arg;
	Telex__V1__WatchBegin *begin;
	char *clock;               /* where the next call begins; NULL: at its own now */
	uint64_t syncs[SYNCS_MAX]; /* that are not answered */
	size_t n_syncs;
	struct credit credit; /* in changes */
	struct watchdog *watchdog;
	struct rpc_arena arena;
	bool fresh;
	bool opened, armed; /* once */
	bool serves;        /* this call is armed */
	bool ending;        /* telex_watch_end */
	bool interrupted;   /* the caller was told so */
	int64_t lost_ns;    /* since when; 0: it is not lost */
	unsigned deaths;    /* since more than `armed` was told */
	bool busy, cancelled, over;
};

static struct telex_watch *watch_of(struct call *c)
{
	return (struct telex_watch *)c; /* call is the first */
}

static void watch_free(struct telex_watch *w)
{
	watchdog_free(w->watchdog);
	watch_request_free(w->begin);
	rpc_arena_clear(&w->arena);
	free(w->clock);
	free(w);
}

/* ---- what goes out ---- */

static void check_sent(struct telex_watch *w, int rc)
{
	struct telex_error error;

	if (rc != TX_ENOMEM)
		return; /* a call that is ending says so by itself */
	error_no_memory(&error);
	call_fail(&w->call, &error);
}

static int send_begin(struct telex_watch *w)
{
	Telex__V1__WatchRequest request = TELEX__V1__WATCH_REQUEST__INIT;
	Telex__V1__WatchBegin begin = *w->begin;
	const int64_t heartbeat_ms = w->call.client->heartbeat_ms;
	Google__Protobuf__Duration heartbeat;

	begin.heartbeat_interval =
	    request_duration(&heartbeat, heartbeat_ms < 1000 ? 1000 : heartbeat_ms);
	begin.state = w->fresh;
	if (!w->fresh && w->clock != NULL)
		begin.since = w->clock;
	/* A root that was there, and is not when we come back, is one that is gone. */
	begin.wait = begin.wait || w->armed;
	request.request_case = TELEX__V1__WATCH_REQUEST__REQUEST_BEGIN;
	request.begin = &begin;
	return rpc_send(call_rpc(&w->call), &request.base);
}

static int send_sync(struct telex_watch *w, uint64_t id)
{
	Telex__V1__WatchRequest request = TELEX__V1__WATCH_REQUEST__INIT;
	Telex__V1__WatchSync sync = TELEX__V1__WATCH_SYNC__INIT;

	sync.id = id;
	request.request_case = TELEX__V1__WATCH_REQUEST__REQUEST_SYNC;
	request.sync = &sync;
	return rpc_send(call_rpc(&w->call), &request.base);
}

static void on_opened(struct call *c)
{
	struct telex_watch *w = watch_of(c);
	int rc;

	w->opened = true;
	w->serves = false;
	watchdog_start(w->watchdog);
	rc = send_begin(w);
	for (size_t i = 0; rc == 0 && i < w->n_syncs; i++)
		rc = send_sync(w, w->syncs[i]);
	if (rc == 0 && w->ending)
		rpc_half_close(call_rpc(c));
	check_sent(w, rc);
}

/* ---- what comes in ---- */

static void broken(struct telex_watch *w, const char *what)
{
	struct telex_error error;

	error_set(&error, TELEX_ERROR_STATUS, "the agent broke the protocol: %s", what);
	error.code = RPC_INTERNAL;
	call_fail(&w->call, &error);
}

static void no_memory(struct telex_watch *w)
{
	struct telex_error error;

	error_no_memory(&error);
	call_fail(&w->call, &error);
}

/* False: out of memory, and it is ending. */
static bool set_clock(struct telex_watch *w, const char *clock)
{
	char *copy;

	if (clock[0] == '\0')
		return true;
	copy = strdup(clock);
	if (copy == NULL) {
		no_memory(w);
		return false;
	}
	free(w->clock);
	w->clock = copy;
	w->fresh = false;
	return true;
}

static void take_armed(struct telex_watch *w, const Telex__V1__WatchArmed *m)
{
	struct telex_watch_armed armed;

	w->armed = w->serves = true;
	w->interrupted = false;
	w->call.tries = 0;
	w->fresh = m->fresh_instance;
	if (!w->fresh && !set_clock(w, m->clock))
		return;
	watch_armed(&armed, m);
	if (w->ops.armed != NULL)
		w->ops.armed(w, &armed, w->arg);
}

static void take_changes(struct telex_watch *w, const Telex__V1__WatchChanges *m)
{
	struct rpc_call *rpc = call_rpc(&w->call);
	struct watch_changes c;
	int rc = watch_changes(&c, m, w->begin->n_paths);

	w->deaths = 0;
	if (rc == TX_EPROTO) {
		broken(w, "a change is not below what is watched");
	} else if (rc < 0) {
		no_memory(w);
	} else if (set_clock(w, m->clock)) {
		if (c.n > 0)
			credit_give(&w->credit, c.n, rpc_message_size(rpc));
		else
			rpc_credit(rpc, rpc_message_size(rpc));
		w->ops.changes(w, c.changes, c.n, m->clock[0] != '\0' ? w->clock : NULL, w->arg);
	}
	watch_changes_free(&c);
}

static void take_synced(struct telex_watch *w, const Telex__V1__WatchSynced *m)
{
	w->deaths = 0;
	if (!set_clock(w, m->clock))
		return;
	for (size_t i = 0; i < w->n_syncs; i++) {
		if (w->syncs[i] != m->id)
			continue;
		memmove(w->syncs + i, w->syncs + i + 1, (w->n_syncs - i - 1) * sizeof(w->syncs[0]));
		w->n_syncs--;
		if (w->ops.synced != NULL)
			w->ops.synced(w, m->id, w->clock, w->arg);
		return;
	}
}

static void take_rescan(struct telex_watch *w, const Telex__V1__WatchRescan *m)
{
	struct telex_rescan rescan;

	watch_rescan(&rescan, m);
	if (w->ops.rescan != NULL)
		w->ops.rescan(w, &rescan, w->arg);
}

static void take_warning(struct telex_watch *w, const Telex__V1__WatchWarning *m)
{
	struct telex_file_failure failure;
	char *path;

	if (m->root >= w->begin->n_paths || !watch_path_plain(m->path.data, m->path.len)) {
		broken(w, "a warning is not about what is watched");
		return;
	}
	path = malloc(m->path.len + 1);
	if (path == NULL) {
		no_memory(w);
		return;
	}
	if (m->path.len > 0)
		memcpy(path, m->path.data, m->path.len);
	path[m->path.len] = '\0';
	watch_failure(&failure, m->error);
	if (!m->over && w->ops.warning != NULL)
		w->ops.warning(w, m->root, path, &failure, w->arg);
	else if (m->over && w->ops.warning_over != NULL)
		w->ops.warning_over(w, m->root, path, &failure, w->arg);
	free(path);
}

static void take(struct telex_watch *w, const Telex__V1__WatchResponse *m)
{
	struct rpc_call *rpc = call_rpc(&w->call);

	w->lost_ns = w->call.give_up_ns = 0;
	if (m->response_case != TELEX__V1__WATCH_RESPONSE__RESPONSE_CHANGES)
		rpc_credit(rpc, rpc_message_size(rpc));
	switch (m->response_case) {
	case TELEX__V1__WATCH_RESPONSE__RESPONSE_ARMED:
		take_armed(w, m->armed);
		break;
	case TELEX__V1__WATCH_RESPONSE__RESPONSE_CHANGES:
		take_changes(w, m->changes);
		break;
	case TELEX__V1__WATCH_RESPONSE__RESPONSE_RESCAN:
		take_rescan(w, m->rescan);
		break;
	case TELEX__V1__WATCH_RESPONSE__RESPONSE_SYNCED:
		take_synced(w, m->synced);
		break;
	case TELEX__V1__WATCH_RESPONSE__RESPONSE_WARNING:
		take_warning(w, m->warning);
		break;
	default: /* a heartbeat, or what a later agent has */
		if (w->serves)
			w->deaths = 0;
		break;
	}
}

static void on_raw(struct call *c, const uint8_t *msg, size_t len)
{
	struct telex_watch *w = watch_of(c);
	const ProtobufCMessage *m =
	    rpc_arena_unpack(&w->arena, &telex__v1__watch_response__descriptor, msg, len);

	if (m == NULL) {
		broken(w, "a message cannot be read");
		return;
	}
	w->busy = true;
	take(w, (const Telex__V1__WatchResponse *)m);
	w->busy = false;
	rpc_arena_clear(&w->arena);
	if (w->cancelled)
		watch_free(w);
}

/* ---- the end of a call, and coming back ---- */

/* The agent cannot go on from our clock, which it took before: all that is there, instead. */
static bool clock_is_void(const struct telex_watch *w, const struct telex_error *error)
{
	return w->armed && !w->fresh && error->kind == TELEX_ERROR_STATUS &&
	       (strcmp(error->reason, "OTHER_CLOCK") == 0 ||
	           strcmp(error->reason, "BAD_CLOCK") == 0);
}

static void tell_interrupted(struct telex_watch *w, const struct telex_error *why)
{
	if (w->interrupted)
		return;
	w->interrupted = w->busy = true;
	if (w->ops.interrupted != NULL)
		w->ops.interrupted(w, why, w->arg);
	w->busy = false;
}

/* A connection that never was is no loss. */
static bool may_come_back(struct telex_watch *w, const struct telex_error *error)
{
	const int64_t reconnect_ns = w->call.client->reconnect_ns, now = clock_monotonic_ns();
	const bool busy = retry_busy(error), begins_anew = clock_is_void(w, error);
	const unsigned most = w->serves ? DEATHS_MAX : DEATHS_UNARMED_MAX;

	if (!w->opened || reconnect_ns < 0 || (busy && ++w->deaths > most) ||
	    (!retry_may_pass(error) && !busy && !begins_anew))
		return false;
	if (begins_anew)
		w->fresh = true;
	credit_lost(&w->credit);
	if (w->lost_ns == 0)
		w->lost_ns = now;
	tell_interrupted(w, error);
	w->call.give_up_ns = w->lost_ns + reconnect_ns;
	return now < w->call.give_up_ns;
}

/* True: it goes on, or was cancelled and is freed. False: *error is final. */
static bool come_back(struct telex_watch *w, struct telex_error *error)
{
	const bool may = may_come_back(w, error);
	int rc;

	if (w->cancelled) {
		watch_free(w);
		return true;
	}
	rc = may ? call_again(&w->call, error) : TX_ETIMEOUT;
	if (rc == 0)
		return true;
	if (rc == TX_ENOMEM)
		error_no_memory(error);
	else if (w->lost_ns != 0 && retry_may_pass(error))
		error_given_up(error, clock_monotonic_ns() - w->lost_ns);
	return false;
}

static void on_done(struct call *c, const struct telex_error *error)
{
	struct telex_watch *w = watch_of(c);
	struct telex_error why;

	if (error != NULL) {
		why = *error;
		error = &why;
		if (come_back(w, &why))
			return;
	} else if (!w->ending) {
		error_set(&why, TELEX_ERROR_STATUS, "the agent ended the watch");
		why.code = RPC_INTERNAL;
		error = &why;
	}
	w->over = true;
	w->ops.done(w, error, w->arg);
	watch_free(w);
}

static void on_drop(struct call *c)
{
	watch_free(watch_of(c));
}

static const struct call_ops watch_ops = {
    .opened = on_opened, .raw = on_raw, .done = on_done, .drop = on_drop};

static const struct call_method watch_method = {
    .service = "telex.v1.WatchService",
    .method = "Watch",
    .response = &telex__v1__watch_response__descriptor,
    .server_stream = true,
};

/* ---- the API ---- */

static struct telex_watch *watch_new(
    struct telex_client *client, const struct telex_watch_options *o, struct telex_error *error)
{
	struct telex_watch *w = calloc(1, sizeof(*w));

	if (w == NULL) {
		error_no_memory(error);
		return NULL;
	}
	if (watch_request(&w->begin, o, error) < 0)
		goto fail;
	error_no_memory(error);
	w->watchdog = watchdog_new(client->base, &w->call);
	if (w->watchdog == NULL)
		goto fail;
	if (o->since != NULL && o->since[0] != '\0') {
		w->clock = strdup(o->since);
		if (w->clock == NULL)
			goto fail;
	}
	w->fresh = o->state && w->clock == NULL;
	return w;
fail:
	watch_free(w);
	return NULL;
}

int telex_watch(struct telex_client *client, struct telex_watch **out,
    const struct telex_watch_options *options, const struct telex_watch_ops *ops, void *arg,
    struct telex_error *error)
{
	struct telex_watch *w;

	if (ops->changes == NULL || ops->done == NULL)
		return error_set(error, TELEX_ERROR_USAGE, "a watch needs changes and done");
	w = watch_new(client, options, error);
	if (w == NULL)
		return -1;
	w->ops = *ops;
	w->arg = arg;
	if (call_start(&w->call, client, &watch_method, &watch_ops, 0, error) < 0) {
		watch_free(w);
		return -1;
	}
	*out = w;
	return 0;
}

void telex_watch_consumed(struct telex_watch *w, size_t n)
{
	struct rpc_call *rpc = call_rpc(&w->call);
	const size_t credit = credit_take(&w->credit, n);

	if (rpc != NULL && credit > 0)
		rpc_credit(rpc, credit);
}

int telex_watch_sync(struct telex_watch *w, uint64_t id)
{
	if (w->n_syncs == SYNCS_MAX || w->ending || w->cancelled || w->over)
		return -1;
	w->syncs[w->n_syncs++] = id;
	if (call_rpc(&w->call) != NULL)
		check_sent(w, send_sync(w, id));
	return 0;
}

void telex_watch_end(struct telex_watch *w)
{
	struct rpc_call *rpc = call_rpc(&w->call);

	if (w->ending || w->cancelled || w->over)
		return;
	w->ending = true;
	if (rpc != NULL)
		rpc_half_close(rpc);
}

void telex_watch_cancel(struct telex_watch *w)
{
	if (w == NULL || w->cancelled || w->over)
		return;
	w->cancelled = true;
	call_cancel(&w->call);
	if (!w->busy)
		watch_free(w);
}
