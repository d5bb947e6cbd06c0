/* SPDX-License-Identifier: Apache-2.0 */
/* A run whose connection is lost, or whose agent will be back: it goes on where it was, or says why
 * not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/client_fixture.h"
#include "tests/support/cut_relay.h"
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

/* Writes pattern bytes from *offset up to `end` as far as there is room, and then the end. */
static void feed(struct heard *h, uint64_t *offset, uint64_t end)
{
	uint8_t data[30000];

	while (h->run != NULL && *offset < end) {
		size_t n = end - *offset < sizeof(data) ? (size_t)(end - *offset) : sizeof(data);
		size_t taken;

		for (size_t i = 0; i < n; i++)
			data[i] = fake_pattern(*offset + i);
		taken = telex_run_write(h->run, data, n);
		*offset += taken;
		if (taken < n)
			return;
	}
	if (h->run != NULL)
		telex_run_write_eof(h->run);
}

/* ---- cut anywhere ---- */

struct chance {
	uint64_t state;
	unsigned early; /* connections that were cut in their handshake, one after another */
};

static uint64_t draw(struct chance *c)
{
	c->state ^= c->state << 13;
	c->state ^= c->state >> 7;
	c->state ^= c->state << 17;
	return c->state;
}

/* Also in the handshake; but the first connection comes about. */
static uint64_t cut_somewhere(unsigned n, void *arg)
{
	struct chance *c = arg;

	if (n > 0 && draw(c) % 4 == 0 && c->early < 3) {
		c->early++;
		return draw(c) % 6000;
	}
	c->early = 0;
	return 20000 + draw(c) % (draw(c) % 2 == 0 ? 20000 : 400000);
}

#define FLOW_BYTES 400000

static void flow_through(struct fixture *f, uint64_t seed)
{
	struct chance chance = {.state = seed * UINT64_C(0x9e3779b97f4a7c15)};
	struct cut_relay *relay =
	    cut_relay_new(f->base, fake_agent_port(f->agent), cut_somewhere, &chance);
	struct heard h = {.pattern = true};
	struct telex_options o = {0};
	uint64_t offset = 0;
	char address[64];

	*seen(f) = (struct fake_seen){0};
	snprintf(address, sizeof(address), "127.0.0.1:%u", cut_relay_port(relay));
	o.address = address;
	fixture_again(f, &o);
	heard_run(f, &h, true, "flow", "400000", "100000");
	while (!h.done) {
		if (offset < FLOW_BYTES)
			feed(&h, &offset, FLOW_BYTES);
		fixture_turn(f);
	}
	if (!h.exited)
		fail_msg("seed %d: %s", (int)seed, h.error.message);
	finish(f, &h);
	assert_int_equal(h.length[TELEX_STDOUT], FLOW_BYTES);
	assert_int_equal(h.length[TELEX_STDERR], 100000);
	assert_int_equal(seen(f)->stdin_bytes, FLOW_BYTES);
	assert_true(seen(f)->stdin_eof);
	assert_int_equal(seen(f)->created, 1);
	assert_true(cut_relay_cuts(relay) > 0);
	assert_int_equal(h.interrupted, h.resumed);
	fixture_again(f, NULL);
	cut_relay_free(relay);
}

static void cut_anywhere_nothing_is_lost_or_given_twice(void **state)
{
	struct fixture *f = *state;
	const uint64_t seeds = getenv("TELEX_TEST_SLOW") != NULL ? 3 : 12;

	for (uint64_t seed = 1; seed <= seeds; seed++)
		flow_through(f, seed);
}

/* ---- one cut, looked at ---- */

static void a_cut_is_told_and_overcome(void **state)
{
	struct fixture *f = *state;
	struct heard h = {.pattern = true};

	flow_hold(fake_agent_flows(f->agent), true);
	heard_run(f, &h, false, "flow", "50000", "0");
	fixture_until(f, &h.started);
	fake_agent_cut(f->agent);
	fixture_until(f, &h.is_interrupted);
	assert_int_equal(h.why.kind, TELEX_ERROR_LOST);
	/* Both wait until it is back; of the sizes the last counts. */
	assert_int_equal(telex_run_signal(h.run, SIGUSR1, TELEX_TARGET_GROUP), 0);
	FIXTURE_UNTIL(f, h.resumed == 1);
	assert_int_equal(seen(f)->attaches, 1);
	assert_int_equal(seen(f)->starts, 1);
	FIXTURE_UNTIL(f, seen(f)->signals == 1);
	assert_int_equal(seen(f)->signo, SIGUSR1);
	fake_agent_release(f->agent);
	finish(f, &h);
	assert_true(h.exited);
	assert_int_equal(h.length[TELEX_STDOUT], 50000);
}

