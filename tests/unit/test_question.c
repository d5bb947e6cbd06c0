/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

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
static const struct telex_signal_options no_signal = {.signo = 65};

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
	fake_agent_cut(f->agent);
	fixture_until(f, &a.done);
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
	    QUESTION_TEST(nobody_need_listen_to_the_answer),
	    QUESTION_TEST(a_deadline_ends_the_wait),
	    QUESTION_TEST(a_cut_connection_is_lost),
	    QUESTION_TEST(bad_arguments_are_refused_at_once),
	    QUESTION_TEST(a_callback_may_ask_again),
	    QUESTION_TEST(freeing_the_client_forgets_questions),
	};

	return cmocka_run_group_tests_name("question", tests, NULL, NULL);
}
