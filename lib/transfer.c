/* SPDX-License-Identifier: Apache-2.0 */
/* What put and get share: their options, their sessions and how they come back, their notes. */
#include "lib/transfer.h"

#include <event2/buffer.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/duration.h"
#include "lib/error.h"
#include "lib/request.h"
#include "lib/retry.h"
#include "lib/watchdog.h"

#define STEPS      16 /* before others have their turn */
#define RATE_AHEAD (NS_PER_S / 20)
#define DEATHS_MAX 20 /* of who serves us, with nothing done between: it dies of what we ask */

/* ---- the options, as copies ---- */

static void free_texts(const char *const *list)
{
	for (size_t i = 0; list != NULL && list[i] != NULL; i++)
		free((char *)(uintptr_t)list[i]);
	free((void *)(uintptr_t)list);
}

static int copy_text(const char **out, const char *text)
{
	*out = text != NULL ? strdup(text) : NULL;
	return text != NULL && *out == NULL ? -1 : 0;
}

static const char *const *copy_texts(const char *const *list)
{
	const char **copy;
	size_t n = 0;

	while (list[n] != NULL)
		n++;
	copy = calloc(n + 1, sizeof(*copy));
	for (size_t i = 0; copy != NULL && i < n; i++) {
		copy[i] = strdup(list[i]);
		if (copy[i] == NULL) {
			free_texts(copy);
			return NULL;
		}
	}
	return copy;
}

static int copy_filters(Telex__V1__TreeOptions *to, const struct telex_transfer_options *o)
{
	if (o->n_filters == 0)
		return 0;
	to->filters = calloc(o->n_filters, sizeof(*to->filters));
	if (to->filters == NULL)
		return -1;
	for (size_t i = 0; i < o->n_filters; i++) {
		Telex__V1__TreeFilter *f = malloc(sizeof(*f));

		if (f == NULL)
			return -1;
		telex__v1__tree_filter__init(f);
		f->exclude = o->filters[i].exclude;
		f->pattern = strdup(o->filters[i].pattern);
		to->filters[to->n_filters++] = f;
		if (f->pattern == NULL)
			return -1;
	}
	return 0;
}

static const Telex__V1__TreeCheck checks[] = {
    [TELEX_CHECK_QUICK] = TELEX__V1__TREE_CHECK__TREE_CHECK_QUICK,
    [TELEX_CHECK_NONE] = TELEX__V1__TREE_CHECK__TREE_CHECK_NONE,
    [TELEX_CHECK_CHECKSUM] = TELEX__V1__TREE_CHECK__TREE_CHECK_CHECKSUM,
};

static int copy_options(struct telex_transfer *t, const struct telex_transfer_options *o)
{
	Telex__V1__TreeOptions *to = &t->tree;

	t->o = *o;
	t->o.filters = NULL;
	t->o.user = t->o.target = NULL;
	t->o.sources = copy_texts(o->sources);
	if (t->o.sources == NULL || copy_text(&t->o.user, o->user) < 0 ||
	    copy_text(&t->o.target, o->target) < 0 || copy_filters(to, o) < 0)
		return -1;
	to->check = checks[o->check];
	to->owner = o->owner;
	to->extended_attributes = o->extended_attributes;
	to->hard_links = o->hard_links;
	to->specials = o->specials;
	to->delete_extraneous = o->delete_extraneous;
	to->delta = o->delta;
	to->dry_run = o->dry_run;
	to->no_modes = o->no_modes;
	to->no_times = o->no_times;
	to->follow = o->follow;
	to->compress = o->compress;
	to->eager = !o->lazy;
	to->totals = o->totals;
	return 0;
}

static void transfer_free(struct telex_transfer *t)
{
	tree_sender_free(t->sender);
	tree_receiver_free(t->receiver);
	transfer_paths_close(&t->paths);
	free(t->base);
	tree_set_free(t->set);
	for (size_t i = 0; i < t->tree.n_filters; i++) {
		free(t->tree.filters[i]->pattern);
		free(t->tree.filters[i]);
	}
	free(t->tree.filters);
	free_texts(t->o.sources);
	free((char *)(uintptr_t)t->o.user);
	free((char *)(uintptr_t)t->o.target);
	if (t->turn != NULL)
		event_free(t->turn);
	watchdog_free(t->watchdog);
	free(t);
}

