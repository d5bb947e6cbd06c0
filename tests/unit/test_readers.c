/* SPDX-License-Identifier: Apache-2.0 */
/* Several attachments to one job: who is waited for, who is passed, who takes whose place. The
 * processes are only numbers, the pipes and the worker's end of the link are the test's own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "agent/keeper/attach.h"
#include "agent/keeper/attach_internal.h"
#include "agent/keeper/job.h"
#include "agent/keeper/pump.h"
#include "agent/keeper/readers_save.h"
#include "agent/keeper/state_io.h"
#include "common/duration.h"
#include "common/ring.h"

#define SIZE    ((uint64_t)64 * 1024) /* of a ring */
#define FOREVER (INT64_C(3600) * 1000000000)

struct fixture {
	struct event_base *base;
	struct jobs *jobs;
	struct job *j;
	struct km_chan *chan;
	struct attach_table *table;
	int worker; /* its end of the link */
	int writer; /* the end of the job's stdout */
	int in;     /* the end of its stdin */
	unsigned rings, spools, wakes, ended;
	unsigned detached[16]; /* by att: why */
	bool failed;
};

/* ---- the keeper's wires ---- */

static void on_output(struct job *j, enum km_stream s, void *arg)
{
	(void)arg;
	attach_on_output(j, s);
}

static void on_input(struct job *j, void *arg)
{
	(void)arg;
	attach_on_input(j);
}

static void on_ended(struct job *j, void *arg)
{
	(void)arg;
	attach_on_ended(j);
}

static void on_timer(struct job *j, void *arg)
{
	(void)j;
	(void)arg;
}

static void on_forgotten(struct job *j, void *arg)
{
	(void)arg;
	attach_on_forgotten(j);
}

static void on_readers(struct job *j, enum km_stream s, struct store_readers *r, void *arg)
{
	(void)arg;
	attach_readers(j, s, r);
}

static void on_full(struct job *j, enum km_stream s, void *arg)
{
	(void)arg;
	attach_on_full(j, s);
}

static void on_patience(struct job *j, void *arg)
{
	(void)arg;
	attach_on_patience(j);
}

static const struct job_ops ops = {on_output, on_input, on_ended, on_timer, on_timer, on_forgotten,
    on_readers, on_full, on_patience};

static int on_message(struct km_chan *c, const union km_any *m, int *fds, size_t n, void *arg)
{
	(void)c;
	(void)m;
	(void)fds;
	(void)n;
	(void)arg;
	return 0;
}

static void on_closed(struct km_chan *c, const struct err *why, void *arg)
{
	(void)c;
	(void)why;
	(void)arg;
}

static void on_failed(void *arg)
{
	((struct fixture *)arg)->failed = true;
}

/* ---- the fixture ---- */

static struct pump_out *make_output(struct fixture *f, enum km_stream s, int *writer)
{
	const struct store_config config = {.ring_size = SIZE, .spool_folder = -1, .job = f->j->id};
	struct pump_out *p;
	int pair[2];

	assert_int_equal(pipe2(pair, O_CLOEXEC | O_NONBLOCK), 0);
	assert_int_equal(pump_out_new(&p, f->base, pair[0], &config, job_output_ops(s), f->j), 0);
	*writer = pair[1];
	return p;
}

static void make_job(struct fixture *f)
{
	char *argv[] = {(char[]){"true"}, NULL};
	char *env[] = {NULL};
	const struct job_spec plain = {.argc = 1,
	    .argv = argv,
	    .env = env,
	    .output_policy = JOB_OUTPUT_BLOCK,
	    .keep_ns = JOB_KEEP_DEFAULT_NS,
	    .stop_signal = 15,
	    .disconnect = JOB_DISCONNECT_HANGUP,
	    .disconnect_wait_ns = FOREVER};
	struct job_spec *spec;
	struct err e;
	int memfd, pair[2], err;

	assert_int_equal(job_spec_seal(&plain, &memfd, &e), 0);
	assert_int_equal(job_spec_open(&spec, memfd, &e), 0);
	close(memfd);
	f->j = job_new(f->jobs, "a", "me", spec);
	assert_non_null(f->j);
	f->j->was_attached = true;
	f->j->pid = INT32_MAX; /* no process has that number */
	f->j->out[KM_STDOUT] = make_output(f, KM_STDOUT, &f->writer);
	f->j->out[KM_STDERR] = make_output(f, KM_STDERR, &err);
	close(err);
	assert_int_equal(pipe2(pair, O_CLOEXEC | O_NONBLOCK), 0);
	assert_int_equal(
	    pump_in_new(&f->j->in, f->base, pair[1], 4096, job_stdin_moved, f->j, &e), 0);
	f->in = pair[0];
	job_insert(f->j);
}

