/* SPDX-License-Identifier: Apache-2.0 */
/* A ReadOutput call between a client on an in-memory connection and a fake keeper. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/memfile.h"
#include "common/rpc.h"
#include "telex/v1/process.pb-c.h"
#include "tests/support/worker_rig.h"

#define RING ((size_t)16384)

struct fixture {
	struct worker_rig rig;
	struct fake_keeper *keeper; /* the rig's */
	struct rpc_call *call;
	uint32_t att;
	uint64_t seq;
	struct km_attach asked;
	char log[2048];
	uint8_t *bytes; /* of stdout, and from where */
	size_t length;
	uint64_t begin;
	bool quiet, done;
	struct rpc_status status;
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

static void on_output(struct fixture *f, const Telex__V1__Output *o)
{
	bool err = o->stream == TELEX__V1__OUTPUT_STREAM__OUTPUT_STREAM_STDERR;

	if (!f->quiet)
		note(f, "%s:%llu+%zu%s", err ? "err" : "out", (unsigned long long)o->offset,
		    o->data.len, o->eof ? "." : "");
	if (err)
		return;
	if (f->length == 0)
		f->begin = o->offset;
	assert_int_equal(o->offset, f->begin + f->length);
	f->bytes = realloc(f->bytes, f->length + o->data.len + 1);
	assert_non_null(f->bytes);
	if (o->data.len > 0)
		memcpy(f->bytes + f->length, o->data.data, o->data.len);
	f->length += o->data.len;
}

