/* SPDX-License-Identifier: Apache-2.0 */
/* A Run call between a client on an in-memory connection and a fake keeper. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/worker/run.h"
#include "common/job_spec.h"
#include "common/rpc.h"
#include "telex/v1/process.pb-c.h"
#include "tests/support/worker_rig.h"

#define MIB ((size_t)1 << 20)

/* What the client saw: `log` in short words, the bytes of the outputs, the end. */
struct fixture {
	struct worker_rig rig;
	struct fake_keeper *keeper; /* the rig's */
	struct rpc_call *call;
	uint32_t att;
	char log[4096];
	uint8_t *bytes[2];
	uint64_t length[2], begin[2];
	size_t largest; /* output message */
	bool silent;    /* output is not logged */
	bool hold;      /* gives no credit */
	size_t owed;
	bool beat, done;
	struct rpc_status status;
	uint32_t exit_code;
	uint64_t key; /* attachment_key of the starts */
};

static void note(struct fixture *f, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static void note(struct fixture *f, const char *fmt, ...)
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

static void on_output(struct fixture *f, const Telex__V1__Output *o)
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
	struct fixture *f = data;

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
	struct fixture *f = data;

	(void)c;
	note(f, "%s", rpc_code_name(status->code));
	f->status = *status;
	f->done = true;
	f->call = NULL;
}

static void settle(struct fixture *f)
{
	worker_rig_settle(&f->rig);
}

static void open_call(struct fixture *f)
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

static void send_request(struct fixture *f, Telex__V1__RunRequest *q)
{
	assert_int_equal(rpc_send(f->call, &q->base), 0);
	settle(f);
}

static void send_start_with(struct fixture *f, const char *id, bool with_stdin,
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
	send_request(f, &q);
}

static void send_start(struct fixture *f, bool with_stdin)
{
	send_start_with(f, "p1", with_stdin, NULL, NULL);
}

static void send_attach(struct fixture *f, bool with_stdin)
{
	Telex__V1__RunRequest q = TELEX__V1__RUN_REQUEST__INIT;
	Telex__V1__RunAttach attach = TELEX__V1__RUN_ATTACH__INIT;

	attach.process_id = (char *)"p1";
	attach.stdin = with_stdin;
	q.request_case = TELEX__V1__RUN_REQUEST__REQUEST_ATTACH;
	q.attach = &attach;
	send_request(f, &q);
}

static void send_stdin(struct fixture *f, uint64_t offset, const void *data, size_t len, bool eof)
{
	Telex__V1__RunRequest q = TELEX__V1__RUN_REQUEST__INIT;
	Telex__V1__StdinChunk chunk = TELEX__V1__STDIN_CHUNK__INIT;

	chunk.offset = offset;
	chunk.data.data = (uint8_t *)data;
	chunk.data.len = len;
	chunk.eof = eof;
	q.request_case = TELEX__V1__RUN_REQUEST__REQUEST_STDIN;
	q.stdin = &chunk;
	send_request(f, &q);
}

static void send_ack(struct fixture *f, int stream, uint64_t offset)
{
	Telex__V1__RunRequest q = TELEX__V1__RUN_REQUEST__INIT;
	Telex__V1__OutputAck ack = TELEX__V1__OUTPUT_ACK__INIT;

	ack.stream = (Telex__V1__OutputStream)stream;
	ack.offset = offset;
	q.request_case = TELEX__V1__RUN_REQUEST__REQUEST_ACK;
	q.ack = &ack;
	send_request(f, &q);
}

static void send_signal(struct fixture *f, uint32_t signo)
{
	Telex__V1__RunRequest q = TELEX__V1__RUN_REQUEST__INIT;
	Telex__V1__RunSignal s = TELEX__V1__RUN_SIGNAL__INIT;

	s.signal = signo;
	q.request_case = TELEX__V1__RUN_REQUEST__REQUEST_SIGNAL;
	q.signal = &s;
	send_request(f, &q);
}

static void send_resize(struct fixture *f, uint32_t rows, uint32_t columns)
{
	Telex__V1__RunRequest q = TELEX__V1__RUN_REQUEST__INIT;
	Telex__V1__Resize resize = TELEX__V1__RESIZE__INIT;
	Telex__V1__TerminalSize size = TELEX__V1__TERMINAL_SIZE__INIT;

	size.rows = rows;
	size.columns = columns;
	resize.size = &size;
	q.request_case = TELEX__V1__RUN_REQUEST__REQUEST_RESIZE;
	q.resize = &resize;
	send_request(f, &q);
}

/* ---- the fixture ---- */

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	worker_rig_init(&f->rig);
	f->keeper = f->rig.keeper;
	open_call(f);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	worker_rig_free(&f->rig);
	free(f->bytes[0]);
	free(f->bytes[1]);
	free(f);
	return 0;
}

/* ---- the keeper ---- */

static struct km_job a_job(const struct fixture *f, bool created)
{
	struct km_job job = {
	    .att = f->att, .pid = 42, .created = created, .state = KM_STATE_RUNNING, .start_ns = 5};

	snprintf(job.id, sizeof(job.id), "p1");
	snprintf(job.owner, sizeof(job.owner), RIG_USER);
	return job;
}

/* Answers KM_START with `job` (its att is filled in). */
static void answer_start(struct fixture *f, struct km_job *job)
{
	union km_any msg;

	assert_true(fake_keeper_take(f->keeper, KM_START, &msg, NULL));
	assert_int_not_equal(msg.start.att, 0);
	f->att = job->att = msg.start.att;
	fake_keeper_send(f->keeper, KM_JOB, msg.hdr.seq, job, -1);
	settle(f);
}

/* A process that was just started. */
static void start(struct fixture *f, bool with_stdin)
{
	struct km_job job = a_job(f, true);

	job.stdin_pipe = job.stdin_held = with_stdin;
	send_start(f, with_stdin);
	answer_start(f, &job);
}

static struct ring *make_ring(
    struct fixture *f, enum km_stream stream, enum ring_kind kind, size_t size)
{
	struct ring *r = NULL;
	struct err e;