static void a_signal_that_may_be_lost_is_told(void **state)
{
	struct fixture *f = *state;
	struct heard h = {.pattern = true};

	flow_hold(fake_agent_flows(f->agent), true);
	heard_run(f, &h, true, "flow", "50000", "0");
	fixture_until(f, &h.started);
	assert_int_equal(telex_run_signal(h.run, SIGUSR1, TELEX_TARGET_GROUP), 0);
	FIXTURE_UNTIL(f, seen(f)->signals == 1);
	/* Something comes back: it has arrived. */
	assert_int_equal(telex_run_write(h.run, "\0", 1), 1);
	FIXTURE_UNTIL(f, seen(f)->stdin_bytes == 1);
	fixture_settle(f);
	fake_agent_cut(f->agent);
	FIXTURE_UNTIL(f, h.resumed == 1);
	assert_int_equal(h.unsure, 0);
	assert_int_equal(telex_run_signal(h.run, SIGINT, TELEX_TARGET_GROUP), 0);
	fake_agent_cut(f->agent);
	FIXTURE_UNTIL(f, h.resumed == 2);
	FIXTURE_UNTIL(f, h.unsure == 1);
	assert_int_equal(h.unsure_signo, SIGINT);
	telex_run_write_eof(h.run);
	fake_agent_release(f->agent);
	finish(f, &h);
	assert_int_equal(h.unsure, 1);
}

static void before_it_has_started_the_start_is_sent_again(void **state)
{
	struct fixture *f = *state;
	struct heard h = {.pattern = true};
	uint64_t offset = 0;

	fake_agent_refuse(f->agent, 3, "KEEPER_GONE");
	heard_run(f, &h, true, "flow", "10", "0");
	feed(&h, &offset, 1000);
	finish(f, &h);
	assert_true(h.exited);
	assert_int_equal(h.interrupted, 1);
	assert_int_equal(h.resumed, 1);
	assert_string_equal(h.why.reason, "KEEPER_GONE");
	assert_int_equal(seen(f)->starts, 1);
	assert_int_equal(seen(f)->attaches, 0);
	assert_int_equal(seen(f)->stdin_bytes, 1000);
	/* Each time on a new connection. */
	assert_int_equal(seen(f)->connections, 4);
}

static void an_agent_that_drains_is_left_for_the_next(void **state)
{
	static const char *const reasons[] = {"SHUTTING_DOWN", "KEEPER_GONE", ""};
	struct fixture *f = *state;

	for (size_t i = 0; i < 3; i++) {
		struct heard h = {.pattern = true};
		uint64_t offset = 0;

		*seen(f) = (struct fake_seen){0};
		flow_hold(fake_agent_flows(f->agent), true);
		heard_run(f, &h, true, "flow", "100000", "5");
		fixture_until(f, &h.started);
		fake_agent_drain(f->agent);
		fake_agent_fail(f->agent, 14, reasons[i][0] != '\0' ? reasons[i] : NULL);
		fixture_until(f, &h.is_interrupted);
		assert_int_equal(h.why.kind, TELEX_ERROR_STATUS);
		feed(&h, &offset, 1000);
		fake_agent_release(f->agent);
		finish(f, &h);
		assert_true(h.exited);
		assert_int_equal(h.length[TELEX_STDOUT], 100000);
		assert_int_equal(seen(f)->stdin_bytes, 1000);
		assert_int_equal(seen(f)->attaches, 1);
	}
}

static void silence_is_a_loss_too(void **state)
{
	struct fixture *f = *state;
	const char *argv[] = {"flow", "1000", "0", NULL};
	const struct telex_command command = {.argv = argv, .heartbeat_ms = 50};
	struct heard h = {.pattern = true};

	/* This agent sends no heartbeats. */
	flow_hold(fake_agent_flows(f->agent), true);
	heard_command(f, &h, &command);
	FIXTURE_UNTIL(f, h.resumed == 2);
	assert_non_null(strstr(h.why.message, "silent"));
	fake_agent_release(f->agent);
	finish(f, &h);
	assert_true(h.exited);
}

static void output_that_is_held_is_no_obstacle(void **state)
{
	struct fixture *f = *state;
	struct heard h = {.pattern = true, .keep = true};

	heard_run(f, &h, true, "flow", "100000", "0");
	FIXTURE_UNTIL(f, h.length[TELEX_STDOUT] == 100000);
	fake_agent_cut(f->agent);
	fixture_until(f, &h.is_interrupted);
	/* In the gap, and behind it. */
	telex_run_consumed(h.run, TELEX_STDOUT, 60000);
	FIXTURE_UNTIL(f, h.resumed == 1);
	telex_run_write_eof(h.run);
	FIXTURE_UNTIL(f, seen(f)->stdin_eof);
	fixture_settle(f);
	assert_false(h.done);
	telex_run_consumed(h.run, TELEX_STDOUT, 40000);
	finish(f, &h);
	assert_true(h.exited);
}

