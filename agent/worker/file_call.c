/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first message is looked at: its paths are made absolute and plain (which takes the user's
 * home folder, and so a helper, where one is relative), held against policy and ceiling, and
 * written into the audit log; only then it is passed on. All later messages, either way, are bytes.
 *
 * Credit for what the client sends goes back as the helper's socket takes it; of what the helper
 * sends, no more is read while much of it waits for the client.
 */
#include "agent/worker/file_call.h"

#include <event2/buffer.h>
#include <stdlib.h>
#include <string.h>

#include "agent/worker/audit_log.h"
#include "agent/worker/authz.h"
#include "agent/worker/file_pool.h"
#include "agent/worker/file_request.h"
#include "agent/worker/heartbeat.h"
#include "agent/worker/worker.h"
#include "common/files_frame.h"
#include "common/mem.h"
#include "common/rpc_arena.h"
#include "telex/v1/file.pb-c.h"
#include "telex/v1/watch.pb-c.h"

struct file_call {
	struct rpc_call *call;
	bool watches;
	struct file_call *next, **link; /* of those that watch */
	uint8_t *first; /* the first message, packed: as it came, or when `decided` as it goes */
	size_t first_len;
	bool decided, passed_on;
	bool half_closed, half_close_sent;
	bool over; /* it was answered */
	bool responded;
	uint32_t role;
	char *user;
	int64_t heartbeat_ns;
	struct file_ticket *ticket;
	struct file_helper *helper;
	struct evbuffer *waiting; /* frames for the helper that is not there yet */
	size_t owed;              /* credit */
	struct heartbeat *heartbeat;
};

/* ---- the end ---- */

static void let_go(struct file_call *f)
{
	file_ticket_drop(f->ticket);
	f->ticket = NULL;
	if (f->helper != NULL)
		file_helper_end(f->helper);
	f->helper = NULL;
	heartbeat_free(f->heartbeat);
	f->heartbeat = NULL;
}

/* summary: of one that was passed on. */
static void finish(struct file_call *f, const struct rpc_status *status, const char *summary)
{
	if (f->over)
		return;
	f->over = true;
	if (f->decided)
		audit_log_files_end(f->call, status->code, status->reason, summary);
	let_go(f);
	rpc_finish(f->call, status);
}

static void be_listed(struct file_call *f)
{
	struct worker *w = rpc_call_context(f->call);

	f->watches = true;
	f->next = w->watching;
	f->link = &w->watching;
	if (f->next != NULL)
		f->next->link = &f->next;
	w->watching = f;
}

static void be_unlisted(struct file_call *f)
{
	if (f->link == NULL)
		return;
	*f->link = f->next;
	if (f->next != NULL)
		f->next->link = f->link;
}

static void move_away(struct file_call *f)
{
	struct rpc_status status;

	rpc_status_set(&status, RPC_UNAVAILABLE, "SHUTTING_DOWN",
	    "another worker has taken over; go on with it, on a new connection");
	finish(f, &status, NULL);
}

void file_call_move_all(struct worker *w)
{
	struct file_call *next;

	for (struct file_call *f = w->watching; f != NULL; f = next) {
		next = f->next;
		move_away(f);
	}
}

void file_call_closed(struct rpc_call *c)
{
	struct file_call *f = rpc_call_data(c);
	const struct peer *peer = rpc_call_peer(c);

	if (f == NULL)
		return;
	/* The client, its deadline or the connection has ended it. */
	if (!f->over && f->decided)
		audit_log_files_end(c, peer->last_code, NULL, NULL);
	let_go(f);
	be_unlisted(f);
	if (f->waiting != NULL)
		evbuffer_free(f->waiting);
	free(f->first);
	free(f->user);
	free(f);
	rpc_call_set_data(c, NULL);
}

/* ---- from the client ---- */

static void give_credit(struct file_call *f, size_t n)
{
	if (n > f->owed)
		n = f->owed;
	f->owed -= n;
	if (n > 0 && !f->over)
		rpc_credit(f->call, n);
}

static void pass_message(struct file_call *f, const uint8_t *msg, size_t len)
{
	if (f->passed_on) {
		give_credit(
		    f, file_link_send(file_helper_link(f->helper), FILES_MESSAGE, msg, len));
		return;
	}
	if (f->waiting == NULL)
		f->waiting = evbuffer_new();
	if (f->waiting == NULL)
		abort();
	file_link_frame(f->waiting, FILES_MESSAGE, msg, len);
}

static void pass_half_close(struct file_call *f)
{
	if (!f->passed_on || f->half_close_sent)
		return;
	f->half_close_sent = true;
	(void)file_link_send(file_helper_link(f->helper), FILES_HALF_CLOSE, NULL, 0);
}

