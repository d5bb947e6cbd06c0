/* SPDX-License-Identifier: Apache-2.0 */
/* Output goes from the packed message to the caller without a copy; everything else is unpacked by
 * protobuf-c. */
#include <stdio.h>
#include <string.h>

#include "common/pb_splice.h"
#include "common/rpc.h"
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
	run_fail(run, &error);
}

struct chunk {
	uint64_t stream, offset;
	const uint8_t *data;
	size_t len;
	bool eof;
};

static void begin_output(struct run_output *o, uint64_t offset)
{
	o->begun = true;
	o->next = o->consumed = o->acked = offset;
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
	if (!o->begun)
		begin_output(o, c.offset);
	if (c.offset > o->next) {
		broken(run, "output was left out");
		return;
	}
	/* What came before, again: not twice to the caller. */
	skip = o->next - c.offset;
	if (skip > c.len)
		skip = c.len;
	c.data += skip;
	c.len -= (size_t)skip;
	if (c.len > 0) {
		o->next += c.len;
		o->held += c.len;
		o->owed += size;
	} else {
		rpc_credit(rpc, size);
		if (!c.eof || o->eof)
			return;
	}
	o->eof = o->eof || c.eof;
	run->ops.output(run, (enum telex_stream)c.stream, c.data, c.len, c.eof, run->arg);
}

/* An attachment learns where it is: the first bytes may still come from further on. */
static void begin_attached(struct telex_run *run, const Telex__V1__Started *m)
{
	if (!stdin_queue_closed(run->in))
		run->in_base = m->stdin_offset;
	run->in_written = m->stdin_offset;
	run_send_stdin(run, true);
}

static void receive_started(struct telex_run *run, const Telex__V1__Started *m)
{
	const Telex__V1__Process *p = m->process;
	struct telex_started started = {
	    .process_id = run->id,
	    .pid = p != NULL ? p->pid : 0,
	    .created = m->created,
	    .stdin_held = !stdin_queue_closed(run->in),
	};

	if (run->started) {
		broken(run, "the process started twice");
		return;
	}
	run->started = true;
	run->terminal = run->terminal || (p != NULL && p->terminal);
	run->queued = p != NULL && p->state == TELEX__V1__PROCESS_STATE__PROCESS_STATE_QUEUED;
	started.terminal = run->terminal;
	started.queued = run->queued;
	run_started(run);
	if (run->attaching)
		begin_attached(run, m);
	if (m->stdin_offset > run->in_written)
		run->in_written = m->stdin_offset;
	if (run->ops.started != NULL)
		run->ops.started(run, &started, run->arg);
	if (!run->detached)
		run_stdin_written(run, false);
}

static void receive_running(struct telex_run *run, const Telex__V1__Running *m)
{
	if (!run->queued)
		return;
	run->queued = false;
	if (run->ops.running != NULL)
		run->ops.running(run, m->pid, run->arg);
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
	call_leave(&run->call);
	run_done(run, &exit, NULL);
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
	Telex__V1__RunResponse *m;
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
	m = telex__v1__run_response__unpack(NULL, len, msg);
	if (m == NULL) {
		broken(run, "a message cannot be read");
		return;
	}
	receive_unpacked(run, m, size);
	telex__v1__run_response__free_unpacked(m, NULL);
}