/* What was to be consumed takes longer than the connection lives. */
static void an_exit_is_acknowledged_over_another_connection(void **state)
{
	struct fixture *f = *state;
	struct heard h = {.pattern = true, .keep = true}, late = h;

	heard_run(f, &h, false, "flow", "5000", "0");
	FIXTURE_UNTIL(f, h.eof[TELEX_STDOUT] && h.eof[TELEX_STDERR]);
	fixture_settle(f); /* the exit is there, too */
	fake_agent_cut(f->agent);
	fixture_settle(f);
	assert_false(h.done);
	telex_run_consumed(h.run, TELEX_STDOUT, 5000);
	finish(f, &h);
	assert_true(h.exited);
	assert_int_equal(h.interrupted, 0);
	FIXTURE_UNTIL(f, seen(f)->exit_acks == 1);
	assert_int_equal(seen(f)->attaches, 1);
	/* One that knows it no longer: the exit stays what it was. */
	heard_run(f, &late, false, "flow", "5000", "0");
	FIXTURE_UNTIL(f, late.eof[TELEX_STDOUT] && late.eof[TELEX_STDERR]);
	fixture_settle(f);
	flow_forget(fake_agent_flows(f->agent));
	fake_agent_cut(f->agent);
	fixture_settle(f);
	telex_run_consumed(late.run, TELEX_STDOUT, 5000);
	finish(f, &late);
	assert_true(late.exited);
	assert_int_equal(seen(f)->exit_acks, 1);
}

/* ---- what is final ---- */

static void an_agent_that_knows_it_no_longer_is_final(void **state)
{
	struct fixture *f = *state;
	struct heard h = {0};

	flow_hold(fake_agent_flows(f->agent), true);
	heard_run(f, &h, false, "flow", "10", "0");
	fixture_until(f, &h.started);
	flow_forget(fake_agent_flows(f->agent));
	fake_agent_cut(f->agent);
	finish(f, &h);
	assert_int_equal(h.interrupted, 1);
	assert_int_equal(h.resumed, 0);
	assert_string_equal(h.error.reason, "NO_SUCH_PROCESS");
	assert_non_null(strstr(h.error.message, "no longer; how it ended is not known"));
}

static void answers_are_final(void **state)
{
	static const int codes[] = {3, 5, 7, 9, 13, 16};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
		struct heard h = {0};

		flow_hold(fake_agent_flows(f->agent), true);
		heard_run(f, &h, false, "flow", "10", "0");
		fixture_until(f, &h.started);
		fake_agent_fail(f->agent, codes[i], "SO_IT_IS");
		finish(f, &h);
		assert_int_equal(h.interrupted, 0);
		assert_int_equal(h.error.code, codes[i]);
		flow_forget(fake_agent_flows(f->agent));
	}
}

static void not_at_all_is_not_at_all(void **state)
{
	const struct telex_options o = {.reconnect_ms = -1};
	struct fixture *f = *state;
	struct heard h = {0};

	fixture_again(f, &o);
	flow_hold(fake_agent_flows(f->agent), true);
	heard_run(f, &h, false, "flow", "10", "0");
	fixture_until(f, &h.started);
	fake_agent_cut(f->agent);
	finish(f, &h);
	assert_int_equal(h.interrupted, 0);
	assert_int_equal(h.error.kind, TELEX_ERROR_LOST);
	assert_int_equal(seen(f)->connections, 1);
}

static uint64_t only_the_first(unsigned n, void *arg)
{
	(void)arg;
	return n == 0 ? UINT64_MAX : 0;
}

/* False: the time was over before it was tried once. */
static bool gives_up_after(struct fixture *f, unsigned reconnect_ms)
{
	struct cut_relay *relay =
	    cut_relay_new(f->base, fake_agent_port(f->agent), only_the_first, NULL);
	struct telex_options o = {.reconnect_ms = reconnect_ms};
	struct heard h = {0};
	bool tried;
	char address[64];

	snprintf(address, sizeof(address), "127.0.0.1:%u", cut_relay_port(relay));
	o.address = address;
	fixture_again(f, &o);
	flow_hold(fake_agent_flows(f->agent), true);
	heard_run(f, &h, false, "flow", "10", "0");
	fixture_until(f, &h.started);
	cut_relay_cut(relay);
	finish(f, &h);
	assert_int_equal(h.interrupted, 1);
	assert_int_equal(h.resumed, 0);
	assert_int_equal(h.error.kind, TELEX_ERROR_LOST);
	assert_non_null(strstr(h.error.message, "coming back was tried for"));
	tried = cut_relay_connections(relay) > 1;
	fixture_again(f, NULL);
	cut_relay_free(relay);
	return tried;
}

