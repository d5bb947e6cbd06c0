/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "lib/client.h"
#include "tests/support/client_fixture.h"

/* What a question was answered. */
struct answer {
	bool done, failed, serving;
	size_t n;
	char ids[64], text[64];
	struct telex_error error;
};

static const struct telex_filter everything = {.include_ended = true};
static const struct telex_signal_options hup = {.signo = SIGHUP, .target = TELEX_TARGET_PROCESS};
static const struct telex_signal_options valued = {
    .signo = SIGHUP, .target = TELEX_TARGET_TREE, .has_value = true};
static const struct telex_update nothing = {0};
static const struct telex_signal_options no_signal = {.signo = 65};
static const struct telex_input last_bytes = {.offset = 10, .data = "abc", .len = 3, .eof = true};
static const struct telex_input too_many_bytes = {.data = "", .len = (1 << 20) + 1};

static void on_done(const struct telex_error *error, void *arg)
{
	struct answer *a = arg;

	assert_false(a->done);
	a->done = true;
	a->failed = error != NULL;
	if (error != NULL)
		a->error = *error;
}

static void on_process(const struct telex_process *p, void *arg)
{
	struct answer *a = arg;
	size_t used = strlen(a->ids);

	assert_false(a->done);
	a->n++;
	snprintf(a->ids + used, sizeof(a->ids) - used, "%s ", p->process_id);
	assert_int_equal(p->state, TELEX_STATE_RUNNING);
	assert_int_equal(p->argc, 2);
	assert_string_equal(p->argv[0], "sh");
	assert_string_equal(p->owner, "spiffe://test.internal/user/alice");
}

static void on_info(const struct telex_info *info, void *arg)
{
	struct answer *a = arg;

	a->n++;
	snprintf(a->text, sizeof(a->text), "%s %s %s", info->version, info->hostname,
	    info->capabilities[0]);
	assert_int_equal(info->processors, 2);
	assert_string_equal(info->tls_version, "");
}

static void on_serving(bool serving, void *arg)
{
	struct answer *a = arg;

	a->n++;
	a->serving = serving;
}

static void list_gives_each_process(void **state)
{
	struct fixture *f = *state;
	struct answer a = {0}, all = {0};

	assert_int_equal(telex_list(f->client, NULL, 0, on_process, NULL, on_done, &a, NULL), 0);
	assert_int_equal(
	    telex_list(f->client, &everything, 0, on_process, NULL, on_done, &all, NULL), 0);
	fixture_until(f, &a.done);
	fixture_until(f, &all.done);
	assert_false(a.failed || all.failed);
	assert_string_equal(a.ids, "p1 p2 ");
	assert_string_equal(all.ids, "p1 p2 p3 ");
}

static void get_gives_one_process(void **state)
{
	struct fixture *f = *state;
	struct answer a = {0};

	assert_int_equal(telex_get(f->client, "p1", 0, on_process, on_done, &a, NULL), 0);
	fixture_until(f, &a.done);
	assert_false(a.failed);
	assert_string_equal(a.ids, "p1 ");
}

static void get_of_nothing_is_not_found(void **state)
{
	struct fixture *f = *state;
	struct answer a = {0};

	assert_int_equal(telex_get(f->client, "p9", 0, on_process, on_done, &a, NULL), 0);
	fixture_until(f, &a.done);
	assert_true(a.failed);
	assert_int_equal(a.n, 0);
	assert_int_equal(a.error.kind, TELEX_ERROR_STATUS);
	assert_int_equal(a.error.code, 5);
	assert_string_equal(a.error.reason, "NO_SUCH_PROCESS");
	assert_string_equal(a.error.message, "there is no process \"p9\"");
}

static void an_incomplete_answer_is_an_error(void **state)
{
	struct fixture *f = *state;
	struct answer a = {0};

	assert_int_equal(telex_get(f->client, "empty", 0, on_process, on_done, &a, NULL), 0);
	fixture_until(f, &a.done);
	assert_true(a.failed);
	assert_int_equal(a.n, 0);
	assert_int_equal(a.error.kind, TELEX_ERROR_STATUS);
	assert_int_equal(a.error.code, 13);
}

