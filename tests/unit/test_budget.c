/* SPDX-License-Identifier: Apache-2.0 */
/* One budget a turn, for all that ask in it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <event2/event.h>

#include "agent/keeper/budget.h"
#include "common/duration.h"

/* Until the clock has moved on. */
static void pass(void)
{
	int64_t then = clock_monotonic_ns();

	while (clock_monotonic_ns() < then + 2)
		;
}

static void a_turn_has_it_once(void **state)
{
	struct event_base *base = event_base_new();
	struct budget *b = budget_new(base, 1), *large = budget_new(base, 3600 * NS_PER_S);

	(void)state;
	for (int turn = 0; turn < 3; turn++) {
		assert_true(budget_left(b));
		pass();
		for (int others = 0; others < 3; others++) {
			assert_false(budget_left(b));
			assert_true(budget_left(large));
		}
		event_base_loop(base, EVLOOP_NONBLOCK);
	}
	budget_free(b);
	budget_free(large);
	budget_free(NULL);
	event_base_free(base);
}

/* Links are events of one turn: the second finds what the first has left. */
struct asked {
	struct budget *b;
	int yes, no;
};

static void on_link(evutil_socket_t fd, short what, void *arg)
{
	struct asked *a = arg;

	(void)fd;
	(void)what;
	if (budget_left(a->b))
		a->yes++;
	else
		a->no++;
	pass();
}

static void all_events_of_a_turn_share_it(void **state)
{
	struct event_base *base = event_base_new();
	struct asked a = {.b = budget_new(base, 1)};
	struct event *links[4];

	(void)state;
	for (int i = 0; i < 4; i++) {
		links[i] = event_new(base, -1, 0, on_link, &a);
		event_active(links[i], EV_READ, 0);
	}
	event_base_loop(base, EVLOOP_NONBLOCK);
	assert_int_equal(a.yes, 1);
	assert_int_equal(a.no, 3);
	event_active(links[0], EV_READ, 0);
	event_base_loop(base, EVLOOP_NONBLOCK);
	assert_int_equal(a.yes, 2);
	for (int i = 0; i < 4; i++)
		event_free(links[i]);
	budget_free(a.b);
	event_base_free(base);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_turn_has_it_once),
	    cmocka_unit_test(all_events_of_a_turn_share_it),
	};

	return cmocka_run_group_tests_name("budget", tests, NULL, NULL);
}
