/* SPDX-License-Identifier: Apache-2.0 */
/*
 * ProcessService: the unary calls and List; Run is run.c's. Each call keeps a struct asked
 * (rpc_call_data) from its request to its end; what the keeper answers after that is dropped.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "agent/worker/keeper_client.h"
#include "agent/worker/process_lookup.h"
#include "agent/worker/process_reply.h"
#include "agent/worker/process_spec.h"
#include "agent/worker/run.h"
#include "agent/worker/services.h"
#include "agent/worker/worker.h"
#include "common/mem.h"

struct asked {
	struct rpc_call *call;
	struct keeper_call *keeper; /* the question under way, or NULL */
	struct job_spec *spec;      /* Start */
	int table;                  /* List: the answer, or -1 */
	uint64_t bytes;
	uint32_t count, sent, at; /* List: records in all, sent, and passed in this reading */
	bool reading;
};

static struct asked *ask(struct rpc_call *c)
{
	struct asked *a = xcalloc(1, sizeof(*a));

	a->call = c;
	a->table = -1;
	rpc_call_set_data(c, a);
	return a;
}

static void closed(struct rpc_call *c)
{
	struct asked *a = rpc_call_data(c);

	if (a == NULL)
		return;
	keeper_call_forget(a->keeper);
	process_spec_free(a->spec);
	if (a->table >= 0)
		close(a->table);
	free(a);
}

static struct keeper_client *keeper_of(struct rpc_call *c)
{
	const struct worker *w = rpc_call_context(c);

	return w->keeper;
}

static const char *identity_of(struct rpc_call *c)
{
	const struct peer *peer = rpc_call_peer(c);

	return peer->identity;
}

static void finish_link(struct rpc_call *c, int code)
{
	struct rpc_status status;

	process_reply_link(&status, code);
	rpc_finish(c, &status);
}

/* The status of an answer that is not the one hoped for. */
static void finish_refused(struct rpc_call *c, const union km_any *msg)
{
	struct rpc_status status;

	if (msg == NULL)
		process_reply_gone(&status);
	else if (msg->hdr.type == KM_REFUSED)
		process_reply_refused(&status, &msg->refused);
	else
		rpc_status_set(
		    &status, RPC_INTERNAL, "SYSTEM", "the agent gave an answer of the wrong kind");
	rpc_finish(c, &status);
}

/* ---- Start ---- */

static void send_start(struct asked *a, const struct job_record *record, bool created)
{
	Telex__V1__StartResponse response = TELEX__V1__START_RESPONSE__INIT;
	struct process_message m;

	process_reply_process(&m, record);
	response.process = &m.process;
	response.created = created;
	rpc_send(a->call, &response.base);
	rpc_finish(a->call, NULL);
	process_reply_process_clear(&m);
}

static void on_found(const struct job_record *record, void *arg)
{
	send_start(arg, record, false);
}

static void on_found_answer(const union km_any *msg, int fd, void *arg)
{
	struct asked *a = arg;
	struct rpc_status status;

	a->keeper = NULL;
	if (process_lookup_read(msg, fd, on_found, a, &status) < 0)
		rpc_finish(a->call, &status);
}

static void on_start_answer(const union km_any *msg, int fd, void *arg)
{
	struct asked *a = arg;
	struct job_record record = {0};
	int rc;

	(void)fd;
	a->keeper = NULL;
	if (msg == NULL || msg->hdr.type != KM_JOB) {
		finish_refused(a->call, msg);
		return;
	}
	if (!msg->job.created) {
		rc = process_lookup(keeper_of(a->call), msg->job.id, identity_of(a->call),
		    on_found_answer, a, &a->keeper);
		if (rc < 0)
			finish_link(a->call, rc);
		return;
	}
	record.state = msg->job.state;
	record.pid = msg->job.pid;
	record.start_ns = msg->job.start_ns;
	record.group = a->spec->group != NULL ? a->spec->group : "";
	record.id = msg->job.id;
	record.owner = msg->job.owner;
	record.user = a->spec->user != NULL ? a->spec->user : "";
	record.argc = a->spec->argc;
	record.argv = (const char *const *)a->spec->argv;
	send_start(a, &record, true);
}