static void on_response(struct rpc_call *c, const ProtobufCMessage *msg, void *data)
{
	const Telex__V1__ReadOutputResponse *r = (const void *)msg;
	struct fixture *f = data;

	(void)c;
	if (r->response_case == TELEX__V1__READ_OUTPUT_RESPONSE__RESPONSE_OUTPUT)
		on_output(f, r->output);
	else if (r->response_case == TELEX__V1__READ_OUTPUT_RESPONSE__RESPONSE_EXITED)
		note(f, "exited(%u)", r->exited->code);
	else
		note(f, "beat");
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

/* Asks, and takes the keeper's question when one comes. */
static void ask(struct fixture *f, Telex__V1__ReadOutputRequest *q)
{
	static const struct rpc_client_ops ops = {.message = on_response, .done = on_done};
	const struct rpc_client_options o = {
	    .authority = "test",
	    .service = "telex.v1.ProcessService",
	    .method = "ReadOutput",
	    .response = &telex__v1__read_output_response__descriptor,
	    .server_stream = true,
	};
	union km_any msg;

	assert_int_equal(
	    rpc_open(&f->call, f->rig.pair.client.conn, f->rig.pair.base, &o, &ops, f), 0);
	assert_int_equal(rpc_send(f->call, &q->base), 0);
	rpc_half_close(f->call);
	settle(f);
	if (!fake_keeper_take(f->keeper, KM_ATTACH, &msg, NULL))
		return;
	f->asked = msg.attach;
	f->att = msg.attach.att;
	f->seq = msg.hdr.seq;
}

static void begin(struct fixture *f, bool follow, Telex__V1__Resume *from)
{
	Telex__V1__ReadOutputRequest q = TELEX__V1__READ_OUTPUT_REQUEST__INIT;

	q.process_id = (char *)"p1";
	q.follow = follow;
	q.from = from;
	ask(f, &q);
	assert_int_equal(f->asked.flags, KM_ATTACH_PASSIVE);
	assert_int_equal(f->asked.want_stdin, 0);
}

/* KM_JOB, with stdout from `oldest` to `newest`. */
static void answer(struct fixture *f, enum km_state state, uint64_t oldest, uint64_t newest)
{
	struct km_job job = {.att = f->att, .pid = 42, .state = (uint8_t)state};

	job.tail[KM_STDOUT] = oldest;
	job.head[KM_STDOUT] = newest;
	snprintf(job.id, sizeof(job.id), "p1");
	snprintf(job.owner, sizeof(job.owner), RIG_USER);
	fake_keeper_send(f->keeper, KM_JOB, f->seq, &job, -1);
	settle(f);
}

static uint8_t byte_at(uint64_t offset)
{
	return (uint8_t)(offset ^ offset >> 8);
}

static void fill(struct ring *r, size_t n)
{
	uint8_t bytes[RING];

	for (size_t i = 0; i < n; i++)
		bytes[i] = byte_at(ring_head(r) + i);
	fake_keeper_write(r, bytes, n);
}

static struct ring *make_ring(uint64_t offset)
{
	struct ring *r = NULL;
	struct err e;

	assert_int_equal(ring_create_at(&r, RING_OUTPUT, RING, offset, &e), 0);
	return r;
}

static void send_ring(struct fixture *f, const struct ring *r)
{
	fake_keeper_ring(f->keeper, f->att, KM_STDOUT, r);
	settle(f);
}

static void wake(struct fixture *f, uint32_t eof)
{
	fake_keeper_wake(f->keeper, f->att, eof);
	settle(f);
}

/* A file that holds the bytes from `base` to `end`. */
static int make_spool(uint64_t base, uint64_t end)
{
	struct err e;
	int fd;

	assert_int_equal(memfile_new("spool", &fd, &e), 0);
	for (uint64_t o = base; o < end; o++) {
		uint8_t b = byte_at(o);

		assert_int_equal(write(fd, &b, 1), 1);
	}
	return fd;
}

static void send_spool(struct fixture *f, uint64_t base, int fd)
{
	struct km_spool m = {.att = f->att, .stream = KM_STDOUT, .base = base};

	fake_keeper_send(f->keeper, KM_SPOOL, 0, &m, fd);
	settle(f);
}

static void end(struct fixture *f)
{
	struct km_ended m = {.att = f->att};

	m.exit.kind = KM_END_CODE;
	m.exit.value = 3;
	m.exit.reason = KM_REASON_EXITED;
	fake_keeper_send(f->keeper, KM_ENDED, 0, &m, -1);
	settle(f);
}

static void saw(struct fixture *f, const char *log)
{
	assert_string_equal(f->log, log);
	f->log[0] = '\0';
}

static void got(const struct fixture *f, uint64_t from, uint64_t to)
{
	assert_int_equal(f->begin, from);
	assert_int_equal(f->length, to - from);
	for (size_t i = 0; i < f->length; i++)
		assert_int_equal(f->bytes[i], byte_at(from + i));
}

static void detached(struct fixture *f)
{
	union km_any m;

	settle(f);
	assert_true(fake_keeper_take(f->keeper, KM_DETACH, &m, NULL));
	assert_int_equal(m.detach.att, f->att);
	assert_int_equal(m.detach.delivered, KM_DELIVERED_NOT);
}

static int set_up(void **state)
{
	struct fixture *f = calloc(1, sizeof(*f));

	assert_non_null(f);
	worker_rig_init(&f->rig);
	f->keeper = f->rig.keeper;
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	worker_rig_free(&f->rig);
	free(f->bytes);
	free(f);
	return 0;
}

/* ---- what is held now ---- */

static void what_is_held_is_read_and_no_more(void **state)
{
	struct fixture *f = *state;
	struct ring *r = make_ring(100);

	begin(f, false, NULL);
	assert_int_equal(f->asked.from, KM_FROM_OLDEST);
	fill(r, 50);
	answer(f, KM_STATE_RUNNING, 100, 150);
	/* What comes later was not asked for. */
	fill(r, 10);
	send_ring(f, r);
	saw(f, "out:100+50 OK");
	got(f, 100, 150);
	detached(f);
	ring_unref(r);
}

static void of_a_silent_process_nothing_is_read(void **state)
{
	struct fixture *f = *state;

	begin(f, false, NULL);
	answer(f, KM_STATE_RUNNING, 0, 0);
	saw(f, "OK");
	detached(f);
}

static void of_an_ended_one_the_ends_are_read_too(void **state)
{
	struct fixture *f = *state;
	struct ring *r = make_ring(0);

	begin(f, false, NULL);
	fill(r, 5);
	answer(f, KM_STATE_ENDED, 0, 5);
	send_ring(f, r);
	wake(f, KM_BIT(KM_STDOUT) | KM_BIT(KM_STDERR));
	saw(f, "out:0+5 err:0+0. out:5+0. OK");
	detached(f);
	ring_unref(r);
}

static void one_output_alone_is_read(void **state)
{
	Telex__V1__ReadOutputRequest q = TELEX__V1__READ_OUTPUT_REQUEST__INIT;
	Telex__V1__Resume from = TELEX__V1__RESUME__INIT;
	struct fixture *f = *state;
	struct ring *r = make_ring(0);

	from.stdout_offset = 2;
	q.process_id = (char *)"p1";
	q.stream = TELEX__V1__OUTPUT_STREAM__OUTPUT_STREAM_STDOUT;
	q.from = &from;
	q.acknowledge = true;
	ask(f, &q);
	assert_int_equal(f->asked.flags, KM_ATTACH_PASSIVE | KM_ATTACH_ACKNOWLEDGE);
	assert_int_equal(f->asked.from, KM_FROM_OFFSET);
	assert_int_equal(f->asked.offset[KM_STDOUT], 2);
	assert_true(f->asked.offset[KM_STDERR] == UINT64_MAX);
	fill(r, 5);
	answer(f, KM_STATE_ENDED, 0, 5);
	send_ring(f, r);
	wake(f, KM_BIT(KM_STDOUT) | KM_BIT(KM_STDERR));
	saw(f, "out:2+3 out:5+0. OK");
	ring_unref(r);
}

/* ---- following ---- */

static void a_follower_reads_on_and_ends_with_the_exit(void **state)
{
	struct fixture *f = *state;
	struct ring *r = make_ring(0);
	union km_any m;

	begin(f, true, NULL);
	answer(f, KM_STATE_RUNNING, 0, 0);
	saw(f, "");
	fill(r, 5);
	send_ring(f, r);
	saw(f, "out:0+5");
	/* Read to the head, it is to be woken. */
	assert_true(fake_keeper_take(f->keeper, KM_RELEASE, &m, NULL));
	assert_int_equal(m.release.seen, 5);
	assert_int_equal(m.release.acked, 0);
	fill(r, 3);
	wake(f, 0);
	saw(f, "out:5+3");
	end(f);
	saw(f, "err:0+0. out:8+0. exited(3) OK");
	detached(f);
	ring_unref(r);
}

static void a_client_that_goes_away_is_detached(void **state)
{
	struct fixture *f = *state;

	begin(f, true, NULL);
	answer(f, KM_STATE_RUNNING, 0, 0);
	rpc_cancel(f->call);
	detached(f);
}

static void a_refusal_is_passed_on(void **state)
{
	struct km_refused why = {
	    .why = KM_WHY_DROPPED, .stream = KM_STDOUT, .oldest = 7, .newest = 9};
	struct fixture *f = *state;

	begin(f, true, NULL);
	fake_keeper_send(f->keeper, KM_REFUSED, f->seq, &why, -1);
	settle(f);
	assert_int_equal(f->status.code, RPC_OUT_OF_RANGE);
	assert_string_equal(f->status.reason, "OFFSET_DROPPED");
	assert_string_equal(rpc_status_get(&f->status, "oldest"), "7");
}

static void bad_requests_ask_nobody(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 4; i++) {
		Telex__V1__ReadOutputRequest q = TELEX__V1__READ_OUTPUT_REQUEST__INIT;
		Google__Protobuf__Duration beat = GOOGLE__PROTOBUF__DURATION__INIT;
		Telex__V1__Resume from = TELEX__V1__RESUME__INIT;
		const char *fields[] = {"process_id", "stream", "heartbeat_interval", "from"};

		q.process_id = (char *)(i == 0 ? "no/such" : "p1");
		if (i == 1)
			q.stream = (Telex__V1__OutputStream)9;
		beat.nanos = 1;
		if (i == 2)
			q.heartbeat_interval = &beat;
		from.stderr_offset = UINT64_MAX - 1;
		if (i == 3)
			q.from = &from;
		f->done = false;
		ask(f, &q);
		assert_true(f->done);
		assert_int_equal(f->status.code, RPC_INVALID_ARGUMENT);
		assert_string_equal(rpc_status_get(&f->status, "field"), fields[i]);
		assert_int_equal(fake_keeper_count(f->keeper, KM_ATTACH), 0);
	}
}

