/* SPDX-License-Identifier: Apache-2.0 */
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

#include "tests/support/client_fixture.h"

static void finish(struct fixture *f, struct heard *h)
{
	fixture_until(f, &h->done);
	assert_false(h->wrong);
}

static const struct telex_options no_reconnect = {.reconnect_ms = -1};

static void both_outputs_and_the_exit_come_in_order(void **state)
{
	struct fixture *f = *state;
	struct heard h = {0};

	heard_run(f, &h, false, "echo", "to stdout", "to stderr");
	finish(f, &h);
	assert_true(h.started);
	assert_true(h.created);
	assert_int_equal(h.pid, 4711);
	assert_string_equal(h.text[TELEX_STDOUT], "to stdout");
	assert_string_equal(h.text[TELEX_STDERR], "to stderr");
	assert_true(h.eof[TELEX_STDOUT] && h.eof[TELEX_STDERR]);
	assert_true(h.exited);
	assert_int_equal(h.exit.end, TELEX_END_CODE);
	assert_int_equal(h.exit.value, 0);
	assert_int_equal(h.exit.stdout_length, 9);
}

static void codes_come_as_they_are(void **state)
{
	static const char *const codes[] = {"0", "1", "126", "127", "255"};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
		struct heard h = {0};

		heard_run(f, &h, false, "exit", codes[i], NULL);
		finish(f, &h);
		assert_int_equal(h.exit.end, TELEX_END_CODE);
		assert_int_equal(h.exit.value, atoi(codes[i]));
		assert_int_equal(h.exit.reason, TELEX_REASON_EXITED);
	}
	/* One connection served them all. */
	assert_int_equal(fake_agent_seen(f->agent)->connections, 1);
	assert_int_equal(fake_agent_seen(f->agent)->calls, 5);
}

static void the_callers_id_is_used(void **state)
{
	struct fixture *f = *state;
	const char *argv[] = {"exit", "0", NULL};
	const struct telex_command command = {.argv = argv, .process_id = "my-id.1"};
	struct heard h = {0};

	heard_command(f, &h, &command);
	assert_string_equal(telex_run_id(h.run), "my-id.1");
	finish(f, &h);
	assert_string_equal(fake_agent_seen(f->agent)->process_id, "my-id.1");
}

static void much_output_is_whole_and_acknowledged(void **state)
{
	struct fixture *f = *state;
	struct heard h = {.pattern = true};

	heard_run(f, &h, false, "gen", "20000000", NULL);
	finish(f, &h);
	assert_int_equal(h.length[TELEX_STDOUT], 20000000);
	assert_true(h.exited);
	assert_true(fake_agent_seen(f->agent)->acked[TELEX_STDOUT] > 0);
	/* Not one for each message: at most one each 256 KiB, and some by time. */
	assert_true(fake_agent_seen(f->agent)->acks < 20000000 / 65536);
}

static void little_output_is_acknowledged_too(void **state)
{
	struct fixture *f = *state;
	struct heard h = {0};

	heard_run(f, &h, false, "cut", NULL, NULL);
	FIXTURE_UNTIL(f, fake_agent_seen(f->agent)->acked[TELEX_STDOUT] == 4);
	assert_int_equal(fake_agent_seen(f->agent)->acks, 1);
	telex_run_detach(h.run);
}

static void output_waits_until_it_is_consumed(void **state)
{
	struct fixture *f = *state;
	struct heard h = {.keep = true, .pattern = true};
	uint64_t given = 0;

	heard_run(f, &h, false, "gen", "20000000", NULL);
	while (!h.done) {
		size_t held;

		FIXTURE_UNTIL(f, h.done || h.length[TELEX_STDOUT] > given);
		fixture_settle(f);
		/* The window, and a message that was on its way. */
		held = (size_t)(h.length[TELEX_STDOUT] - given);
		assert_true(held <= (4u << 20) + 65536);
		if (h.done)
			break;
		given += held;
		telex_run_consumed(h.run, TELEX_STDOUT, held / 2);
		telex_run_consumed(h.run, TELEX_STDOUT, held - held / 2 + 12345);
		telex_run_consumed(h.run, TELEX_STDOUT, 1);
	}
	assert_int_equal(h.length[TELEX_STDOUT], 20000000);
	assert_false(h.wrong);
}

