/* SPDX-License-Identifier: Apache-2.0 */
/* Attaching to a process that is there; what is skipped; queued ones; sizes; acknowledging the
 * exit. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/client_fixture.h"
#include "tests/support/fake_flow.h"

static struct fake_seen *seen(struct fixture *f)
{
	return fake_agent_seen(f->agent);
}

static void finish(struct fixture *f, struct heard *h)
{
	fixture_until(f, &h->done);
	assert_false(h->wrong);
	if (seen(f)->rules_broken != NULL)
		fail_msg("%s", seen(f)->rules_broken);
}

/* A process "p" that somebody started and left. */
static void leave_one(struct fixture *f, const char *out, const char *err, bool with_stdin)
{
	const char *argv[] = {"flow", out, err, NULL};
	const struct telex_command command = {
	    .argv = argv, .process_id = "p", .stdin_pipe = with_stdin};
	struct heard h = {0};

	flow_hold(fake_agent_flows(f->agent), true);
	heard_command(f, &h, &command);
	fixture_until(f, &h.started);
	assert_int_equal(h.stdin_held, with_stdin);
	telex_run_detach(h.run);
	FIXTURE_UNTIL(f, seen(f)->open == 0);
}

/* ---- attach ---- */

static void attaching_gives_what_is_held(void **state)
{
	const struct telex_attach attach = {.process_id = "p"};
	struct fixture *f = *state;
	struct heard h = {.pattern = true};

	leave_one(f, "1000", "500", false);
	heard_attach(f, &h, &attach, false);
	assert_string_equal(telex_run_id(h.run), "p");
	fixture_until(f, &h.started);
	assert_false(h.created || h.queued || h.stdin_held);
	assert_int_equal(h.pid, 4711);
	/* What leaving would mean: nothing, for one that only watches. */
	assert_int_equal(h.on_disconnect, TELEX_DISCONNECT_HANGUP);
	assert_int_equal(h.disconnect_wait_ms, 90000);
	assert_false(h.counts);
	fake_agent_release(f->agent);
	finish(f, &h);
	assert_true(h.exited);
	assert_int_equal(h.length[TELEX_STDOUT], 1000);
	assert_int_equal(h.length[TELEX_STDERR], 500);
	FIXTURE_UNTIL(f, seen(f)->exit_acks == 1);
}

static void attaching_at_an_offset_goes_on_there(void **state)
{
	const struct telex_attach attach = {.process_id = "p",
	    .from = TELEX_FROM_OFFSET,
	    .stdout_offset = 900,
	    .stderr_offset = 500};
	struct fixture *f = *state;
	struct heard h = {.pattern = true, .length = {0, 900, 500}};

	leave_one(f, "1000", "500", false);
	heard_attach(f, &h, &attach, false);
	fake_agent_release(f->agent);
	finish(f, &h);
	assert_true(h.exited);
	assert_int_equal(h.length[TELEX_STDOUT], 1000);
}

/* The oldest byte held is not byte 0, which is no loss; and it can come back before any output. */
static void attaching_from_the_oldest_is_no_skip(void **state)
{
	const struct telex_attach attach = {.process_id = "p"};
	struct fixture *f = *state;
	struct heard h = {.pattern = true, .length = {0, 300, 0}};

	leave_one(f, "1000", "0", false);
	flow_drop(fake_agent_flows(f->agent), 1, 300);
	heard_attach(f, &h, &attach, true);
	fixture_until(f, &h.started);
	fake_agent_cut(f->agent);
	FIXTURE_UNTIL(f, h.resumed == 1);
	fake_agent_release(f->agent);
	finish(f, &h);
	assert_true(h.exited);
	assert_int_equal(h.skips, 0);
	assert_int_equal(h.length[TELEX_STDOUT], 1000);
}

