/* SPDX-License-Identifier: Apache-2.0 */
/* The worker's end of its link: what many sessions do to it, and what is left when one of them lets
 * go. */
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
#include <sys/resource.h>
#include <unistd.h>

#include "agent/worker/keeper_client.h"
#include "tests/support/fake_keeper.h"

struct fixture {
	struct event_base *base;
	struct keeper_client *client;
	struct fake_keeper *keeper;
	int null; /* stands for a spec */
	unsigned jobs, refused, wakes, ended, lost, answers, nulls;
	bool keeper_lost;
};

static void settle(struct fixture *f)
{
	for (int i = 0; i < 64; i++)
		event_base_loop(f->base, EVLOOP_NONBLOCK);
}

static void on_job(const struct km_job *job, void *arg)
{
	(void)job;
	((struct fixture *)arg)->jobs++;
}

static void on_refused(const struct km_refused *why, void *arg)
{
	(void)why;
	((struct fixture *)arg)->refused++;
}

static void on_wake(uint32_t eof, void *arg)
{
	(void)eof;
	((struct fixture *)arg)->wakes++;
}

static void on_ended(const struct km_exit *how, void *arg)
{
	(void)how;
	((struct fixture *)arg)->ended++;
}

static void on_lost(void *arg)
{
	((struct fixture *)arg)->lost++;
}

static const struct keeper_attachment_ops att_ops = {
    .job = on_job,
    .refused = on_refused,
    .wake = on_wake,
    .ended = on_ended,
    .lost = on_lost,
};

static void on_answer(const union km_any *msg, int fd, void *arg)
{
	struct fixture *f = arg;

	(void)fd;
	f->answers++;
	f->nulls += msg == NULL;
}

static int control(const union km_any *msg, int *fds, size_t n_fds, void *arg)
{
	struct fixture *f = arg;

	for (size_t i = 0; i < n_fds; i++)
		close(fds[i]);
	if (msg->hdr.type == KM_GO)
		keeper_client_ready(f->client);
	return 0;
}

static void on_keeper_lost(const struct err *why, void *arg)
{
	(void)why;
	((struct fixture *)arg)->keeper_lost = true;
}

static int set_up(void **state)
{
	static const struct keeper_client_ops ops = {.control = control, .lost = on_keeper_lost};
	struct fixture *f = calloc(1, sizeof(*f));
	struct err e;
	int fd;

	assert_non_null(f);
	f->base = event_base_new();
	f->keeper = fake_keeper_new(f->base, &fd);
	f->null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	assert_int_equal(keeper_client_new(&f->client, f->base, fd, &ops, f, &e), 0);
	fake_keeper_configure(f->keeper);
	settle(f);
	*state = f;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *f = *state;

	keeper_client_free(f->client);
	fake_keeper_free(f->keeper);
	event_base_free(f->base);
	close(f->null);
	free(f);
	return 0;
}

static struct keeper_attachment *begin(struct fixture *f, union km_any *asked)
{
	struct keeper_attachment *a = NULL;
	struct km_start m = {.id = "p1"};

	assert_int_equal(keeper_start(&a, f->client, &m, f->null, &att_ops, f), 0);
	settle(f);
	assert_true(fake_keeper_take(f->keeper, KM_START, asked, NULL));
	return a;
}

static void accept_it(struct fixture *f, const union km_any *asked)
{
	struct km_job job = {.att = asked->start.att, .id = "p1"};

	fake_keeper_send(f->keeper, KM_JOB, asked->hdr.seq, &job, -1);
	settle(f);
}

static void pings_are_answered(void **state)
{
	struct fixture *f = *state;
	struct km_ping ping = {0};
	union km_any msg;

	fake_keeper_send(f->keeper, KM_PING, 77, &ping, -1);
	settle(f);
	assert_true(fake_keeper_take(f->keeper, KM_PONG, &msg, NULL));
	assert_int_equal(msg.hdr.seq, 77);
}

static void each_attachment_has_its_number_and_its_news(void **state)
{
	struct fixture *f = *state;
	union km_any first, second;
	struct keeper_attachment *a = begin(f, &first), *b = begin(f, &second);

	assert_int_not_equal(first.start.att, second.start.att);
	assert_int_not_equal(first.start.att, 0);
	accept_it(f, &first);
	accept_it(f, &second);
	assert_int_equal(f->jobs, 2);
	keeper_detach(a, KM_DELIVERED_NOT);
	fake_keeper_wake(f->keeper, first.start.att, 0);
	fake_keeper_wake(f->keeper, second.start.att, 0);
	fake_keeper_wake(f->keeper, 4242, 0);
	settle(f);
	assert_int_equal(f->wakes, 1);
	keeper_detach(b, KM_DELIVERED_LIKELY);
	settle(f);
	assert_int_equal(fake_keeper_count(f->keeper, KM_DETACH), 2);
}

