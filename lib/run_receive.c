/* SPDX-License-Identifier: Apache-2.0 */
/* Output goes from the packed message to the caller without a copy; everything else is unpacked by
 * protobuf-c. */
#include <stdlib.h>
#include <string.h>

#include "common/pb_splice.h"
#include "common/rpc.h"
#include "common/rpc_arena.h"
#include "lib/convert.h"
#include "lib/error.h"
#include "lib/run.h"
#include "lib/stdin_queue.h"
#include "telex/v1/process.pb-c.h"

#define FIELD_OUTPUT      2 /* of RunResponse */
#define FIELD_OUTPUT_DATA 4 /* of Output */

static void broken(struct telex_run *run, const char *what)
{
	struct telex_error error;

	error_set(&error, TELEX_ERROR_STATUS, "the agent broke the protocol: %s", what);
	error.code = RPC_INTERNAL;
	/* Whatever it said of the end is not believed either. */
	free(run->exit);
	run->exit = NULL;
	run_fail(run, &error);
}

struct chunk {
	uint64_t stream, offset;
	const uint8_t *data;
	size_t len;
	bool eof;
};

void run_output_begin(struct run_output *o, uint64_t offset)
{
	o->begun = true;
	o->next = o->acked = offset;
}

/* What the output's policy dropped is not there. False: nothing more is to be done. */
static bool fill_gap(struct telex_run *run, struct chunk c)
{
	struct telex_error error;

	if (!run_skip(run, (enum telex_stream)c.stream, c.offset, &error)) {
		run_fail(run, &error);
		return false;
	}
	run_tell_skips(run);
	return !run->detached;
}

/* size: the window credit of the message. */
static void receive_output(struct telex_run *run, struct chunk c, size_t size)
{
	struct rpc_call *rpc = call_rpc(&run->call);
	struct run_output *o;
	uint64_t skip;

	if (c.stream != TELEX_STDOUT && c.stream != TELEX_STDERR) {
		rpc_credit(rpc, size);
		return; /* a stream that a later agent has */
	}
	o = &run->out[c.stream - 1];
	if (c.offset > UINT64_MAX - c.len) {
		broken(run, "an offset is out of range");
		return;
	}
	if (c.offset + c.len > o->next && (o->eof || run->exit != NULL)) {
		broken(run, "output comes after its end");
		return;
	}
	if (!o->begun)
		run_output_begin(o, c.offset);
	if (c.offset > o->next && !fill_gap(run, c))
		return;
	/* What came before, again: not twice to the caller. */
	skip = o->next - c.offset;
	if (skip > c.len)
		skip = c.len;
	if (skip > 0) { /* there may be no bytes at all */
		c.data += skip;
		c.len -= (size_t)skip;
	}
	if (c.len > 0) {
		o->next += c.len;
		credit_give(&o->credit, c.len, size);
	} else {
		rpc_credit(rpc, size);
		if (!c.eof || o->eof)
			return;
	}
	o->eof = o->eof || c.eof;
	run->ops.output(run, (enum telex_stream)c.stream, c.data, c.len, c.eof, run->arg);
}

/* An attachment learns where it is, so that it can come back even before any output. */
static void begin_outputs(struct telex_run *run, const Telex__V1__Process *p)
{
	const Telex__V1__OutputRange *range[2] = {p->stdout_range, p->stderr_range};

	for (size_t i = 0; i < 2; i++)
		if (!run->out[i].begun && range[i] != NULL)
			run->out[i].next = run->from_newest ? range[i]->newest : range[i]->oldest;
}

/* Where stdin goes on. False: not with what is held. */
static bool begin_stdin(struct telex_run *run, const Telex__V1__Started *m)
{
	if ((run->attaching || run->named) && !run->started)
		run->in_base = m->stdin_offset;
	if (m->stdin_offset > run->in_written)
		run->in_written = m->stdin_offset;
	/* A start's stdin is on its way already, from its beginning. */
	if (run->in_ready || run_stdin_from(run, m->stdin_offset) == 0)
		return true;
	broken(run, "stdin is to go on where it cannot");
	return false;
}

static void tell_started(struct telex_run *run, const Telex__V1__Started *m)
{
	static const Telex__V1__Process none = TELEX__V1__PROCESS__INIT;
	struct telex_started started = {
	    .process_id = run->id,
	    .pid = m->process != NULL ? m->process->pid : 0,
	    .created = m->created,
	    .queued = run->queued,
	    .terminal = run->terminal,
	    .stdin_held = !stdin_queue_closed(run->in),
	    .stdin_offset = run->in_base,
	    .counts = !run->attaching || !stdin_queue_closed(run->in),
	};

	started.on_disconnect = convert_disconnect(
	    m->process != NULL ? m->process : &none, &started.disconnect_wait_ms);

	if (run->ops.started != NULL)
		run->ops.started(run, &started, run->arg);
}

