/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "lib/client.h"
#include "tests/support/client_fixture.h"

#define WHOLE 1000000 /* bytes of each output, see fake_agent.c */

struct reading {
	struct telex_reader *reader;
	uint64_t next[3];
	size_t held;
	bool keeps, cancels; /* does not say that it has dealt with them; cancels at the first */
	bool wrong, done, failed, cancels_late;
	struct telex_error error;
};

static void on_output(struct telex_reader *reader, enum telex_stream stream, uint64_t offset,
    const void *data, size_t len, void *arg)
{
	struct reading *r = arg;
	const uint8_t *bytes = data;

	r->wrong = r->wrong || offset != r->next[stream] || r->done;
	for (size_t i = 0; i < len; i++)
		r->wrong = r->wrong || bytes[i] != fake_pattern(offset + i);
	r->next[stream] = offset + len;
	if (r->keeps)
		r->held += len;
	else
		telex_reader_consumed(reader, len);
	if (r->cancels) {
		telex_reader_cancel(reader);
		r->reader = NULL;
	}
}

static void on_done(const struct telex_error *error, void *arg)
{
	struct reading *r = arg;

	r->wrong = r->wrong || r->done;
	r->done = true;
	if (r->cancels_late)
		telex_reader_cancel(r->reader); /* it is ending already */
	r->failed = error != NULL;
	if (error != NULL)
		r->error = *error;
	r->reader = NULL;
}

static int begin(struct fixture *f, struct reading *r, const struct telex_read *read)
{
	return telex_read_output(f->client, &r->reader, read, on_output, on_done, r, &r->error);
}

static void both_outputs_come_whole(void **state)
{
	struct fixture *f = *state;
	const struct telex_read read = {.process_id = "p1"};
	struct reading r = {0};

	assert_int_equal(begin(f, &r, &read), 0);
	fixture_until(f, &r.done);
	assert_false(r.failed || r.wrong);
	assert_int_equal(r.next[TELEX_STDOUT], WHOLE);
	assert_int_equal(r.next[TELEX_STDERR], WHOLE);
}

static void one_of_them_from_an_offset(void **state)
{
	struct fixture *f = *state;
	const struct telex_read read = {.process_id = "p1",
	    .stream = TELEX_STDERR,
	    .from = TELEX_FROM_OFFSET,
	    .stderr_offset = WHOLE - 5};
	struct reading r = {.next = {0, 0, WHOLE - 5}};

	assert_int_equal(begin(f, &r, &read), 0);
	fixture_until(f, &r.done);
	assert_false(r.failed || r.wrong);
	assert_int_equal(r.next[TELEX_STDOUT], 0);
	assert_int_equal(r.next[TELEX_STDERR], WHOLE);
}

static void bytes_may_be_dealt_with_later(void **state)
{
	struct fixture *f = *state;
	const struct telex_read read = {.process_id = "p1"};
	struct reading r = {.keeps = true};

	assert_int_equal(begin(f, &r, &read), 0);
	fixture_until(f, &r.done); /* both fit into one window */
	assert_false(r.failed || r.wrong);
	assert_int_equal(r.held, 2 * WHOLE);
}

static void a_refusal_has_its_reason(void **state)
{
	struct fixture *f = *state;
	const struct telex_read read = {.process_id = "gone"};
	struct reading r = {0};

	assert_int_equal(begin(f, &r, &read), 0);
	fixture_until(f, &r.done);
	assert_true(r.failed);
	assert_string_equal(r.error.reason, "OFFSET_DROPPED");
}

static void what_is_no_message_is_an_error(void **state)
{
	struct fixture *f = *state;
	const struct telex_read read = {.process_id = "wild"};
	struct reading r = {0};

	assert_int_equal(begin(f, &r, &read), 0);
	fixture_until(f, &r.done);
	assert_true(r.failed);
	assert_int_equal(r.error.kind, TELEX_ERROR_STATUS);
}

static void a_callback_may_cancel(void **state)
{
	struct fixture *f = *state;
	const struct telex_read read = {.process_id = "p1"}, other = {.process_id = "gone"};
	struct reading r = {.cancels = true}, probe = {0};

	assert_int_equal(begin(f, &r, &read), 0);
	assert_int_equal(begin(f, &probe, &other), 0);
	fixture_until(f, &probe.done);
	fixture_settle(f);
	assert_false(r.done || r.wrong);
	assert_null(r.reader);
	telex_reader_cancel(NULL);
}

static void cancelling_what_is_done_is_nothing(void **state)
{
	struct fixture *f = *state;
	const struct telex_read read = {.process_id = "gone"};
	struct reading r = {.cancels_late = true};

	assert_int_equal(begin(f, &r, &read), 0);
	fixture_until(f, &r.done);
	assert_true(r.failed);
}