/* The worker's process has no descriptor left: a ring for one, and a table, cannot be taken. */
static void what_finds_no_room_ends_whom_it_was_for_alone(void **state)
{
	struct fixture *f = *state;
	struct km_ring ring = {.stream = KM_STDOUT, .size = 4096};
	struct km_list list = {.owner = "me"};
	struct km_table_msg table = {.count = 0};
	union km_any first, second, asked;
	struct keeper_attachment *a = begin(f, &first), *b = begin(f, &second);
	struct rlimit before, none;

	accept_it(f, &first);
	accept_it(f, &second);
	assert_int_equal(keeper_call(f->client, KM_LIST, &list, -1, on_answer, f, NULL), 0);
	settle(f);
	assert_true(fake_keeper_take(f->keeper, KM_LIST, &asked, NULL));
	ring.att = first.start.att;
	fake_keeper_send(f->keeper, KM_RING, 0, &ring, f->null);
	fake_keeper_send(f->keeper, KM_TABLE, asked.hdr.seq, &table, f->null);
	assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
	none = before;
	none.rlim_cur = 3;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
	settle(f);
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
	assert_false(f->keeper_lost);
	assert_int_equal(f->refused, 1);
	assert_int_equal(f->answers, 1);
	assert_int_equal(f->nulls, 0);
	assert_true(fake_keeper_take(f->keeper, KM_DETACH, &asked, NULL));
	assert_int_equal(asked.detach.att, first.start.att);
	fake_keeper_wake(f->keeper, second.start.att, 0);
	settle(f);
	assert_int_equal(f->wakes, 1);
	keeper_detach(a, KM_DELIVERED_NOT);
	keeper_detach(b, KM_DELIVERED_NOT);
	settle(f);
}

static void news_are_merged_until_they_can_be_sent(void **state)
{
	struct fixture *f = *state;
	union km_any msg;
	struct keeper_attachment *a = begin(f, &msg);

	accept_it(f, &msg);
	for (uint64_t i = 1; i <= 5000; i++) {
		keeper_release(a, KM_STDOUT, i, i + 1);
		keeper_input(a, i, i == 5000);
	}
	settle(f);
	assert_int_equal(fake_keeper_count(f->keeper, KM_RELEASE), 1);
	assert_true(fake_keeper_take(f->keeper, KM_RELEASE, &msg, NULL));
	assert_int_equal(msg.release.acked, 5000);
	assert_int_equal(msg.release.seen, 5001);
	assert_int_equal(fake_keeper_count(f->keeper, KM_INPUT), 1);
	assert_true(fake_keeper_take(f->keeper, KM_INPUT, &msg, NULL));
	assert_int_equal(msg.input.head, 5000);
	assert_int_equal(msg.input.eof, 1);
	keeper_detach(a, KM_DELIVERED_NOT);
}

static void a_full_link_refuses_questions_and_loses_no_news(void **state)
{
	struct fixture *f = *state;
	struct km_info info = {0};
	union km_any msg;
	struct keeper_attachment *a = begin(f, &msg);
	unsigned asked = 0;
	int rc = 0;

	accept_it(f, &msg);
	while (asked < 1000000 && rc == 0) {
		rc = keeper_call(f->client, KM_INFO, &info, -1, on_answer, f, NULL);
		asked += rc == 0;
	}
	assert_int_equal(rc, TX_ELIMIT);
	keeper_release(a, KM_STDERR, 5, 6);
	keeper_detach(a, KM_DELIVERED_LIKELY);
	settle(f);
	assert_int_equal(fake_keeper_count(f->keeper, KM_INFO), asked);
	assert_true(fake_keeper_take(f->keeper, KM_RELEASE, &msg, NULL));
	assert_int_equal(msg.release.stream, KM_STDERR);
	assert_true(fake_keeper_take(f->keeper, KM_DETACH, &msg, NULL));
	assert_int_equal(msg.detach.delivered, KM_DELIVERED_LIKELY);
}

/* What was said to be flushed comes before what is asked after it, however full the link is. */
static void input_can_be_told_before_a_question(void **state)
{
	struct fixture *f = *state;
	struct km_info info = {0};
	const unsigned asked = 600;
	union km_any msg;
	struct keeper_attachment *a = begin(f, &msg);

	accept_it(f, &msg);
	for (unsigned i = 0; i < asked; i++)
		assert_int_equal(keeper_call(f->client, KM_INFO, &info, -1, on_answer, f, NULL), 0);
	keeper_input(a, 0, true);
	assert_int_equal(keeper_input_now(a), 0);
	assert_int_equal(keeper_call(f->client, KM_INFO, &info, -1, on_answer, f, NULL), 0);
	while (fake_keeper_count(f->keeper, KM_INFO) < asked + 1)
		event_base_loop(f->base, EVLOOP_ONCE);
	assert_int_equal(fake_keeper_count(f->keeper, KM_INPUT), 1);
	keeper_detach(a, KM_DELIVERED_NOT);
	settle(f);
	assert_int_equal(fake_keeper_count(f->keeper, KM_INPUT), 1);
}