static void stdin_of_an_attachment_goes_on_where_it_was(void **state)
{
	const struct telex_attach attach = {.process_id = "p", .stdin_pipe = true};
	struct fixture *f = *state;
	struct heard first = {0}, second = {0};
	const char *argv[] = {"flow", "10", "0", NULL};
	const struct telex_command command = {.argv = argv, .process_id = "p", .stdin_pipe = true};
	uint8_t data[2000];

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = fake_pattern(i);
	heard_command(f, &first, &command);
	assert_int_equal(telex_run_write(first.run, data, 500), 500);
	FIXTURE_UNTIL(f, seen(f)->stdin_bytes == 500);
	telex_run_detach(first.run);
	FIXTURE_UNTIL(f, seen(f)->open == 0);
	heard_attach(f, &second, &attach, false);
	/* Before it knows where that is. */
	assert_int_equal(telex_run_write(second.run, data + 500, 1000), 1000);
	fixture_until(f, &second.started);
	assert_true(second.stdin_held);
	FIXTURE_UNTIL(f, seen(f)->stdin_bytes == 1500);
	fake_agent_cut(f->agent);
	fixture_until(f, &second.is_interrupted);
	assert_int_equal(telex_run_write(second.run, data + 1500, 500), 500);
	telex_run_write_eof(second.run);
	finish(f, &second);
	assert_true(second.exited);
	assert_int_equal(seen(f)->stdin_bytes, 2000);
}

static void attaching_to_nothing_is_not_found(void **state)
{
	const struct telex_attach attach = {.process_id = "p", .stdin_pipe = true};
	struct fixture *f = *state;
	struct heard h = {0};

	heard_attach(f, &h, &attach, false);
	telex_run_write(h.run, "x", 1);
	finish(f, &h);
	assert_string_equal(h.error.reason, "NO_SUCH_PROCESS");
	assert_string_equal(h.error.message, "there is no process \"p\"");
	assert_int_equal(h.interrupted, 0);
}

static void bad_attachments_are_refused_at_once(void **state)
{
	const struct telex_attach bad[] = {{.process_id = NULL}, {.process_id = "a/b"},
	    {.process_id = "p", .from = 3}, {.process_id = "p", .heartbeat_ms = 3600001}};
	const struct telex_attach good = {.process_id = "p"};
	const struct telex_run_ops no_ops = {.done = heard_ops.done};
	struct fixture *f = *state;
	struct telex_run *run = NULL;
	struct telex_error error;

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		assert_int_equal(
		    telex_attach(f->client, &run, &bad[i], &heard_ops, NULL, &error), -1);
		assert_int_equal(error.kind, TELEX_ERROR_USAGE);
		assert_string_not_equal(error.message, "");
	}
	assert_int_equal(telex_attach(f->client, &run, &good, &no_ops, NULL, &error), -1);
	assert_null(run);
}

/* ---- skips ---- */

static void who_wants_to_know_skips_what_is_lost(void **state)
{
	const struct telex_attach attach = {.process_id = "p"};
	struct fixture *f = *state;
	struct heard h = {.pattern = true};

	leave_one(f, "100000", "0", false);
	heard_attach(f, &h, &attach, true);
	fixture_until(f, &h.started);
	assert_false(seen(f)->lossy);
	flow_drop(fake_agent_flows(f->agent), 1, 60000);
	FIXTURE_UNTIL(f, seen(f)->attaches == 2);
	/* Of a fast process it is another byte by the time that we are back. */
	flow_drop(fake_agent_flows(f->agent), 1, 70000);
	FIXTURE_UNTIL(f, seen(f)->attaches == 3);
	assert_int_equal(h.skips, 0);
	fake_agent_release(f->agent);
	finish(f, &h);
	assert_int_equal(h.skips, 1);
	assert_int_equal(h.skipped_from, 0);
	assert_int_equal(h.skipped_to, 70000);
	assert_true(seen(f)->lossy);
	assert_true(h.exited);
	assert_int_equal(h.interrupted, 0);
	assert_int_equal(h.length[TELEX_STDOUT], 100000);
}