static int set_up(void **state)
{
	static const struct km_chan_ops chan_ops = {
	    .on_message = on_message, .on_closed = on_closed};
	struct fixture *f = calloc(1, sizeof(*f));
	struct err e;
	int pair[2];

	assert_non_null(f);
	f->base = event_base_new();
	assert_non_null(f->base);
	assert_int_equal(jobs_new(&f->jobs, f->base, 10, &e), 0);
	jobs_set_ops(f->jobs, &ops, f);
	assert_int_equal(
	    socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair), 0);
	assert_int_equal(km_chan_new(&f->chan, f->base, pair[0], KM_KEEPER, &chan_ops, f, &e), 0);
	f->worker = pair[1];
	assert_int_equal(attach_table_new(&f->table, f->base, f->chan, on_failed, f), 0);
	make_job(f);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	attach_table_free(f->table);
	km_chan_free(f->chan);
	jobs_free(f->jobs);
	pump_out_end_all();
	event_base_free(f->base);
	close(f->worker);
	close(f->writer);
	close(f->in);
	free(f);
	return 0;
}

/* What the worker was sent. */
static void take_messages(struct fixture *f)
{
	union km_any m;
	struct iovec iov = {&m, sizeof(m)};
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(4 * sizeof(int))];
	} control;

	for (;;) {
		struct msghdr mh = {.msg_iov = &iov,
		    .msg_iovlen = 1,
		    .msg_control = &control,
		    .msg_controllen = sizeof(control)};
		struct cmsghdr *cm;
		int fd;

		if (recvmsg(f->worker, &mh, MSG_CMSG_CLOEXEC) <= 0)
			return;
		for (cm = CMSG_FIRSTHDR(&mh); cm != NULL; cm = CMSG_NXTHDR(&mh, cm)) {
			memcpy(&fd, CMSG_DATA(cm), sizeof(fd));
			close(fd);
		}
		f->rings += m.hdr.type == KM_RING;
		f->spools += m.hdr.type == KM_SPOOL;
		f->wakes += m.hdr.type == KM_WAKE;
		f->ended += m.hdr.type == KM_ENDED;
		if (m.hdr.type == KM_DETACHED)
			f->detached[m.detached.att] = m.detached.why;
	}
}

static void turn(struct fixture *f)
{
	for (int i = 0; i < 4; i++) {
		event_base_loop(f->base, EVLOOP_NONBLOCK);
		take_messages(f);
	}
}

static uint64_t head(const struct fixture *f)
{
	return pump_out_head(f->j->out[KM_STDOUT]);
}

/* Writes until the output is full. */
static void fill(struct fixture *f)
{
	static const char bytes[4096];

	while (!pump_out_full(f->j->out[KM_STDOUT])) {
		(void)!write(f->writer, bytes, sizeof(bytes));
		event_base_loop(f->base, EVLOOP_NONBLOCK);
		take_messages(f);
	}
}

/* Whether the process can write on for three rings' length; a reader that acknowledges is given. */
static bool goes_on(struct fixture *f, struct attachment *reader)
{
	static const char bytes[4096];
	const uint64_t goal = head(f) + 3 * SIZE;

	for (int i = 0; i < 1000 && head(f) < goal; i++) {
		struct km_release m = {.stream = KM_STDOUT, .acked = head(f), .seen = head(f)};

		(void)!write(f->writer, bytes, sizeof(bytes));
		if (reader != NULL)
			assert_int_equal(attach_release(reader, &m), 0);
		event_base_loop(f->base, EVLOOP_NONBLOCK);
		take_messages(f);
	}
	return head(f) >= goal;
}