static void repeated_bytes_are_given_once(void **state)
{
	struct fixture *f = *state;
	struct heard h = {0};

	heard_run(f, &h, false, "twice", NULL, NULL);
	finish(f, &h);
	assert_string_equal(h.text[TELEX_STDOUT], "abcde");
	assert_int_equal(h.length[TELEX_STDOUT], 5);
	assert_true(h.exited);
}

static void a_broken_agent_is_named(void **state)
{
	static const char *const broken[] = {"again", "bad"};
	struct fixture *f = *state;

	for (size_t i = 0; i < 2; i++) {
		struct heard h = {0};

		heard_run(f, &h, false, broken[i], NULL, NULL);
		finish(f, &h);
		assert_false(h.exited);
		assert_int_equal(h.error.kind, TELEX_ERROR_STATUS);
		assert_non_null(strstr(h.error.message, "broke the protocol"));
	}
}

static void output_that_is_left_out_is_never_passed_over(void **state)
{
	struct fixture *f = *state;
	struct heard h = {0};

	heard_run(f, &h, false, "gap", NULL, NULL);
	finish(f, &h);
	assert_false(h.exited);
	assert_int_equal(h.length[TELEX_STDOUT], 0);
	assert_string_equal(h.error.reason, "OFFSET_DROPPED");
	assert_non_null(strstr(h.error.message, "bytes 0 to 5 of stdout"));
}

static void ok_without_an_exit_is_no_exit(void **state)
{
	struct fixture *f = *state;
	struct heard h = {0};

	heard_run(f, &h, false, "ok", NULL, NULL);
	finish(f, &h);
	assert_false(h.exited);
	assert_int_equal(h.error.kind, TELEX_ERROR_LOST);
}

/* ---- stdin ---- */

/* Writes pattern bytes from *offset up to `end` as far as there is room. */
static bool feed(struct heard *h, uint64_t *offset, uint64_t end)
{
	uint8_t data[50000];

	while (*offset < end) {
		size_t n = end - *offset < sizeof(data) ? (size_t)(end - *offset) : sizeof(data);
		size_t taken;

		for (size_t i = 0; i < n; i++)
			data[i] = fake_pattern(*offset + i);
		taken = telex_run_write(h->run, data, n);
		*offset += taken;
		if (taken < n)
			return false;
	}
	return true;
}

static void stdin_goes_there_and_back(void **state)
{
	struct fixture *f = *state;
	struct heard h = {.pattern = true};
	uint64_t offset = 0;

	heard_run(f, &h, true, "cat", NULL, NULL);
	while (!feed(&h, &offset, 10000000)) {
		fixture_until(f, &h.room);
		h.room = false;
	}
	telex_run_write_eof(h.run);
	finish(f, &h);
	assert_int_equal(h.length[TELEX_STDOUT], 10000000);
	assert_int_equal(fake_agent_seen(f->agent)->stdin_bytes, 10000000);
	assert_true(fake_agent_seen(f->agent)->stdin_eof);
	assert_false(fake_agent_seen(f->agent)->stdin_wrong);
	assert_true(h.exited);
}

static void small_writes_share_a_message(void **state)
{
	struct fixture *f = *state;
	struct heard h = {.pattern = true};
	uint64_t offset = 0;

	heard_run(f, &h, true, "cat", NULL, NULL);
	fixture_until(f, &h.started);
	for (uint64_t i = 1; i <= 100; i++)
		assert_true(feed(&h, &offset, i));
	telex_run_write_eof(h.run);
	finish(f, &h);
	assert_int_equal(h.length[TELEX_STDOUT], 100);
	assert_int_equal(fake_agent_seen(f->agent)->stdin_chunks, 1);
}