/* The word that it runs now may have been lost with a connection. */
static void tell_running(struct telex_run *run, uint32_t pid)
{
	run->queued = false;
	if (run->ops.running != NULL)
		run->ops.running(run, pid, run->arg);
}

static void receive_started(struct telex_run *run, const Telex__V1__Started *m)
{
	static const Telex__V1__Process none = TELEX__V1__PROCESS__INIT;
	const Telex__V1__Process *p = m->process != NULL ? m->process : &none;
	bool first = !run->started;
	bool queued = p->state == TELEX__V1__PROCESS_STATE__PROCESS_STATE_QUEUED;

	if (run->here) {
		broken(run, "the process started twice");
		return;
	}
	begin_outputs(run, p);
	if (!begin_stdin(run, m))
		return;
	run->started = run->here = true;
	run->terminal = run->terminal || p->terminal;
	if (first)
		run->queued = queued;
	run_came_back(run);
	if (!run->detached && first)
		tell_started(run, m);
	if (!run->detached && run->queued && !queued)
		tell_running(run, p->pid);
	if (run->detached)
		return;
	run_tell_skips(run);
	if (run->detached)
		return;
	run_started(run);
	run_send_stdin(run, true);
	run_stdin_written(run, false);
}

static void receive_running(struct telex_run *run, const Telex__V1__Running *m)
{
	if (run->queued)
		tell_running(run, m->pid);
}

static void receive_ack(struct telex_run *run, const Telex__V1__StdinAck *m)
{
	if (m->offset > run->in_written)
		run->in_written = m->offset;
	run_stdin_written(run, m->closed);
}

static void receive_exit(struct telex_run *run, const Telex__V1__Exit *m)
{
	struct telex_exit exit;

	convert_exit(&exit, m);
	run_exited(run, &exit);
}

static void receive_unpacked(struct telex_run *run, const Telex__V1__RunResponse *m, size_t size)
{
	struct chunk c;

	if (m->response_case == TELEX__V1__RUN_RESPONSE__RESPONSE_OUTPUT) {
		c = (struct chunk){.stream = (uint64_t)m->output->stream,
		    .offset = m->output->offset,
		    .data = m->output->data.data,
		    .len = m->output->data.len,
		    .eof = m->output->eof};
		receive_output(run, c, size);
		return;
	}
	rpc_credit(call_rpc(&run->call), size);
	switch (m->response_case) {
	case TELEX__V1__RUN_RESPONSE__RESPONSE_STARTED:
		receive_started(run, m->started);
		break;
	case TELEX__V1__RUN_RESPONSE__RESPONSE_STDIN_ACK:
		receive_ack(run, m->stdin_ack);
		break;
	case TELEX__V1__RUN_RESPONSE__RESPONSE_RUNNING:
		receive_running(run, m->running);
		break;
	case TELEX__V1__RUN_RESPONSE__RESPONSE_EXITED:
		receive_exit(run, m->exited);
		break;
	default: /* a heartbeat, or what a later agent has */
		break;
	}
}

void run_receive(struct telex_run *run, const uint8_t *msg, size_t len)
{
	size_t size = rpc_message_size(call_rpc(&run->call));
	uint64_t varints[3] = {0};
	const Telex__V1__RunResponse *m;
	struct rpc_arena arena = {0};
	struct telex_error error;
	struct pb_span span;
	struct chunk c;

	if (pb_splice_find(msg, len, FIELD_OUTPUT, FIELD_OUTPUT_DATA, &span, varints, 3) == 1) {
		static const uint8_t none[1];

		c = (struct chunk){.stream = varints[0],
		    .offset = varints[1],
		    .data = span.data != NULL ? span.data : none,
		    .len = span.data_len,
		    .eof = varints[2] != 0};
		receive_output(run, c, size);
		return;
	}
	m = (const void *)rpc_arena_unpack(&arena, &telex__v1__run_response__descriptor, msg, len);
	if (m != NULL) {
		receive_unpacked(run, m, size);
	} else if (arena.exhausted) {
		error_no_memory(&error);
		run_fail(run, &error);
	} else {
		broken(run, "a message cannot be read");
	}
	rpc_arena_clear(&arena);
}