static void detach(struct attachment *a)
{
	const struct km_detach m = {.att = 0};

	attach_detach(a, &m);
}

static void ack(struct attachment *a, uint64_t acked)
{
	struct km_release m = {.stream = KM_STDOUT, .acked = acked, .seen = UINT64_MAX};

	assert_int_equal(attach_release(a, &m), 0);
}

static struct attachment *attach_as(struct fixture *f, uint32_t att, const struct attach_want *want)
{
	struct attachment *a;

	assert_int_equal(attach_add(&a, f->table, att, f->j, want), 0);
	attach_flush(a);
	turn(f);
	return a;
}

static struct attachment *attach_with(struct fixture *f, uint32_t att, unsigned flags)
{
	const struct attach_want want = {.owner = "me", .flags = (uint8_t)flags};

	return attach_as(f, att, &want);
}

static struct attachment *attach(struct fixture *f, uint32_t att)
{
	return attach_with(f, att, 0);
}

static uint64_t oldest(const struct fixture *f)
{
	return pump_out_oldest(f->j->out[KM_STDOUT]);
}

/* ---- who is waited for ---- */

static void one_that_does_not_read_is_passed_when_another_waits(void **state)
{
	struct fixture *f = *state;
	struct attachment *quick;

	jobs_set_patience(f->jobs, FOREVER, 0);
	quick = attach(f, 1);
	attach(f, 2);
	fill(f);
	assert_int_equal(oldest(f), 0);
	f->rings = 0;
	assert_true(goes_on(f, quick));
	assert_true(oldest(f) > 0);
	/* What it may refer to was left alone: both were given other rings. */
	assert_true(f->rings >= 2);
}

static void time_has_to_pass_before_one_is_passed(void **state)
{
	struct fixture *f = *state;
	struct attachment *quick;

	jobs_set_patience(f->jobs, FOREVER, FOREVER);
	quick = attach(f, 1);
	attach(f, 2);
	fill(f);
	assert_false(goes_on(f, quick));
	assert_int_equal(oldest(f), 0);
	jobs_set_patience(f->jobs, FOREVER, 1);
	ack(quick, head(f));
	attach_on_patience(f->j);
	while (attach_on_patience(f->j), pump_out_full(f->j->out[KM_STDOUT]))
		;
	assert_true(goes_on(f, quick));
}

/* One that keeps the others waiting now and then, for less than half of the time. */
static void patience_is_earned_back(void **state)
{
	const struct timespec pause = {0, 50000000};
	struct fixture *f = *state;
	struct attachment *quick, *other;
	int64_t hindered = 0;

	jobs_set_patience(f->jobs, FOREVER, FOREVER);
	quick = attach(f, 1);
	other = attach(f, 2);
	while (hindered < NS_PER_S) {
		int64_t begin, end;

		fill(f);
		ack(quick, head(f));
		begin = clock_monotonic_ns();
		attach_on_patience(f->j);
		nanosleep(&pause, NULL);
		ack(other, head(f));
		attach_on_patience(f->j);
		end = clock_monotonic_ns();
		hindered += end - begin;
		/* And is calm for at least as long. */
		while (clock_monotonic_ns() - end <= end - begin)
			nanosleep(&pause, NULL);
	}
	/* In all it has used up this patience. */
	jobs_set_patience(f->jobs, FOREVER, hindered);
	fill(f);
	ack(quick, head(f));
	attach_on_patience(f->j);
	assert_true(pump_out_full(f->j->out[KM_STDOUT]));
}

static void a_sole_reader_is_waited_for(void **state)
{
	struct fixture *f = *state;
	struct attachment *sole;

	jobs_set_patience(f->jobs, 0, 0);
	sole = attach(f, 1);
	/* One that was never attached as a client waits for nothing. */
	attach_with(f, 2, KM_ATTACH_PASSIVE);
	fill(f);
	assert_false(goes_on(f, NULL));
	assert_int_equal(oldest(f), 0);
	ack(sole, SIZE);
	assert_true(goes_on(f, sole));
}