static void it_goes_on_across_lost_connections(void **state)
{
	struct fixture *f = *state;
	const struct telex_read read = {.process_id = "later"};
	struct reading r = {.next = {0, WHOLE - 1000, 0}, .keeps = true};

	assert_int_equal(begin(f, &r, &read), 0);
	FIXTURE_UNTIL(f, r.next[TELEX_STDOUT] == WHOLE);
	assert_string_equal(fake_agent_seen(f->agent)->asked, "read oldest");
	fake_agent_cut(f->agent);
	FIXTURE_UNTIL(f, fake_agent_seen(f->agent)->connections >= 2);
	telex_reader_consumed(r.reader, 400); /* what came over the other one */
	fake_agent_cut(f->agent);
	fake_agent_release(f->agent);
	fixture_until(f, &r.done);
	/* Of stdout all was there; stderr begins with its oldest byte. */
	assert_false(r.failed || r.wrong);
	assert_int_equal(r.next[TELEX_STDERR], WHOLE);
}

static void silence_is_a_loss(void **state)
{
	struct fixture *f = *state;
	const struct telex_read read = {.process_id = "later"};
	struct reading r = {.next = {0, WHOLE - 1000, 0}};

	f->client->heartbeat_ms = 100;
	assert_int_equal(begin(f, &r, &read), 0);
	FIXTURE_UNTIL(f, r.next[TELEX_STDOUT] == WHOLE);
	fake_agent_stop(f->agent);
	FIXTURE_UNTIL(f, fake_agent_seen(f->agent)->connections >= 2);
	fake_agent_release(f->agent);
	f->client->heartbeat_ms = 15000;
	FIXTURE_UNTIL(f, fake_agent_seen(f->agent)->questions >= 2 || r.done);
	fake_agent_cut(f->agent);
	fixture_until(f, &r.done);
	assert_false(r.failed || r.wrong);
}

static void it_does_not_come_back_for_ever(void **state)
{
	const struct telex_options soon = {.reconnect_ms = 200}, off = {.reconnect_ms = -1};
	struct fixture *f = *state;
	const struct telex_read read = {.process_id = "later"};
	struct reading r = {.next = {0, WHOLE - 1000, 0}}, s = r;

	fixture_again(f, &off);
	assert_int_equal(begin(f, &s, &read), 0);
	FIXTURE_UNTIL(f, s.next[TELEX_STDOUT] == WHOLE);
	fake_agent_cut(f->agent);
	fixture_until(f, &s.done);
	assert_int_equal(s.error.kind, TELEX_ERROR_LOST);
	fixture_again(f, &soon);
	assert_int_equal(begin(f, &r, &read), 0);
	FIXTURE_UNTIL(f, r.next[TELEX_STDOUT] == WHOLE);
	while (!r.done) {
		fake_agent_cut(f->agent);
		fixture_turn(f);
	}
	assert_int_equal(r.error.kind, TELEX_ERROR_LOST);
	assert_non_null(strstr(r.error.message, "coming back was tried for"));
}

static void freeing_the_client_frees_readers(void **state)
{
	struct fixture *f = *state;
	const struct telex_read read = {.process_id = "p1"};
	struct reading r = {0};

	assert_int_equal(begin(f, &r, &read), 0);
	telex_client_free(f->client);
	f->client = NULL;
	fixture_settle(f);
	assert_false(r.done);
}

static void bad_arguments_are_refused_at_once(void **state)
{
	struct fixture *f = *state;
	static const struct telex_read wrong[] = {{0}, {.process_id = ""}, {.process_id = "a/b"},
	    {.process_id = "a", .stream = (enum telex_stream)3},
	    {.process_id = "a", .from = TELEX_FROM_NEWEST}};
	struct reading r = {0};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		assert_int_equal(begin(f, &r, &wrong[i]), -1);
		assert_int_equal(r.error.kind, TELEX_ERROR_USAGE);
	}
	assert_false(r.done);
}

#define READ_TEST(t) cmocka_unit_test_setup_teardown(t, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    READ_TEST(both_outputs_come_whole),
	    READ_TEST(one_of_them_from_an_offset),
	    READ_TEST(bytes_may_be_dealt_with_later),
	    READ_TEST(a_refusal_has_its_reason),
	    READ_TEST(what_is_no_message_is_an_error),
	    READ_TEST(a_callback_may_cancel),
	    READ_TEST(cancelling_what_is_done_is_nothing),
	    READ_TEST(it_goes_on_across_lost_connections),
	    READ_TEST(silence_is_a_loss),
	    READ_TEST(it_does_not_come_back_for_ever),
	    READ_TEST(freeing_the_client_frees_readers),
	    READ_TEST(bad_arguments_are_refused_at_once),
	};

	return cmocka_run_group_tests_name("read_output", tests, NULL, NULL);
}