	assert_int_equal(ring_create(&r, kind, size, &e), 0);
	fake_keeper_ring(f->keeper, f->att, stream, r);
	settle(f);
	return r;
}

static void wake(struct fixture *f, uint32_t eof)
{
	fake_keeper_wake(f->keeper, f->att, eof);
	settle(f);
}

static void end(struct fixture *f, int code)
{
	struct km_ended m = {.att = f->att};

	m.exit.kind = KM_END_CODE;
	m.exit.value = code;
	m.exit.reason = KM_REASON_EXITED;
	fake_keeper_send(f->keeper, KM_ENDED, 0, &m, -1);
	settle(f);
}

static void input_done(struct fixture *f, uint64_t written, bool closed)
{
	struct km_input_done m = {.att = f->att, .written = written, .closed = closed};

	fake_keeper_send(f->keeper, KM_INPUT_DONE, 0, &m, -1);
	settle(f);
}

static void saw(struct fixture *f, const char *log)
{
	assert_string_equal(f->log, log);
	f->log[0] = '\0';
}

static void refused_with(struct fixture *f, int code, const char *reason, const char *field)
{
	settle(f);
	assert_true(f->done);
	assert_int_equal(f->status.code, code);
	assert_string_equal(f->status.reason, reason);
	if (field != NULL)
		assert_string_equal(rpc_status_get(&f->status, "field"), field);
}

/* ---- starting ---- */

static void a_start_reaches_the_keeper_whole(void **state)
{
	struct fixture *f = *state;
	struct job_spec *spec = NULL;
	union km_any msg;
	struct err e;
	int fd;

	send_start(f, true);
	assert_true(fake_keeper_take(f->keeper, KM_START, &msg, &fd));
	assert_string_equal(msg.start.id, "p1");
	assert_string_equal(msg.start.owner, RIG_USER);
	assert_int_equal(job_spec_open(&spec, fd, &e), 0);
	assert_string_equal(spec->argv[0], "true");
	assert_true(spec->stdin_pipe);
	job_spec_free(spec);
	close(fd);
}

static void the_first_request_must_start_or_attach(void **state)
{
	struct fixture *f = *state;

	send_signal(f, SIGTERM);
	refused_with(f, RPC_INVALID_ARGUMENT, "BAD_REQUEST", "request");
	open_call(f);
	rpc_half_close(f->call);
	refused_with(f, RPC_INVALID_ARGUMENT, "BAD_REQUEST", "request");
	open_call(f);
	send_start_with(f, "-bad", false, NULL, NULL);
	refused_with(f, RPC_INVALID_ARGUMENT, "BAD_REQUEST", "process_id");
	assert_int_equal(fake_keeper_count(f->keeper, KM_START), 0);
}

static void a_second_start_is_refused_and_detaches(void **state)
{
	struct fixture *f = *state;

	start(f, false);
	send_start(f, false);
	refused_with(f, RPC_INVALID_ARGUMENT, "BAD_REQUEST", "request");
	assert_int_equal(fake_keeper_count(f->keeper, KM_DETACH), 1);
}

static void a_failed_start_says_its_stage(void **state)
{
	struct km_refused why = {
	    .why = KM_WHY_START, .stage = KM_STAGE_CHDIR, .sys_errno = ENOTDIR, .text = "no dir"};
	struct fixture *f = *state;
	union km_any msg;

	send_start(f, false);
	assert_true(fake_keeper_take(f->keeper, KM_START, &msg, NULL));
	fake_keeper_send(f->keeper, KM_REFUSED, msg.hdr.seq, &why, -1);
	settle(f);
	refused_with(f, rpc_code_from_errno(ENOTDIR), "START_FAILED", NULL);
	assert_string_equal(rpc_status_get(&f->status, "stage"), "chdir");
	assert_string_equal(rpc_status_get(&f->status, "errno_name"), "ENOTDIR");
	assert_int_equal(fake_keeper_count(f->keeper, KM_DETACH), 0);
}

static void attaching_asks_for_the_record_first(void **state)
{
	static const char *const argv[] = {"true"};
	struct fixture *f = *state;
	struct km_job job = a_job(f, false);
	struct job_record record = {.state = KM_STATE_RUNNING,
	    .pid = 42,
	    .id = "p1",
	    .owner = RIG_USER,
	    .user = "",
	    .group = "",
	    .argc = 1,
	    .argv = argv};
	union km_any msg;

	send_attach(f, false);
	assert_true(fake_keeper_take(f->keeper, KM_ATTACH, &msg, NULL));
	assert_int_equal(msg.attach.from, KM_FROM_OLDEST);
	assert_int_equal(msg.attach.want_stdin, 0);
	f->att = job.att = msg.attach.att;
	job.tail[KM_STDOUT] = job.head[KM_STDOUT] = 100;
	fake_keeper_send(f->keeper, KM_JOB, msg.hdr.seq, &job, -1);
	settle(f);
	saw(f, "");
	assert_true(fake_keeper_take(f->keeper, KM_LIST, &msg, NULL));
	assert_int_equal(msg.list.one, 1);
	assert_string_equal(msg.list.id, "p1");
	fake_keeper_table(f->keeper, msg.hdr.seq, &record, 1);
	settle(f);
	saw(f, "started(p1,0,0)");
}

static void attaching_to_nothing_is_not_found(void **state)
{
	struct fixture *f = *state;
	union km_any msg;

	send_attach(f, false);
	assert_true(fake_keeper_take(f->keeper, KM_ATTACH, &msg, NULL));
	fake_keeper_refuse(f->keeper, msg.hdr.seq, KM_WHY_NO_SUCH);
	refused_with(f, RPC_NOT_FOUND, "NO_SUCH_PROCESS", NULL);
}

/* ---- output ---- */