static void a_keeper_that_dies_ends_the_call(void **state)
{
	struct fixture *f = *state;

	begin(f, true, NULL);
	answer(f, KM_STATE_RUNNING, 0, 0);
	fake_keeper_die(f->keeper);
	settle(f);
	assert_int_equal(f->status.code, RPC_UNAVAILABLE);
	assert_string_equal(f->status.reason, "KEEPER_GONE");
}

/* ---- overtaken, spooled, moved ---- */

static void what_was_overtaken_is_out_of_range(void **state)
{
	struct fixture *f = *state;
	struct ring *r = make_ring(0);

	begin(f, true, NULL);
	answer(f, KM_STATE_RUNNING, 0, 10);
	fill(r, 10);
	ring_set_oldest(r, 6);
	assert_int_equal(ring_release(r, 6), 0);
	send_ring(f, r);
	assert_int_equal(f->status.code, RPC_OUT_OF_RANGE);
	assert_string_equal(f->status.reason, "OFFSET_DROPPED");
	assert_string_equal(rpc_status_get(&f->status, "oldest"), "6");
	detached(f);
	ring_unref(r);
}

static void what_the_ring_has_no_longer_comes_from_the_spool(void **state)
{
	struct fixture *f = *state;
	struct ring *r = make_ring(20);
	int spool = make_spool(20, 60);

	begin(f, true, NULL);
	answer(f, KM_STATE_RUNNING, 20, 100);
	fill(r, 80);
	assert_int_equal(ring_release(r, 60), 0);
	f->quiet = true;
	/* The ring is here first: the file is waited for. */
	send_ring(f, r);
	assert_false(f->done);
	assert_int_equal(f->length, 0);
	send_spool(f, 20, spool);
	got(f, 20, 100);
	close(spool);
	end(f);
	saw(f, "exited(3) OK");
	ring_unref(r);
}

