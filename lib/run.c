/* SPDX-License-Identifier: Apache-2.0 */
/* A run's life, and what it sends: stdin, signals, acknowledgements. */
#include "lib/run.h"

#include <event2/buffer.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

#include "common/duration.h"
#include "lib/error.h"
#include "lib/stdin_queue.h"
#include "telex/v1/process.pb-c.h"

#define RUN_ACK_BYTES        ((uint64_t)256 * 1024) /* acknowledged at once */
#define RUN_ACK_DELAY_NS     (5 * NS_PER_MS)        /* else after this */
#define RUN_STDIN_SOON       ((size_t)64 * 1024)    /* sent at once; less: at the end of the turn */
#define RUN_STDIN_CHUNK      ((size_t)256 * 1024)
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
	free(run->start);
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

/* A send's result. A call that is ending says so by itself. */
static void check_send(struct telex_run *run, int rc)
{
	struct telex_error error;

	if (rc != TX_ENOMEM)
		return;
	error_no_memory(&error);
	run_fail(run, &error);
}

/* ---- stdin ---- */

static void take_acks(struct telex_run *run)
{
	uint64_t sent = stdin_queue_sent(run->in);

	/* A process that was there already may have got more than we have sent so far. */
	(void)stdin_queue_ack(run->in, run->in_written < sent ? run->in_written : sent);
}

/* `all`: also less than RUN_STDIN_SOON, and the end. */
static void send_stdin(struct telex_run *run, bool all)
{
	struct rpc_call *rpc;
	int rc = 0;

	while (rc == 0 && !run->eof_sent && (rpc = call_rpc(&run->call)) != NULL) {
		size_t unsent = stdin_queue_unsent(run->in);

		if (unsent < RUN_STDIN_SOON && !(all && (unsent > 0 || run->eof_wanted)))
			break;
		rc = run_request_stdin(
		    rpc, run->in, RUN_STDIN_CHUNK, run->eof_wanted, &run->eof_sent);
	}
	take_acks(run);
	check_send(run, rc);
}

static void on_flush(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	send_stdin(arg, true);
}

void run_stdin_written(struct telex_run *run, bool closed)
{
	bool news = closed && !stdin_queue_closed(run->in);

	if (news) {
		stdin_queue_close(run->in);
		run->eof_sent = true;
	}
	take_acks(run);
	if (news && run->ops.stdin_closed != NULL)
		run->ops.stdin_closed(run, run->arg);
	if (run->detached || !run->room_wanted || stdin_queue_held(run->in) > STDIN_QUEUE_ROOM / 2)
		return;
	run->room_wanted = false;
	if (run->ops.stdin_room != NULL)
		run->ops.stdin_room(run, run->arg);
}

size_t telex_run_write(struct telex_run *run, const void *data, size_t len)
{
	struct telex_error error;
	size_t taken = 0;

	if (run->detached || run->eof_wanted)
		return 0;
	if (stdin_queue_put(run->in, data, len, &taken) < 0) {
		error_no_memory(&error);
		run_fail(run, &error);
		return taken;
	}
	if (taken < len)
		run->room_wanted = true;
	if (stdin_queue_unsent(run->in) >= RUN_STDIN_SOON)
		send_stdin(run, false);
	if (stdin_queue_unsent(run->in) > 0)
		event_active(run->flush, EV_TIMEOUT, 1);
	return taken;
}

void telex_run_write_eof(struct telex_run *run)
{
	if (run->detached || run->eof_wanted)
		return;
	run->eof_wanted = true;
	if (!run->eof_sent)
		event_active(run->flush, EV_TIMEOUT, 1);
}

/* ---- output ---- */

static void send_ack(struct telex_run *run, enum telex_stream stream)
{
	struct run_output *o = &run->out[stream - 1];
	struct rpc_call *rpc = call_rpc(&run->call);

	if (rpc == NULL || o->acked == o->consumed)
		return;
	o->acked = o->consumed;
	check_send(run, run_request_ack(rpc, stream, o->consumed));
}

static void on_acks(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	send_ack(arg, TELEX_STDOUT);
	send_ack(arg, TELEX_STDERR);
}

/* The caller holds so much that the agent may be unable to send even a heartbeat. */
static bool holds_back(const struct telex_run *run)
{
	return run->out[0].owed + run->out[1].owed >= CONN_STREAM_WINDOW / 2;
}

/* Takes n bytes out of the account of o; returns the window credit that comes free. */
static size_t settle(struct run_output *o, size_t n)
{
	size_t credit = n == o->held ? o->owed : (size_t)((unsigned __int128)o->owed * n / o->held);

	o->held -= n;
	o->owed -= credit;
	o->consumed += n;
	return credit;
}

