/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Coming back. A run whose connection is lost, or whose agent says that it will be back, begins
 * another call until its time is over: with the same start as long as nobody said `started` (that
 * runs nothing twice), later with an attachment that goes on where the run is. Bytes that the agent
 * holds no longer are skipped, where the caller wants to be told rather than to fail.
 */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/duration.h"
#include "common/rpc_status.h"
#include "lib/error.h"
#include "lib/retry.h"
#include "lib/run.h"
#include "lib/stdin_queue.h"

static const char *stream_name(enum telex_stream stream)
{
	return stream == TELEX_STDOUT ? "stdout" : "stderr";
}

/* ---- what is lost for good ---- */

bool run_skip(
    struct telex_run *run, enum telex_stream stream, uint64_t to, struct telex_error *error)
{
	struct run_output *o = &run->out[stream - 1];

	if (run->ops.skipped == NULL) {
		error_set(error, TELEX_ERROR_STATUS,
		    "bytes %" PRIu64 " to %" PRIu64
		    " of %s are lost: the agent holds them no longer",
		    o->next, to, stream_name(stream));
		error->code = RPC_OUT_OF_RANGE;
		snprintf(error->reason, sizeof(error->reason), "OFFSET_DROPPED");
		return false;
	}
	if (!o->skipping)
		o->skip_from = o->next;
	o->skipping = true;
	o->next = o->acked = to;
	return true;
}

void run_tell_skips(struct telex_run *run)
{
	for (size_t i = 0; i < 2 && !run->detached; i++) {
		struct run_output *o = &run->out[i];

		if (!o->skipping)
			continue;
		o->skipping = false;
		run->ops.skipped(run, (enum telex_stream)(i + 1), o->skip_from, o->next, run->arg);
	}
}

/* Whether the agent said that what we want is gone. The next call asks for the oldest that is held
 * when it arrives, which of a fast process is soon another byte than the one told here; where the
 * output goes on, its first byte says. */
static bool skip_dropped(struct telex_run *run, const struct rpc_status *status)
{
	const char *name, *text;
	struct run_output *o;
	uint64_t oldest;
	char *end;

	if (run->ops.skipped == NULL || status == NULL || status->code != RPC_OUT_OF_RANGE ||
	    strcmp(status->reason, "OFFSET_DROPPED") != 0)
		return false;
	name = rpc_status_get(status, "stream");
	text = rpc_status_get(status, "oldest");
	if (name == NULL || text == NULL || *text < '0' || *text > '9')
		return false;
	o = &run->out[strcmp(name, "stderr") == 0];
	errno = 0;
	oldest = strtoull(text, &end, 10);
	if (errno != 0 || *end != '\0' || oldest <= o->next || o->from_oldest)
		return false;
	o->from_oldest = true;
	return true;
}

/* ---- another call ---- */

static void forget_call(struct telex_run *run)
{
	for (size_t i = 0; i < 2; i++) {
		struct run_output *o = &run->out[i];

		credit_lost(&o->credit);
		o->acked = o->next;
	}
	run->here = run->in_ready = run->excused = false;
	run->resize_wanted = run->resize_wanted || run->rows > 0;
}

/* 0, or -1 and *error. */
static int make_attach(struct telex_run *run, struct telex_error *error)
{
	const bool feeds = !stdin_queue_closed(run->in);
	const struct run_request_attach attach = {
	    .common = {.process_id = run->id,
	        .key = run->key,
	        .heartbeat_ms = run->heartbeat_ns / NS_PER_MS},
	    .stdin_pipe = feeds,
	    .lossy = run->lossy,
	    .from = TELEX_FROM_OFFSET,
	    .stdout_offset = run->out[0].from_oldest ? UINT64_MAX : run->out[0].next,
	    .stderr_offset = run->out[1].from_oldest ? UINT64_MAX : run->out[1].next,
	};
	uint8_t *packed;
	size_t len;

	if (run_request_attach(&packed, &len, &attach, error) < 0)
		return -1;
	free(run->first);
	run->first = packed;
	run->first_len = len;
	run->out[0].begun = run->out[1].begun = true;
	return 0;
}