static void readers_who_are_all_behind_are_waited_for(void **state)
{
	struct fixture *f = *state;
	struct attachment *one;

	jobs_set_patience(f->jobs, 0, 0);
	one = attach(f, 1);
	attach(f, 2);
	fill(f);
	ack(one, head(f) - 1);
	turn(f);
	assert_int_equal(oldest(f), 0);
	assert_true(pump_out_full(f->j->out[KM_STDOUT]));
}

static void who_started_it_or_feeds_it_has_more_time(void **state)
{
	const struct attach_want starter = {.owner = "me", .starter = true};
	const struct attach_want feeder = {.owner = "me", .stdin_too = true};
	struct fixture *f = *state;
	struct attachment *quick;

	jobs_set_patience(f->jobs, FOREVER, 0);
	quick = attach(f, 1);
	attach_as(f, 2, &starter);
	attach_as(f, 3, &feeder);
	fill(f);
	assert_false(goes_on(f, quick));
	assert_int_equal(oldest(f), 0);
	jobs_set_patience(f->jobs, 0, 0);
	ack(quick, head(f));
	attach_on_patience(f->j);
	assert_true(goes_on(f, quick));
}

static void a_lossy_one_is_not_waited_for_at_all(void **state)
{
	struct fixture *f = *state;
	struct attachment *quick;

	jobs_set_patience(f->jobs, FOREVER, FOREVER);
	quick = attach(f, 1);
	attach_with(f, 2, KM_ATTACH_LOSSY);
	fill(f);
	assert_true(goes_on(f, quick));
	/* Nor when it is alone: it would rather lose. */
	detach(quick);
	ack(attach_find(f->table, 2), head(f));
	assert_true(goes_on(f, NULL));
}

static void one_that_was_passed_is_waited_for_when_it_is_alone(void **state)
{
	struct fixture *f = *state;
	struct attachment *quick, *slow;

	jobs_set_patience(f->jobs, FOREVER, 0);
	quick = attach(f, 1);
	slow = attach(f, 2);
	fill(f);
	assert_true(goes_on(f, quick));
	/* It has read on in time, by its own account. */
	ack(slow, head(f));
	detach(quick);
	fill(f);
	assert_false(goes_on(f, NULL));
	ack(slow, head(f));
	assert_true(goes_on(f, slow));
}

static void with_nobody_attached_the_process_waits(void **state)
{
	struct fixture *f = *state;
	struct attachment *a;

	fill(f);
	assert_false(goes_on(f, NULL));
	a = attach(f, 1);
	ack(a, head(f));
	detach(a);
	/* What it had is history, and there for the next, until its room is needed. */
	assert_int_equal(oldest(f), 0);
	fill(f);
	assert_int_equal(head(f), 2 * SIZE);
	assert_int_equal(oldest(f), SIZE);
}

/* ---- those that come back ---- */

/* Its worker is replaced, or dead: the client is about to come back. */
static void move(struct attachment *a)
{
	const struct km_detach m = {.moved = 1};

	attach_detach(a, &m);
}

static void one_that_is_away_is_waited_for(void **state)
{
	struct attach_want want = {.owner = "me", .key = 5};
	struct fixture *f = *state;
	struct attachment *quick, *slow;

	jobs_set_patience(f->jobs, FOREVER, FOREVER);
	quick = attach(f, 1);
	slow = attach_as(f, 2, &want);
	fill(f);
	ack(slow, 10);
	move(slow);
	assert_false(goes_on(f, quick));
	assert_true(oldest(f) <= 10);
	want.offset[KM_STDOUT] = 10;
	slow = attach_as(f, 3, &want);
	ack(slow, head(f));
	ack(quick, head(f));
	attach_detach(slow, &(struct km_detach){.att = 3});
	assert_true(goes_on(f, quick));
}