static void output_comes_in_order_and_the_exit_last(void **state)
{
	struct fixture *f = *state;
	struct ring *out, *err;

	start(f, false);
	saw(f, "started(p1,1,0)");
	out = make_ring(f, KM_STDOUT, RING_OUTPUT, 4096);
	err = make_ring(f, KM_STDERR, RING_OUTPUT, 4096);
	fake_keeper_write(out, "hello", 5);
	wake(f, 0);
	saw(f, "out:0+5");
	fake_keeper_write(out, " world", 6);
	fake_keeper_write(err, "oops", 4);
	wake(f, KM_BIT(KM_STDOUT));
	saw(f, "err:0+4 out:5+6.");
	/* What came between the last wake-up and the end is sent before the exit. */
	fake_keeper_write(err, "!", 1);
	end(f, 7);
	saw(f, "err:4+1. exited OK");
	assert_memory_equal(f->bytes[0], "hello world", 11);
	assert_memory_equal(f->bytes[1], "oops!", 5);
	assert_int_equal(f->exit_code, 7);
	ring_unref(out);
	ring_unref(err);
}

static void a_process_without_output_ends_both_streams(void **state)
{
	struct fixture *f = *state;
	union km_any msg;

	start(f, false);
	end(f, 0);
	saw(f, "started(p1,1,0) out:0+0. err:0+0. exited OK");
	assert_true(fake_keeper_take(f->keeper, KM_DETACH, &msg, NULL));
	assert_int_equal(msg.detach.att, f->att);
	assert_int_equal(msg.detach.delivered, KM_DELIVERED_LIKELY);
}

static void an_end_before_the_record_still_starts_first(void **state)
{
	struct fixture *f = *state;
	struct km_job job = a_job(f, false);
	union km_any msg;

	send_start(f, false);
	answer_start(f, &job);
	end(f, 3);
	saw(f, "");
	assert_true(fake_keeper_take(f->keeper, KM_LIST, &msg, NULL));
	/* Gone by now: `started` tells what is known all the same. */
	fake_keeper_refuse(f->keeper, msg.hdr.seq, KM_WHY_NO_SUCH);
	settle(f);
	saw(f, "started(p1,0,0) out:0+0. err:0+0. exited OK");
}

static void the_keeper_is_told_what_was_seen(void **state)
{
	struct fixture *f = *state;
	struct ring *out;
	union km_any msg;

	start(f, false);
	out = make_ring(f, KM_STDOUT, RING_OUTPUT, 4096);
	assert_true(fake_keeper_take(f->keeper, KM_RELEASE, &msg, NULL));
	assert_int_equal(msg.release.seen, 0);
	fake_keeper_write(out, "abc", 3);
	wake(f, 0);
	assert_true(fake_keeper_take(f->keeper, KM_RELEASE, &msg, NULL));
	assert_int_equal(msg.release.att, f->att);
	assert_int_equal(msg.release.stream, KM_STDOUT);
	assert_int_equal(msg.release.acked, 0);
	assert_int_equal(msg.release.seen, 3);
	/* A wake-up for nothing new is not worth a message. */
	wake(f, 0);
	assert_int_equal(fake_keeper_count(f->keeper, KM_RELEASE), 0);
	send_ack(f, 1, 3);
	assert_true(fake_keeper_take(f->keeper, KM_RELEASE, &msg, NULL));
	assert_int_equal(msg.release.acked, 3);
	assert_int_equal(msg.release.seen, 3);
	ring_unref(out);
}

static void acks_are_told_by_the_quarter(void **state)
{
	static uint8_t data[4096];
	struct fixture *f = *state;
	struct ring *out;
	union km_any msg;

	start(f, false);
	out = make_ring(f, KM_STDOUT, RING_OUTPUT, sizeof(data));
	fake_keeper_write(out, data, sizeof(data));
	wake(f, 0);
	while (fake_keeper_take(f->keeper, KM_RELEASE, &msg, NULL))
		assert_int_equal(msg.release.acked, 0);
	send_ack(f, 1, 500);
	send_ack(f, 1, 1023);
	assert_int_equal(fake_keeper_count(f->keeper, KM_RELEASE), 0);
	send_ack(f, 1, 1024);
	assert_true(fake_keeper_take(f->keeper, KM_RELEASE, &msg, NULL));
	assert_int_equal(msg.release.acked, 1024);
	send_ack(f, 1, 100);
	assert_int_equal(fake_keeper_count(f->keeper, KM_RELEASE), 0);
	send_ack(f, 1, 4096);
	assert_true(fake_keeper_take(f->keeper, KM_RELEASE, &msg, NULL));
	assert_int_equal(msg.release.acked, 4096);
	ring_unref(out);
}

static void an_ack_beyond_what_was_sent_is_refused(void **state)
{
	struct fixture *f = *state;
	struct ring *out;

	start(f, false);
	out = make_ring(f, KM_STDOUT, RING_OUTPUT, 4096);
	fake_keeper_write(out, "abc", 3);
	wake(f, 0);
	send_ack(f, 1, 4);
	refused_with(f, RPC_INVALID_ARGUMENT, "BAD_REQUEST", "ack.offset");
	open_call(f);
	start(f, false);
	send_ack(f, 3, 0);
	refused_with(f, RPC_INVALID_ARGUMENT, "BAD_REQUEST", "ack.stream");
	ring_unref(out);
}

static void output_resumes_at_the_offset(void **state)
{
	struct fixture *f = *state;
	Telex__V1__Resume resume = TELEX__V1__RESUME__INIT;
	struct km_job job = a_job(f, true);
	struct ring *out;

	resume.stdout_offset = f->begin[0] = 3;
	send_start_with(f, "p1", false, &resume, NULL);
	job.head[KM_STDOUT] = 6;
	answer_start(f, &job);
	f->log[0] = '\0';
	assert_int_equal(ring_create(&out, RING_OUTPUT, 4096, NULL), 0);
	fake_keeper_write(out, "abcdef", 6);
	fake_keeper_ring(f->keeper, f->att, KM_STDOUT, out);
	settle(f);
	saw(f, "out:3+3");
	assert_memory_equal(f->bytes[0], "def", 3);
	ring_unref(out);
}

