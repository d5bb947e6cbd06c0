/* SPDX-License-Identifier: Apache-2.0 */
/* A run's life: its call, its watchdog, its end. What comes in and goes out is run_receive.c's and
 * run_send.c's. */
#include "lib/run.h"

#include <event2/buffer.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

#include "common/duration.h"
#include "lib/error.h"
#include "lib/run_exit.h"
#include "lib/run_message.h"
#include "lib/stdin_queue.h"
#include "telex/v1/process.pb-c.h"

#define RUN_HEARTBEAT_MS     15000
#define RUN_HEARTBEAT_MAX_MS 3600000

static struct telex_run *run_of(struct call *c)
{
	return (struct telex_run *)((char *)c - offsetof(struct telex_run, call));
}

static void run_free(struct telex_run *run)
{
	if (run->acks != NULL)
		event_free(run->acks);
	if (run->flush != NULL)
		event_free(run->flush);
	if (run->watchdog != NULL)
		event_free(run->watchdog);
	stdin_queue_free(run->in);
	free(run->first);
	free(run->exit);
	free(run);
}

void run_enter(struct telex_run *run)
{
	run->busy++;
}

bool run_leave(struct telex_run *run)
{
	bool stays = !run->detached;

	if (--run->busy == 0 && run->detached)
		run_free(run);
	return stays;
}

void run_done(struct telex_run *run, const struct telex_exit *exit, const struct telex_error *error)
{
	run->detached = true;
	run->ops.done(run, exit, error, run->arg);
}

void run_fail(struct telex_run *run, const struct telex_error *error)
{
	call_fail(&run->call, error);
}

/* ---- the exit ---- */

/* The call is left to the agent, which ends it when it has the acknowledgement. One that does not
 * know of those has ended it already. */
static void finish(struct telex_run *run, const struct telex_exit *exit)
{
	const struct timeval tv = duration_timeval(RUN_ACK_AGAIN_NS);
	struct rpc_call *rpc = call_rpc(&run->call);

	if (rpc == NULL && run->exit != NULL && run_acknowledge_again(run)) {
		evtimer_add(run->watchdog, &tv);
		return;
	}
	if (rpc != NULL)
		(void)run_message_exit_ack(rpc);
	if (rpc != NULL)
		call_leave(&run->call);
	else
		call_cancel(&run->call);
	run_done(run, exit, NULL);
}

static bool all_consumed(const struct telex_run *run)
{
	return run->out[0].credit.held == 0 && run->out[1].credit.held == 0;
}

void run_exited(struct telex_run *run, const struct telex_exit *exit)
{
	struct telex_error error;

	if (run->acking)
		finish(run, &run->exit->exit);
	if (run->exit != NULL)
		return;
	if (all_consumed(run)) {
		finish(run, exit);
		return;
	}
	run->exit = run_exit_copy(exit);
	if (run->exit == NULL) {
		error_no_memory(&error);
		run_fail(run, &error);
	}
}

void run_settled(struct telex_run *run)
{
	if (run->exit != NULL && !run->acking && !run->detached && all_consumed(run))
		finish(run, &run->exit->exit);
}

/* ---- the watchdog ---- */

static int64_t silence_allowed(const struct telex_run *run)
{
	return run->heartbeat_ns * 5 / 2;
}

static void arm_watchdog(struct telex_run *run)
{
	struct timeval tv;
	int64_t now = clock_monotonic_ns();

	if (run->heartbeat_ns == 0)
		return;
	run->due_ns = run->heard_ns + silence_allowed(run);
	tv = duration_timeval(run->due_ns - now);
	evtimer_add(run->watchdog, &tv);
}