static void who_feeds_the_process_is_not_lossy_by_itself(void **state)
{
	const struct telex_attach attach = {
	    .process_id = "p", .stdin_pipe = true, .from = TELEX_FROM_OFFSET, .stderr_offset = 100};
	struct fixture *f = *state;
	struct heard h = {.pattern = true, .length = {0, 0, 100}};

	leave_one(f, "100", "1000", true);
	flow_drop(fake_agent_flows(f->agent), 2, 300);
	heard_attach(f, &h, &attach, true);
	fixture_until(f, &h.started);
	assert_false(seen(f)->lossy);
	telex_run_write_eof(h.run);
	fake_agent_release(f->agent);
	finish(f, &h);
	assert_int_equal(h.skips, 1);
	assert_int_equal(h.skipped_from, 100);
	assert_true(h.exited);
	assert_int_equal(h.length[TELEX_STDERR], 1000);
}

static void what_was_skipped_is_told_after_the_return(void **state)
{
	const struct telex_attach attach = {.process_id = "p"};
	struct fixture *f = *state;
	struct heard h = {.pattern = true};

	leave_one(f, "100000", "0", false);
	heard_attach(f, &h, &attach, true);
	fixture_until(f, &h.started);
	fake_agent_cut(f->agent);
	fixture_until(f, &h.is_interrupted);
	flow_drop(fake_agent_flows(f->agent), 1, 500);
	FIXTURE_UNTIL(f, h.resumed == 1);
	assert_int_equal(h.skips, 0);
	fake_agent_release(f->agent);
	finish(f, &h);
	assert_int_equal(h.skips, 1);
	assert_true(h.exited);
}

static void else_what_is_lost_ends_the_run(void **state)
{
	const struct telex_attach attach = {.process_id = "p"};
	struct fixture *f = *state;
	struct heard h = {0};

	leave_one(f, "1000", "0", false);
	heard_attach(f, &h, &attach, false);
	fixture_until(f, &h.started);
	flow_drop(fake_agent_flows(f->agent), 1, 60);
	finish(f, &h);
	assert_string_equal(h.error.reason, "OFFSET_DROPPED");
	assert_int_equal(h.interrupted, 0);
}

/* An agent that says that nothing is held of where we are, and then that it is. */
static void a_skip_that_goes_nowhere_ends_the_run(void **state)
{
	const struct telex_attach attach = {.process_id = "p"};
	struct fixture *f = *state;
	struct heard h = {0};

	leave_one(f, "1000", "0", false);
	heard_attach(f, &h, &attach, true);
	fixture_until(f, &h.started);
	fake_agent_fail(f->agent, 11, "OFFSET_DROPPED");
	finish(f, &h);
	assert_string_equal(h.error.reason, "OFFSET_DROPPED");
	assert_int_equal(h.skips, 0);
}

/* ---- queued, and sizes ---- */

static void a_queued_process_is_told_when_it_runs(void **state)
{
	struct fixture *f = *state;
	struct heard here = {.pattern = true}, away = {.pattern = true};
	struct heard *both[] = {&here, &away};

	flow_queue(fake_agent_flows(f->agent), true);
	heard_run(f, &here, true, "flow", "10", "0");
	assert_int_equal(telex_run_write(here.run, "\0", 1), 1);
	telex_run_write_eof(here.run);
	fixture_until(f, &here.started);
	assert_true(here.queued && !here.running);
	assert_int_equal(here.pid, 0);
	FIXTURE_UNTIL(f, seen(f)->stdin_eof);
	fake_agent_release(f->agent);
	finish(f, &here);
	/* Also when that was while the connection was cut. */
	flow_queue(fake_agent_flows(f->agent), true);
	heard_run(f, &away, false, "flow", "10", "0");
	fixture_until(f, &away.started);
	fake_agent_cut(f->agent);
	fixture_until(f, &away.is_interrupted);
	fake_agent_release(f->agent);
	finish(f, &away);
	for (int i = 0; i < 2; i++) {
		assert_true(both[i]->running && both[i]->exited);
		assert_int_equal(both[i]->pid, 4711);
	}
}