static void an_attach_says_where_it_begins_and_how_it_counts(void **state)
{
	struct fixture *f = *state;
	Telex__V1__RunRequest q = TELEX__V1__RUN_REQUEST__INIT;
	Telex__V1__RunAttach attach = TELEX__V1__RUN_ATTACH__INIT;
	struct km_job job = a_job(f, false);
	struct ring *out;
	union km_any msg;

	attach.process_id = (char *)"p1";
	attach.from = TELEX__V1__ATTACH_FROM__ATTACH_FROM_NEWEST;
	attach.lossy = true;
	attach.attachment_key = 77;
	q.request_case = TELEX__V1__RUN_REQUEST__REQUEST_ATTACH;
	q.attach = &attach;
	send_request(f, &q);
	assert_true(fake_keeper_take(f->keeper, KM_ATTACH, &msg, NULL));
	assert_int_equal(msg.attach.from, KM_FROM_NEWEST);
	assert_int_equal(msg.attach.flags, KM_ATTACH_LOSSY);
	assert_true(msg.attach.key == 77);
	f->att = job.att = msg.attach.att;
	job.tail[KM_STDOUT] = 0;
	job.head[KM_STDOUT] = 4;
	fake_keeper_send(f->keeper, KM_JOB, msg.hdr.seq, &job, -1);
	settle(f);
	assert_true(fake_keeper_take(f->keeper, KM_LIST, &msg, NULL));
	fake_keeper_table(f->keeper, msg.hdr.seq, NULL, 0);
	assert_int_equal(ring_create(&out, RING_OUTPUT, 4096, NULL), 0);
	fake_keeper_write(out, "abcdef", 6);
	f->begin[0] = 4;
	fake_keeper_ring(f->keeper, f->att, KM_STDOUT, out);
	settle(f);
	saw(f, "started(p1,0,0) out:4+2");
	ring_unref(out);
}

static void another_with_its_key_takes_the_place_of_a_call(void **state)
{
	struct fixture *f = *state;
	struct km_detached gone = {.why = KM_WHY_REPLACED};

	start(f, false);
	gone.att = f->att;
	fake_keeper_send(f->keeper, KM_DETACHED, 0, &gone, -1);
	refused_with(f, RPC_ABORTED, "REPLACED", NULL);
	/* The keeper has forgotten it already. */
	assert_int_equal(fake_keeper_count(f->keeper, KM_DETACH), 0);
}

static void an_offset_that_is_gone_is_out_of_range(void **state)
{
	struct fixture *f = *state;
	struct ring *out;

	start(f, false);
	assert_int_equal(ring_create(&out, RING_OUTPUT, 4096, NULL), 0);
	fake_keeper_write(out, "abcdef", 6);
	ring_set_oldest(out, 4);
	assert_int_equal(ring_release(out, 4), 0);
	fake_keeper_ring(f->keeper, f->att, KM_STDOUT, out);
	refused_with(f, RPC_OUT_OF_RANGE, "OFFSET_DROPPED", NULL);
	assert_string_equal(rpc_status_get(&f->status, "oldest"), "4");
	assert_string_equal(rpc_status_get(&f->status, "newest"), "6");
	ring_unref(out);
}

static void large_output_is_whole_and_in_pieces(void **state)
{
	struct fixture *f = *state;
	size_t size = 4 * MIB, sent = 0;
	uint8_t *data = malloc(size);
	struct ring *out;
	union km_any msg;

	for (size_t i = 0; i < size; i++)
		data[i] = (uint8_t)(i * 2654435761u >> 13);
	f->silent = true;
	start(f, false);
	out = make_ring(f, KM_STDOUT, RING_OUTPUT, MIB);
	while (sent < size) {
		size_t room, n = size - sent;

		ring_space(out, &room);
		assert_true(room > 0);
		n = n < room ? n : room;
		fake_keeper_write(out, data + sent, n);
		sent += n;
		wake(f, 0);
		assert_int_equal(f->length[0], sent);
		send_ack(f, 1, sent);
		while (fake_keeper_take(f->keeper, KM_RELEASE, &msg, NULL))
			assert_int_equal(ring_release(out, msg.release.acked), 0);
	}
	assert_memory_equal(f->bytes[0], data, size);
	assert_int_equal(f->largest, 256 * 1024);
	free(data);
	ring_unref(out);
}

static void a_slow_reader_bounds_what_is_sent(void **state)
{
	static uint8_t data[8 * MIB];
	struct fixture *f = *state;
	struct ring *out;
	size_t owed;

	f->silent = f->hold = true;
	start(f, false);
	out = make_ring(f, KM_STDOUT, RING_OUTPUT, sizeof(data));
	fake_keeper_write(out, data, sizeof(data));
	wake(f, KM_BIT(KM_STDOUT));
	/* A window and one message reach the client at most; behind it waits what H2_SEND_HIGH
	 * allows. */
	assert_true(f->length[0] <= MIB + MIB / 4);
	for (int i = 0; i < 100 && f->length[0] < sizeof(data); i++) {
		owed = f->owed;
		f->owed = 0;
		rpc_credit(f->call, owed);
		settle(f);
	}
	assert_int_equal(f->length[0], sizeof(data));
	send_ack(f, 1, sizeof(data));
	assert_false(f->done);
	ring_unref(out);
}

static void a_stopped_reader_cannot_be_ahead(void **state)
{
	static uint8_t data[8 * MIB];
	struct fixture *f = *state;
	struct ring *out;

	f->silent = f->hold = true;
	start(f, false);
	out = make_ring(f, KM_STDOUT, RING_OUTPUT, sizeof(data));
	fake_keeper_write(out, data, sizeof(data));
	wake(f, 0);
	/* Were this much sent, it would wait in this process's memory. The status waits behind what
	 * is queued. */
	send_ack(f, 1, 5 * MIB / 2);
	assert_int_equal(fake_keeper_count(f->keeper, KM_DETACH), 1);
	f->hold = false;
	rpc_credit(f->call, f->owed);
	refused_with(f, RPC_INVALID_ARGUMENT, "BAD_REQUEST", "ack.offset");
	ring_unref(out);
}