static void empty_stdin_ends(void **state)
{
	struct fixture *f = *state;
	struct heard h = {0};

	heard_run(f, &h, true, "cat", NULL, NULL);
	telex_run_write_eof(h.run);
	telex_run_write_eof(h.run);
	assert_int_equal(telex_run_write(h.run, "x", 1), 1); /* and dropped */
	finish(f, &h);
	assert_true(h.exited);
	assert_int_equal(h.length[TELEX_STDOUT], 0);
	assert_int_equal(fake_agent_seen(f->agent)->stdin_chunks, 1);
}

static void unacknowledged_stdin_is_bounded(void **state)
{
	struct fixture *f = *state;
	struct heard h = {0};
	uint64_t offset = 0;

	heard_run(f, &h, true, "hold", NULL, NULL);
	assert_false(feed(&h, &offset, 5000000));
	assert_int_equal(offset, 1 << 20);
	FIXTURE_UNTIL(f, fake_agent_seen(f->agent)->stdin_bytes == 1 << 20);
	fixture_settle(f);
	assert_int_equal(fake_agent_seen(f->agent)->stdin_bytes, 1 << 20);
	assert_false(h.room);
	assert_int_equal(telex_run_write(h.run, "x", 1), 0);
	fake_agent_ack(f->agent);
	fixture_until(f, &h.room);
	assert_false(feed(&h, &offset, 5000000));
	assert_int_equal(offset, 2 << 20);
	telex_run_write_eof(h.run);
	finish(f, &h);
	assert_true(fake_agent_seen(f->agent)->stdin_eof);
	assert_false(fake_agent_seen(f->agent)->stdin_wrong);
}

static void stdin_that_the_process_closed_is_dropped(void **state)
{
	struct fixture *f = *state;
	struct heard h = {0};
	uint64_t offset = 0;

	heard_run(f, &h, true, "close", NULL, NULL);
	assert_false(feed(&h, &offset, 5000000));
	fixture_until(f, &h.stdin_closed);
	/* Whoever waits for room is not forgotten. */
	fixture_until(f, &h.room);
	assert_true(feed(&h, &offset, 50000000));
	telex_run_write_eof(h.run);
	assert_int_equal(telex_run_signal(h.run, SIGTERM, TELEX_TARGET_GROUP), 0);
	finish(f, &h);
	assert_true(fake_agent_seen(f->agent)->stdin_bytes <= 1 << 20);
}

static void without_a_pipe_writes_are_dropped(void **state)
{
	struct fixture *f = *state;
	struct heard h = {0};

	heard_run(f, &h, false, "sleep", NULL, NULL);
	assert_int_equal(telex_run_write(h.run, "xyz", 3), 3);
	telex_run_write_eof(h.run);
	fixture_until(f, &h.started);
	assert_int_equal(telex_run_signal(h.run, SIGTERM, TELEX_TARGET_GROUP), 0);
	finish(f, &h);
	assert_int_equal(fake_agent_seen(f->agent)->stdin_chunks, 0);
}

static void a_process_that_was_there_already_has_some_stdin(void **state)
{
	struct fixture *f = *state;
	struct heard h = {.pattern = true};
	uint64_t offset = 0;

	heard_run(f, &h, true, "found", NULL, NULL);
	assert_true(feed(&h, &offset, 500));
	fixture_until(f, &h.started);
	assert_false(h.created);
	assert_true(feed(&h, &offset, 3000));
	telex_run_write_eof(h.run);
	finish(f, &h);
	assert_int_equal(h.length[TELEX_STDOUT], 3000);
}

