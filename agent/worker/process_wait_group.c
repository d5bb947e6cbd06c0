/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The members are taken from one list. Those that have not ended are attached to, a few requests at
 * a time; that also holds them until their exit was sent. Each that has ended goes into a queue,
 * from which its record is looked up, and sent, one after the other: as fast as the client takes
 * them.
 */
#include "agent/worker/process_wait_group.h"

#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#include "agent/worker/heartbeat.h"
#include "agent/worker/process_call.h"
#include "agent/worker/process_lookup.h"
#include "agent/worker/process_reply.h"
#include "agent/worker/process_spec.h"
#include "agent/worker/process_wait.h"
#include "agent/worker/worker.h"
#include "common/duration.h"
#include "common/mem.h"

#define ASKED_MAX        16 /* attachments that are asked for at the same time */
#define HEARTBEAT_MAX_NS (3600 * NS_PER_S)

struct member {
	struct waiting *w;
	struct keeper_attachment *att;
	bool listed_ended; /* it had ended when it was listed */
	STAILQ_ENTRY(member) in_ended;
	struct km_exit *exit; /* NULL: not known */
	char id[KM_ID_SIZE];
};

struct waiting {
	struct process_call base; /* the list, then the lookups */
	struct member *members;
	uint32_t n;
	uint32_t next;  /* the next one to attach to */
	uint32_t asked; /* attachments without an answer */
	uint32_t sent;
	STAILQ_HEAD(, member) ended; /* to be sent */
	struct heartbeat *beat;
	struct event *turn;
	bool over;
	char group[KM_ID_SIZE];
};

static void fail(struct waiting *w, const struct rpc_status *status)
{
	w->over = true;
	process_call_fail(&w->base, status);
}

static void schedule(struct waiting *w)
{
	if (!w->over)
		event_active(w->turn, EV_TIMEOUT, 0);
}

/* ---- to the client ---- */

static void send_record(const struct job_record *record, void *arg)
{
	Telex__V1__WaitGroupResponse response = TELEX__V1__WAIT_GROUP_RESPONSE__INIT;
	struct process_message m;
	struct waiting *w = arg;

	process_reply_process(&m, record);
	response.response_case = TELEX__V1__WAIT_GROUP_RESPONSE__RESPONSE_ENDED;
	response.ended = &m.process;
	rpc_send(w->base.call, &response.base);
	process_reply_process_clear(&m);
	heartbeat_sent(w->beat);
	w->sent++;
}

/* Another process may have the id by now. */
static void take_record(const struct job_record *record, void *arg)
{
	if (record->state == KM_STATE_ENDED)
		send_record(record, arg);
}

static void send_beat(void *arg)
{
	Telex__V1__WaitGroupResponse response = TELEX__V1__WAIT_GROUP_RESPONSE__INIT;
	Telex__V1__Heartbeat heartbeat = TELEX__V1__HEARTBEAT__INIT;
	struct waiting *w = arg;

	response.response_case = TELEX__V1__WAIT_GROUP_RESPONSE__RESPONSE_HEARTBEAT;
	response.heartbeat = &heartbeat;
	rpc_send(w->base.call, &response.base);
}

/* It was forgotten before its record could be had. */
static void send_without_record(struct waiting *w, const struct member *m)
{
	struct job_record record = {
	    .state = KM_STATE_ENDED,
	    .id = m->id,
	    .owner = process_call_identity(&w->base),
	    .user = "",
	    .group = w->group,
	};

	if (m->exit != NULL)
		record.exit = *m->exit;
	else
		record.exit = (struct km_exit){.kind = KM_END_UNKNOWN,
		    .text = "it was forgotten before its ending was asked for"};
	record.start_ns = record.exit.start_ns;
	send_record(&record, w);
}

static void member_done(struct member *m)
{
	keeper_detach(m->att, KM_DELIVERED_NOT);
	m->att = NULL;
	free(m->exit);
	m->exit = NULL;
}

static void on_record(const union km_any *msg, int fd, void *arg)
{
	struct waiting *w = arg;
	struct member *m = STAILQ_FIRST(&w->ended);
	uint32_t before = w->sent;
	struct rpc_status status;

	w->base.asked = NULL;
	if (w->over)
		return;
	if (process_lookup_read(msg, fd, take_record, w, &status) < 0 &&
	    (msg == NULL || msg->hdr.type != KM_REFUSED)) {
		fail(w, &status);
		return;
	}
	if (w->sent == before)
		send_without_record(w, m);
	STAILQ_REMOVE_HEAD(&w->ended, in_ended);
	member_done(m);
	schedule(w);
}

static void look_up_next(struct waiting *w)
{
	const struct member *m = STAILQ_FIRST(&w->ended);
	struct rpc_status status;
	int rc;

	if (m == NULL || w->base.asked != NULL || rpc_pending(w->base.call) >= H2_SEND_HIGH)
		return;
	rc = process_lookup(process_call_keeper(&w->base), m->id, process_call_identity(&w->base),
	    0, false, on_record, w, &w->base.asked);
	if (rc == 0)
		return;
	process_reply_link(&status, rc);
	fail(w, &status);
}