static void signal_arrives(void **state)
{
	struct fixture *f = *state;
	struct answer a = {0};

	assert_int_equal(telex_signal(f->client, "p1", &hup, 0, on_done, &a, NULL), 0);
	fixture_until(f, &a.done);
	assert_false(a.failed);
	assert_int_equal(fake_agent_seen(f->agent)->signo, SIGHUP);
	assert_true(fake_agent_seen(f->agent)->process_only);
}

static void info_and_health_are_answered(void **state)
{
	struct fixture *f = *state;
	struct answer info = {0}, all = {0}, one = {0}, none = {0};

	assert_int_equal(telex_info(f->client, 0, on_info, on_done, &info, NULL), 0);
	assert_int_equal(telex_health(f->client, NULL, 0, on_serving, on_done, &all, NULL), 0);
	assert_int_equal(telex_health(f->client, "x.Y", 0, on_serving, on_done, &one, NULL), 0);
	assert_int_equal(telex_health(f->client, "nope", 0, on_serving, on_done, &none, NULL), 0);
	fixture_until(f, &info.done);
	fixture_until(f, &all.done);
	fixture_until(f, &one.done);
	fixture_until(f, &none.done);
	assert_string_equal(info.text, "9.9.9 web1 user-switching");
	assert_true(all.n == 1 && all.serving);
	assert_true(one.n == 1 && !one.serving);
	assert_true(none.n == 0 && none.failed);
	assert_int_equal(none.error.code, 5);
}

/* ---- about one process, and groups ---- */

static void on_exit_is(const struct telex_exit *exit, void *arg)
{
	struct answer *a = arg;

	a->n++;
	assert_int_equal(exit->end, TELEX_END_CODE);
	assert_int_equal(exit->value, 7);
}

static void on_input(uint64_t offset, bool closed, void *arg)
{
	struct answer *a = arg;

	a->n++;
	assert_int_equal(offset, 13);
	assert_true(closed);
}

static void on_group(const struct telex_group *g, void *arg)
{
	struct answer *a = arg;

	a->n++;
	snprintf(a->text, sizeof(a->text), "%s %u %u %u %u", g->name, g->maximum, g->queued,
	    g->running, g->ended);
}

static void on_signalled(uint32_t signalled, uint32_t dequeued, void *arg)
{
	struct answer *a = arg;

	a->n++;
	assert_int_equal(signalled, 2);
	assert_int_equal(dequeued, 1);
}

static void on_removed(uint32_t removed, void *arg)
{
	struct answer *a = arg;

	a->n++;
	assert_int_equal(removed, 5);
}

/* Answered well, n times, to this question. */
static void expect_answer(
    struct fixture *f, int asked, struct answer *a, size_t n, const char *what)
{
	assert_int_equal(asked, 0);
	fixture_until(f, &a->done);
	if (a->failed)
		fail_msg("%s: %s", what, a->error.message);
	assert_int_equal(a->n, n);
	assert_string_equal(fake_agent_seen(f->agent)->asked, what);
}

static void each_question_about_a_process_is_answered(void **state)
{
	static const char *const argv[] = {"sh", "-c", NULL};
	const struct telex_command command = {.argv = argv, .process_id = "p7"};
	const struct telex_limit limits[] = {{"nofile", 1, 2}};
	const struct telex_update update = {
	    .limits = limits, .n_limits = 1, .set_nice = true, .memory_bytes = 1 << 20};
	struct fixture *f = *state;
	struct telex_client *c = f->client;
	struct answer a[7] = {0};

	expect_answer(
	    f, telex_start(c, &command, 0, on_process, on_done, &a[0], NULL), &a[0], 1, "start p7");
	assert_string_equal(a[0].ids, "p7 ");
	expect_answer(f, telex_wait(c, "p1", false, 0, on_exit_is, on_done, &a[1], NULL), &a[1], 1,
	    "wait p1");
	expect_answer(f, telex_wait(c, "p1", true, 0, on_exit_is, on_done, &a[2], NULL), &a[2], 1,
	    "remove p1");
	expect_answer(f, telex_remove(c, "p1", 0, on_done, &a[3], NULL), &a[3], 0, "remove p1");
	expect_answer(f, telex_update(c, "p1", &update, 0, on_done, &a[4], NULL), &a[4], 0,
	    "update p1 limits=1 nice=0 memory=1048576");
	expect_answer(f, telex_write_input(c, "p1", &last_bytes, 0, on_input, on_done, &a[5], NULL),
	    &a[5], 1, "input p1");
	assert_int_equal(telex_wait(c, "empty", false, 0, on_exit_is, on_done, &a[6], NULL), 0);
	fixture_until(f, &a[6].done);
	assert_int_equal(a[6].error.code, 13);
}