/* Who names a process may meet one that another has fed: new bytes go behind those. */
static void stdin_of_a_named_process_goes_on_behind_what_it_has(void **state)
{
	static const char *const argv[] = {"fed", NULL};
	const struct telex_command command = {.argv = argv, .process_id = "q1", .stdin_pipe = true};
	struct fixture *f = *state;
	struct heard h = {.length = {0, 1000, 0}, .pattern = true};
	uint8_t data[3000];

	for (size_t i = 0; i < sizeof(data); i++)
		data[i] = fake_pattern(1000 + i);
	heard_command(f, &h, &command);
	assert_int_equal(telex_run_write(h.run, data, sizeof(data)), sizeof(data));
	telex_run_write_eof(h.run);
	finish(f, &h);
	assert_int_equal(h.stdin_offset, 1000);
	assert_false(fake_agent_seen(f->agent)->stdin_wrong);
	assert_int_equal(fake_agent_seen(f->agent)->stdin_bytes, 3000);
}

/* ---- an agent that is wrong ---- */

static void output_where_none_can_be_breaks_the_protocol(void **state)
{
	static const char *const acts[] = {"after-eof", "after-exit", "far"};
	struct fixture *f = *state;

	for (size_t i = 0; i < 3; i++) {
		struct heard h = {.keep = true};

		heard_run(f, &h, false, acts[i], NULL, NULL);
		finish(f, &h);
		assert_false(h.exited);
		assert_int_equal(h.error.kind, TELEX_ERROR_STATUS);
		assert_non_null(strstr(h.error.message, "broke the protocol"));
		assert_true(h.length[TELEX_STDOUT] <= 3);
	}
}

static void a_message_that_swells_is_not_taken(void **state)
{
	struct fixture *f = *state;
	struct heard h = {0};

	heard_run(f, &h, false, "swollen", NULL, NULL);
	finish(f, &h);
	assert_false(h.started || h.exited);
	assert_int_equal(h.error.kind, TELEX_ERROR_NO_MEMORY);
}

/* ---- signals and failures ---- */

static void a_signal_arrives_and_its_death_is_typed(void **state)
{
	struct fixture *f = *state;
	struct heard h = {0};

	heard_run(f, &h, false, "sleep", NULL, NULL);
	fixture_until(f, &h.started);
	assert_int_equal(telex_run_signal(h.run, 0, TELEX_TARGET_GROUP), -1);
	assert_int_equal(telex_run_signal(h.run, SIGTERM, TELEX_TARGET_PROCESS), 0);
	finish(f, &h);
	assert_int_equal(fake_agent_seen(f->agent)->signo, SIGTERM);
	assert_true(fake_agent_seen(f->agent)->process_only);
	assert_int_equal(h.exit.end, TELEX_END_SIGNAL);
	assert_int_equal(h.exit.value, SIGTERM);
	assert_int_equal(h.exit.reason, TELEX_REASON_SIGNALLED);
}

static void a_signal_before_the_start_waits_for_it(void **state)
{
	struct fixture *f = *state;
	struct heard h = {0};

	heard_run(f, &h, false, "sleep", NULL, NULL);
	assert_int_equal(telex_run_signal(h.run, SIGINT, TELEX_TARGET_GROUP), 0);
	finish(f, &h);
	assert_int_equal(fake_agent_seen(f->agent)->signo, SIGINT);
	assert_false(fake_agent_seen(f->agent)->process_only);
}

static void a_failed_start_says_where(void **state)
{
	struct fixture *f = *state;
	struct heard h = {0};

	heard_run(f, &h, false, "fail", NULL, NULL);
	finish(f, &h);
	assert_false(h.started);
	assert_false(h.exited);
	assert_int_equal(h.error.kind, TELEX_ERROR_STATUS);
	assert_int_equal(h.error.code, 5);
	assert_string_equal(h.error.reason, "START_FAILED");
	assert_string_equal(h.error.stage, "exec");
	assert_int_equal(h.error.sys_errno, ENOENT);
	assert_non_null(strstr(h.error.message, "cannot run \"nope\""));
}