/* ---- the members ---- */

static void has_ended(struct member *m)
{
	STAILQ_INSERT_TAIL(&m->w->ended, m, in_ended);
	schedule(m->w);
}

static void on_job(const struct km_job *job, void *arg)
{
	struct member *m = arg;

	(void)job;
	m->w->asked--;
	schedule(m->w);
}

/* Gone since it was listed. */
static void on_refused(const struct km_refused *why, void *arg)
{
	struct member *m = arg;
	struct rpc_status status;

	m->w->asked--;
	if (why->why == KM_WHY_NO_SUCH) {
		has_ended(m);
		return;
	}
	process_reply_refused(&status, why);
	fail(m->w, &status);
}

static void on_ended(const struct km_exit *how, void *arg)
{
	struct member *m = arg;

	m->exit = xcalloc(1, sizeof(*m->exit));
	*m->exit = *how;
	has_ended(m);
}

static void on_lost(void *arg)
{
	struct member *m = arg;
	struct rpc_status status;

	process_reply_gone(&status);
	fail(m->w, &status);
}

static const struct keeper_attachment_ops ops = {
    .job = on_job,
    .refused = on_refused,
    .ring = process_wait_no_ring,
    .wake = process_wait_no_wake,
    .input_done = process_wait_no_input,
    .ended = on_ended,
    .lost = on_lost,
};

static void attach_next(struct waiting *w)
{
	struct rpc_status status;
	int rc = 0;

	for (; w->next < w->n && w->asked < ASKED_MAX && rc == 0; w->next++) {
		struct member *m = &w->members[w->next];

		if (m->listed_ended)
			continue;
		rc = process_wait_attach(&m->att, process_call_keeper(&w->base), m->id,
		    process_call_identity(&w->base), 0, &ops, m);
		w->asked++;
	}
	if (rc == 0)
		return;
	process_reply_link(&status, rc);
	fail(w, &status);
}

static void on_turn(evutil_socket_t fd, short what, void *arg)
{
	struct waiting *w = arg;

	(void)fd;
	(void)what;
	if (!w->over)
		attach_next(w);
	if (!w->over)
		look_up_next(w);
	if (w->over || w->sent < w->n)
		return;
	w->over = true;
	rpc_finish(w->base.call, NULL);
}

/* ---- the list ---- */

static void on_listed(const struct job_record *record, void *arg)
{
	struct waiting *w = arg;
	struct member *m = &w->members[w->n++];

	m->w = w;
	snprintf(m->id, sizeof(m->id), "%s", record->id);
	m->listed_ended = record->state == KM_STATE_ENDED;
	if (m->listed_ended)
		has_ended(m);
}

static void on_list(const union km_any *msg, int fd, void *arg)
{
	struct waiting *w = arg;
	struct err e;

	w->base.asked = NULL;
	if (msg == NULL || msg->hdr.type != KM_TABLE) {
		w->over = true;
		process_call_refuse(&w->base, msg);
		return;
	}
	w->members = xcalloc(msg->table.count + (size_t)1, sizeof(*w->members));
	if (job_records_read(fd, msg->table.bytes, msg->table.count, on_listed, w, &e) < 0) {
		w->over = true;
		rpc_fail(w->base.call, RPC_INTERNAL, "SYSTEM", "the agent's table: %s", e.message);
		return;
	}
	schedule(w);
}

/* ---- the call ---- */

void process_wait_group_message(struct rpc_call *c, const ProtobufCMessage *msg)
{
	const Telex__V1__WaitGroupRequest *q = (const void *)msg;
	struct waiting *w = process_call_new(c, sizeof(*w));
	struct km_list m = {.states = UINT32_MAX};
	struct rpc_status status;
	int64_t beat_ns = 0;

	STAILQ_INIT(&w->ended);
	w->turn = event_new(process_call_worker(&w->base)->base, -1, 0, on_turn, w);
	if (w->turn == NULL)
		abort();
	if (process_group_check(q->name, &status) < 0 ||
	    process_duration_check(q->heartbeat_interval, "heartbeat_interval", NS_PER_S,
	        HEARTBEAT_MAX_NS, true, &beat_ns, &status) < 0) {
		fail(w, &status);
		return;
	}
	w->beat = heartbeat_new(c, beat_ns, send_beat, w);
	snprintf(w->group, sizeof(w->group), "%s", q->name);
	snprintf(m.group, sizeof(m.group), "%s", q->name);
	snprintf(m.owner, sizeof(m.owner), "%s", process_call_identity(&w->base));
	process_call_ask(&w->base, KM_LIST, &m, -1, on_list);
}

void process_wait_group_writable(struct rpc_call *c)
{
	struct waiting *w = rpc_call_data(c);

	if (w != NULL && w->members != NULL)
		schedule(w);
}

void process_wait_group_closed(struct rpc_call *c)
{
	struct waiting *w = rpc_call_data(c);

	if (w == NULL)
		return;
	for (uint32_t i = 0; i < w->n; i++)
		member_done(&w->members[i]);
	free(w->members);
	heartbeat_free(w->beat);
	event_free(w->turn);
	process_call_closed(c);
}