static void each_question_about_a_group_is_answered(void **state)
{
	const struct telex_signal_options kill_soon = {
	    .signo = SIGINT, .kills = true, .kill_after_ms = 5};
	struct fixture *f = *state;
	struct telex_client *c = f->client;
	struct answer a[6] = {0};

	expect_answer(
	    f, telex_group_get(c, "g", 0, on_group, on_done, &a[0], NULL), &a[0], 1, "group g");
	assert_string_equal(a[0].text, "g 4 1 2 3");
	expect_answer(f, telex_group_wait(c, "g", 0, on_process, on_done, &a[1], NULL), &a[1], 2,
	    "group-wait g");
	expect_answer(f,
	    telex_group_signal(c, "g", &kill_soon, 0, on_signalled, on_done, &a[2], NULL), &a[2], 1,
	    "group-signal g");
	assert_int_equal(fake_agent_seen(f->agent)->signo, SIGINT);
	expect_answer(f, telex_group_set_maximum(c, "g", 9, 0, on_group, on_done, &a[3], NULL),
	    &a[3], 1, "group-update g");
	assert_string_equal(a[3].text, "g 9 1 2 3");
	expect_answer(f, telex_group_remove(c, "g", 0, on_removed, on_done, &a[4], NULL), &a[4], 1,
	    "group-remove g");
	assert_int_equal(telex_group_get(c, "empty", 0, on_group, on_done, &a[5], NULL), 0);
	fixture_until(f, &a[5].done);
	assert_int_equal(a[5].error.code, 13);
}

/* ---- across lost connections ---- */

static void a_wait_goes_on_across_lost_connections(void **state)
{
	struct fixture *f = *state;
	struct answer one = {0}, group = {0};

	assert_int_equal(
	    telex_wait(f->client, "later", true, 0, on_exit_is, on_done, &one, NULL), 0);
	assert_int_equal(
	    telex_group_wait(f->client, "later", 0, on_process, on_done, &group, NULL), 0);
	for (unsigned i = 1; i <= 6; i++) {
		FIXTURE_UNTIL(f, fake_agent_seen(f->agent)->questions == 2 * i);
		FIXTURE_UNTIL(f, group.n == 1);
		fake_agent_cut(f->agent);
	}
	fake_agent_release(f->agent);
	fixture_until(f, &one.done);
	fixture_until(f, &group.done);
	assert_false(one.failed || group.failed);
	assert_int_equal(one.n, 1);
	/* Each member once. */
	assert_string_equal(group.ids, "p1 p2 ");
}

static void a_wait_ends_with_its_own_deadline(void **state)
{
	struct fixture *f = *state;
	struct answer a = {0};

	assert_int_equal(
	    telex_wait(f->client, "later", false, 100, on_exit_is, on_done, &a, NULL), 0);
	FIXTURE_UNTIL(f, a.done || fake_agent_seen(f->agent)->questions == 1);
	while (!a.done) {
		fake_agent_cut(f->agent);
		fixture_turn(f);
	}
	assert_int_equal(a.error.kind, TELEX_ERROR_STATUS);
	assert_int_equal(a.error.code, 4);
}

