/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The keeper's answer is a table in a memfd. It stays until all is sent, and is read anew each time
 * that the call takes more, so that a slow reader costs a descriptor, not a copy.
 */
#include "agent/worker/process_list.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/worker/authz.h"
#include "agent/worker/process_call.h"
#include "agent/worker/process_reply.h"
#include "agent/worker/process_spec.h"
#include "agent/worker/worker.h"

#define TABLES_MAX ((uint64_t)256 << 20) /* bytes, of all lists that are being read */

struct listing {
	struct process_call base;
	bool answered; /* the next four are set */
	int table;
	uint64_t bytes, dropped;
	uint32_t count;
	uint32_t sent, at; /* records sent, and passed in this reading */
	bool reading;
};

static void on_listed(const struct job_record *record, void *arg)
{
	Telex__V1__ListResponse response = TELEX__V1__LIST_RESPONSE__INIT;
	struct process_message m;
	struct listing *l = arg;

	if (l->at++ < l->sent || rpc_pending(l->base.call) >= H2_SEND_HIGH)
		return;
	process_reply_process(&m, record);
	response.item_case = TELEX__V1__LIST_RESPONSE__ITEM_PROCESS;
	response.process = &m.process;
	rpc_send(l->base.call, &response.base);
	process_reply_process_clear(&m);
	l->sent++;
}

static void send_summary(struct listing *l)
{
	Telex__V1__ListResponse response = TELEX__V1__LIST_RESPONSE__INIT;
	Telex__V1__ListSummary summary = TELEX__V1__LIST_SUMMARY__INIT;

	summary.dropped = l->dropped;
	summary.held_maximum = process_call_worker(&l->base)->config.max_ended;
	response.item_case = TELEX__V1__LIST_RESPONSE__ITEM_SUMMARY;
	response.summary = &summary;
	process_call_answer(&l->base, &response.base);
}

static void send_more(struct listing *l)
{
	struct err e;
	int rc;

	if (l->reading)
		return;
	l->reading = true;
	l->at = 0;
	rc = job_records_read(l->table, l->bytes, l->count, on_listed, l, &e);
	l->reading = false;
	if (rc < 0)
		rpc_fail(l->base.call, RPC_INTERNAL, "SYSTEM", "the agent's table: %s", e.message);
	else if (l->sent == l->count)
		send_summary(l);
}

static void on_answer(const union km_any *msg, int fd, void *arg)
{
	struct listing *l = arg;
	struct worker *w = process_call_worker(&l->base);

	l->base.asked = NULL;
	if (msg == NULL || msg->hdr.type != KM_TABLE) {
		process_call_refuse(&l->base, msg);
		return;
	}
	if (msg->table.bytes > TABLES_MAX - w->tables) {
		rpc_fail(l->base.call, RPC_RESOURCE_EXHAUSTED, "LIMIT",
		    "too many lists are being read; try again later");
		return;
	}
	l->table = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (l->table < 0) {
		rpc_fail(l->base.call, RPC_RESOURCE_EXHAUSTED, "LIMIT", "too many open files");
		return;
	}
	l->answered = true;
	l->bytes = msg->table.bytes;
	w->tables += l->bytes;
	l->count = msg->table.count;
	l->dropped = msg->table.dropped;
	send_more(l);
}

static uint32_t state_bit(Telex__V1__ProcessState state)
{
	switch (state) {
	case TELEX__V1__PROCESS_STATE__PROCESS_STATE_RUNNING:
		return KM_STATE_BIT(KM_STATE_RUNNING);
	case TELEX__V1__PROCESS_STATE__PROCESS_STATE_ENDING:
		return KM_STATE_BIT(KM_STATE_ENDING);
	case TELEX__V1__PROCESS_STATE__PROCESS_STATE_ENDED:
		return KM_STATE_BIT(KM_STATE_ENDED);
	case TELEX__V1__PROCESS_STATE__PROCESS_STATE_QUEUED:
		return KM_STATE_BIT(KM_STATE_QUEUED);
	default:
		return 0;
	}
}

static int take_filters(
    struct km_list *m, const Telex__V1__ListRequest *q, struct rpc_status *status)
{
	char field[48];

	if (q->group[0] != '\0' && !job_id_valid(q->group, strlen(q->group)))
		return process_bad_field(status, "group", "is not a group's name");
	for (size_t i = 0; i < q->n_states; i++) {
		uint32_t bit = state_bit(q->states[i]);

		m->states |= bit;
		if (bit != 0)
			continue;
		snprintf(field, sizeof(field), "states[%zu]", i);
		return process_bad_field(status, field, "unknown value %d", (int)q->states[i]);
	}
	if (q->n_states == 0 && q->include_ended)
		m->states = UINT32_MAX;
	m->usage = q->usage ? 1 : 0;
	snprintf(m->group, sizeof(m->group), "%s", q->group);
	return 0;
}

void process_list_message(struct rpc_call *c, const ProtobufCMessage *msg)
{
	const Telex__V1__ListRequest *q = (const void *)msg;
	struct listing *l = process_call_new(c, sizeof(*l));
	struct km_list m = {.any = authz_any(c)};
	struct rpc_status status;

	if (take_filters(&m, q, &status) < 0) {
		process_call_fail(&l->base, &status);
		return;
	}
	snprintf(m.owner, sizeof(m.owner), "%s", process_call_identity(&l->base));
	process_call_ask(&l->base, KM_LIST, &m, -1, on_answer);
}

void process_list_writable(struct rpc_call *c)
{
	struct listing *l = rpc_call_data(c);

	if (l != NULL && l->answered && l->sent < l->count)
		send_more(l);
}

void process_list_closed(struct rpc_call *c)
{
	struct listing *l = rpc_call_data(c);

	if (l != NULL && l->answered) {
		process_call_worker(&l->base)->tables -= l->bytes;
		close(l->table);
	}
	process_call_closed(c);
}