void telex_run_consumed(struct telex_run *run, enum telex_stream stream, size_t n)
{
	const struct timeval delay = duration_timeval(RUN_ACK_DELAY_NS);
	struct rpc_call *rpc = call_rpc(&run->call);
	struct run_output *o;

	if (stream != TELEX_STDOUT && stream != TELEX_STDERR)
		return;
	o = &run->out[stream - 1];
	if (n > o->held)
		n = o->held;
	if (n == 0 || rpc == NULL)
		return;
	if (holds_back(run))
		run->heard_ns = clock_monotonic_ns();
	rpc_credit(rpc, settle(o, n));
	if (o->consumed - o->acked >= RUN_ACK_BYTES)
		send_ack(run, stream);
	else if (!evtimer_pending(run->acks, NULL))
		evtimer_add(run->acks, &delay);
}

/* ---- signals ---- */

int telex_run_signal(struct telex_run *run, int signo, bool process_only)
{
	struct rpc_call *rpc = call_rpc(&run->call);

	if (run->detached || signo < 1 || run->call.state == CALL_ENDING)
		return -1;
	if (run->started && rpc != NULL)
		return run_request_signal(rpc, signo, process_only) == 0 ? 0 : -1;
	if (run->n_signals == RUN_SIGNALS_MAX)
		return -1;
	run->signals[run->n_signals].signo = signo;
	run->signals[run->n_signals].process_only = process_only;
	run->n_signals++;
	return 0;
}

void run_started(struct telex_run *run)
{
	struct rpc_call *rpc = call_rpc(&run->call);

	for (size_t i = 0; rpc != NULL && i < run->n_signals; i++)
		check_send(run,
		    run_request_signal(rpc, run->signals[i].signo, run->signals[i].process_only));
	run->n_signals = 0;
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
	if (call_rpc(&run->call) == NULL)
		return;
	if (holds_back(run))
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
	conn_retire(conn);
}

/* ---- the call ---- */

static void on_opened(struct call *c)
{
	struct telex_run *run = run_of(c);
	struct evbuffer *message = evbuffer_new();
	int rc = TX_ENOMEM;

	if (message != NULL && evbuffer_add(message, run->start, run->start_len) == 0)
		rc = rpc_send_encoded(call_rpc(c), message);
	if (message != NULL)
		evbuffer_free(message);
	check_send(run, rc);
	run->heard_ns = clock_monotonic_ns();
	arm_watchdog(run);
	send_stdin(run, true);
}

static void on_raw(struct call *c, const uint8_t *msg, size_t len)
{
	struct telex_run *run = run_of(c);

	run->heard_ns = clock_monotonic_ns();
	run->excused = false;
	run_enter(run);
	run_receive(run, msg, len);
	run_leave(run);
}

static void on_done(struct call *c, const struct telex_error *error)
{
	struct telex_run *run = run_of(c);
	struct telex_error why;

	if (error == NULL) {
		error_set(&why, TELEX_ERROR_LOST,
		    "the agent ended the call and did not say how the process ended");
		error = &why;
	}
	run_enter(run);
	run_done(run, NULL, error);
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

static int heartbeat_of(const struct telex_command *command, int64_t *ms, struct telex_error *error)
{
	*ms = command->heartbeat_ms;
	if (*ms > RUN_HEARTBEAT_MAX_MS)
		return error_set(error, TELEX_ERROR_USAGE, "heartbeat_ms is more than an hour");
	if (*ms == 0)
		*ms = RUN_HEARTBEAT_MS;
	if (*ms < 0)
		*ms = 0;
	return 0;
}

static int run_prepare(struct telex_run *run, struct telex_client *client,
    const struct telex_command *command, struct telex_error *error)
{
	int64_t heartbeat_ms;

	if (heartbeat_of(command, &heartbeat_ms, error) < 0 ||
	    run_request_id(run->id, command->process_id, error) < 0 ||
	    run_request_start(&run->start, &run->start_len, command, run->id, heartbeat_ms, error) <
	        0)
		return -1;
	run->heartbeat_ns = heartbeat_ms * NS_PER_MS;
	run->in = stdin_queue_new();
	run->flush = event_new(client->base, -1, 0, on_flush, run);
	run->acks = evtimer_new(client->base, on_acks, run);
	run->watchdog = evtimer_new(client->base, on_watchdog, run);
	if (run->in == NULL || run->flush == NULL || run->acks == NULL || run->watchdog == NULL)
		return error_no_memory(error);
	if (!command->stdin_pipe) {
		stdin_queue_close(run->in);
		run->eof_sent = true;
	}
	return 0;
}

int telex_run(struct telex_client *client, struct telex_run **out,
    const struct telex_command *command, const struct telex_run_ops *ops, void *arg,
    struct telex_error *error)
{
	struct telex_run *run;

	if (ops->output == NULL || ops->done == NULL)
		return error_set(error, TELEX_ERROR_USAGE, "a run needs output and done");
	run = calloc(1, sizeof(*run));
	if (run == NULL)
		return error_no_memory(error);
	run->ops = *ops;
	run->arg = arg;
	if (run_prepare(run, client, command, error) < 0 ||
	    call_start(&run->call, client, &run_method, &run_call_ops, 0, error) < 0) {
		run_free(run);
		return -1;
	}
	*out = run;
	return 0;
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