static void a_wait_does_not_come_back_for_ever(void **state)
{
	const struct telex_options off = {.reconnect_ms = -1}, soon = {.reconnect_ms = 200};
	struct fixture *f = *state;
	struct answer not_at_all = {0}, a = {0};

	fixture_again(f, &off);
	assert_int_equal(
	    telex_wait(f->client, "later", false, 0, on_exit_is, on_done, &not_at_all, NULL), 0);
	FIXTURE_UNTIL(f, fake_agent_seen(f->agent)->questions == 1);
	fake_agent_cut(f->agent);
	fixture_until(f, &not_at_all.done);
	assert_int_equal(not_at_all.error.kind, TELEX_ERROR_LOST);
	fixture_again(f, &soon);
	assert_int_equal(
	    telex_wait(f->client, "later", false, 0, on_exit_is, on_done, &a, NULL), 0);
	FIXTURE_UNTIL(f, fake_agent_seen(f->agent)->questions == 2);
	while (!a.done) {
		fake_agent_cut(f->agent);
		fixture_turn(f);
	}
	assert_int_equal(a.error.kind, TELEX_ERROR_LOST);
	assert_non_null(strstr(a.error.message, "coming back was tried for"));
}

/* What may have been done is not done again. */
static void what_is_not_to_be_repeated_is_not(void **state)
{
	struct fixture *f = *state;
	struct answer a = {0};

	assert_int_equal(telex_remove(f->client, "later", 0, on_done, &a, NULL), 0);
	FIXTURE_UNTIL(f, fake_agent_seen(f->agent)->questions == 1);
	fake_agent_cut(f->agent);
	fixture_until(f, &a.done);
	assert_int_equal(a.error.kind, TELEX_ERROR_LOST);
	assert_int_equal(fake_agent_seen(f->agent)->questions, 1);
}

static void what_was_certainly_not_done_is_asked_again(void **state)
{
	struct fixture *f = *state;
	struct answer a = {0};

	assert_int_equal(telex_remove(f->client, "shut", 0, on_done, &a, NULL), 0);
	fixture_until(f, &a.done);
	assert_false(a.failed);
	assert_int_equal(fake_agent_seen(f->agent)->questions, 3);
	assert_int_equal(fake_agent_seen(f->agent)->connections, 3);
}

/* The ending is told first: a cut before that loses nothing. */
static void a_wait_forgets_when_its_answer_is_here(void **state)
{
	struct fixture *f = *state;
	struct answer a[3] = {0};

	assert_int_equal(
	    telex_wait(f->client, "later", true, 0, on_exit_is, on_done, &a[0], NULL), 0);
	FIXTURE_UNTIL(f, fake_agent_seen(f->agent)->questions == 1);
	assert_string_equal(fake_agent_seen(f->agent)->asked, "wait later");
	fake_agent_cut(f->agent);
	fake_agent_release(f->agent);
	fixture_until(f, &a[0].done);
	assert_string_equal(fake_agent_seen(f->agent)->asked, "remove later");
	assert_false(a[0].failed);
	assert_int_equal(a[0].n, 1);
	/* Somebody else has removed it meanwhile. */
	assert_int_equal(
	    telex_wait(f->client, "gone", true, 0, on_exit_is, on_done, &a[1], NULL), 0);
	fixture_until(f, &a[1].done);
	assert_false(a[1].failed);
	assert_int_equal(a[1].n, 1);
	/* The client goes between the two. */
	assert_int_equal(telex_wait(f->client, "p1", true, 0, on_exit_is, on_done, &a[2], NULL), 0);
	FIXTURE_UNTIL(f, a[2].n == 1);
	fixture_again(f, NULL);
	fixture_settle(f);
	assert_false(a[2].done);
}

static void silence_ends_a_wait_for_a_group(void **state)
{
	struct fixture *f = *state;
	struct answer a = {0};

	f->client->heartbeat_ms = 30;
	assert_int_equal(telex_group_wait(f->client, "later", 0, on_process, on_done, &a, NULL), 0);
	/* It is asked again on another connection. */
	FIXTURE_UNTIL(f, fake_agent_seen(f->agent)->connections >= 2);
	fake_agent_release(f->agent);
	fixture_until(f, &a.done);
	assert_false(a.failed);
	assert_string_equal(a.ids, "p1 p2 ");
}