static void the_time_for_it_is_bounded(void **state)
{
	unsigned reconnect_ms = 300;

	while (!gives_up_after(*state, reconnect_ms)) {
		reconnect_ms *= 2;
		assert_true(reconnect_ms < 120000);
	}
}

static void an_agent_that_says_no_for_too_long_is_quoted(void **state)
{
	const struct telex_options o = {.reconnect_ms = 300};
	struct fixture *f = *state;
	struct heard h = {0};

	fixture_again(f, &o);
	fake_agent_refuse(f->agent, 1000000, "SHUTTING_DOWN");
	heard_run(f, &h, false, "flow", "10", "0");
	finish(f, &h);
	assert_int_equal(h.error.kind, TELEX_ERROR_STATUS);
	assert_string_equal(h.error.reason, "SHUTTING_DOWN");
	assert_non_null(strstr(h.error.message, "coming back was tried for"));
	/* With ever longer pauses. */
	assert_true(seen(f)->calls < 30);
}

/* ---- a connection that is cut before anything was asked ---- */

static uint64_t the_fourth(unsigned n, void *arg)
{
	return n < 3 ? n * *(const uint64_t *)arg : UINT64_MAX;
}

static void a_handshake_that_is_cut_is_tried_again(void **state)
{
	struct fixture *f = *state;
	uint64_t step = 400;
	struct cut_relay *relay =
	    cut_relay_new(f->base, fake_agent_port(f->agent), the_fourth, &step);
	struct telex_options o = {.reconnect_ms = -1};
	struct heard h = {.pattern = true};
	char address[64];

	snprintf(address, sizeof(address), "127.0.0.1:%u", cut_relay_port(relay));
	o.address = address;
	fixture_again(f, &o);
	heard_run(f, &h, false, "flow", "1000", "0");
	finish(f, &h);
	assert_true(h.exited);
	assert_int_equal(h.interrupted, 0);
	assert_int_equal(cut_relay_connections(relay), 4);
	fixture_again(f, NULL);
	cut_relay_free(relay);
}

/* ---- leaving ---- */

static void leaving_while_interrupted(void **state)
{
	static const char where[] = "im";
	struct fixture *f = *state;

	for (size_t i = 0; i < 2; i++) {
		struct heard h = {.detach_in = where[i]};

		flow_hold(fake_agent_flows(f->agent), true);
		heard_run(f, &h, true, "flow", "10", "0");
		fixture_until(f, &h.started);
		fake_agent_cut(f->agent);
		fixture_until(f, &h.detached);
		fixture_settle(f);
		assert_false(h.done || h.wrong);
	}
}

static void freeing_the_client_while_interrupted(void **state)
{
	struct fixture *f = *state;
	struct heard resting = {0}, waiting = {0};

	flow_hold(fake_agent_flows(f->agent), true);
	heard_run(f, &resting, true, "flow", "10", "0");
	heard_run(f, &waiting, true, "flow", "10", "0");
	fixture_until(f, &resting.started);
	fixture_until(f, &waiting.started);
	fake_agent_cut(f->agent);
	fixture_until(f, &resting.is_interrupted);
	fixture_again(f, NULL);
	fixture_settle(f);
	assert_false(resting.done || waiting.done);
}

#define RESUME_TEST(t) cmocka_unit_test_setup_teardown(t, fixture_setup, fixture_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    RESUME_TEST(cut_anywhere_nothing_is_lost_or_given_twice),
	    RESUME_TEST(a_cut_is_told_and_overcome),
	    RESUME_TEST(a_signal_that_may_be_lost_is_told),
	    RESUME_TEST(an_exit_is_acknowledged_over_another_connection),
	    RESUME_TEST(before_it_has_started_the_start_is_sent_again),
	    RESUME_TEST(an_agent_that_drains_is_left_for_the_next),
	    RESUME_TEST(silence_is_a_loss_too),
	    RESUME_TEST(output_that_is_held_is_no_obstacle),
	    RESUME_TEST(an_agent_that_knows_it_no_longer_is_final),
	    RESUME_TEST(answers_are_final),
	    RESUME_TEST(not_at_all_is_not_at_all),
	    RESUME_TEST(the_time_for_it_is_bounded),
	    RESUME_TEST(an_agent_that_says_no_for_too_long_is_quoted),
	    RESUME_TEST(a_handshake_that_is_cut_is_tried_again),
	    RESUME_TEST(leaving_while_interrupted),
	    RESUME_TEST(freeing_the_client_while_interrupted),
	};

	return cmocka_run_group_tests_name("run_resume", tests, NULL, NULL);
}
