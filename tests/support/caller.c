/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/caller.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void __attribute__((format(printf, 2, 3))) note(struct caller *f, const char *fmt, ...)
{
	size_t used = strlen(f->log);
	va_list ap;

	if (used > 0 && used + 1 < sizeof(f->log))
		f->log[used++] = ' ';
	va_start(ap, fmt);
	vsnprintf(f->log + used, sizeof(f->log) - used, fmt, ap);
	va_end(ap);
}

/* ---- the client ---- */

static void on_output(struct caller *f, const Telex__V1__Output *o)
{
	int i = o->stream == TELEX__V1__OUTPUT_STREAM__OUTPUT_STREAM_STDERR;

	if (!f->silent)
		note(f, "%s:%llu+%zu%s", i == 0 ? "out" : "err", (unsigned long long)o->offset,
		    o->data.len, o->eof ? "." : "");
	assert_int_equal(o->offset, f->begin[i] + f->length[i]);
	f->bytes[i] = realloc(f->bytes[i], f->length[i] + o->data.len + 1);
	if (o->data.len > 0)
		memcpy(f->bytes[i] + f->length[i], o->data.data, o->data.len);
	f->length[i] += o->data.len;
	if (o->data.len > f->largest)
		f->largest = o->data.len;
}

static void on_response(struct rpc_call *c, const ProtobufCMessage *msg, void *data)
{
	const Telex__V1__RunResponse *r = (const void *)msg;
	struct caller *f = data;

	switch (r->response_case) {
	case TELEX__V1__RUN_RESPONSE__RESPONSE_STARTED:
		note(f, "started(%s,%d,%llu)", r->started->process->process_id, r->started->created,
		    (unsigned long long)r->started->stdin_offset);
		break;
	case TELEX__V1__RUN_RESPONSE__RESPONSE_OUTPUT:
		on_output(f, r->output);
		break;
	case TELEX__V1__RUN_RESPONSE__RESPONSE_STDIN_ACK:
		note(f, "ack:%llu%s", (unsigned long long)r->stdin_ack->offset,
		    r->stdin_ack->closed ? "closed" : "");
		break;
	case TELEX__V1__RUN_RESPONSE__RESPONSE_HEARTBEAT:
		note(f, "beat");
		f->beat = true;
		break;
	case TELEX__V1__RUN_RESPONSE__RESPONSE_EXITED:
		note(f, "exited");
		f->exit_code = r->exited->code;
		break;
	default:
		note(f, "nothing");
	}
	if (f->hold)
		f->owed += rpc_message_size(c);
	else
		rpc_credit(c, rpc_message_size(c));
}

static void on_done(struct rpc_call *c, const struct rpc_status *status, void *data)
{
	struct caller *f = data;

	(void)c;
	note(f, "%s", rpc_code_name(status->code));
	f->status = *status;
	f->done = true;
	f->call = NULL;
}

void caller_settle(struct caller *f)
{
	worker_rig_settle(&f->rig);
}

void caller_open(struct caller *f)
{
	static const struct rpc_client_ops ops = {
	    .message = on_response, .done = on_done, .manual_credit = true};
	const struct rpc_client_options o = {
	    .authority = "test",
	    .service = "telex.v1.ProcessService",
	    .method = "Run",
	    .response = &telex__v1__run_response__descriptor,
	    .server_stream = true,
	};

	f->done = false;
	f->length[0] = f->length[1] = 0;
	assert_int_equal(
	    rpc_open(&f->call, f->rig.pair.client.conn, f->rig.pair.base, &o, &ops, f), 0);
}

void caller_send(struct caller *f, Telex__V1__RunRequest *q)
{
	assert_int_equal(rpc_send(f->call, &q->base), 0);
	caller_settle(f);
}

void caller_send_start_with(struct caller *f, const char *id, bool with_stdin,
    Telex__V1__Resume *resume, Google__Protobuf__Duration *beat)
{
	Telex__V1__RunRequest q = TELEX__V1__RUN_REQUEST__INIT;
	Telex__V1__RunStart start = TELEX__V1__RUN_START__INIT;
	Telex__V1__ProcessSpec spec = TELEX__V1__PROCESS_SPEC__INIT;
	ProtobufCBinaryData argv = {4, (uint8_t *)"true"};

	spec.argv = &argv;
	spec.n_argv = 1;
	if (with_stdin)
		spec.stdin = TELEX__V1__STDIN_MODE__STDIN_MODE_PIPE;
	start.process_id = (char *)id;
	start.spec = &spec;
	start.resume = resume;
	start.heartbeat_interval = beat;
	start.attachment_key = f->key;
	q.request_case = TELEX__V1__RUN_REQUEST__REQUEST_START;
	q.start = &start;
	caller_send(f, &q);
}