static void on_watchdog(evutil_socket_t fd, short what, void *arg)
{
	struct telex_run *run = arg;
	struct conn *conn = run->call.conn;
	int64_t now = clock_monotonic_ns();
	struct telex_error error;

	(void)fd;
	(void)what;
	if (run->acking) { /* it takes too long */
		run_enter(run);
		call_cancel(&run->call);
		run_done(run, &run->exit->exit, NULL);
		run_leave(run);
		return;
	}
	if (call_rpc(&run->call) == NULL || run->exit != NULL)
		return;
	if (run_holds_back(run))
		run->heard_ns = now;
	/* When the timer itself is late, this side slept: what the agent sent may still be unread.
	 */
	if (now - run->due_ns > run->heartbeat_ns && !run->excused) {
		run->excused = true;
		run->heard_ns = now - 2 * run->heartbeat_ns;
	}
	if (now - run->heard_ns < silence_allowed(run)) {
		arm_watchdog(run);
		return;
	}
	error_set(&error, TELEX_ERROR_LOST, "the agent at %s has been silent for %.3g s",
	    run->call.client->address.authority, (double)(now - run->heard_ns) / (double)NS_PER_S);
	run_fail(run, &error);
	conn_abandon(conn);
}

/* ---- the call ---- */

static void on_opened(struct call *c)
{
	struct telex_run *run = run_of(c);
	struct evbuffer *message = evbuffer_new();
	int rc = TX_ENOMEM;

	if (message != NULL && evbuffer_add(message, run->first, run->first_len) == 0)
		rc = rpc_send_encoded(call_rpc(c), message);
	if (message != NULL)
		evbuffer_free(message);
	run_send_check(run, rc);
	run->heard_ns = clock_monotonic_ns();
	if (!run->acking)
		arm_watchdog(run);
	/* An attachment does not know yet where its stdin goes on; nor does a start that may find
	 * its process running. */
	if (!run->attaching && !run->named && !run->started && run_stdin_from(run, 0) == 0)
		run_send_stdin(run, true);
}

static void on_raw(struct call *c, const uint8_t *msg, size_t len)
{
	struct telex_run *run = run_of(c);

	run->heard_ns = clock_monotonic_ns();
	run->excused = false;
	if (run->here) {
		run->call.tries = 0;
		run_signals_arrived(run);
	}
	run_enter(run);
	run_receive(run, msg, len);
	run_leave(run);
}

static void on_done(struct call *c, const struct telex_error *error)
{
	struct telex_run *run = run_of(c);
	struct telex_error why;

	if (run->exit != NULL && !run->acking) {
		call_park(c); /* until the output is consumed */
		return;
	}
	run_enter(run);
	if (run->exit != NULL) {
		run_done(run, &run->exit->exit, NULL);
	} else if (error == NULL) {
		error_set(&why, TELEX_ERROR_LOST,
		    "the agent ended the call and did not say how the process ended");
		run_done(run, NULL, &why);
	} else {
		why = *error;
		if (!run_come_back(run, &why))
			run_done(run, NULL, &why);
	}
	run_leave(run);
}

static void on_drop(struct call *c)
{
	run_free(run_of(c));
}

static const struct call_ops run_call_ops = {
    .opened = on_opened, .raw = on_raw, .done = on_done, .drop = on_drop};

static const struct call_method run_method = {
    .service = "telex.v1.ProcessService",
    .method = "Run",
    .response = &telex__v1__run_response__descriptor,
    .server_stream = true,
};

/* ---- begin and end ---- */

static int heartbeat_of(int64_t wanted, int64_t *ms, struct telex_error *error)
{
	if (wanted > RUN_HEARTBEAT_MAX_MS)
		return error_set(error, TELEX_ERROR_USAGE, "heartbeat_ms is more than an hour");
	*ms = wanted == 0 ? RUN_HEARTBEAT_MS : wanted < 0 ? 0 : wanted;
	return 0;
}

static int run_prepare(
    struct telex_run *run, struct telex_client *client, bool stdin_pipe, struct telex_error *error)
{
	run->in = stdin_queue_new(STDIN_QUEUE_ROOM);
	run->flush = event_new(client->base, -1, 0, run_send_on_flush, run);
	run->acks = evtimer_new(client->base, run_send_on_acks, run);
	run->watchdog = evtimer_new(client->base, on_watchdog, run);
	if (run->in == NULL || run->flush == NULL || run->acks == NULL || run->watchdog == NULL)
		return error_no_memory(error);
	if (!stdin_pipe) {
		stdin_queue_close(run->in);
		run->eof_sent = true;
	}
	return 0;
}

