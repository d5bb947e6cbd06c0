/* SPDX-License-Identifier: Apache-2.0 */
/* telex_file_write against a fake agent (tests/support/fake_upload.h). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <string.h>

#include "common/rpc_status.h"
#include "lib/client.h"
#include "tests/support/client_fixture.h"
#include "tests/support/fake_upload.h"

#define MIB   ((uint64_t)1 << 20)
#define PIECE ((size_t)100000)

/* Somebody who writes `size` bytes of the pattern, as there is room. */
struct writing {
	struct telex_file_writer *writer;
	uint64_t given, size;
	unsigned rooms, interrupted, resumed;
	bool stays_open; /* does not say that it is whole */
	bool cancels;    /* when there is room again */
	bool no_room, done, failed, wrong;
	struct telex_error error, why;
	struct telex_file_written written;
	uint8_t sha256[DIGEST_SIZE];
};

static void give(struct writing *w)
{
	uint8_t bytes[PIECE];
	size_t n = PIECE, taken = PIECE;

	while (w->given < w->size && taken == n) {
		n = w->size - w->given < PIECE ? (size_t)(w->size - w->given) : PIECE;
		for (size_t i = 0; i < n; i++)
			bytes[i] = fake_pattern(w->given + i);
		taken = telex_file_writer_write(w->writer, bytes, n);
		w->given += taken;
	}
	w->no_room = w->given < w->size;
	if (!w->no_room && !w->stays_open)
		telex_file_writer_end(w->writer);
}

static void on_room(struct telex_file_writer *writer, void *arg)
{
	struct writing *w = arg;

	w->rooms++;
	w->wrong = w->wrong || writer != w->writer || w->done;
	if (w->cancels) {
		telex_file_writer_cancel(writer);
		w->writer = NULL;
	} else {
		give(w);
	}
}

static void on_interrupted(
    struct telex_file_writer *writer, const struct telex_error *why, void *arg)
{
	struct writing *w = arg;

	(void)writer;
	w->interrupted++;
	w->why = *why;
}

static void on_resumed(struct telex_file_writer *writer, void *arg)
{
	struct writing *w = arg;

	(void)writer;
	w->resumed++;
}

static void on_done(struct telex_file_writer *writer, const struct telex_file_written *written,
    const struct telex_error *error, void *arg)
{
	struct writing *w = arg;

	w->wrong = w->wrong || w->done || (written == NULL) == (error == NULL);
	telex_file_writer_cancel(writer); /* nothing, here */
	w->done = true;
	w->failed = error != NULL;
	if (error != NULL) {
		w->error = *error;
	} else {
		w->written = *written;
		memcpy(w->sha256, written->sha256, sizeof(w->sha256));
	}
	w->writer = NULL;
}

static const struct telex_file_write_ops ops = {
    .room = on_room, .interrupted = on_interrupted, .resumed = on_resumed, .done = on_done};

static void begin(struct fixture *f, struct writing *w, const struct telex_file_write *write)
{
	static const struct telex_file_write plain = {.path = "in/file"};

	if (telex_file_write(
	        f->client, &w->writer, write != NULL ? write : &plain, &ops, w, &w->error) != 0)
		fail_msg("%s", w->error.message);
	give(w);
}

static void until_done(struct fixture *f, struct writing *w)
{
	fixture_until(f, &w->done);
	assert_false(w->wrong);
	assert_null(w->writer);
}

/* All of it is in its place, and both sides say the same of it. */
static void expect_written(struct fixture *f, const struct writing *w)
{
	const struct fake_upload *u = fake_agent_upload(f->agent);

	if (w->failed)
		fail_msg("%s", w->error.message);
	assert_false(u->wrong);
	assert_int_equal(u->written, w->size);
	assert_int_equal(w->written.size, w->size);
	assert_memory_equal(w->sha256, u->sha256, DIGEST_SIZE);
}