static void a_spool_that_is_too_young_is_not_read(void **state)
{
	struct fixture *f = *state;
	struct ring *r = make_ring(20);
	int young = make_spool(40, 60), old = make_spool(20, 60);

	begin(f, true, NULL);
	answer(f, KM_STATE_RUNNING, 20, 100);
	fill(r, 80);
	assert_int_equal(ring_release(r, 60), 0);
	send_ring(f, r);
	send_spool(f, 40, young);
	assert_int_equal(f->length, 0);
	send_spool(f, 20, old);
	got(f, 20, 100);
	close(young);
	close(old);
	ring_unref(r);
}

/* A folder for a file: pread fails, as on a disk that fails. */
static void a_spool_that_cannot_be_read_is_data_loss(void **state)
{
	struct fixture *f = *state;
	struct ring *r = make_ring(20);
	int folder = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	begin(f, true, NULL);
	answer(f, KM_STATE_RUNNING, 20, 100);
	fill(r, 80);
	assert_int_equal(ring_release(r, 60), 0);
	send_ring(f, r);
	send_spool(f, 20, folder);
	worker_rig_settle(&f->rig);
	assert_true(f->done);
	assert_int_equal(f->status.code, RPC_DATA_LOSS);
	assert_string_equal(rpc_status_get(&f->status, "stream"), "stdout");
	close(folder);
	detached(f);
	ring_unref(r);
}

/* A ring that was replaced says nothing of the spool any more. */
static void the_spool_is_not_believed_on_an_old_rings_word(void **state)
{
	struct fixture *f = *state;
	struct ring *r = make_ring(20), *fresh;
	int spool = make_spool(20, 60);
	struct err e;

	begin(f, true, NULL);
	answer(f, KM_STATE_RUNNING, 20, 100);
	fill(r, 80);
	assert_int_equal(ring_release(r, 60), 0);
	send_ring(f, r);
	assert_int_equal(ring_replace(&fresh, r, 60, 20, &e), 0);
	send_spool(f, 20, spool);
	assert_int_equal(f->length, 0);
	assert_false(f->done);
	send_ring(f, fresh);
	got(f, 20, 100);
	close(spool);
	ring_unref(r);
	ring_unref(fresh);
}

static void a_new_ring_goes_on_where_the_old_one_was(void **state)
{
	struct fixture *f = *state;
	struct ring *r = make_ring(0), *fresh;
	struct err e;

	begin(f, true, NULL);
	answer(f, KM_STATE_RUNNING, 0, 0);
	fill(r, 100);
	send_ring(f, r);
	got(f, 0, 100);
	assert_int_equal(ring_replace(&fresh, r, 90, 90, &e), 0);
	fill(fresh, 50);
	send_ring(f, fresh);
	wake(f, 0);
	got(f, 0, 150);
	ring_unref(r);
	ring_unref(fresh);
}

#define RUN_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    RUN_TEST(what_is_held_is_read_and_no_more),
	    RUN_TEST(of_a_silent_process_nothing_is_read),
	    RUN_TEST(of_an_ended_one_the_ends_are_read_too),
	    RUN_TEST(one_output_alone_is_read),
	    RUN_TEST(a_follower_reads_on_and_ends_with_the_exit),
	    RUN_TEST(a_client_that_goes_away_is_detached),
	    RUN_TEST(a_refusal_is_passed_on),
	    RUN_TEST(bad_requests_ask_nobody),
	    RUN_TEST(a_keeper_that_dies_ends_the_call),
	    RUN_TEST(what_was_overtaken_is_out_of_range),
	    RUN_TEST(what_the_ring_has_no_longer_comes_from_the_spool),
	    RUN_TEST(a_spool_that_is_too_young_is_not_read),
	    RUN_TEST(a_spool_that_cannot_be_read_is_data_loss),
	    RUN_TEST(the_spool_is_not_believed_on_an_old_rings_word),
	    RUN_TEST(a_new_ring_goes_on_where_the_old_one_was),
	};

	return cmocka_run_group_tests_name("worker_read_output", tests, NULL, NULL);
}