static void statuses_come_through(void **state)
{
	static const char *const codes[] = {"3", "6", "7", "9", "11", "13", "14", "16"};
	struct fixture *f = *state;

	fixture_again(f, &no_reconnect);
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
		struct heard h = {0};

		heard_run(f, &h, false, "status", codes[i], i % 2 == 0 ? "SOME_REASON" : "");
		finish(f, &h);
		assert_int_equal(h.error.kind, TELEX_ERROR_STATUS);
		assert_int_equal(h.error.code, atoi(codes[i]));
		assert_string_equal(h.error.reason, i % 2 == 0 ? "SOME_REASON" : "");
		assert_string_equal(h.error.stage, "");
		assert_string_equal(h.error.message, "said so");
	}
	assert_int_equal(fake_agent_seen(f->agent)->connections, 1);
}

static void a_silent_agent_is_lost(void **state)
{
	struct fixture *f = *state;
	const char *argv[] = {"mute", NULL};
	const struct telex_command command = {.argv = argv, .heartbeat_ms = 20};
	struct heard silent = {0}, after = {0};

	fixture_again(f, &no_reconnect);
	heard_command(f, &silent, &command);
	finish(f, &silent);
	assert_int_equal(silent.error.kind, TELEX_ERROR_LOST);
	assert_non_null(strstr(silent.error.message, f->address));
	/* That connection is not used again. */
	heard_run(f, &after, false, "exit", "0", NULL);
	finish(f, &after);
	assert_true(after.exited);
	assert_int_equal(fake_agent_seen(f->agent)->connections, 2);
}

static void a_full_window_is_not_silence(void **state)
{
	struct fixture *f = *state;
	const char *argv[] = {"gen", "20000000", NULL};
	/* Under valgrind both ends together may need longer than a second for one turn. */
	const int64_t beat = getenv("TELEX_TEST_SLOW") != NULL ? 10000 : 400;
	const struct telex_command command = {.argv = argv, .heartbeat_ms = beat};
	struct heard h = {.keep = true, .pattern = true};
	uint64_t given = 0;

	heard_command(f, &h, &command);
	/* The agent cannot say a word for longer than it is allowed to be silent. */
	FIXTURE_UNTIL(f, h.done || h.length[TELEX_STDOUT] > (4u << 20) - 2 * 65536);
	for (int i = 0; i < 60; i++)
		fixture_settle(f);
	assert_false(h.done);
	while (!h.done) {
		uint64_t all = h.length[TELEX_STDOUT];

		telex_run_consumed(h.run, TELEX_STDOUT, (size_t)(all - given));
		given = all;
		event_base_loop(f->base, EVLOOP_ONCE);
	}
	assert_true(h.exited);
	assert_int_equal(h.length[TELEX_STDOUT], 20000000);
}

static void a_cut_connection_is_lost(void **state)
{
	struct fixture *f = *state;
	struct heard h[2] = {0}, after = {0};

	fixture_again(f, &no_reconnect);
	heard_run(f, &h[0], false, "cut", NULL, NULL);
	heard_run(f, &h[1], true, "cat", NULL, NULL);
	fixture_until(f, &h[0].started);
	fixture_until(f, &h[1].started);
	FIXTURE_UNTIL(f, h[0].length[TELEX_STDOUT] == 4);
	fake_agent_cut(f->agent);
	for (int i = 0; i < 2; i++) {
		finish(f, &h[i]);
		assert_false(h[i].exited);
		assert_int_equal(h[i].error.kind, TELEX_ERROR_LOST);
		assert_non_null(strstr(h[i].error.message, f->address));
	}
	assert_string_equal(h[0].text[TELEX_STDOUT], "some");
	/* The next call connects again. */
	heard_run(f, &after, false, "exit", "3", NULL);
	finish(f, &after);
	assert_int_equal(after.exit.value, 3);
	assert_int_equal(fake_agent_seen(f->agent)->connections, 2);
}

static void a_drained_connection_serves_its_calls_and_no_more(void **state)
{
	struct fixture *f = *state;
	struct heard old = {.pattern = true}, new = {0};
	uint64_t offset = 0;

	heard_run(f, &old, true, "drain", NULL, NULL);
	fixture_until(f, &old.started);
	fixture_settle(f);
	heard_run(f, &new, false, "exit", "0", NULL);
	finish(f, &new);
	assert_true(new.exited);
	assert_int_equal(fake_agent_seen(f->agent)->connections, 2);
	assert_true(feed(&old, &offset, 1000));
	telex_run_write_eof(old.run);
	finish(f, &old);
	assert_true(old.exited);
	assert_int_equal(old.length[TELEX_STDOUT], 1000);
}