static void bytes_are_written_as_they_come(void **state)
{
	struct fixture *f = *state;
	const struct fake_upload *u = fake_agent_upload(f->agent);
	struct writing w = {.size = 20 * MIB + 3};

	begin(f, &w, NULL);
	until_done(f, &w);
	expect_written(f, &w);
	assert_true(w.rooms > 0);
	assert_int_equal(w.interrupted + w.resumed, 0);
	assert_int_equal(u->begins, 1);
	assert_int_equal(u->asks + u->checks, 0);
}

static void nothing_at_all_is_a_file(void **state)
{
	struct fixture *f = *state;
	struct writing w = {.size = 0};

	begin(f, &w, NULL);
	until_done(f, &w);
	expect_written(f, &w);
	assert_int_equal(fake_agent_upload(f->agent)->begins, 1);
}

static void what_is_asked_for_gets_there(void **state)
{
	struct fixture *f = *state;
	const struct fake_upload *u = fake_agent_upload(f->agent);
	const struct telex_file_write write = {.path = "f",
	    .set_mode = true,
	    .mode = 0640,
	    .set_modified = true,
	    .modified_ns = -1,
	    .replace = TELEX_REPLACE_NEVER};
	struct writing w = {.size = 5};

	begin(f, &w, &write);
	until_done(f, &w);
	expect_written(f, &w);
	assert_true(u->never);
	assert_false(u->append);
	assert_int_equal(u->mode, 0640);
	assert_int_equal(u->seconds, -1);
	assert_int_equal(u->nanos, 999999999);
}

static void it_goes_on_where_the_agent_is(void **state)
{
	struct fixture *f = *state;
	struct fake_upload *u = fake_agent_upload(f->agent);
	struct writing w = {.size = 20 * MIB};

	u->cut_at = 9 * MIB;
	u->lose = 3 * MIB;
	begin(f, &w, NULL);
	until_done(f, &w);
	expect_written(f, &w);
	assert_int_equal(w.interrupted, 1);
	assert_int_equal(w.resumed, 1);
	assert_int_equal(w.why.kind, TELEX_ERROR_LOST);
	assert_int_equal(u->begins, 2);
	assert_int_equal(u->asks, 1);
}

static void what_is_held_no_longer_is_said(void **state)
{
	struct fixture *f = *state;
	struct fake_upload *u = fake_agent_upload(f->agent);
	struct writing w = {.size = 20 * MIB};

	u->cut_at = 15 * MIB;
	u->lose = 12 * MIB;
	begin(f, &w, NULL);
	until_done(f, &w);
	assert_true(w.failed);
	assert_int_equal(w.error.kind, TELEX_ERROR_LOST);
	assert_non_null(strstr(w.error.message, "the file is as it was"));
	assert_int_equal(u->written, 0);
}

static void an_end_that_was_lost_is_said_again(void **state)
{
	struct fixture *f = *state;
	struct fake_upload *u = fake_agent_upload(f->agent);
	struct writing w = {.size = 3 * MIB};

	u->cut_before_end = true;
	begin(f, &w, NULL);
	until_done(f, &w);
	expect_written(f, &w);
	assert_int_equal(u->begins, 2);
	assert_int_equal(u->checks, 0);
}

static void an_answer_that_was_lost_is_looked_for(void **state)
{
	struct fixture *f = *state;
	struct fake_upload *u = fake_agent_upload(f->agent);
	struct writing w = {.size = 20 * MIB};

	u->cut_after_end = true;
	begin(f, &w, NULL);
	until_done(f, &w);
	expect_written(f, &w);
	assert_int_equal(u->begins, 1);
	assert_int_equal(u->checks, 1);
}

static void what_cannot_be_looked_at_is_written_again(void **state)
{
	struct fixture *f = *state;
	struct fake_upload *u = fake_agent_upload(f->agent);
	struct writing w = {.size = 3 * MIB};

	u->cut_after_end = u->denies_checksum = true;
	begin(f, &w, NULL);
	until_done(f, &w);
	expect_written(f, &w);
	assert_int_equal(u->begins, 2);
}