static void the_last_size_counts(void **state)
{
	struct fixture *f = *state;
	const char *argv[] = {"flow", "10", "0", NULL};
	const struct telex_command command = {.argv = argv, .rows = 24, .columns = 80};
	struct heard h = {.pattern = true}, plain = {.pattern = true};

	flow_hold(fake_agent_flows(f->agent), true);
	heard_command(f, &h, &command);
	telex_run_resize(h.run, 25, 80);
	telex_run_resize(h.run, 26, 90);
	telex_run_resize(h.run, 0, 90);
	telex_run_resize(h.run, 10001, 90);
	FIXTURE_UNTIL(f, seen(f)->resizes == 1);
	assert_true(h.terminal && h.stdin_held);
	assert_int_equal(seen(f)->rows, 26);
	assert_int_equal(seen(f)->columns, 90);
	fake_agent_cut(f->agent);
	fixture_until(f, &h.is_interrupted);
	telex_run_resize(h.run, 30, 90);
	telex_run_resize(h.run, 31, 90);
	FIXTURE_UNTIL(f, h.resumed == 1 && seen(f)->resizes == 2);
	assert_int_equal(seen(f)->rows, 31);
	telex_run_write_eof(h.run);
	fake_agent_release(f->agent);
	finish(f, &h);
	heard_run(f, &plain, false, "flow", "10", "0");
	telex_run_resize(plain.run, 5, 5);
	finish(f, &plain);
	assert_int_equal(seen(f)->resizes, 2);
}

/* ---- the exit ---- */

static void the_exit_waits_for_the_output(void **state)
{
	struct fixture *f = *state;
	struct heard h = {.pattern = true, .keep = true};

	heard_run(f, &h, false, "flow", "1000", "10");
	FIXTURE_UNTIL(f, h.eof[TELEX_STDOUT] && h.eof[TELEX_STDERR]);
	fixture_settle(f);
	assert_false(h.done);
	assert_int_equal(seen(f)->exit_acks, 0);
	telex_run_consumed(h.run, TELEX_STDOUT, 1000);
	telex_run_consumed(h.run, TELEX_STDERR, 9);
	fixture_settle(f);
	assert_false(h.done);
	assert_int_equal(seen(f)->exit_acks, 0);
	assert_int_equal(telex_run_signal(h.run, 15, TELEX_TARGET_GROUP), -1);
	telex_run_consumed(h.run, TELEX_STDERR, 1);
	/* Not from inside that call. */
	assert_false(h.done);
	finish(f, &h);
	assert_true(h.exited);
	FIXTURE_UNTIL(f, seen(f)->exit_acks == 1 && seen(f)->open == 0);
}

static void an_exit_survives_what_it_came_with(void **state)
{
	struct fixture *f = *state;
	struct heard h = {.keep = true};

	heard_run(f, &h, false, "gen-die", NULL, NULL);
	FIXTURE_UNTIL(f, h.length[TELEX_STDOUT] == 4);
	fixture_settle(f);
	fake_agent_cut(f->agent);
	fixture_settle(f);
	assert_false(h.done);
	assert_int_equal(h.interrupted, 0);
	telex_run_consumed(h.run, TELEX_STDOUT, 4);
	finish(f, &h);
	assert_true(h.exited);
	assert_int_equal(h.exit.end, TELEX_END_SIGNAL);
	assert_string_equal(h.signal_name, "SIGTERM");
	assert_string_equal(h.ended_by, "spiffe://test.internal/user/bob");
}