void caller_send_start(struct caller *f, bool with_stdin)
{
	caller_send_start_with(f, "p1", with_stdin, NULL, NULL);
}

void caller_send_stdin(struct caller *f, uint64_t offset, const void *data, size_t len, bool eof)
{
	Telex__V1__RunRequest q = TELEX__V1__RUN_REQUEST__INIT;
	Telex__V1__StdinChunk chunk = TELEX__V1__STDIN_CHUNK__INIT;

	chunk.offset = offset;
	chunk.data.data = (uint8_t *)data;
	chunk.data.len = len;
	chunk.eof = eof;
	q.request_case = TELEX__V1__RUN_REQUEST__REQUEST_STDIN;
	q.stdin = &chunk;
	caller_send(f, &q);
}

void caller_send_ack(struct caller *f, int stream, uint64_t offset)
{
	Telex__V1__RunRequest q = TELEX__V1__RUN_REQUEST__INIT;
	Telex__V1__OutputAck ack = TELEX__V1__OUTPUT_ACK__INIT;

	ack.stream = (Telex__V1__OutputStream)stream;
	ack.offset = offset;
	q.request_case = TELEX__V1__RUN_REQUEST__REQUEST_ACK;
	q.ack = &ack;
	caller_send(f, &q);
}

/* ---- the fixture ---- */

int caller_set_up(void **state)
{
	struct caller *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	worker_rig_init(&f->rig);
	f->keeper = f->rig.keeper;
	caller_open(f);
	*state = f;
	return 0;
}

int caller_tear_down(void **state)
{
	struct caller *f = *state;

	worker_rig_free(&f->rig);
	free(f->bytes[0]);
	free(f->bytes[1]);
	free(f);
	return 0;
}

/* ---- the keeper ---- */

struct km_job caller_job(const struct caller *f, bool created)
{
	struct km_job job = {
	    .att = f->att, .pid = 42, .created = created, .state = KM_STATE_RUNNING, .start_ns = 5};

	snprintf(job.id, sizeof(job.id), "p1");
	snprintf(job.owner, sizeof(job.owner), RIG_USER);
	return job;
}

/* Answers KM_START with `job` (its att is filled in). */
void caller_answer_start(struct caller *f, struct km_job *job)
{
	union km_any msg;

	assert_true(fake_keeper_take(f->keeper, KM_START, &msg, NULL));
	assert_int_not_equal(msg.start.att, 0);
	f->att = job->att = msg.start.att;
	fake_keeper_send(f->keeper, KM_JOB, msg.hdr.seq, job, -1);
	caller_settle(f);
}

/* A process that was just started. */
void caller_start(struct caller *f, bool with_stdin)
{
	struct km_job job = caller_job(f, true);

	job.stdin_pipe = job.stdin_held = with_stdin;
	caller_send_start(f, with_stdin);
	caller_answer_start(f, &job);
}

struct ring *caller_ring(struct caller *f, enum km_stream stream, enum ring_kind kind, size_t size)
{
	struct ring *r = NULL;
	struct err e;

	assert_int_equal(ring_create(&r, kind, size, &e), 0);
	fake_keeper_ring(f->keeper, f->att, stream, r);
	caller_settle(f);
	return r;
}

void caller_wake(struct caller *f, uint32_t eof)
{
	fake_keeper_wake(f->keeper, f->att, eof);
	caller_settle(f);
}

void caller_end(struct caller *f, int code)
{
	struct km_ended m = {.att = f->att};

	m.exit.kind = KM_END_CODE;
	m.exit.value = code;
	m.exit.reason = KM_REASON_EXITED;
	fake_keeper_send(f->keeper, KM_ENDED, 0, &m, -1);
	caller_settle(f);
}

void caller_input_done(struct caller *f, uint64_t written, bool closed)
{
	struct km_input_done m = {.att = f->att, .written = written, .closed = closed};

	fake_keeper_send(f->keeper, KM_INPUT_DONE, 0, &m, -1);
	caller_settle(f);
}

void caller_saw(struct caller *f, const char *log)
{
	assert_string_equal(f->log, log);
	f->log[0] = '\0';
}

void caller_refused(struct caller *f, int code, const char *reason, const char *field)
{
	caller_settle(f);
	assert_true(f->done);
	assert_int_equal(f->status.code, code);
	assert_string_equal(f->status.reason, reason);
	if (field != NULL)
		assert_string_equal(rpc_status_get(&f->status, "field"), field);
}