/* ---- leaving ---- */

static void detaching_in_any_callback_is_the_last_of_it(void **state)
{
	struct fixture *f = *state;
	static const struct {
		char where;
		const char *act;
	} cases[] = {{'s', "cat"}, {'o', "cat"}, {'r', "cat"}, {'c', "close"}};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct heard h = {.detach_in = cases[i].where, .pattern = true};
		uint64_t offset = 0;

		heard_run(f, &h, true, cases[i].act, NULL, NULL);
		feed(&h, &offset, 3000000);
		fixture_until(f, &h.detached);
		FIXTURE_UNTIL(f, fake_agent_seen(f->agent)->open == 0);
		fixture_settle(f);
		assert_false(h.done);
		assert_false(h.wrong);
	}
}

static void detaching_in_done_does_nothing(void **state)
{
	struct fixture *f = *state;
	struct heard ended = {.detach_in = 'd'}, failed = {.detach_in = 'd'};

	heard_run(f, &ended, false, "exit", "0", NULL);
	heard_run(f, &failed, false, "fail", NULL, NULL);
	finish(f, &ended);
	finish(f, &failed);
	assert_true(ended.exited);
	assert_false(failed.exited);
}

static void detaching_at_any_moment(void **state)
{
	struct fixture *f = *state;
	struct heard waiting = {0}, running = {0};

	heard_run(f, &waiting, false, "exit", "0", NULL);
	telex_run_detach(waiting.run);
	heard_run(f, &running, false, "sleep", NULL, NULL);
	fixture_until(f, &running.started);
	telex_run_detach(running.run);
	telex_run_detach(NULL);
	FIXTURE_UNTIL(f, fake_agent_seen(f->agent)->open == 0);
	fixture_settle(f);
	assert_false(waiting.started || waiting.done || running.done);
	assert_int_equal(fake_agent_seen(f->agent)->calls, 1);
}

static void freeing_the_client_ends_all_without_a_word(void **state)
{
	struct fixture *f = *state;
	struct heard running = {0}, more = {0}, waiting = {0};

	heard_run(f, &running, true, "cat", NULL, NULL);
	heard_run(f, &more, false, "gen", "100000000", NULL);
	fixture_until(f, &running.started);
	telex_run_write(running.run, "\0", 1);
	telex_client_free(f->client);
	f->client = fixture_client(f, NULL);
	heard_run(f, &waiting, false, "exit", "0", NULL);
	telex_client_free(f->client);
	f->client = NULL;
	FIXTURE_UNTIL(f, fake_agent_seen(f->agent)->open == 0);
	fixture_settle(f);
	assert_false(running.done || more.done || waiting.done);
}

static void many_runs_share_the_connection(void **state)
{
	struct fixture *f = *state;
	enum { MANY = 150 };
	struct heard *h = calloc(MANY, sizeof(*h));

	/* More than the agent allows before it has said how many. */
	for (size_t i = 0; i < MANY; i++) {
		h[i].pattern = true;
		heard_run(f, &h[i], false, "gen", "100000", NULL);
	}
	for (size_t i = 0; i < MANY; i++) {
		finish(f, &h[i]);
		assert_true(h[i].exited);
		assert_int_equal(h[i].length[TELEX_STDOUT], 100000);
	}
	assert_int_equal(fake_agent_seen(f->agent)->connections, 1);
	free(h);
}