static void both_outputs_have_their_turn(void **state)
{
	static uint8_t data[2 * MIB];
	struct fixture *f = *state;
	struct ring *out, *err;

	f->silent = f->hold = true;
	start(f, false);
	out = make_ring(f, KM_STDOUT, RING_OUTPUT, sizeof(data));
	err = make_ring(f, KM_STDERR, RING_OUTPUT, sizeof(data));
	fake_keeper_write(out, data, sizeof(data));
	fake_keeper_write(err, data, sizeof(data));
	wake(f, 0);
	assert_true(f->length[0] >= MIB / 4);
	assert_true(f->length[1] >= MIB / 4);
	ring_unref(out);
	ring_unref(err);
}

/* ---- stdin ---- */

/* Takes KM_INPUT messages: the last one's head and eof. */
static bool take_input(struct fixture *f, struct ring *in, bool *eof)
{
	union km_any msg;
	bool any = false;

	while (fake_keeper_take(f->keeper, KM_INPUT, &msg, NULL)) {
		any = true;
		*eof = msg.input.eof != 0;
		assert_int_equal(ring_accept(in, msg.input.head), 0);
	}
	return any;
}

static void stdin_goes_through_the_ring_and_is_acked(void **state)
{
	struct fixture *f = *state;
	struct ring *in;
	const uint8_t *at;
	bool eof = false;
	size_t len;

	start(f, true);
	in = make_ring(f, KM_STDIN, RING_INPUT, 4096);
	send_stdin(f, 0, "abc", 3, false);
	send_stdin(f, 3, "def", 3, true);
	f->log[0] = '\0';
	assert_true(take_input(f, in, &eof));
	assert_true(eof);
	at = ring_peek(in, 0, &len);
	assert_int_equal(len, 6);
	assert_memory_equal(at, "abcdef", 6);
	assert_int_equal(ring_release(in, 6), 0);
	input_done(f, 6, false);
	saw(f, "ack:6");
	ring_unref(in);
}

static void stdin_that_comes_before_the_job_waits_for_it(void **state)
{
	struct fixture *f = *state;
	struct km_job job = a_job(f, false);
	const uint8_t *at;
	struct ring *in;
	bool eof = false;
	union km_any msg;
	size_t len;

	send_start(f, true);
	send_stdin(f, 0, "abc", 3, false);
	send_stdin(f, 3, "def", 3, true);
	job.stdin_pipe = job.stdin_held = 1;
	job.stdin_head = 2; /* an earlier call's */
	answer_start(f, &job);
	assert_true(fake_keeper_take(f->keeper, KM_LIST, &msg, NULL));
	fake_keeper_refuse(f->keeper, msg.hdr.seq, KM_WHY_NO_SUCH);
	assert_int_equal(ring_create(&in, RING_INPUT, 4096, NULL), 0);
	assert_int_equal(ring_accept(in, 2), 0);
	fake_keeper_ring(f->keeper, f->att, KM_STDIN, in);
	settle(f);
	saw(f, "started(p1,0,2)");
	assert_true(take_input(f, in, &eof));
	assert_true(eof);
	at = ring_peek(in, 2, &len);
	assert_int_equal(len, 4);
	assert_memory_equal(at, "cdef", 4);
	ring_unref(in);
}

static void stdin_that_is_repeated_is_taken_once(void **state)
{
	struct fixture *f = *state;
	const uint8_t *at;
	struct ring *in;
	bool eof = false;
	size_t len;

	start(f, true);
	in = make_ring(f, KM_STDIN, RING_INPUT, 4096);
	send_stdin(f, 0, "abcd", 4, false);
	send_stdin(f, 0, "ab", 2, false);
	send_stdin(f, 2, "cdef", 4, false);
	assert_true(take_input(f, in, &eof));
	assert_false(eof);
	at = ring_peek(in, 0, &len);
	assert_int_equal(len, 6);
	assert_memory_equal(at, "abcdef", 6);
	ring_unref(in);
}

static void a_hole_in_stdin_is_refused(void **state)
{
	struct fixture *f = *state;
	struct ring *in;

	start(f, true);
	in = make_ring(f, KM_STDIN, RING_INPUT, 4096);
	send_stdin(f, 1, "b", 1, false);
	refused_with(f, RPC_INVALID_ARGUMENT, "BAD_REQUEST", "stdin.offset");
	ring_unref(in);
}

static void stdin_after_its_end_is_refused(void **state)
{
	struct fixture *f = *state;
	struct ring *in;

	start(f, true);
	in = make_ring(f, KM_STDIN, RING_INPUT, 4096);
	send_stdin(f, 0, "a", 1, true);
	send_stdin(f, 0, "a", 1, true); /* again, as after a reconnect: no harm */
	assert_false(f->done);
	send_stdin(f, 1, "b", 1, false);
	refused_with(f, RPC_INVALID_ARGUMENT, "BAD_REQUEST", "stdin.data");
	ring_unref(in);
}

static void a_chunk_over_a_mebibyte_is_refused(void **state)
{
	static uint8_t data[MIB + 1];
	struct fixture *f = *state;

	start(f, true);
	send_stdin(f, 0, data, sizeof(data), false);
	refused_with(f, RPC_INVALID_ARGUMENT, "BAD_REQUEST", "stdin.data");
}

static void stdin_for_a_process_without_is_refused(void **state)
{
	struct fixture *f = *state;
	struct km_job job = a_job(f, true);

	start(f, false);
	send_stdin(f, 0, "a", 1, false);
	refused_with(f, RPC_FAILED_PRECONDITION, "STDIN_NOT_PIPED", NULL);
	/* The same when it comes first. */
	open_call(f);
	send_start(f, false);
	send_stdin(f, 0, "a", 1, false);
	answer_start(f, &job);
	refused_with(f, RPC_FAILED_PRECONDITION, "STDIN_NOT_PIPED", NULL);
}