static void a_wait_asks_whether_the_agent_is_there(void **state)
{
	struct fixture *f = *state;
	struct answer a = {0};

	/* Its answer may take a while on a busy machine. */
	f->client->heartbeat_ms = 400;
	assert_int_equal(
	    telex_wait(f->client, "later", false, 0, on_exit_is, on_done, &a, NULL), 0);
	FIXTURE_UNTIL(f, fake_agent_seen(f->agent)->questions == 1);
	for (int i = 0; i < 60; i++)
		fixture_settle(f);
	assert_int_equal(fake_agent_seen(f->agent)->connections, 1);
	assert_false(a.done);
	/* It still accepts, but says no more. */
	fake_agent_stop(f->agent);
	FIXTURE_UNTIL(f, fake_agent_seen(f->agent)->connections >= 2);
	fake_agent_release(f->agent);
	fixture_until(f, &a.done);
	assert_false(a.failed);
}

static void nobody_need_listen_to_the_answer(void **state)
{
	struct fixture *f = *state;
	struct answer a[3] = {0};

	assert_int_equal(telex_info(f->client, 0, NULL, NULL, NULL, NULL), 0);
	assert_int_equal(
	    telex_list(f->client, &everything, 0, NULL, NULL, on_done, &a[0], NULL), 0);
	assert_int_equal(telex_info(f->client, 0, NULL, on_done, &a[1], NULL), 0);
	assert_int_equal(telex_health(f->client, NULL, 0, NULL, on_done, &a[2], NULL), 0);
	for (int i = 0; i < 3; i++) {
		fixture_until(f, &a[i].done);
		assert_false(a[i].failed);
	}
}

static void a_deadline_ends_the_wait(void **state)
{
	struct fixture *f = *state;
	struct answer a = {0};

	assert_int_equal(telex_get(f->client, "mute", 30, on_process, on_done, &a, NULL), 0);
	fixture_until(f, &a.done);
	assert_true(a.failed);
	assert_int_equal(a.error.kind, TELEX_ERROR_STATUS);
	assert_int_equal(a.error.code, 4);
}

static void a_cut_connection_is_lost(void **state)
{
	struct fixture *f = *state;
	struct answer a = {0}, probe = {0};

	assert_int_equal(telex_get(f->client, "mute", 0, on_process, on_done, &a, NULL), 0);
	assert_int_equal(telex_info(f->client, 0, on_info, on_done, &probe, NULL), 0);
	fixture_until(f, &probe.done);
	/* It is asked again, but not for ever. */
	for (unsigned i = 1; i <= 4; i++) {
		FIXTURE_UNTIL(f, fake_agent_seen(f->agent)->connections == i);
		assert_false(a.done);
		fake_agent_cut(f->agent);
	}
	fixture_until(f, &a.done);
	assert_int_equal(fake_agent_seen(f->agent)->connections, 4);
	assert_true(a.failed);
	assert_int_equal(a.error.kind, TELEX_ERROR_LOST);
	assert_non_null(strstr(a.error.message, f->address));
}

static void bad_arguments_are_refused_at_once(void **state)
{
	struct fixture *f = *state;
	struct telex_error error;
	struct answer a = {0};

	assert_int_equal(telex_get(f->client, NULL, 0, on_process, on_done, &a, &error), -1);
	assert_int_equal(error.kind, TELEX_ERROR_USAGE);
	assert_int_equal(telex_signal(f->client, NULL, &hup, 0, on_done, &a, &error), -1);
	assert_int_equal(error.kind, TELEX_ERROR_USAGE);
	assert_int_equal(telex_signal(f->client, "p1", &no_signal, 0, on_done, &a, &error), -1);
	assert_int_equal(error.kind, TELEX_ERROR_USAGE);
	assert_int_equal(telex_remove(f->client, "a b", 0, on_done, &a, &error), -1);
	assert_int_equal(error.kind, TELEX_ERROR_USAGE);
	assert_int_equal(telex_update(f->client, "p", &nothing, 0, on_done, &a, &error), -1);
	assert_int_equal(error.kind, TELEX_ERROR_USAGE);
	assert_int_equal(
	    telex_write_input(f->client, "p", &too_many_bytes, 0, on_input, on_done, &a, &error),
	    -1);
	assert_int_equal(error.kind, TELEX_ERROR_USAGE);
	assert_int_equal(
	    telex_group_signal(f->client, "g", &valued, 0, on_signalled, on_done, &a, &error), -1);
	assert_int_equal(error.kind, TELEX_ERROR_USAGE);
	assert_int_equal(telex_signal(f->client, "p", &valued, 0, on_done, &a, &error), -1);
	assert_int_equal(error.kind, TELEX_ERROR_USAGE);
	assert_int_equal(telex_group_get(f->client, "", 0, on_group, on_done, &a, &error), -1);
	assert_int_equal(error.kind, TELEX_ERROR_USAGE);
	assert_int_equal(telex_info(f->client, -1, on_info, on_done, &a, &error), -1);
	assert_int_equal(error.kind, TELEX_ERROR_USAGE);
	assert_int_equal(telex_info(f->client, INT64_MAX, on_info, on_done, &a, NULL), -1);
	fixture_settle(f);
	assert_false(a.done);
	assert_int_equal(fake_agent_seen(f->agent)->connections, 0);
}