static void one_that_stays_away_is_passed_like_any_other(void **state)
{
	struct fixture *f = *state;
	struct attachment *quick;

	jobs_set_patience(f->jobs, FOREVER, 0);
	quick = attach(f, 1);
	move(attach(f, 2));
	fill(f);
	assert_true(goes_on(f, quick));
}

static void all_that_were_away_can_go_on_where_they_were(void **state)
{
	struct attach_want want = {.owner = "me"};
	struct fixture *f = *state;
	struct attachment *one, *two;

	jobs_set_patience(f->jobs, FOREVER, FOREVER);
	one = attach(f, 1);
	two = attach(f, 2);
	fill(f);
	ack(one, 100);
	ack(two, 5000);
	/* Whoever goes first. */
	move(one);
	move(two);
	assert_false(goes_on(f, NULL));
	want.offset[KM_STDOUT] = 100;
	attach_as(f, 3, &want);
	assert_true(oldest(f) <= 100);
}

/* What it sent may still wait for its client: that memory is not written again. */
static void the_memory_of_one_that_left_is_left_alone(void **state)
{
	struct fixture *f = *state;
	struct attachment *quick;
	unsigned rings;

	quick = attach(f, 1);
	fill(f);
	detach(attach(f, 2));
	rings = f->rings;
	assert_true(goes_on(f, quick));
	assert_int_equal(f->rings, rings + 1);
	assert_true(goes_on(f, quick));
	assert_int_equal(f->rings, rings + 1);
}

/* ---- passive ones ---- */

static void a_passive_one_is_no_presence(void **state)
{
	struct fixture *f = *state;
	struct attachment *quick;

	attach_with(f, 1, KM_ATTACH_PASSIVE);
	assert_int_equal(f->j->n_attached, 0);
	quick = attach(f, 2);
	assert_int_equal(f->j->n_attached, 1);
	fill(f);
	assert_true(goes_on(f, quick));
	/* The last that counts has left, for the disconnect policy, too. */
	assert_false(event_pending(f->j->gone_timer, EV_TIMEOUT, NULL));
	detach(quick);
	assert_true(event_pending(f->j->gone_timer, EV_TIMEOUT, NULL));
	/* And such a one does not bring it back. */
	attach_with(f, 3, KM_ATTACH_PASSIVE);
	assert_true(event_pending(f->j->gone_timer, EV_TIMEOUT, NULL));
}

static bool is_leaving(const struct fixture *f)
{
	return event_pending(f->j->gone_timer, EV_TIMEOUT, NULL) != 0;
}

static void one_that_only_watches_neither_ends_it_nor_keeps_it(void **state)
{
	const struct attach_want starter = {.owner = "me", .key = 1, .starter = true};
	const struct attach_want watcher = {.owner = "me", .key = 2};
	const struct attach_want again = {.owner = "me", .key = 1};
	struct fixture *f = *state;
	struct attachment *a, *b;

	a = attach_as(f, 1, &starter);
	b = attach_as(f, 2, &watcher);
	assert_int_equal(f->j->n_attached, 2);
	detach(b);
	assert_false(is_leaving(f));
	b = attach_as(f, 3, &watcher);
	detach(a);
	assert_true(is_leaving(f)); /* though the other watches */
	detach(b);
	attach_as(f, 4, &watcher);
	assert_true(is_leaving(f));
	attach_as(f, 5, &again);
	assert_false(is_leaving(f));
}

/* One that nobody stayed with: by Start. */
static void watching_what_nobody_stayed_with_does_not_end_it(void **state)
{
	const struct attach_want keyless = {.owner = "me"}, watcher = {.owner = "me", .key = 2};
	struct fixture *f = *state;

	f->j->was_attached = false;
	detach(attach_as(f, 1, &keyless));
	assert_false(is_leaving(f));
	detach(attach_as(f, 2, &watcher));
	assert_false(is_leaving(f));
}