static void runs_wait_for_their_turn(void **state)
{
	struct fixture *f = *state;
	struct heard first = {0}, h[4] = {0};

	fake_agent_limit(f->agent, 1);
	heard_run(f, &first, false, "exit", "0", NULL);
	finish(f, &first);
	/* The limit is known now. */
	for (size_t i = 0; i < 4; i++)
		heard_run(f, &h[i], false, "echo", "x", "y");
	telex_run_detach(h[2].run);
	for (size_t i = 0; i < 4; i++) {
		if (i == 2)
			continue;
		finish(f, &h[i]);
		assert_true(h[i].exited);
	}
	assert_int_equal(fake_agent_seen(f->agent)->connections, 1);
	assert_int_equal(fake_agent_seen(f->agent)->calls, 4);
}

static void a_bad_command_is_refused_at_once(void **state)
{
	struct fixture *f = *state;
	const char *none[] = {NULL}, *argv[] = {"exit", "0", NULL};
	const struct telex_command empty = {.argv = none};
	const struct telex_command bad_id = {.argv = argv, .process_id = "a b"};
	const struct telex_command slow = {.argv = argv, .heartbeat_ms = 3600001};
	const struct telex_command good = {.argv = argv};
	const struct telex_run_ops no_ops = {.done = heard_ops.done};
	const struct telex_command *const bad[] = {&empty, &bad_id, &slow};
	struct telex_error error;
	struct telex_run *run = NULL;

	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(telex_run(f->client, &run, bad[i], &heard_ops, NULL, &error), -1);
		assert_int_equal(error.kind, TELEX_ERROR_USAGE);
		assert_int_equal(telex_run(f->client, &run, bad[i], &heard_ops, NULL, NULL), -1);
	}
	assert_int_equal(telex_run(f->client, &run, &good, &no_ops, NULL, &error), -1);
	assert_null(run);
}

#define RUN_TEST(t) cmocka_unit_test_setup_teardown(t, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    RUN_TEST(both_outputs_and_the_exit_come_in_order),
	    RUN_TEST(codes_come_as_they_are),
	    RUN_TEST(the_callers_id_is_used),
	    RUN_TEST(much_output_is_whole_and_acknowledged),
	    RUN_TEST(little_output_is_acknowledged_too),
	    RUN_TEST(output_waits_until_it_is_consumed),
	    RUN_TEST(repeated_bytes_are_given_once),
	    RUN_TEST(a_broken_agent_is_named),
	    RUN_TEST(output_that_is_left_out_is_never_passed_over),
	    RUN_TEST(ok_without_an_exit_is_no_exit),
	    RUN_TEST(stdin_goes_there_and_back),
	    RUN_TEST(small_writes_share_a_message),
	    RUN_TEST(empty_stdin_ends),
	    RUN_TEST(unacknowledged_stdin_is_bounded),
	    RUN_TEST(stdin_that_the_process_closed_is_dropped),
	    RUN_TEST(without_a_pipe_writes_are_dropped),
	    RUN_TEST(a_process_that_was_there_already_has_some_stdin),
	    RUN_TEST(output_where_none_can_be_breaks_the_protocol),
	    RUN_TEST(a_message_that_swells_is_not_taken),
	    RUN_TEST(stdin_of_a_named_process_goes_on_behind_what_it_has),
	    RUN_TEST(a_signal_arrives_and_its_death_is_typed),
	    RUN_TEST(a_signal_before_the_start_waits_for_it),
	    RUN_TEST(a_failed_start_says_where),
	    RUN_TEST(statuses_come_through),
	    RUN_TEST(a_silent_agent_is_lost),
	    RUN_TEST(a_full_window_is_not_silence),
	    RUN_TEST(a_cut_connection_is_lost),
	    RUN_TEST(a_drained_connection_serves_its_calls_and_no_more),
	    RUN_TEST(detaching_in_any_callback_is_the_last_of_it),
	    RUN_TEST(detaching_in_done_does_nothing),
	    RUN_TEST(detaching_at_any_moment),
	    RUN_TEST(freeing_the_client_ends_all_without_a_word),
	    RUN_TEST(many_runs_share_the_connection),
	    RUN_TEST(runs_wait_for_their_turn),
	    RUN_TEST(a_bad_command_is_refused_at_once),
	};

	return cmocka_run_group_tests_name("run", tests, NULL, NULL);
}
