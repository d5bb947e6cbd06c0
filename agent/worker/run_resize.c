/* SPDX-License-Identifier: Apache-2.0 */
/* A terminal's size, as the client of a Run call changes it: the last one counts, and one message
 * at a time is under way to the keeper. */
#include <stdio.h>

#include "agent/worker/process_reply.h"
#include "agent/worker/process_spec.h"
#include "agent/worker/run_internal.h"
#include "common/log.h"

static int refuse_none(struct rpc_status *status)
{
	rpc_status_set(
	    status, RPC_FAILED_PRECONDITION, "NO_TERMINAL", "the process has no terminal");
	return TX_ESTATE;
}

/* One that comes too late for its process is none of the client's trouble. */
static void on_resized(const union km_any *msg, int fd, void *arg)
{
	struct run *r = arg;

	(void)fd;
	r->resize = NULL;
	if (msg == NULL)
		return; /* on_lost says it */
	if (msg->hdr.type == KM_REFUSED)
		log_debug("run %s: resize: %s", r->id, msg->refused.text);
	run_resize_send(r);
}

void run_resize_send(struct run *r)
{
	const struct peer *peer = rpc_call_peer(r->call);
	struct km_resize m = {.rows = r->rows, .columns = r->columns, .any = r->any};
	struct rpc_status status;
	int rc;

	if (!r->resize_due || r->resize != NULL || r->ended || run_is_over(r) ||
	    r->state < RUN_LOOKING)
		return;
	r->resize_due = false;
	if (!r->job.terminal) {
		refuse_none(&status);
		run_fail(r, &status);
		return;
	}
	snprintf(m.id, sizeof(m.id), "%s", r->id);
	snprintf(m.by, sizeof(m.by), "%s", peer->identity);
	rc = keeper_call(r->worker->keeper, KM_RESIZE, &m, -1, on_resized, r, &r->resize);
	if (rc < 0)
		run_fail_link(r, rc);
}

int run_resize_take(struct run *r, const Telex__V1__Resize *q, struct rpc_status *status)
{
	if (q->size == NULL)
		return process_bad_field(status, "resize.size", "is missing");
	if (process_size_check(q->size, "resize.size", status) < 0)
		return TX_EINVAL;
	if (r->state >= RUN_LOOKING ? !r->job.terminal : r->spec != NULL && !r->spec->terminal)
		return refuse_none(status);
	r->rows = (uint16_t)q->size->rows;
	r->columns = (uint16_t)q->size->columns;
	r->resize_due = true;
	run_resize_send(r);
	return 0;
}