static void one_that_feeds_stdin_counts_and_may_come_back_without(void **state)
{
	struct attach_want feeder = {.owner = "me", .key = 3, .stdin_too = true};
	struct fixture *f = *state;
	struct attachment *a;

	f->j->was_attached = false;
	a = attach_as(f, 1, &feeder);
	detach(a);
	assert_true(is_leaving(f));
	/* The process has closed it meanwhile. */
	feeder.stdin_too = false;
	(void)attach_as(f, 2, &feeder);
	assert_false(is_leaving(f));
	/* On another connection before the loss of the first is known. */
	attach_as(f, 3, &feeder);
	assert_int_equal(f->j->n_counted, 1);
	assert_false(is_leaving(f));
	detach(attach_find(f->table, 3));
	assert_true(is_leaving(f));
}

static void what_a_passive_one_says_it_has_counts_where_nobody_else_does(void **state)
{
	struct attach_want want = {
	    .owner = "me", .flags = KM_ATTACH_PASSIVE, .acknowledged = KM_BIT(KM_STDOUT)};
	struct fixture *f = *state;

	fill(f);
	want.offset[KM_STDOUT] = SIZE;
	attach_as(f, 1, &want);
	fill(f);
	assert_int_equal(head(f), 2 * SIZE);
}

static void one_without_output_gets_no_rings(void **state)
{
	const struct attach_want want = {
	    .owner = "me", .flags = KM_ATTACH_PASSIVE | KM_ATTACH_NO_OUTPUT, .stdin_too = true};
	struct fixture *f = *state;

	attach_as(f, 1, &want);
	assert_int_equal(f->rings, 1); /* stdin's */
	fill(f);
	assert_int_equal(f->rings, 1);
	assert_int_equal(f->wakes, 0);
}

/* ---- keys and stdin ---- */

static void the_same_key_takes_the_place_and_stdin(void **state)
{
	struct attach_want want = {.owner = "me", .key = 7, .stdin_too = true};
	struct fixture *f = *state;
	struct attachment *again;

	attach_as(f, 1, &want);
	assert_true(attach_holds_stdin(attach_find(f->table, 1)));
	again = attach_as(f, 2, &want);
	assert_null(attach_find(f->table, 1));
	assert_int_equal(f->detached[1], KM_WHY_REPLACED);
	assert_true(attach_holds_stdin(again));
	assert_int_equal(f->j->n_attached, 1);
	assert_false(event_pending(f->j->gone_timer, EV_TIMEOUT, NULL));
	/* Another's key is another key. */
	want.owner = "you";
	want.stdin_too = false;
	attach_as(f, 3, &want);
	assert_non_null(attach_find(f->table, 2));
	want.key = 0;
	attach_as(f, 4, &want);
	attach_as(f, 5, &want);
	assert_int_equal(f->j->n_attached, 4);
}

static void one_that_is_there_for_stdin_alone_ends_with_it(void **state)
{
	const struct attach_want alone = {
	    .owner = "me", .flags = KM_ATTACH_PASSIVE | KM_ATTACH_NO_OUTPUT, .stdin_too = true};
	const struct attach_want starter = {.owner = "me", .starter = true, .stdin_too = true};
	struct fixture *f = *state;

	attach_as(f, 1, &alone);
	attach_as(f, 2, &starter);
	assert_null(attach_find(f->table, 1));
	assert_int_equal(f->detached[1], KM_WHY_STDIN_HELD);
}

static void one_for_stdin_alone_is_replaced_once_by_its_own_key(void **state)
{
	struct attach_want want = {.owner = "me",
	    .flags = KM_ATTACH_PASSIVE | KM_ATTACH_NO_OUTPUT,
	    .key = 7,
	    .stdin_too = true};
	struct fixture *f = *state;

	attach_as(f, 1, &want);
	attach_as(f, 2, &want);
	assert_null(attach_find(f->table, 1));
	assert_int_equal(f->detached[1], KM_WHY_REPLACED);
	want.flags = 0;
	assert_true(attach_holds_stdin(attach_as(f, 3, &want)));
	assert_null(attach_find(f->table, 2));
	assert_int_equal(f->detached[2], KM_WHY_REPLACED);
	assert_int_equal(f->j->n_attached, 1);
	assert_int_equal(f->j->n_readers, 1);
}

