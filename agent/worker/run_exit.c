/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The end of a Run call: `exited`, and whether the client is known to have it. Where it has
 * promised an ExitAck the call stays open for that, and only that counts. Where it has not, what a
 * gRPC library shows by itself has to do.
 */
#include <event2/event.h>
#include <stdlib.h>

#include "agent/worker/audit_log.h"
#include "agent/worker/process_reply.h"
#include "agent/worker/process_spec.h"
#include "agent/worker/run_internal.h"
#include "common/duration.h"
#include "common/log.h"

#define ACK_WAIT_NS (30 * NS_PER_S)

/* The call ends well; the attachment goes now, or with the call. */
static void finish(struct run *r)
{
	run_set_state(r, RUN_FINISHED);
	if (r->ack_timer != NULL)
		event_del(r->ack_timer);
	rpc_finish(r->call, NULL);
}

static void on_no_ack(evutil_socket_t fd, short what, void *arg)
{
	struct run *r = arg;

	(void)fd;
	(void)what;
	log_debug("run %s: the exit was not acknowledged", r->id);
	finish(r);
}

static void await_ack(struct run *r)
{
	const struct timeval wait = duration_timeval(ACK_WAIT_NS);

	run_set_state(r, RUN_EXITED);
	r->ack_timer = evtimer_new(r->worker->base, on_no_ack, r);
	if (r->ack_timer == NULL || event_add(r->ack_timer, &wait) != 0)
		abort();
}

void run_exit_send(struct run *r)
{
	Telex__V1__RunResponse response = TELEX__V1__RUN_RESPONSE__INIT;
	struct process_exit exit;
	struct rpc_status status;

	if (audit_log_exit(r->call, r->id, &r->exit, &status) < 0) {
		run_fail(r, &status);
		return;
	}
	process_reply_exit(&exit, &r->exit);
	response.response_case = TELEX__V1__RUN_RESPONSE__RESPONSE_EXITED;
	response.exited = &exit.exit;
	r->deaf = rpc_half_closed(r->call);
	rpc_send(r->call, &response.base);
	event_del(r->beat);
	if (r->acknowledges && !r->deaf)
		await_ack(r);
	else
		finish(r);
}

int run_exit_ack(struct run *r, struct rpc_status *status)
{
	if (r->state < RUN_EXITED)
		return process_bad_field(status, "exit_ack",
		    r->acknowledges ? "`exited` was not sent yet"
		                    : "it was not promised (acknowledge_exit)");
	keeper_detach(r->att, KM_DELIVERED_ACKNOWLEDGED);
	r->att = NULL;
	finish(r);
	return 0;
}

void run_exit_no_more(struct run *r)
{
	if (r->state == RUN_EXITED)
		finish(r);
}

/* One that had ended its half before `exited` was sent, or was cut off, may come back and ask for
 * the same process. */
enum km_delivered run_exit_delivered(const struct run *r)
{
	const struct peer *peer = rpc_call_peer(r->call);

	return r->state == RUN_FINISHED && !r->acknowledges && !r->deaf && peer->last_code == RPC_OK
	           ? KM_DELIVERED_LIKELY
	           : KM_DELIVERED_NOT;
}