static void or_is_not_known(void **state)
{
	struct fixture *f = *state;
	struct fake_upload *u = fake_agent_upload(f->agent);
	struct writing w = {.size = 20 * MIB};

	u->cut_after_end = u->denies_checksum = true;
	begin(f, &w, NULL);
	until_done(f, &w);
	assert_true(w.failed);
	assert_int_equal(w.error.kind, TELEX_ERROR_LOST);
	assert_non_null(strstr(w.error.message, "before it had said whether"));
}

static void who_still_holds_it_is_waited_for(void **state)
{
	struct fixture *f = *state;
	struct fake_upload *u = fake_agent_upload(f->agent);
	struct writing w = {.size = 3 * MIB};

	u->busy = 3;
	u->code = RPC_ABORTED;
	u->reason = "UPLOAD_BUSY";
	begin(f, &w, NULL);
	until_done(f, &w);
	expect_written(f, &w);
	assert_int_equal(w.interrupted, 0);
	assert_int_equal(u->begins, 4);
}

static void a_helper_that_dies_is_no_end(void **state)
{
	struct fixture *f = *state;
	struct fake_upload *u = fake_agent_upload(f->agent);
	struct writing w = {.size = 20 * MIB};

	u->fail_at = 7 * MIB;
	u->code = RPC_ABORTED;
	u->reason = "HELPER_DIED";
	begin(f, &w, NULL);
	until_done(f, &w);
	expect_written(f, &w);
	assert_int_equal(w.interrupted, 1);
	assert_int_equal(w.resumed, 1);
	assert_int_equal(u->begins, 2);
}

static void a_refusal_has_its_reason(void **state)
{
	struct fixture *f = *state;
	struct fake_upload *u = fake_agent_upload(f->agent);
	struct writing w = {.size = 20 * MIB};

	u->fail_at = 2 * MIB;
	u->code = RPC_RESOURCE_EXHAUSTED;
	u->reason = "DISK_FULL";
	begin(f, &w, NULL);
	until_done(f, &w);
	assert_true(w.failed);
	assert_int_equal(w.error.kind, TELEX_ERROR_STATUS);
	assert_string_equal(w.error.reason, "DISK_FULL");
	assert_int_equal(u->begins, 1);
}

static void another_file_than_was_sent_is_an_error(void **state)
{
	struct fixture *f = *state;
	struct writing w = {.size = 10};

	fake_agent_upload(f->agent)->lies = true;
	begin(f, &w, NULL);
	until_done(f, &w);
	assert_true(w.failed);
	assert_non_null(strstr(w.error.message, "broke the protocol"));
}

static void who_is_slow_is_not_given_more_than_is_held(void **state)
{
	struct fixture *f = *state;
	struct fake_upload *u = fake_agent_upload(f->agent);
	struct writing w = {.size = 40 * MIB};

	u->holds = true;
	begin(f, &w, NULL);
	fixture_settle(f);
	assert_true(w.no_room);
	assert_in_range(w.given, 8 * MIB, 12 * MIB);
	fake_upload_release(u);
	until_done(f, &w);
	expect_written(f, &w);
}

static void what_is_given_up_is_told(void **state)
{
	struct fixture *f = *state;
	struct fake_upload *u = fake_agent_upload(f->agent);
	struct writing w = {.size = 3 * MIB, .stays_open = true};

	begin(f, &w, NULL);
	FIXTURE_UNTIL(f, u->length == 3 * MIB);
	telex_file_writer_cancel(w.writer);
	fixture_until(f, &u->abandoned);
	assert_false(w.done);
	assert_int_equal(u->written, 0);
	telex_file_writer_cancel(NULL);
}

static void a_callback_may_give_it_up(void **state)
{
	struct fixture *f = *state;
	struct fake_upload *u = fake_agent_upload(f->agent);
	struct writing w = {.size = 40 * MIB, .cancels = true};

	begin(f, &w, NULL);
	fixture_until(f, &u->abandoned);
	assert_int_equal(w.rooms, 1);
	assert_false(w.done || w.wrong);
	assert_null(w.writer);
}