static void a_link_has_so_many_attachments_and_no_more(void **state)
{
	const struct attach_want want = {.owner = "me", .flags = KM_ATTACH_PASSIVE};
	struct fixture *f = *state;
	struct attachment *a;

	for (uint32_t att = 1; att <= ATTACH_MAX; att++)
		assert_int_equal(attach_add(&a, f->table, att, f->j, &want), 0);
	assert_int_equal(attach_add(&a, f->table, ATTACH_MAX + 1, f->j, &want), TX_ELIMIT);
	detach(a);
	assert_int_equal(attach_add(&a, f->table, ATTACH_MAX + 1, f->j, &want), 0);
}

/* ---- over an upgrade ---- */

static void what_was_earned_back_is_kept(void **state)
{
	struct fixture *f = *state;
	struct attachment *a = attach(f, 1);
	struct state_out *o = state_out_new();
	struct reader_saved *saved;
	struct state_in *in;
	enum state_tag tag;
	struct err e;
	size_t n;
	int memfd;

	assert_non_null(o);
	a->out[KM_STDOUT].hindered = 1000 * NS_PER_S;
	a->out[KM_STDOUT].calm_at = clock_monotonic_ns() - 100 * NS_PER_S;
	state_begin(o, STATE_JOB);
	readers_save(o, f->j);
	state_end(o);
	state_begin(o, STATE_END);
	state_end(o);
	assert_int_equal(state_seal(o, &memfd, &e), 0);
	state_out_free(o);
	assert_int_equal(state_open(&in, memfd, &e), 0);
	close(memfd);
	assert_true(state_next(in, &tag));
	readers_load(in, &saved, &n);
	state_close(in);
	assert_int_equal(n, 1);
	assert_true(saved->hindered[KM_STDOUT] <= 900 * NS_PER_S);
	assert_true(saved->hindered[KM_STDOUT] > 500 * NS_PER_S);
	readers_restore(f->j, saved, n);
	free(saved);
	a = LIST_FIRST(&f->j->away);
	assert_non_null(a);
	/* And not all of it at once. */
	assert_true(clock_monotonic_ns() - a->out[KM_STDOUT].calm_at < 100 * NS_PER_S);
}

#define RUN_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    RUN_TEST(one_that_does_not_read_is_passed_when_another_waits),
	    RUN_TEST(time_has_to_pass_before_one_is_passed),
	    RUN_TEST(patience_is_earned_back),
	    RUN_TEST(a_sole_reader_is_waited_for),
	    RUN_TEST(readers_who_are_all_behind_are_waited_for),
	    RUN_TEST(who_started_it_or_feeds_it_has_more_time),
	    RUN_TEST(a_lossy_one_is_not_waited_for_at_all),
	    RUN_TEST(one_that_was_passed_is_waited_for_when_it_is_alone),
	    RUN_TEST(with_nobody_attached_the_process_waits),
	    RUN_TEST(one_that_is_away_is_waited_for),
	    RUN_TEST(one_that_stays_away_is_passed_like_any_other),
	    RUN_TEST(all_that_were_away_can_go_on_where_they_were),
	    RUN_TEST(the_memory_of_one_that_left_is_left_alone),
	    RUN_TEST(a_passive_one_is_no_presence),
	    RUN_TEST(one_that_only_watches_neither_ends_it_nor_keeps_it),
	    RUN_TEST(watching_what_nobody_stayed_with_does_not_end_it),
	    RUN_TEST(one_that_feeds_stdin_counts_and_may_come_back_without),
	    RUN_TEST(what_a_passive_one_says_it_has_counts_where_nobody_else_does),
	    RUN_TEST(one_without_output_gets_no_rings),
	    RUN_TEST(the_same_key_takes_the_place_and_stdin),
	    RUN_TEST(one_that_is_there_for_stdin_alone_ends_with_it),
	    RUN_TEST(one_for_stdin_alone_is_replaced_once_by_its_own_key),
	    RUN_TEST(what_was_earned_back_is_kept),
	    RUN_TEST(a_link_has_so_many_attachments_and_no_more),
	};

	return cmocka_run_group_tests_name("readers", tests, NULL, NULL);
}