/* ---- notes ---- */

static void tell(struct telex_transfer *t, const struct telex_transfer_note *note)
{
	if (t->ops.note == NULL || t->cancelled)
		return;
	t->in_callback = true;
	t->ops.note(note, t->arg);
	t->in_callback = false;
}

/* Whether it is told for the first time: sessions begin anew. */
static bool is_new(struct telex_transfer *t, const char *path)
{
	return tree_set_add(t->set, path) != 0;
}

static void on_failed(
    struct telex_transfer *t, const struct tree_note *n, struct telex_transfer_note *note)
{
	char mark[TREE_PATH_MAX + 2];

	/* Beside those that are done: no path begins with a slash. */
	snprintf(mark, sizeof(mark), "/%s", n->path);
	if (n->path[0] != '\0' && !is_new(t, mark))
		return;
	note->event = TELEX_TRANSFER_FAILED;
	note->reason = n->error->reason;
	note->message = n->error->message;
	t->summary.failed++;
	tell(t, note);
}

void transfer_note(const struct tree_note *n, void *arg)
{
	struct telex_transfer *t = arg;
	struct telex_transfer_note note = {
	    .path = n->path, .folder = n->folder, .size = n->size, .bytes = n->bytes};

	switch (n->kind) {
	case TREE_NOTE_BEGIN:
		note.event = TELEX_TRANSFER_FILE;
		break;
	case TREE_NOTE_BYTES:
		note.event = TELEX_TRANSFER_BYTES;
		t->summary.sent += n->bytes;
		t->paid_ns += t->o.rate == 0 ? 0 : (int64_t)(n->bytes * NS_PER_S / t->o.rate);
		break;
	case TREE_NOTE_DONE:
		if (!is_new(t, n->path))
			return;
		note.event = TELEX_TRANSFER_DONE;
		t->deaths = 0;
		t->summary.files += !n->folder && !n->link;
		t->summary.bytes += n->size;
		break;
	case TREE_NOTE_UNCHANGED:
		if (!is_new(t, n->path))
			return;
		note.event = TELEX_TRANSFER_UNCHANGED;
		t->summary.unchanged += !n->folder;
		break;
	case TREE_NOTE_REMOVED:
		note.event = TELEX_TRANSFER_REMOVED;
		t->summary.removed++;
		break;
	case TREE_NOTE_TOTALS:
		note.event = TELEX_TRANSFER_TOTALS;
		note.files = n->size;
		note.complete = n->complete;
		break;
	case TREE_NOTE_FAILED:
		on_failed(t, n, &note);
		return;
	}
	tell(t, &note);
}

/* ---- a session ---- */

void transfer_schedule(struct telex_transfer *t)
{
	event_active(t->turn, EV_TIMEOUT, 0);
}

int transfer_emit(const struct tree_span *parts, size_t n, void *arg)
{
	struct telex_transfer *t = arg;
	struct rpc_call *rpc = call_rpc(&t->call);
	uint8_t head[TREE_OUTER_HEAD_MAX];
	struct evbuffer *buffer;
	size_t len = 0;
	int rc = TX_ENOMEM;

	if (rpc == NULL)
		return TX_ECLOSED;
	for (size_t i = 0; i < n; i++)
		len += parts[i].len;
	buffer = evbuffer_new();
	if (buffer == NULL)
		return TX_ENOMEM;
	if (evbuffer_expand(buffer, len + sizeof(head)) == 0 &&
	    evbuffer_add(buffer, head, tree_outer_head(head, t->side->request_field, len)) == 0) {
		rc = 0;
		for (size_t i = 0; rc == 0 && i < n; i++)
			rc = evbuffer_add(buffer, parts[i].data, parts[i].len) == 0 ? 0 : TX_ENOMEM;
	}
	if (rc == 0)
		rc = rpc_send_encoded(rpc, buffer);
	evbuffer_free(buffer);
	/* What the call's end refuses is told by the call's end. */
	return rc == TX_ENOMEM ? rc : 0;
}

static void fail(struct telex_transfer *t, int rc, const struct err *e)
{
	struct telex_error error;

	if (rc == TX_ENOMEM)
		error_no_memory(&error);
	else if (rc == TX_EPROTO)
		error_set(
		    &error, TELEX_ERROR_STATUS, "the agent broke the protocol: %s", e->message);
	else
		error_from_err(&error, TELEX_ERROR_SYSTEM, e);
	if (rc == TX_EPROTO)
		error.code = RPC_INTERNAL;
	call_fail(&t->call, &error);
}