/* What has waited was bounded by the window: it counts as taken. */
static void pass_waiting(struct file_call *f)
{
	if (f->waiting == NULL)
		return;
	file_link_send_buffer(file_helper_link(f->helper), f->waiting);
	give_credit(f, f->owed);
}

/* ---- from the helper ---- */

static void send_heartbeat(void *arg)
{
	Telex__V1__Heartbeat beat = TELEX__V1__HEARTBEAT__INIT;
	Telex__V1__TreeReceive receive = TELEX__V1__TREE_RECEIVE__INIT;
	Telex__V1__PutTreeResponse put = TELEX__V1__PUT_TREE_RESPONSE__INIT;
	Telex__V1__GetTreeResponse get = TELEX__V1__GET_TREE_RESPONSE__INIT;
	Telex__V1__WatchResponse watch = TELEX__V1__WATCH_RESPONSE__INIT;
	struct file_call *f = arg;

	if (f->watches) {
		watch.response_case = TELEX__V1__WATCH_RESPONSE__RESPONSE_HEARTBEAT;
		watch.heartbeat = &beat;
		(void)rpc_send(f->call, &watch.base);
	} else if (rpc_call_method(f->call)->response ==
	           &telex__v1__put_tree_response__descriptor) {
		/* `started` comes first. */
		if (!f->responded)
			return;
		receive.heartbeat = &beat;
		put.response_case = TELEX__V1__PUT_TREE_RESPONSE__RESPONSE_RECEIVE;
		put.receive = &receive;
		(void)rpc_send(f->call, &put.base);
	} else {
		get.response_case = TELEX__V1__GET_TREE_RESPONSE__RESPONSE_HEARTBEAT;
		get.heartbeat = &beat;
		(void)rpc_send(f->call, &get.base);
	}
}

static void on_message(struct evbuffer *msg, void *arg)
{
	struct file_call *f = arg;

	f->responded = true;
	heartbeat_sent(f->heartbeat);
	if (rpc_send_encoded(f->call, msg) == 0 && rpc_pending(f->call) >= H2_SEND_HIGH)
		file_link_pause(file_helper_link(f->helper), true);
}

void file_call_writable(struct rpc_call *c)
{
	struct file_call *f = rpc_call_data(c);

	if (f != NULL && f->passed_on && f->helper != NULL)
		file_link_pause(file_helper_link(f->helper), false);
}

static void on_sent(size_t n, void *arg)
{
	give_credit(arg, n);
}

static void on_status(const Telex__Internal__V1__FilesStatus *m, void *arg)
{
	struct file_call *f = arg;
	struct rpc_status status;

	file_link_status(&status, m);
	if (status.code == RPC_OK && !rpc_call_method(f->call)->server_stream && !f->responded)
		rpc_status_set(&status, RPC_INTERNAL, "SYSTEM", "telex-files gave no answer");
	pass_half_close(f);
	file_helper_return(f->helper);
	f->helper = NULL;
	finish(f, &status, m->summary);
}

static void on_lost(void *arg)
{
	struct rpc_status status;

	rpc_status_set(&status, RPC_ABORTED, "HELPER_DIED",
	    "the agent's process for files has ended in the middle of it; try again");
	finish(arg, &status, NULL);
}

static const struct file_borrower borrower = {
    .message = on_message, .status = on_status, .sent = on_sent, .lost = on_lost};

/* ---- the first message ---- */

static void keep_first(struct file_call *f, const ProtobufCMessage *m)
{
	free(f->first);
	f->first_len = protobuf_c_message_get_packed_size(m);
	f->first = xmalloc(f->first_len + 1);
	protobuf_c_message_pack(m, f->first);
}

/* A tree goes into its target where that is a folder: one of the two is to be allowed. */
static int authorize(struct file_call *f, struct file_request *r, struct rpc_status *status)
{
	char *below = r->name != NULL ? file_request_below(r) : NULL;
	char *itself = r->paths[0].path;
	int rc;

	if (below != NULL && !authz_files_may(f->call, r)) {
		r->paths[0].path = below;
		if (!authz_files_may(f->call, r))
			r->paths[0].path = itself;
	}
	rc = authz_files(f->call, r, &f->role, status);
	r->paths[0].path = itself;
	free(below);
	return rc;
}

/* All that is asked of it is known. */
static int decide(
    struct file_call *f, struct file_request *r, ProtobufCMessage *m, struct rpc_status *status)
{
	int rc = authorize(f, r, status);

	if (rc == 0)
		rc = audit_log_files(f->call, r, status);
	if (rc != 0)
		return rc;
	keep_first(f, m);
	if (f->first_len > FILES_FRAME_MAX) {
		rpc_status_set(
		    status, RPC_INVALID_ARGUMENT, "BAD_REQUEST", "the paths are too long");
		return TX_ETOOBIG;
	}
	f->decided = true;
	return 0;
}

