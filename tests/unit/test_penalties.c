/* SPDX-License-Identifier: Apache-2.0 */
/* How long those wait who were cut off and come back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "agent/worker/penalties.h"

#define NOW INT64_C(1000000000000)

static void nobody_waits_without_a_reason(void **state)
{
	struct penalties *p = penalties_new();

	(void)state;
	for (int i = 0; i < 100; i++)
		assert_int_equal(penalties_wait(p, "192.0.2.1:1", NOW), 0);
	penalties_add(p, "192.0.2.1:1", NOW);
	assert_int_equal(penalties_wait(p, "192.0.2.2:1", NOW), 0);
	penalties_free(p);
	penalties_free(NULL);
}

static void who_was_cut_off_begins_one_after_the_other(void **state)
{
	struct penalties *p = penalties_new();

	(void)state;
	penalties_add(p, "192.0.2.1:1", NOW);
	for (int64_t i = 1; i * PENALTY_PAUSE_NS < PENALTY_MOST_NS; i++)
		assert_int_equal(penalties_wait(p, "192.0.2.1:2", NOW), i * PENALTY_PAUSE_NS);
	/* But not for ever, however many come. */
	for (int i = 0; i < 1000; i++)
		assert_int_equal(penalties_wait(p, "192.0.2.1:2", NOW), PENALTY_MOST_NS);
	assert_int_equal(penalties_wait(p, "192.0.2.1:2", NOW + 2 * PENALTY_MOST_NS), 0);
	penalties_free(p);
}

/* The time between the beginnings of two that come at the same time. */
static int64_t pause_of(struct penalties *p, int64_t now_ns)
{
	int64_t first = penalties_wait(p, "192.0.2.1:1", now_ns);

	return penalties_wait(p, "192.0.2.1:1", now_ns) - first;
}

static void who_goes_on_waits_longer(void **state)
{
	struct penalties *p = penalties_new();
	int64_t now = NOW, pause = PENALTY_PAUSE_NS;

	(void)state;
	for (int i = 0; i < 20; i++) {
		penalties_add(p, "192.0.2.1:1", now);
		now += PENALTY_MOST_NS; /* what was waiting has begun */
		assert_int_equal(pause_of(p, now), pause);
		now += PENALTY_MOST_NS;
		pause = pause * 2 > PENALTY_LONGEST_NS ? PENALTY_LONGEST_NS : pause * 2;
	}
	/* Others are not concerned, and it is forgotten as one single time is. */
	assert_int_equal(penalties_wait(p, "192.0.2.2:1", now), 0);
	now += PENALTY_FOR_NS;
	assert_int_equal(penalties_wait(p, "192.0.2.1:1", now), 0);
	penalties_add(p, "192.0.2.1:1", now);
	now += PENALTY_MOST_NS;
	assert_int_equal(pause_of(p, now), PENALTY_PAUSE_NS);
	penalties_free(p);
}

static void it_is_forgotten_in_the_end(void **state)
{
	struct penalties *p = penalties_new();

	(void)state;
	penalties_add(p, "192.0.2.1:1", NOW);
	penalties_add(p, "192.0.2.1:1", NOW + PENALTY_FOR_NS - 1);
	(void)penalties_wait(p, "192.0.2.1:1", NOW + PENALTY_FOR_NS);
	assert_int_not_equal(penalties_wait(p, "192.0.2.1:1", NOW + PENALTY_FOR_NS), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(penalties_wait(p, "192.0.2.1:1", NOW + 2 * PENALTY_FOR_NS), 0);
	penalties_free(p);
}

static void the_newest_are_remembered(void **state)
{
	struct penalties *p = penalties_new();
	char peer[32];

	(void)state;
	for (unsigned i = 0; i < PENALTY_SOURCES + 1; i++) {
		snprintf(peer, sizeof(peer), "10.0.0.%u:1", i);
		penalties_add(p, peer, NOW + i);
	}
	assert_int_equal(penalties_wait(p, "10.0.0.0:1", NOW + 100), 0);
	assert_int_not_equal(penalties_wait(p, "10.0.0.1:1", NOW + 100), 0);
	assert_int_not_equal(penalties_wait(p, peer, NOW + 100), 0);
	penalties_free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(nobody_waits_without_a_reason),
	    cmocka_unit_test(who_was_cut_off_begins_one_after_the_other),
	    cmocka_unit_test(who_goes_on_waits_longer),
	    cmocka_unit_test(it_is_forgotten_in_the_end),
	    cmocka_unit_test(the_newest_are_remembered),
	};

	return cmocka_run_group_tests_name("penalties", tests, NULL, NULL);
}