/* The part that both ways to begin share; fills *first. */
static int run_new(struct telex_run **out, struct run_request *first, const char *process_id,
    int64_t heartbeat_ms, const struct telex_run_ops *ops, void *arg, struct telex_error *error)
{
	struct telex_run *run;

	if (ops->output == NULL || ops->done == NULL)
		return error_set(error, TELEX_ERROR_USAGE, "a run needs output and done");
	run = calloc(1, sizeof(*run));
	if (run == NULL)
		return error_no_memory(error);
	run->ops = *ops;
	run->arg = arg;
	if (run_request_id(run->id, process_id, error) < 0 ||
	    run_request_key(&run->key, error) < 0 ||
	    heartbeat_of(heartbeat_ms, &first->heartbeat_ms, error) < 0) {
		run_free(run);
		return -1;
	}
	first->process_id = run->id;
	first->key = run->key;
	run->heartbeat_ns = first->heartbeat_ms * NS_PER_MS;
	*out = run;
	return 0;
}

/* Its first message is made. */
static int run_begin(struct telex_run **out, struct telex_run *run, struct telex_client *client,
    bool stdin_pipe, struct telex_error *error)
{
	if (run_prepare(run, client, stdin_pipe, error) < 0 ||
	    call_start(&run->call, client, &run_method, &run_call_ops, 0, error) < 0) {
		run_free(run);
		return -1;
	}
	*out = run;
	return 0;
}

int telex_run(struct telex_client *client, struct telex_run **out,
    const struct telex_command *command, const struct telex_run_ops *ops, void *arg,
    struct telex_error *error)
{
	struct run_request first;
	struct telex_run *run;

	if (run_new(&run, &first, command->process_id, command->heartbeat_ms, ops, arg, error) < 0)
		return -1;
	run_output_begin(&run->out[0], 0);
	run_output_begin(&run->out[1], 0);
	run->terminal = command->rows > 0;
	run->named = command->process_id != NULL;
	if (run_request_start(&run->first, &run->first_len, command, &first, error) < 0) {
		run_free(run);
		return -1;
	}
	return run_begin(out, run, client, command->stdin_pipe || run->terminal, error);
}

int telex_attach(struct telex_client *client, struct telex_run **out,
    const struct telex_attach *attach, const struct telex_run_ops *ops, void *arg,
    struct telex_error *error)
{
	struct run_request_attach first = {.stdin_pipe = attach->stdin_pipe,
	    .lossy = attach->lossy,
	    .from = attach->from,
	    .stdout_offset = attach->stdout_offset,
	    .stderr_offset = attach->stderr_offset};
	struct telex_run *run;

	if (request_check_id("process id", attach->process_id, error) < 0)
		return -1;
	if (attach->from > TELEX_FROM_OFFSET)
		return error_set(error, TELEX_ERROR_USAGE, "from is none of its values");
	if (run_new(
	        &run, &first.common, attach->process_id, attach->heartbeat_ms, ops, arg, error) < 0)
		return -1;
	run->attaching = true;
	run->lossy = attach->lossy;
	run->from_newest = attach->from == TELEX_FROM_NEWEST;
	if (attach->from == TELEX_FROM_OFFSET) {
		run_output_begin(&run->out[0], attach->stdout_offset);
		run_output_begin(&run->out[1], attach->stderr_offset);
	}
	if (run_request_attach(&run->first, &run->first_len, &first, error) < 0) {
		run_free(run);
		return -1;
	}
	return run_begin(out, run, client, attach->stdin_pipe, error);
}

const char *telex_run_id(const struct telex_run *run)
{
	return run->id;
}

void telex_run_detach(struct telex_run *run)
{
	if (run == NULL || run->detached)
		return;
	run->detached = true;
	call_cancel(&run->call);
	if (run->busy == 0)
		run_free(run);
}