static void who_lets_go_before_the_answer_is_detached_after_it(void **state)
{
	struct fixture *f = *state;
	union km_any msg;

	keeper_detach(begin(f, &msg), KM_DELIVERED_NOT);
	settle(f);
	assert_int_equal(fake_keeper_count(f->keeper, KM_DETACH), 0);
	accept_it(f, &msg);
	assert_int_equal(f->jobs, 0);
	assert_int_equal(fake_keeper_count(f->keeper, KM_DETACH), 1);
}

static void who_was_refused_has_nothing_to_detach_from(void **state)
{
	struct fixture *f = *state;
	union km_any msg;
	struct keeper_attachment *a = begin(f, &msg);

	fake_keeper_refuse(f->keeper, msg.hdr.seq, KM_WHY_EXISTS);
	settle(f);
	assert_int_equal(f->refused, 1);
	keeper_release(a, KM_STDOUT, 1, 1);
	keeper_detach(a, KM_DELIVERED_NOT);
	keeper_detach(begin(f, &msg), KM_DELIVERED_NOT);
	fake_keeper_refuse(f->keeper, msg.hdr.seq, KM_WHY_EXISTS);
	settle(f);
	assert_int_equal(f->refused, 1);
	assert_int_equal(fake_keeper_count(f->keeper, KM_DETACH), 0);
	assert_int_equal(fake_keeper_count(f->keeper, KM_RELEASE), 0);
}

static void an_answer_that_is_forgotten_is_dropped(void **state)
{
	struct fixture *f = *state;
	struct keeper_call *call = NULL;
	struct km_info_reply reply = {0};
	struct km_info info = {0};
	union km_any msg;

	assert_int_equal(keeper_call(f->client, KM_INFO, &info, -1, on_answer, f, &call), 0);
	keeper_call_forget(call);
	keeper_call_forget(NULL);
	settle(f);
	assert_true(fake_keeper_take(f->keeper, KM_INFO, &msg, NULL));
	fake_keeper_send(f->keeper, KM_INFO_REPLY, msg.hdr.seq, &reply, -1);
	settle(f);
	assert_int_equal(f->answers, 0);
	assert_false(f->keeper_lost);
}

static void the_keepers_death_reaches_everybody_once(void **state)
{
	struct fixture *f = *state;
	struct km_info info = {0};
	union km_any first, second;
	struct keeper_attachment *a = begin(f, &first), *b = begin(f, &second);

	accept_it(f, &first);
	assert_int_equal(keeper_call(f->client, KM_INFO, &info, -1, on_answer, f, NULL), 0);
	keeper_release(a, KM_STDOUT, 1, 1);
	fake_keeper_die(f->keeper);
	settle(f);
	assert_int_equal(f->lost, 2);
	assert_int_equal(f->answers, 1);
	assert_int_equal(f->nulls, 1);
	assert_true(f->keeper_lost);
	keeper_detach(a, KM_DELIVERED_NOT);
	keeper_detach(b, KM_DELIVERED_NOT);
	assert_int_equal(
	    keeper_call(f->client, KM_INFO, &info, -1, on_answer, f, NULL), TX_ECLOSED);
	keeper_client_failed(f->client, "nobody hears it");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(pings_are_answered),
	    TEST(each_attachment_has_its_number_and_its_news),
	    TEST(what_finds_no_room_ends_whom_it_was_for_alone),
	    TEST(news_are_merged_until_they_can_be_sent),
	    TEST(a_full_link_refuses_questions_and_loses_no_news),
	    TEST(input_can_be_told_before_a_question),
	    TEST(who_lets_go_before_the_answer_is_detached_after_it),
	    TEST(who_was_refused_has_nothing_to_detach_from),
	    TEST(an_answer_that_is_forgotten_is_dropped),
	    TEST(the_keepers_death_reaches_everybody_once),
	};

	/* valgrind: its limit of descriptors is not the kernel's. */
	if (getenv("TELEX_TEST_SLOW") != NULL) {
		puts("# left out under valgrind: what_finds_no_room_ends_whom_it_was_for_alone");
		cmocka_set_skip_filter("what_finds_no_room_ends_whom_it_was_for_alone");
	}
	return cmocka_run_group_tests_name("keeper_client", tests, NULL, NULL);
}