static void what_is_appended_is_not_taken_up_again(void **state)
{
	struct fixture *f = *state;
	struct fake_upload *u = fake_agent_upload(f->agent);
	const struct telex_file_write write = {.path = "log", .append = true};
	struct writing w = {.size = 3 * MIB};

	u->cut_at = MIB;
	begin(f, &w, &write);
	until_done(f, &w);
	assert_true(w.failed && u->append);
	assert_int_equal(w.error.kind, TELEX_ERROR_LOST);
	assert_int_equal(u->begins, 1);
	assert_int_equal(u->asks, 0);
}

static void it_does_not_come_back_for_ever(void **state)
{
	struct fixture *f = *state;
	const struct telex_options o = {.reconnect_ms = -1};
	struct writing w = {.size = 3 * MIB};

	fixture_again(f, &o);
	fake_agent_upload(f->agent)->cut_at = MIB;
	begin(f, &w, NULL);
	until_done(f, &w);
	assert_true(w.failed);
	assert_int_equal(w.error.kind, TELEX_ERROR_LOST);
	assert_int_equal(w.interrupted, 0);
}

static void freeing_the_client_frees_writers(void **state)
{
	struct fixture *f = *state;
	struct writing w = {.size = 3 * MIB, .stays_open = true};

	begin(f, &w, NULL);
	FIXTURE_UNTIL(f, fake_agent_upload(f->agent)->length > 0);
	fixture_again(f, NULL);
	fixture_settle(f);
	assert_false(w.done);
}

static void bad_arguments_are_refused_at_once(void **state)
{
	struct fixture *f = *state;
	static const struct telex_file_write wrong[] = {{0}, {.path = ""},
	    {.path = "a", .set_mode = true, .mode = 010000},
	    {.path = "a", .replace = TELEX_REPLACE_EXCHANGE},
	    {.path = "a", .append = true, .replace = TELEX_REPLACE_NEVER},
	    {.path = "a", .append = true, .set_modified = true}};
	static const struct telex_file_write_ops none = {.done = on_done};
	const struct telex_file_write right = {.path = "a"};
	struct writing w = {0};

	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		assert_int_equal(
		    telex_file_write(f->client, &w.writer, &wrong[i], &ops, &w, &w.error), -1);
		assert_int_equal(w.error.kind, TELEX_ERROR_USAGE);
	}
	assert_int_equal(telex_file_write(f->client, &w.writer, &right, &none, &w, &w.error), -1);
	assert_int_equal(w.error.kind, TELEX_ERROR_USAGE);
	assert_false(w.done);
}

#define WRITE_TEST(t) cmocka_unit_test_setup_teardown(t, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    WRITE_TEST(bytes_are_written_as_they_come),
	    WRITE_TEST(nothing_at_all_is_a_file),
	    WRITE_TEST(what_is_asked_for_gets_there),
	    WRITE_TEST(it_goes_on_where_the_agent_is),
	    WRITE_TEST(what_is_held_no_longer_is_said),
	    WRITE_TEST(an_end_that_was_lost_is_said_again),
	    WRITE_TEST(an_answer_that_was_lost_is_looked_for),
	    WRITE_TEST(what_cannot_be_looked_at_is_written_again),
	    WRITE_TEST(or_is_not_known),
	    WRITE_TEST(who_still_holds_it_is_waited_for),
	    WRITE_TEST(a_helper_that_dies_is_no_end),
	    WRITE_TEST(a_refusal_has_its_reason),
	    WRITE_TEST(another_file_than_was_sent_is_an_error),
	    WRITE_TEST(who_is_slow_is_not_given_more_than_is_held),
	    WRITE_TEST(what_is_given_up_is_told),
	    WRITE_TEST(a_callback_may_give_it_up),
	    WRITE_TEST(what_is_appended_is_not_taken_up_again),
	    WRITE_TEST(it_does_not_come_back_for_ever),
	    WRITE_TEST(freeing_the_client_frees_writers),
	    WRITE_TEST(bad_arguments_are_refused_at_once),
	};

	return cmocka_run_group_tests_name("file_write", tests, NULL, NULL);
}