void transfer_finish(struct telex_transfer *t)
{
	struct rpc_call *rpc = call_rpc(&t->call);

	t->ended = true;
	if (rpc != NULL)
		rpc_half_close(rpc);
}

/* Whether what went is paid for; else the turn comes when it is. */
static bool may_go_on(struct telex_transfer *t)
{
	int64_t now = clock_monotonic_ns(), ahead;
	struct timeval tv;

	if (t->o.rate == 0)
		return true;
	if (t->paid_ns < now - RATE_AHEAD)
		t->paid_ns = now - RATE_AHEAD;
	ahead = t->paid_ns - now;
	if (ahead <= 0)
		return true;
	tv = duration_timeval(ahead);
	event_add(t->turn, &tv);
	return false;
}

/* What comes is paid for by not asking for more. */
static void pay(struct telex_transfer *t, struct rpc_call *rpc)
{
	if (t->owed == 0 || !may_go_on(t))
		return;
	rpc_credit(rpc, t->owed);
	t->owed = 0;
}

static void on_turn(evutil_socket_t fd, short what, void *arg)
{
	struct telex_transfer *t = arg;
	/* After what else has happened: what is made active has its turn before that. */
	static const struct timeval at_once = {0};
	struct rpc_call *rpc = call_rpc(&t->call);
	struct err e = {0};
	int rc = 1;

	(void)fd;
	(void)what;
	if (rpc == NULL || t->ended || (t->sender == NULL && t->receiver == NULL))
		return;
	pay(t, rpc);
	for (int i = 0; rc > 0 && i < STEPS; i++) {
		if (rpc_pending(rpc) >= H2_SEND_HIGH || !may_go_on(t))
			return;
		rc = t->side->step(t, &e);
		if (t->cancelled) {
			transfer_free(t);
			return;
		}
	}
	if (rc < 0)
		fail(t, rc, &e);
	else if (rc > 0)
		event_add(t->turn, &at_once);
}

/* ---- the call ---- */

static void end_session(struct telex_transfer *t)
{
	tree_sender_free(t->sender);
	tree_receiver_free(t->receiver);
	t->sender = NULL;
	t->receiver = NULL;
	t->started = t->ended = false;
	t->owed = 0;
}

static void on_opened(struct call *c)
{
	struct telex_transfer *t = (struct telex_transfer *)c;
	struct telex_error error;

	t->opened = true;
	watchdog_start(t->watchdog);
	if (t->side->begin(t, &error) < 0)
		call_fail(c, &error);
}

static void came_back(struct telex_transfer *t)
{
	struct telex_transfer_note note = {.event = TELEX_TRANSFER_BACK};

	if (t->lost_ns == 0)
		return;
	t->lost_ns = t->call.give_up_ns = 0;
	t->call.tries = 0;
	tell(t, &note);
}

static void on_raw(struct call *c, const uint8_t *msg, size_t len)
{
	struct telex_transfer *t = (struct telex_transfer *)c;
	struct rpc_call *rpc = call_rpc(c);
	size_t size = rpc_message_size(rpc), inner_len;
	const uint8_t *inner;
	struct err e = {0};
	uint32_t field;
	int rc = 0;

	came_back(t);
	if (!t->cancelled && tree_outer_parse(msg, len, &field, &inner, &inner_len) == 1)
		rc = t->side->take(t, field, inner, inner_len, &e);
	if (t->cancelled) {
		transfer_free(t);
		return;
	}
	if (rc < 0) {
		fail(t, rc, &e);
		return;
	}
	t->owed += size;
	pay(t, rpc);
	transfer_schedule(t);
}

static bool may_come_back(struct telex_transfer *t, const struct telex_error *error)
{
	const int64_t reconnect_ns = t->call.client->reconnect_ns, now = clock_monotonic_ns();
	struct telex_transfer_note note = {.event = TELEX_TRANSFER_LOST, .message = error->message};

	if (!t->opened || reconnect_ns < 0 || (!retry_may_pass(error) && !retry_busy(error)))
		return false;
	if (retry_died(error) && ++t->deaths > DEATHS_MAX)
		return false;
	if (t->lost_ns == 0) {
		t->lost_ns = now;
		tell(t, &note);
	}
	t->call.give_up_ns = t->lost_ns + reconnect_ns;
	return now < t->call.give_up_ns;
}