static int start_checked(
    struct asked *a, const Telex__V1__StartRequest *q, struct rpc_status *status)
{
	struct km_start m = {0};
	int fd, rc;

	if ((rc = process_id_check(q->process_id, status)) < 0 ||
	    (rc = process_spec_parse(&a->spec, q->spec, false, status)) < 0 ||
	    (rc = process_spec_seal(a->spec, &fd, status)) < 0)
		return rc;
	snprintf(m.id, sizeof(m.id), "%s", q->process_id);
	snprintf(m.owner, sizeof(m.owner), "%s", identity_of(a->call));
	rc = keeper_call(keeper_of(a->call), KM_START, &m, fd, on_start_answer, a, &a->keeper);
	close(fd);
	if (rc < 0)
		process_reply_link(status, rc);
	return rc;
}

static void start(struct rpc_call *c, const ProtobufCMessage *msg)
{
	struct rpc_status status;

	if (start_checked(ask(c), (const Telex__V1__StartRequest *)msg, &status) < 0)
		rpc_finish(c, &status);
}

/* ---- Signal ---- */

static void on_signal_answer(const union km_any *msg, int fd, void *arg)
{
	Telex__V1__SignalResponse response = TELEX__V1__SIGNAL_RESPONSE__INIT;
	struct asked *a = arg;

	(void)fd;
	a->keeper = NULL;
	if (msg == NULL || msg->hdr.type != KM_DONE) {
		finish_refused(a->call, msg);
		return;
	}
	rpc_send(a->call, &response.base);
	rpc_finish(a->call, NULL);
}

static void signal_process(struct rpc_call *c, const ProtobufCMessage *msg)
{
	const Telex__V1__SignalRequest *q = (const void *)msg;
	struct asked *a = ask(c);
	struct km_signal m = {.kill_after_ns = -1};
	struct rpc_status status;
	int rc;

	if (process_id_check(q->process_id, &status) < 0 ||
	    process_signal_check(q->signal, q->target, &status) < 0) {
		rpc_finish(c, &status);
		return;
	}
	m.signo = q->signal;
	m.target = process_signal_target(q->target);
	snprintf(m.id, sizeof(m.id), "%s", q->process_id);
	snprintf(m.by, sizeof(m.by), "%s", identity_of(c));
	rc = keeper_call(keeper_of(c), KM_SIGNAL, &m, -1, on_signal_answer, a, &a->keeper);
	if (rc < 0)
		finish_link(c, rc);
}

/* ---- Get ---- */

static void on_got(const struct job_record *record, void *arg)
{
	Telex__V1__GetResponse response = TELEX__V1__GET_RESPONSE__INIT;
	struct process_message m;
	struct asked *a = arg;

	process_reply_process(&m, record);
	response.process = &m.process;
	rpc_send(a->call, &response.base);
	rpc_finish(a->call, NULL);
	process_reply_process_clear(&m);
}

static void on_get_answer(const union km_any *msg, int fd, void *arg)
{
	struct asked *a = arg;
	struct rpc_status status;

	a->keeper = NULL;
	if (process_lookup_read(msg, fd, on_got, a, &status) < 0)
		rpc_finish(a->call, &status);
}

static void get(struct rpc_call *c, const ProtobufCMessage *msg)
{
	const Telex__V1__GetRequest *q = (const void *)msg;
	struct asked *a = ask(c);
	struct rpc_status status;
	int rc;

	if (process_id_check(q->process_id, &status) < 0) {
		rpc_finish(c, &status);
		return;
	}
	rc = process_lookup(
	    keeper_of(c), q->process_id, identity_of(c), on_get_answer, a, &a->keeper);
	if (rc < 0)
		finish_link(c, rc);
}

