/* SPDX-License-Identifier: Apache-2.0 */
/* What a run sends: stdin, acknowledgements of output, signals, the terminal's size. */
#include <event2/event.h>

#include "common/duration.h"
#include "lib/error.h"
#include "lib/run.h"
#include "lib/run_message.h"
#include "lib/stdin_queue.h"

#define RUN_ACK_BYTES    ((uint64_t)256 * 1024) /* acknowledged at once */
#define RUN_ACK_DELAY_NS (5 * NS_PER_MS)        /* else after this */
#define RUN_STDIN_SOON   ((size_t)64 * 1024)    /* sent at once; less: at the end of the turn */
#define RUN_STDIN_CHUNK  ((size_t)256 * 1024)

/* A send's result. A call that is ending says so by itself. */
void run_send_check(struct telex_run *run, int rc)
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
	uint64_t sent = stdin_queue_sent(run->in), written = run->in_written;

	written = written > run->in_base ? written - run->in_base : 0;
	/* A process that was there already may have got more than we have sent so far. */
	(void)stdin_queue_ack(run->in, written < sent ? written : sent);
}

int run_stdin_from(struct telex_run *run, uint64_t offset)
{
	if (!stdin_queue_closed(run->in)) {
		if (offset < run->in_base || stdin_queue_rewind(run->in, offset - run->in_base) < 0)
			return TX_EPROTO;
		run->eof_sent = false;
	}
	run->in_ready = true;
	return 0;
}

/* `all`: also less than RUN_STDIN_SOON, and the end. */
void run_send_stdin(struct telex_run *run, bool all)
{
	struct rpc_call *rpc;
	int rc = 0;

	while (rc == 0 && run->in_ready && !run->eof_sent && (rpc = call_rpc(&run->call)) != NULL) {
		size_t unsent = stdin_queue_unsent(run->in);

		if (unsent < RUN_STDIN_SOON && !(all && (unsent > 0 || run->eof_wanted)))
			break;
		rc = run_message_stdin(
		    rpc, run->in, run->in_base, RUN_STDIN_CHUNK, run->eof_wanted, &run->eof_sent);
	}
	take_acks(run);
	run_send_check(run, rc);
}

void run_send_on_flush(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	run_send_stdin(arg, true);
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

	if (run->detached)
		return 0;
	if (run->eof_wanted)
		return len;
	if (stdin_queue_put(run->in, data, len, &taken) < 0) {
		error_no_memory(&error);
		run_fail(run, &error);
		return taken;
	}
	if (taken < len)
		run->room_wanted = true;
	if (stdin_queue_unsent(run->in) >= RUN_STDIN_SOON)
		run_send_stdin(run, false);
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

uint64_t run_consumed(const struct run_output *o)
{
	return o->next - o->credit.held;
}

/* After a resume the agent counts from there: what is held from before is not said again. */
static void send_ack(struct telex_run *run, enum telex_stream stream)
{
	struct run_output *o = &run->out[stream - 1];
	struct rpc_call *rpc = call_rpc(&run->call);

	if (rpc == NULL || !run->here || run_consumed(o) <= o->acked)
		return;
	o->acked = run_consumed(o);
	run_send_check(run, run_message_ack(rpc, stream, o->acked));
}

void run_send_on_acks(evutil_socket_t fd, short what, void *arg)
{
	struct telex_run *run = arg;

	(void)fd;
	(void)what;
	run_enter(run);
	if (run->exit != NULL) {
		run_settled(run);
	} else {
		send_ack(run, TELEX_STDOUT);
		send_ack(run, TELEX_STDERR);
	}
	run_leave(run);
}

/* The caller holds so much that the agent may be unable to send even a heartbeat. */
bool run_holds_back(const struct telex_run *run)
{
	return run->out[0].credit.owed + run->out[1].credit.owed >= CONN_STREAM_WINDOW / 2;
}

void telex_run_consumed(struct telex_run *run, enum telex_stream stream, size_t n)
{
	const struct timeval delay = duration_timeval(RUN_ACK_DELAY_NS);
	struct rpc_call *rpc = call_rpc(&run->call);
	struct run_output *o;
	size_t credit;

	if (run->detached || (stream != TELEX_STDOUT && stream != TELEX_STDERR))
		return;
	o = &run->out[stream - 1];
	if (n == 0 || o->credit.held == 0)
		return;
	if (run_holds_back(run))
		run->heard_ns = clock_monotonic_ns();
	credit = credit_take(&o->credit, n);
	if (rpc != NULL && credit > 0)
		rpc_credit(rpc, credit);
	if (run->exit != NULL) {
		/* The end, but not from inside this. */
		event_active(run->acks, EV_TIMEOUT, 1);
	} else if (run_consumed(o) >= o->acked + RUN_ACK_BYTES) {
		send_ack(run, stream);
	} else if (!evtimer_pending(run->acks, NULL)) {
		evtimer_add(run->acks, &delay);
	}
}

/* ---- signals and the size ---- */

/* 0 or a negative code. */
static int send_signal(struct telex_run *run, struct rpc_call *rpc, int signo, enum telex_target to)
{
	int rc = run_message_signal(rpc, signo, to);

	if (rc == 0 && run->n_unsure < RUN_SIGNALS_MAX)
		run->unsure[run->n_unsure++] = signo;
	return rc;
}

void run_signals_arrived(struct telex_run *run)
{
	run->n_unsure = 0;
}

void run_tell_unsure(struct telex_run *run)
{
	size_t n = run->n_unsure;

	run->n_unsure = 0;
	for (size_t i = 0; i < n && !run->detached && run->ops.signal_unsure != NULL; i++)
		run->ops.signal_unsure(run, run->unsure[i], run->arg);
}

int telex_run_signal(struct telex_run *run, int signo, enum telex_target target)
{
	struct rpc_call *rpc = call_rpc(&run->call);

	if (run->detached || signo < 1 || signo > 64 || run->exit != NULL ||
	    run->call.state == CALL_ENDING)
		return -1;
	if (run->here && rpc != NULL)
		return send_signal(run, rpc, signo, target) == 0 ? 0 : -1;
	if (run->n_signals == RUN_SIGNALS_MAX)
		return -1;
	run->signals[run->n_signals].signo = signo;
	run->signals[run->n_signals].target = target;
	run->n_signals++;
	return 0;
}

static void send_size(struct telex_run *run)
{
	struct rpc_call *rpc = call_rpc(&run->call);

	if (!run->resize_wanted || !run->here || rpc == NULL)
		return;
	run->resize_wanted = false;
	if (run->terminal)
		run_send_check(run, run_message_resize(rpc, run->rows, run->columns));
}

void telex_run_resize(struct telex_run *run, uint16_t rows, uint16_t columns)
{
	if (run->detached || rows < 1 || rows > REQUEST_TERMINAL_MAX || columns < 1 ||
	    columns > REQUEST_TERMINAL_MAX)
		return;
	run->rows = rows;
	run->columns = columns;
	run->resize_wanted = true;
	send_size(run);
}

void run_started(struct telex_run *run)
{
	struct rpc_call *rpc = call_rpc(&run->call);

	send_size(run);

	for (size_t i = 0; rpc != NULL && i < run->n_signals; i++)
		run_send_check(
		    run, send_signal(run, rpc, run->signals[i].signo, run->signals[i].target));
	run->n_signals = 0;
}