/* A callback that asks again, until it has had enough. */
static void on_info_ask_again(const struct telex_error *error, void *arg)
{
	struct fixture *f = arg;
	struct fake_seen *seen = fake_agent_seen(f->agent);

	assert_null(error);
	if (++seen->calls < 3)
		assert_int_equal(telex_info(f->client, 0, NULL, on_info_ask_again, f, NULL), 0);
}

static void a_callback_may_ask_again(void **state)
{
	struct fixture *f = *state;

	assert_int_equal(telex_info(f->client, 0, NULL, on_info_ask_again, f, NULL), 0);
	FIXTURE_UNTIL(f, fake_agent_seen(f->agent)->calls == 3);
	assert_int_equal(fake_agent_seen(f->agent)->connections, 1);
}

static void freeing_the_client_forgets_questions(void **state)
{
	struct fixture *f = *state;
	struct answer open = {0}, waiting = {0}, probe = {0};

	assert_int_equal(telex_get(f->client, "mute", 0, on_process, on_done, &open, NULL), 0);
	assert_int_equal(telex_info(f->client, 0, on_info, on_done, &probe, NULL), 0);
	fixture_until(f, &probe.done);
	telex_client_free(f->client);
	f->client = fixture_client(f, NULL);
	assert_int_equal(telex_info(f->client, 0, on_info, on_done, &waiting, NULL), 0);
	telex_client_free(f->client);
	f->client = NULL;
	fixture_settle(f);
	assert_false(open.done || waiting.done);
}

#define QUESTION_TEST(t) cmocka_unit_test_setup_teardown(t, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    QUESTION_TEST(list_gives_each_process),
	    QUESTION_TEST(get_gives_one_process),
	    QUESTION_TEST(get_of_nothing_is_not_found),
	    QUESTION_TEST(an_incomplete_answer_is_an_error),
	    QUESTION_TEST(signal_arrives),
	    QUESTION_TEST(info_and_health_are_answered),
	    QUESTION_TEST(each_question_about_a_process_is_answered),
	    QUESTION_TEST(each_question_about_a_group_is_answered),
	    QUESTION_TEST(a_wait_goes_on_across_lost_connections),
	    QUESTION_TEST(a_wait_ends_with_its_own_deadline),
	    QUESTION_TEST(a_wait_does_not_come_back_for_ever),
	    QUESTION_TEST(what_is_not_to_be_repeated_is_not),
	    QUESTION_TEST(what_was_certainly_not_done_is_asked_again),
	    QUESTION_TEST(a_wait_forgets_when_its_answer_is_here),
	    QUESTION_TEST(silence_ends_a_wait_for_a_group),
	    QUESTION_TEST(a_wait_asks_whether_the_agent_is_there),
	    QUESTION_TEST(nobody_need_listen_to_the_answer),
	    QUESTION_TEST(a_deadline_ends_the_wait),
	    QUESTION_TEST(a_cut_connection_is_lost),
	    QUESTION_TEST(bad_arguments_are_refused_at_once),
	    QUESTION_TEST(a_callback_may_ask_again),
	    QUESTION_TEST(freeing_the_client_forgets_questions),
	};

	return cmocka_run_group_tests_name("question", tests, NULL, NULL);
}