static void stdin_that_another_holds_is_refused(void **state)
{
	struct fixture *f = *state;
	struct km_job job = a_job(f, true);

	job.stdin_pipe = 1;
	send_start(f, true);
	answer_start(f, &job);
	assert_false(f->done);
	send_stdin(f, 0, "a", 1, false);
	refused_with(f, RPC_FAILED_PRECONDITION, "STDIN_HELD", NULL);
}

static void stdin_waits_for_room_and_is_whole(void **state)
{
	struct fixture *f = *state;
	size_t size = 3 * MIB, taken = 0, sent = 0;
	uint8_t *data = malloc(size);
	struct ring *in;
	bool eof = false;

	for (size_t i = 0; i < size; i++)
		data[i] = (uint8_t)(i * 2654435761u >> 11);
	start(f, true);
	in = make_ring(f, KM_STDIN, RING_INPUT, 4096);
	for (; sent < size; sent += MIB / 2)
		send_stdin(f, sent, data + sent, MIB / 2, sent + MIB / 2 == size);
	/* What the window holds back waits with the client. */
	assert_true(rpc_pending(f->call) > MIB);
	while (taken < size) {
		const uint8_t *at;
		size_t len;

		assert_true(take_input(f, in, &eof));
		assert_true(eof == (ring_head(in) == size));
		at = ring_peek(in, taken, &len);
		assert_memory_equal(at, data + taken, len);
		taken += len;
		assert_int_equal(ring_release(in, taken), 0);
		input_done(f, taken, false);
	}
	assert_true(eof);
	free(data);
	ring_unref(in);
}

static void a_process_that_closed_stdin_is_fed_no_more(void **state)
{
	static uint8_t data[MIB];
	struct fixture *f = *state;
	struct ring *in;

	start(f, true);
	in = make_ring(f, KM_STDIN, RING_INPUT, 4096);
	send_stdin(f, 0, data, sizeof(data), false);
	f->log[0] = '\0';
	input_done(f, 10, true);
	saw(f, "ack:10closed");
	/* The rest is dropped, and never held back. */
	for (uint64_t at = MIB; at < 8 * MIB; at += MIB)
		send_stdin(f, at, data, sizeof(data), false);
	assert_int_equal(rpc_pending(f->call), 0);
	assert_false(f->done);
	ring_unref(in);
}

static void acks_are_one_a_turn(void **state)
{
	struct fixture *f = *state;
	struct km_input_done m = {.att = 0};
	struct ring *in;

	start(f, true);
	in = make_ring(f, KM_STDIN, RING_INPUT, 4096);
	send_stdin(f, 0, "abc", 3, false);
	f->log[0] = '\0';
	m.att = f->att;
	for (m.written = 1; m.written <= 3; m.written++) {
		struct km_input_done copy = m;

		fake_keeper_send(f->keeper, KM_INPUT_DONE, 0, &copy, -1);
	}
	settle(f);
	saw(f, "ack:3");
	ring_unref(in);
}

/* ---- signals, heartbeat, the end ---- */

/* As much output as is sent at once stands before the exit: the ack does not wait until it is too
 * late. */
static void the_last_ack_comes_before_the_exit(void **state)
{
	static uint8_t data[H2_SEND_HIGH];
	struct fixture *f = *state;
	struct km_input_done done = {.att = 0, .written = 3};
	struct ring *in, *out;

	f->silent = true;
	start(f, true);
	in = make_ring(f, KM_STDIN, RING_INPUT, 4096);
	out = make_ring(f, KM_STDOUT, RING_OUTPUT, sizeof(data));
	send_stdin(f, 0, "abc", 3, true);
	f->log[0] = '\0';
	fake_keeper_write(out, data, sizeof(data));
	done.att = f->att;
	fake_keeper_send(f->keeper, KM_INPUT_DONE, 0, &done, -1);
	end(f, 0);
	saw(f, "ack:3 exited OK");
	assert_int_equal(f->length[0], sizeof(data));
	ring_unref(in);
	ring_unref(out);
}

static void signals_go_to_the_keeper_one_by_one(void **state)
{
	struct fixture *f = *state;
	struct km_job job = a_job(f, true);
	struct km_done done = {0};
	union km_any msg;

	send_start(f, false);
	send_signal(f, SIGTERM);
	send_signal(f, SIGINT);
	assert_int_equal(fake_keeper_count(f->keeper, KM_SIGNAL), 0);
	answer_start(f, &job);
	assert_int_equal(fake_keeper_count(f->keeper, KM_SIGNAL), 1);
	assert_true(fake_keeper_take(f->keeper, KM_SIGNAL, &msg, NULL));
	assert_int_equal(msg.signal.signo, SIGINT);
	assert_int_equal(msg.signal.target, KM_TARGET_GROUP);
	assert_string_equal(msg.signal.by, RIG_USER);
	fake_keeper_send(f->keeper, KM_DONE, msg.hdr.seq, &done, -1);
	settle(f);
	assert_true(fake_keeper_take(f->keeper, KM_SIGNAL, &msg, NULL));
	assert_int_equal(msg.signal.signo, SIGTERM);
	/* Too late for the process: no trouble of the client's. */
	fake_keeper_refuse(f->keeper, msg.hdr.seq, KM_WHY_ENDED);
	settle(f);
	assert_false(f->done);
	send_signal(f, 65);
	refused_with(f, RPC_INVALID_ARGUMENT, "BAD_REQUEST", "signal");
}

/* A running one with a terminal, attached to. */
static void attach_to_terminal(struct fixture *f, struct km_job *job)
{
	union km_any msg;

	job->terminal = 1;
	assert_true(fake_keeper_take(f->keeper, KM_ATTACH, &msg, NULL));
	f->att = job->att = msg.attach.att;
	fake_keeper_send(f->keeper, KM_JOB, msg.hdr.seq, job, -1);
	settle(f);
}