static void a_lost_connection_does_not_undo_the_exit(void **state)
{
	struct fixture *f = *state;
	struct heard h = {.pattern = true, .keep = true};

	heard_run(f, &h, false, "flow", "1000", "0");
	FIXTURE_UNTIL(f, h.eof[TELEX_STDOUT] && h.eof[TELEX_STDERR]);
	fixture_settle(f);
	fake_agent_cut(f->agent);
	FIXTURE_UNTIL(f, seen(f)->open == 0);
	fixture_settle(f);
	assert_false(h.done);
	telex_run_consumed(h.run, TELEX_STDOUT, 1000);
	finish(f, &h);
	assert_true(h.exited);
	assert_int_equal(h.interrupted, 0);
	/* Which is acknowledged over another one. */
	assert_int_equal(seen(f)->connections, 2);
}

static void leaving_between_the_exit_and_the_end(void **state)
{
	struct fixture *f = *state;
	struct heard cut = {.keep = true}, open = {.keep = true}, freed = {.keep = true};

	heard_run(f, &cut, false, "flow", "10", "0");
	fixture_until(f, &cut.eof[TELEX_STDERR]);
	fixture_settle(f);
	fake_agent_cut(f->agent);
	FIXTURE_UNTIL(f, seen(f)->open == 0);
	fixture_settle(f);
	heard_run(f, &open, false, "flow", "10", "0");
	heard_run(f, &freed, false, "flow", "10", "0");
	fixture_until(f, &open.eof[TELEX_STDERR]);
	fixture_until(f, &freed.eof[TELEX_STDERR]);
	fixture_settle(f);
	telex_run_detach(cut.run);
	telex_run_detach(open.run);
	telex_client_free(f->client);
	f->client = NULL;
	fixture_settle(f);
	assert_false(cut.done || open.done || freed.done);
	assert_int_equal(seen(f)->exit_acks, 0);
}

/* A program that ends as soon as its run is done. */
static void the_acknowledgement_is_out_before_the_client_is_gone(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 1; i <= 20; i++) {
		struct heard h = {.pattern = true};

		heard_run(f, &h, false, "flow", "100000", "0");
		fixture_until(f, &h.done);
		fixture_again(f, NULL);
		FIXTURE_UNTIL(f, seen(f)->open == 0);
		assert_int_equal(seen(f)->exit_acks, i);
	}
	assert_null(seen(f)->rules_broken);
}

#define ATTACH_TEST(t) cmocka_unit_test_setup_teardown(t, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    ATTACH_TEST(attaching_gives_what_is_held),
	    ATTACH_TEST(attaching_at_an_offset_goes_on_there),
	    ATTACH_TEST(attaching_from_the_oldest_is_no_skip),
	    ATTACH_TEST(stdin_of_an_attachment_goes_on_where_it_was),
	    ATTACH_TEST(attaching_to_nothing_is_not_found),
	    ATTACH_TEST(bad_attachments_are_refused_at_once),
	    ATTACH_TEST(who_wants_to_know_skips_what_is_lost),
	    ATTACH_TEST(who_feeds_the_process_is_not_lossy_by_itself),
	    ATTACH_TEST(what_was_skipped_is_told_after_the_return),
	    ATTACH_TEST(else_what_is_lost_ends_the_run),
	    ATTACH_TEST(a_skip_that_goes_nowhere_ends_the_run),
	    ATTACH_TEST(a_queued_process_is_told_when_it_runs),
	    ATTACH_TEST(the_last_size_counts),
	    ATTACH_TEST(the_exit_waits_for_the_output),
	    ATTACH_TEST(an_exit_survives_what_it_came_with),
	    ATTACH_TEST(a_lost_connection_does_not_undo_the_exit),
	    ATTACH_TEST(leaving_between_the_exit_and_the_end),
	    ATTACH_TEST(the_acknowledgement_is_out_before_the_client_is_gone),
	};

	return cmocka_run_group_tests_name("run_attach", tests, NULL, NULL);
}