/* ---- List ---- */

static void on_listed(const struct job_record *record, void *arg)
{
	Telex__V1__ListResponse response = TELEX__V1__LIST_RESPONSE__INIT;
	struct process_message m;
	struct asked *a = arg;

	if (a->at++ < a->sent || rpc_pending(a->call) >= H2_SEND_HIGH)
		return;
	process_reply_process(&m, record);
	response.item_case = TELEX__V1__LIST_RESPONSE__ITEM_PROCESS;
	response.process = &m.process;
	rpc_send(a->call, &response.base);
	process_reply_process_clear(&m);
	a->sent++;
}

/* Sends what the call takes; the table stays until all is sent, so that a slow reader costs a
 * descriptor, not a copy. */
static void list_more(struct asked *a)
{
	struct err e;
	int rc;

	if (a->reading)
		return;
	a->reading = true;
	a->at = 0;
	rc = job_records_read(a->table, a->bytes, a->count, on_listed, a, &e);
	a->reading = false;
	if (rc < 0)
		rpc_fail(a->call, RPC_INTERNAL, "SYSTEM", "the agent's table: %s", e.message);
	else if (a->sent == a->count)
		rpc_finish(a->call, NULL);
}

static void on_list_answer(const union km_any *msg, int fd, void *arg)
{
	struct asked *a = arg;

	a->keeper = NULL;
	if (msg == NULL || msg->hdr.type != KM_TABLE) {
		finish_refused(a->call, msg);
		return;
	}
	a->table = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (a->table < 0) {
		rpc_fail(a->call, RPC_RESOURCE_EXHAUSTED, "LIMIT", "too many open files");
		return;
	}
	a->bytes = msg->table.bytes;
	a->count = msg->table.count;
	list_more(a);
}

static void list_writable(struct rpc_call *c)
{
	struct asked *a = rpc_call_data(c);

	if (a != NULL && a->table >= 0 && a->sent < a->count)
		list_more(a);
}

static void list(struct rpc_call *c, const ProtobufCMessage *msg)
{
	const Telex__V1__ListRequest *q = (const void *)msg;
	struct km_list m = {.states = q->include_ended ? UINT32_MAX : 0};
	struct asked *a = ask(c);
	int rc;

	snprintf(m.owner, sizeof(m.owner), "%s", identity_of(c));
	rc = keeper_call(keeper_of(c), KM_LIST, &m, -1, on_list_answer, a, &a->keeper);

	if (rc < 0)
		finish_link(c, rc);
}

/* ---- the table ---- */

static const struct rpc_method methods[] = {
    {
        .name = "Run",
        .request = &telex__v1__run_request__descriptor,
        .response = &telex__v1__run_response__descriptor,
        .client_stream = true,
        .server_stream = true,
        .manual_credit = true,
        .open = run_open,
        .message = run_message,
        .half_close = run_half_close,
        .writable = run_writable,
        .closed = run_closed,
    },
    {
        .name = "Start",
        .request = &telex__v1__start_request__descriptor,
        .response = &telex__v1__start_response__descriptor,
        .message = start,
        .closed = closed,
    },
    {
        .name = "Signal",
        .request = &telex__v1__signal_request__descriptor,
        .response = &telex__v1__signal_response__descriptor,
        .message = signal_process,
        .closed = closed,
    },
    {
        .name = "List",
        .request = &telex__v1__list_request__descriptor,
        .response = &telex__v1__list_response__descriptor,
        .server_stream = true,
        .message = list,
        .writable = list_writable,
        .closed = closed,
    },
    {
        .name = "Get",
        .request = &telex__v1__get_request__descriptor,
        .response = &telex__v1__get_response__descriptor,
        .message = get,
        .closed = closed,
    },
};

const struct rpc_service svc_process = {
    "telex.v1.ProcessService", methods, sizeof(methods) / sizeof(methods[0])};