static void of_many_sizes_the_last_counts(void **state)
{
	struct fixture *f = *state;
	struct km_job job = a_job(f, false);
	struct km_done done = {0};
	union km_any msg;

	send_attach(f, false);
	send_resize(f, 1, 1);
	send_resize(f, 24, 80);
	assert_int_equal(fake_keeper_count(f->keeper, KM_RESIZE), 0);
	attach_to_terminal(f, &job);
	assert_int_equal(fake_keeper_count(f->keeper, KM_RESIZE), 1);
	for (uint32_t i = 1; i <= 100; i++)
		send_resize(f, i, 10000);
	assert_int_equal(fake_keeper_count(f->keeper, KM_RESIZE), 1);
	assert_true(fake_keeper_take(f->keeper, KM_RESIZE, &msg, NULL));
	assert_int_equal(msg.resize.rows, 24);
	assert_int_equal(msg.resize.columns, 80);
	assert_string_equal(msg.resize.id, "p1");
	assert_string_equal(msg.resize.by, RIG_USER);
	fake_keeper_send(f->keeper, KM_DONE, msg.hdr.seq, &done, -1);
	settle(f);
	assert_true(fake_keeper_take(f->keeper, KM_RESIZE, &msg, NULL));
	assert_int_equal(msg.resize.rows, 100);
	/* Too late for the process: no trouble of the client's. */
	fake_keeper_refuse(f->keeper, msg.hdr.seq, KM_WHY_ENDED);
	settle(f);
	assert_false(f->done);
	assert_int_equal(fake_keeper_count(f->keeper, KM_RESIZE), 0);
}

static void absurd_sizes_are_refused(void **state)
{
	static const uint32_t sizes[][2] = {
	    {0, 80}, {24, 0}, {10001, 80}, {24, 10001}, {65536 + 24, 80}, {24, UINT32_MAX}};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct km_job job = a_job(f, false);

		if (i > 0)
			open_call(f);
		send_attach(f, false);
		attach_to_terminal(f, &job);
		send_resize(f, sizes[i][0], sizes[i][1]);
		refused_with(f, RPC_INVALID_ARGUMENT, "BAD_REQUEST",
		    sizes[i][0] == 24 ? "resize.size.columns" : "resize.size.rows");
		assert_int_equal(fake_keeper_count(f->keeper, KM_RESIZE), 0);
	}
}

static void a_size_without_a_terminal_is_refused(void **state)
{
	struct fixture *f = *state;
	struct km_job job = a_job(f, false);
	union km_any msg;

	start(f, false);
	send_resize(f, 24, 80);
	refused_with(f, RPC_FAILED_PRECONDITION, "NO_TERMINAL", NULL);
	/* Before the keeper has started it: the spec says so. */
	open_call(f);
	send_start(f, false);
	send_resize(f, 24, 80);
	refused_with(f, RPC_FAILED_PRECONDITION, "NO_TERMINAL", NULL);
	/* Attached, only the keeper knows. */
	open_call(f);
	send_attach(f, false);
	send_resize(f, 24, 80);
	assert_false(f->done);
	assert_true(fake_keeper_take(f->keeper, KM_ATTACH, &msg, NULL));
	f->att = job.att = msg.attach.att;
	fake_keeper_send(f->keeper, KM_JOB, msg.hdr.seq, &job, -1);
	refused_with(f, RPC_FAILED_PRECONDITION, "NO_TERMINAL", NULL);
}

static void an_idle_stream_has_a_heartbeat(void **state)
{
	struct fixture *f = *state;
	Google__Protobuf__Duration second = GOOGLE__PROTOBUF__DURATION__INIT;
	struct km_job job = a_job(f, true);

	second.nanos = 999999999;
	send_start_with(f, "p1", false, NULL, &second);
	refused_with(f, RPC_INVALID_ARGUMENT, "BAD_REQUEST", "heartbeat_interval");
	open_call(f);
	second.seconds = 1;
	second.nanos = 0;
	send_start_with(f, "p1", false, NULL, &second);
	answer_start(f, &job);
	assert_true(h2_pair_run(&f->rig.pair, &f->beat));
}

static void a_cancelled_call_detaches_and_delivers_nothing(void **state)
{
	struct fixture *f = *state;
	union km_any msg;

	start(f, false);
	rpc_cancel(f->call);
	settle(f);
	assert_true(fake_keeper_take(f->keeper, KM_DETACH, &msg, NULL));
	assert_int_equal(msg.detach.att, f->att);
	assert_int_equal(msg.detach.delivered, 0);
}

static void a_call_cancelled_before_the_answer_detaches_after_it(void **state)
{
	struct fixture *f = *state;
	struct km_job job = a_job(f, true);

	send_start(f, false);
	rpc_cancel(f->call);
	settle(f);
	assert_int_equal(fake_keeper_count(f->keeper, KM_DETACH), 0);
	answer_start(f, &job);
	assert_int_equal(fake_keeper_count(f->keeper, KM_DETACH), 1);
}

static void a_lost_connection_detaches(void **state)
{
	struct fixture *f = *state;

	start(f, false);
	h2_close(f->rig.pair.client.conn, H2_NO_ERROR);
	settle(f);
	assert_int_equal(fake_keeper_count(f->keeper, KM_DETACH), 1);
}

static void without_its_keeper_every_call_is_unavailable(void **state)
{
	struct fixture *f = *state;

	start(f, false);
	fake_keeper_die(f->keeper);
	refused_with(f, RPC_UNAVAILABLE, "KEEPER_GONE", NULL);
	assert_true(f->rig.keeper_lost);
	open_call(f);
	send_start(f, false);
	refused_with(f, RPC_UNAVAILABLE, "KEEPER_GONE", NULL);
}

static void an_exit_that_is_not_read_is_not_delivered(void **state)
{
	static uint8_t data[4 * MIB];
	struct fixture *f = *state;
	struct ring *out;
	union km_any msg;

	f->silent = f->hold = true;
	start(f, false);
	out = make_ring(f, KM_STDOUT, RING_OUTPUT, sizeof(data));
	fake_keeper_write(out, data, sizeof(data));
	end(f, 0);
	rpc_cancel(f->call);
	settle(f);
	assert_true(fake_keeper_take(f->keeper, KM_DETACH, &msg, NULL));
	assert_int_equal(msg.detach.delivered, 0);
	ring_unref(out);
}