static void on_done(struct call *c, const struct telex_error *error)
{
	struct telex_transfer *t = (struct telex_transfer *)c;
	struct telex_error why;
	int rc = TX_ETIMEOUT;

	if (error == NULL && !t->ended) {
		error_set(&why, TELEX_ERROR_STATUS, "the agent ended the transfer before its end");
		why.code = RPC_INTERNAL;
		error = &why;
	} else if (error != NULL) {
		why = *error;
		error = &why;
		if (may_come_back(t, &why) && !t->cancelled) {
			end_session(t);
			rc = call_again(c, &why);
		}
		if (rc == 0)
			return;
		if (rc == TX_ENOMEM)
			error_no_memory(&why);
		else if (t->lost_ns != 0 && retry_may_pass(&why))
			error_given_up(&why, clock_monotonic_ns() - t->lost_ns);
	}
	end_session(t);
	t->over = true;
	if (!t->cancelled)
		t->ops.done(&t->summary, error, t->arg);
	transfer_free(t);
}

static void on_drop(struct call *c)
{
	transfer_free((struct telex_transfer *)c);
}

static void on_writable(struct call *c)
{
	transfer_schedule((struct telex_transfer *)c);
}

static const struct call_ops ops = {
    .opened = on_opened, .raw = on_raw, .writable = on_writable, .done = on_done, .drop = on_drop};

/* ---- the API ---- */

static int check(const struct telex_transfer_options *o, const struct telex_transfer_ops *ops_in,
    struct telex_error *error)
{
	if (o->sources == NULL || o->sources[0] == NULL || o->target == NULL ||
	    o->target[0] == '\0' || ops_in->done == NULL)
		return error_set(
		    error, TELEX_ERROR_USAGE, "a transfer needs sources, a target and done");
	if (o->contents && o->sources[1] != NULL)
		return error_set(
		    error, TELEX_ERROR_USAGE, "only one source can become the target itself");
	if ((unsigned)o->check > TELEX_CHECK_CHECKSUM)
		return error_set(error, TELEX_ERROR_USAGE, "there is no such check");
	return 0;
}

static int start(struct telex_client *client, struct telex_transfer **out,
    const struct telex_transfer_options *o, const struct telex_transfer_ops *ops_in, void *arg,
    const struct transfer_side *side, struct telex_error *error)
{
	struct telex_transfer *t;

	if (check(o, ops_in, error) < 0)
		return -1;
	t = calloc(1, sizeof(*t));
	if (t == NULL)
		return error_no_memory(error);
	t->paths = (struct transfer_paths){.parent_fd = -1, .target_fd = -1};
	telex__v1__tree_options__init(&t->tree);
	t->ops = *ops_in;
	t->arg = arg;
	t->side = side;
	t->turn = evtimer_new(client->base, on_turn, t);
	t->watchdog = watchdog_new(client->base, &t->call);
	if (copy_options(t, o) < 0 || t->turn == NULL || t->watchdog == NULL ||
	    tree_set_new(&t->set) < 0) {
		transfer_free(t);
		return error_no_memory(error);
	}
	if (side->prepare(t, error) < 0 ||
	    call_start(&t->call, client, side->method, &ops, 0, error) < 0) {
		transfer_free(t);
		return -1;
	}
	*out = t;
	return 0;
}

int telex_put_tree(struct telex_client *client, struct telex_transfer **out,
    const struct telex_transfer_options *options, const struct telex_transfer_ops *ops_in,
    void *arg, struct telex_error *error)
{
	return start(client, out, options, ops_in, arg, &transfer_put_side, error);
}

int telex_get_tree(struct telex_client *client, struct telex_transfer **out,
    const struct telex_transfer_options *options, const struct telex_transfer_ops *ops_in,
    void *arg, struct telex_error *error)
{
	return start(client, out, options, ops_in, arg, &transfer_get_side, error);
}

void telex_transfer_cancel(struct telex_transfer *t)
{
	if (t == NULL || t->cancelled || t->over)
		return;
	t->cancelled = true;
	call_cancel(&t->call);
	/* Whoever calls back frees it when it returns. */
	if (!t->in_callback)
		transfer_free(t);
}