static void pass_on(struct file_call *f)
{
	Telex__Internal__V1__FilesCall m = TELEX__INTERNAL__V1__FILES_CALL__INIT;
	struct file_link *link = file_helper_link(f->helper);
	uint8_t packed[128];
	size_t len;

	m.method = (char *)(uintptr_t)rpc_call_method(f->call)->name;
	m.role = f->role;
	len = telex__internal__v1__files_call__pack(&m, packed);
	(void)file_link_send(link, FILES_CALL, packed, len);
	f->passed_on = true;
	pass_message(f, f->first, f->first_len);
	pass_waiting(f);
	if (f->half_closed)
		pass_half_close(f);
	f->heartbeat = heartbeat_new(f->call, f->heartbeat_ns, send_heartbeat, f);
}

/* The home folder is known now. */
static int decide_late(struct file_call *f, struct rpc_status *status)
{
	const struct rpc_method *method = rpc_call_method(f->call);
	struct rpc_arena arena = {0};
	ProtobufCMessage *m = rpc_arena_unpack(&arena, method->request, f->first, f->first_len);
	struct file_request r;
	int rc;

	if (m == NULL)
		abort(); /* it was unpacked before */
	rc = file_request_look(&r, method->name, m, file_helper_home(f->helper), status);
	if (rc == 0)
		rc = decide(f, &r, m, status);
	file_request_clear(&r);
	rpc_arena_clear(&arena);
	return rc;
}

static void on_helper(struct file_helper *h, const struct rpc_status *why, void *arg)
{
	struct file_call *f = arg;
	struct rpc_status status;

	f->ticket = NULL;
	if (h == NULL) {
		finish(f, why, NULL);
		return;
	}
	f->helper = h;
	file_helper_lend(h, &borrower, f);
	if (!f->decided && decide_late(f, &status) != 0) {
		/* It has not been told of it. */
		file_helper_return(h);
		f->helper = NULL;
		finish(f, &status, NULL);
		return;
	}
	pass_on(f);
}

static int begin(struct file_call *f, ProtobufCMessage *m, struct rpc_status *status)
{
	struct file_request r;
	int rc = file_request_look(&r, rpc_call_method(f->call)->name, m, NULL, status);

	if (rc == 0) {
		f->user = xstrdup(r.user);
		f->heartbeat_ns = r.heartbeat_ns;
		if (r.watches)
			be_listed(f);
		if (r.needs_home)
			rc = authz_files_user(f->call, r.user, status);
		else
			rc = decide(f, &r, m, status);
	}
	file_request_clear(&r);
	return rc;
}

/* packed: the message as it came, or NULL. */
static void take_first(
    struct rpc_call *c, const ProtobufCMessage *msg, const uint8_t *packed, size_t len)
{
	struct file_call *f = xcalloc(1, sizeof(*f));
	struct rpc_status status;

	f->call = c;
	rpc_call_set_data(c, f);
	if (packed != NULL) {
		f->first = xmalloc(len + 1);
		memcpy(f->first, packed, len);
		f->first_len = len;
	} else {
		keep_first(f, msg);
	}
	/* The arena's, which is this call's. */
	if (begin(f, (ProtobufCMessage *)(uintptr_t)msg, &status) != 0) {
		finish(f, &status, NULL);
		return;
	}
	if (!f->watches)
		f->ticket = file_pool_ask(c, f->user, on_helper, f);
	else if (((const struct worker *)rpc_call_context(c))->moving)
		move_away(f);
	else if ((f->ticket = file_pool_watch(c, f->user, on_helper, f, &status)) == NULL)
		finish(f, &status, NULL);
}

void file_call_message(struct rpc_call *c, const ProtobufCMessage *msg)
{
	take_first(c, msg, NULL, 0);
}

void file_call_raw(struct rpc_call *c, const uint8_t *msg, size_t len)
{
	struct file_call *f = rpc_call_data(c);
	const ProtobufCMessage *m;

	if (f != NULL && f->over)
		return;
	if (f != NULL) {
		f->owed += len;
		pass_message(f, msg, len);
		return;
	}
	m = rpc_unpack(c, msg, len);
	if (m == NULL)
		return;
	take_first(c, m, msg, len);
	rpc_credit(c, len);
}

void file_call_half_close(struct rpc_call *c)
{
	struct file_call *f = rpc_call_data(c);

	if (f == NULL) {
		rpc_fail(c, RPC_INVALID_ARGUMENT, "BAD_REQUEST",
		    "%s takes a request, and none came", rpc_call_path(c));
		return;
	}
	f->half_closed = true;
	if (!f->over)
		pass_half_close(f);
}