static void say_gone(const struct telex_run *run, struct telex_error *error)
{
	if (error->kind != TELEX_ERROR_STATUS || error->code != RPC_NOT_FOUND || !run->started)
		return;
	snprintf(error->message, sizeof(error->message),
	    "the agent holds process %s no longer; how it ended is not known", run->id);
}

/* Whether the run can say where it goes on; else it begins as at first, which nothing came of. */
static bool knows_where(const struct telex_run *run)
{
	return run->started || (run->attaching && run->out[0].begun && run->out[1].begun);
}

/* Where only bytes were dropped, no connection was lost. */
static void give_up(const struct telex_run *run, struct telex_error *error)
{
	if (run->interrupted)
		error_given_up(error, clock_monotonic_ns() - run->lost_ns);
}

/* False: *error is final. */
static bool begin_again(struct telex_run *run, struct telex_error *error)
{
	const struct telex_client *client = run->call.client;
	int rc;

	if (knows_where(run) && make_attach(run, error) < 0)
		return false;
	run->call.give_up_ns =
	    run->lost_ns +
	    (client->reconnect_ns >= 0 ? client->reconnect_ns : client->connect_timeout_ns);
	rc = call_again(&run->call, error);
	if (rc == 0)
		return true;
	if (rc == TX_ENOMEM)
		error_no_memory(error);
	else
		give_up(run, error);
	return false;
}

/* A connection that never was is no loss. */
static bool may_come_back(const struct telex_run *run, const struct telex_error *error)
{
	if (run->call.client->reconnect_ns < 0 || !retry_may_pass(error))
		return false;
	return run->lost_ns != 0 || run->started || error->kind == TELEX_ERROR_LOST ||
	       error->kind == TELEX_ERROR_STATUS;
}

bool run_come_back(struct telex_run *run, struct telex_error *error)
{
	const bool skips = skip_dropped(run, run->call.status);
	const int64_t now = clock_monotonic_ns();

	if (!skips && !may_come_back(run, error)) {
		say_gone(run, error);
		return false;
	}
	if (run->lost_ns != 0 && !skips && now >= run->call.give_up_ns) {
		give_up(run, error);
		return false;
	}
	forget_call(run);
	if (run->lost_ns == 0)
		run->lost_ns = now;
	/* A client that does not feed the process need not keep it waiting either. */
	if (skips && stdin_queue_closed(run->in))
		run->lossy = true;
	if (!skips && !run->interrupted) {
		run->interrupted = true;
		if (run->ops.interrupted != NULL)
			run->ops.interrupted(run, error, run->arg);
		if (run->detached)
			return true;
	}
	return begin_again(run, error);
}

void run_came_back(struct telex_run *run)
{
	bool told = run->interrupted;

	run->out[0].from_oldest = run->out[1].from_oldest = false;
	run->interrupted = false;
	run->lost_ns = 0;
	run->call.give_up_ns = 0;
	if (told && run->ops.resumed != NULL)
		run->ops.resumed(run, run->arg);
	if (told && !run->detached)
		run_tell_unsure(run);
}

bool run_acknowledge_again(struct telex_run *run)
{
	struct telex_error error;

	if (run->acking || run->call.client->reconnect_ns < 0)
		return false;
	call_cancel(&run->call); /* it may be parked */
	forget_call(run);
	run->acking = true;
	run->call.tries = 0;
	error_set(&error, TELEX_ERROR_LOST, "there was no time to acknowledge the exit");
	if (make_attach(run, &error) < 0)
		return false;
	run->call.give_up_ns = clock_monotonic_ns() + RUN_ACK_AGAIN_NS;
	return call_again(&run->call, &error) == 0;
}