/* It may be gone by then, and nobody would know: it is to find the process when it comes back. */
static void a_client_that_ended_its_half_before_the_exit_has_not_got_it(void **state)
{
	struct fixture *f = *state;
	union km_any msg;

	start(f, false);
	rpc_half_close(f->call);
	settle(f);
	end(f, 0);
	saw(f, "started(p1,1,0) out:0+0. err:0+0. exited OK");
	assert_true(fake_keeper_take(f->keeper, KM_DETACH, &msg, NULL));
	assert_int_equal(msg.detach.att, f->att);
	assert_int_equal(msg.detach.delivered, 0);
}

/* Another worker has taken over. */
static void move_all(struct fixture *f)
{
	f->rig.worker.draining = f->rig.worker.moving = true;
	keeper_client_moving(f->rig.worker.keeper);
	run_move_all(&f->rig.worker);
	settle(f);
}

static void who_can_come_back_is_sent_away_and_has_not_left(void **state)
{
	struct fixture *f = *state;
	union km_any msg;

	f->key = 7;
	start(f, false);
	move_all(f);
	refused_with(f, RPC_UNAVAILABLE, "SHUTTING_DOWN", NULL);
	assert_true(fake_keeper_take(f->keeper, KM_DETACH, &msg, NULL));
	assert_int_equal(msg.detach.moved, 1);
	assert_int_equal(msg.detach.delivered, 0);
	/* And who comes from now on. */
	open_call(f);
	send_start(f, false);
	refused_with(f, RPC_UNAVAILABLE, "SHUTTING_DOWN", NULL);
}

static void who_cannot_come_back_goes_on_where_it_is(void **state)
{
	struct fixture *f = *state;
	union km_any msg;

	start(f, false);
	move_all(f);
	end(f, 4);
	saw(f, "started(p1,1,0) out:0+0. err:0+0. exited OK");
	assert_true(fake_keeper_take(f->keeper, KM_DETACH, &msg, NULL));
	assert_int_equal(msg.detach.delivered, KM_DELIVERED_LIKELY);
}

static void a_worker_that_leaves_ends_its_calls(void **state)
{
	struct fixture *f = *state;

	start(f, false);
	keeper_client_leave(f->rig.worker.keeper);
	refused_with(f, RPC_UNAVAILABLE, "KEEPER_GONE", NULL);
	assert_true(f->rig.keeper_lost);
}

#define RUN_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    RUN_TEST(a_start_reaches_the_keeper_whole),
	    RUN_TEST(the_first_request_must_start_or_attach),
	    RUN_TEST(a_second_start_is_refused_and_detaches),
	    RUN_TEST(a_failed_start_says_its_stage),
	    RUN_TEST(attaching_asks_for_the_record_first),
	    RUN_TEST(attaching_to_nothing_is_not_found),
	    RUN_TEST(output_comes_in_order_and_the_exit_last),
	    RUN_TEST(a_process_without_output_ends_both_streams),
	    RUN_TEST(an_end_before_the_record_still_starts_first),
	    RUN_TEST(the_keeper_is_told_what_was_seen),
	    RUN_TEST(acks_are_told_by_the_quarter),
	    RUN_TEST(an_ack_beyond_what_was_sent_is_refused),
	    RUN_TEST(output_resumes_at_the_offset),
	    RUN_TEST(an_attach_says_where_it_begins_and_how_it_counts),
	    RUN_TEST(another_with_its_key_takes_the_place_of_a_call),
	    RUN_TEST(an_offset_that_is_gone_is_out_of_range),
	    RUN_TEST(large_output_is_whole_and_in_pieces),
	    RUN_TEST(a_slow_reader_bounds_what_is_sent),
	    RUN_TEST(a_stopped_reader_cannot_be_ahead),
	    RUN_TEST(both_outputs_have_their_turn),
	    RUN_TEST(stdin_goes_through_the_ring_and_is_acked),
	    RUN_TEST(stdin_that_comes_before_the_job_waits_for_it),
	    RUN_TEST(stdin_that_is_repeated_is_taken_once),
	    RUN_TEST(a_hole_in_stdin_is_refused),
	    RUN_TEST(stdin_after_its_end_is_refused),
	    RUN_TEST(a_chunk_over_a_mebibyte_is_refused),
	    RUN_TEST(stdin_for_a_process_without_is_refused),
	    RUN_TEST(stdin_that_another_holds_is_refused),
	    RUN_TEST(stdin_waits_for_room_and_is_whole),
	    RUN_TEST(a_process_that_closed_stdin_is_fed_no_more),
	    RUN_TEST(acks_are_one_a_turn),
	    RUN_TEST(the_last_ack_comes_before_the_exit),
	    RUN_TEST(signals_go_to_the_keeper_one_by_one),
	    RUN_TEST(of_many_sizes_the_last_counts),
	    RUN_TEST(absurd_sizes_are_refused),
	    RUN_TEST(a_size_without_a_terminal_is_refused),
	    RUN_TEST(an_idle_stream_has_a_heartbeat),
	    RUN_TEST(a_cancelled_call_detaches_and_delivers_nothing),
	    RUN_TEST(a_call_cancelled_before_the_answer_detaches_after_it),
	    RUN_TEST(a_lost_connection_detaches),
	    RUN_TEST(without_its_keeper_every_call_is_unavailable),
	    RUN_TEST(who_can_come_back_is_sent_away_and_has_not_left),
	    RUN_TEST(who_cannot_come_back_goes_on_where_it_is),
	    RUN_TEST(a_worker_that_leaves_ends_its_calls),
	    RUN_TEST(an_exit_that_is_not_read_is_not_delivered),
	    RUN_TEST(a_client_that_ended_its_half_before_the_exit_has_not_got_it),
	};

	return cmocka_run_group_tests_name("worker_run", tests, NULL, NULL);
}
