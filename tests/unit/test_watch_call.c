/* SPDX-License-Identifier: Apache-2.0 */
/* What a watch can be asked for, and what is answered to what cannot be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/duration.h"
#include "tests/unit/watch_rig.h"

static void begin(struct rig *r, struct rig_client *c)
{
	Telex__V1__WatchBegin b = rig_begin(r, NULL);

	b.state = true;
	rig_watch(r, c, &b);
	rig_check(r, c, "at first");
	rig_clear(c);
}

static void expect_refused(
    struct rig *r, const Telex__V1__WatchBegin *b, int code, const char *reason)
{
	struct rig_client *c = &r->clients[0];

	assert_false(rig_call(r, c, b));
	assert_int_equal(c->status.code, code);
	assert_string_equal(c->status.reason, reason);
	assert_true(c->status.message[0] != '\0');
}

static bool has_finished(const struct rig_client *c)
{
	return c->finished;
}

/* ---- wrong ---- */

static void a_root_that_is_not_there_is_an_error(void **state)
{
	static const char *const names[] = {"nowhere", NULL};
	Telex__V1__WatchBegin b = rig_begin(*state, names);

	expect_refused(*state, &b, RPC_NOT_FOUND, "NO_SUCH_FILE");
}

static void a_file_has_nothing_below_it(void **state)
{
	struct rig *r = *state;
	static const char *const names[] = {"f", NULL};
	Telex__V1__WatchBegin b = rig_begin(r, names);

	rig_sh(r, "touch f");
	expect_refused(r, &b, RPC_FAILED_PRECONDITION, "NOT_A_FOLDER");
}

static void what_the_policy_does_not_say_is_not_watched(void **state)
{
	struct rig *r = *state;
	static const char *const elsewhere[] = {"/nowhere/**", NULL};
	Telex__V1__WatchBegin b = rig_begin(r, NULL);

	rig_allow(r, elsewhere);
	expect_refused(r, &b, RPC_PERMISSION_DENIED, "OUTSIDE_ROOT");
}

static void patterns_are_checked(void **state)
{
	char *bad[] = {(char *)(uintptr_t) "x\\"}, *empty[] = {(char *)(uintptr_t) ""};
	Telex__V1__WatchBegin b = rig_begin(*state, NULL);

	b.exclude = bad;
	b.n_exclude = 1;
	expect_refused(*state, &b, RPC_INVALID_ARGUMENT, "BAD_PATTERN");
	b.n_exclude = 0;
	b.include = empty;
	b.n_include = 1;
	expect_refused(*state, &b, RPC_INVALID_ARGUMENT, "BAD_PATTERN");
}

static void numbers_are_checked(void **state)
{
	Telex__V1__WatchBegin b = rig_begin(*state, NULL);
	Google__Protobuf__Duration d = GOOGLE__PROTOBUF__DURATION__INIT;
	Telex__V1__ChangeKind kind = 99;

	d.seconds = 3601;
	b.settle = &d;
	expect_refused(*state, &b, RPC_INVALID_ARGUMENT, "BAD_REQUEST");
	b.settle = NULL;
	d = (Google__Protobuf__Duration)GOOGLE__PROTOBUF__DURATION__INIT;
	d.nanos = 1000;
	b.heartbeat_interval = &d;
	expect_refused(*state, &b, RPC_INVALID_ARGUMENT, "BAD_REQUEST");
	b.heartbeat_interval = NULL;
	b.kinds = &kind;
	b.n_kinds = 1;
	expect_refused(*state, &b, RPC_INVALID_ARGUMENT, "BAD_REQUEST");
	b.n_kinds = 0;
	b.n_paths = 0;
	expect_refused(*state, &b, RPC_INVALID_ARGUMENT, "BAD_REQUEST");
}

static void paths_are_checked(void **state)
{
	static const char *const twice[] = {"", "", NULL};
	Telex__V1__WatchBegin b = rig_begin(*state, twice);
	ProtobufCBinaryData path = {3, (uint8_t *)(uintptr_t) "a/b"};

	expect_refused(*state, &b, RPC_INVALID_ARGUMENT, "BAD_REQUEST");
	b.paths = &path;
	b.n_paths = 1;
	expect_refused(*state, &b, RPC_INVALID_ARGUMENT, "BAD_REQUEST");
	path.len = 0;
	expect_refused(*state, &b, RPC_INVALID_ARGUMENT, "BAD_REQUEST");
}

static void clocks_are_checked(void **state)
{
	struct rig *r = *state;
	struct rig_client *c = &r->clients[1];
	Telex__V1__WatchBegin b = rig_begin(r, NULL);

	rig_watch(r, c, &b);
	b.since = (char *)(uintptr_t) "yesterday";
	expect_refused(r, &b, RPC_INVALID_ARGUMENT, "BAD_CLOCK");
	b.since = c->clock;
	b.depth = 2;
	expect_refused(r, &b, RPC_INVALID_ARGUMENT, "OTHER_CLOCK");
}

static void a_second_begin_is_an_error(void **state)
{
	struct rig *r = *state;
	Telex__V1__WatchRequest m = TELEX__V1__WATCH_REQUEST__INIT;
	Telex__V1__WatchBegin b = rig_begin(r, NULL);

	rig_watch(r, &r->clients[0], &b);
	m.request_case = TELEX__V1__WATCH_REQUEST__REQUEST_BEGIN;
	m.begin = &b;
	assert_true(watch_client_message(r->clients[0].call, &m, &r->clients[0].status) < 0);
	assert_string_equal(r->clients[0].status.reason, "BAD_REQUEST");
}

/* ---- what is told ---- */

static void only_what_is_included_is_told(void **state)
{
	struct rig *r = *state;
	struct rig_client *c = &r->clients[0];
	char *include[] = {(char *)(uintptr_t) "*.c"};
	Telex__V1__WatchBegin b = rig_begin(r, NULL);

	b.include = include;
	b.n_include = 1;
	rig_watch(r, c, &b);
	rig_sh(r, "mkdir -p d/e; touch d/e/x.c d/e/x.h");
	rig_sync(r, c);
	assert_non_null(rig_change(c, "d/e/x.c"));
	assert_null(rig_change(c, "d/e/x.h"));
	assert_null(rig_change(c, "d"));
	/* But that it is gone: with all below it. */
	rig_sh(r, "rm -r d");
	rig_sync(r, c);
	assert_false(rig_change(c, "d")->exists);
}

static void what_is_excluded_is_not_watched(void **state)
{
	struct rig *r = *state;
	struct rig_client *c = &r->clients[0];
	char *exclude[] = {(char *)(uintptr_t) "node_modules/", (char *)(uintptr_t) "/a/b"};
	Telex__V1__WatchBegin b = rig_begin(r, NULL);

	b.exclude = exclude;
	b.n_exclude = 2;
	rig_sh(r, "mkdir -p x/node_modules/y a/b/c");
	rig_watch(r, c, &b);
	assert_int_equal(c->folders, 3);
	rig_sh(r,
	    "touch x/node_modules/y/f a/b/c/f a/f; mkdir -p z/node_modules/q; mv a/b z/b; touch "
	    "z/b/c/g");
	rig_sync(r, c);
	assert_null(rig_change(c, "x/node_modules"));
	assert_null(rig_change(c, "z/node_modules"));
	assert_null(rig_change(c, "a/b"));
	assert_non_null(rig_change(c, "a/f"));
	assert_non_null(rig_change(c, "z/b/c/g"));
	rig_sh(r, "mv z/b a/b");
	rig_sync(r, c);
	assert_false(rig_change(c, "z/b")->exists);
	assert_null(rig_change(c, "a/b"));
}

static void only_the_kinds_that_are_asked_for_are_told(void **state)
{
	struct rig *r = *state;
	struct rig_client *c = &r->clients[0];
	Telex__V1__ChangeKind kinds[] = {TELEX__V1__CHANGE_KIND__CHANGE_KIND_CLOSED};
	Telex__V1__WatchBegin b = rig_begin(r, NULL);

	b.kinds = kinds;
	b.n_kinds = 1;
	rig_watch(r, c, &b);
	rig_sh(r, "echo > f; mkdir d; chmod 700 d");
	rig_sync(r, c);
	assert_int_equal(rig_change(c, "f")->kinds, WATCH_CLOSED);
	assert_null(rig_change(c, "d"));
}

static void depth_is_kept(void **state)
{
	struct rig *r = *state;
	struct rig_client *c = &r->clients[0], *flat = &r->clients[1];
	Telex__V1__WatchBegin b = rig_begin(r, NULL);

	b.depth = 2;
	rig_sh(r, "mkdir -p a/b/c");
	rig_watch(r, c, &b);
	b.recursive = false;
	rig_watch(r, flat, &b);
	rig_sh(r, "touch a/f a/b/g; mkdir n; touch n/h; mkdir n/d; touch n/d/i; mv a/b b");
	rig_sync(r, c);
	rig_sync(r, flat);
	assert_non_null(rig_change(c, "a/f"));
	assert_non_null(rig_change(c, "n/h"));
	assert_null(rig_change(c, "a/b/g"));
	assert_null(rig_change(c, "n/d/i"));
	/* It is less deep now. */
	assert_non_null(rig_change(c, "b/g"));
	assert_non_null(rig_change(flat, "n"));
	assert_null(rig_change(flat, "n/h"));
	assert_null(rig_change(flat, "b/g"));
}

static void several_roots_are_one_stream(void **state)
{
	struct rig *r = *state;
	struct rig_client *c = &r->clients[0];
	static const char *const names[] = {"one", "two", "one/in", NULL};
	Telex__V1__WatchBegin b = rig_begin(r, names);

	rig_sh(r, "mkdir -p one/in two; touch one/f; mkdir one/d; touch one/d/g");
	b.state = true;
	rig_watch(r, c, &b);
	rig_sh(r, "mv one/f two/f; mv one/d two/d; touch one/in/x two/d/y");
	rig_check_root(r, c, 0, "one", "one");
	rig_check_root(r, c, 1, "two", "two");
	rig_check_root(r, c, 2, "one/in", "one in the other");
	assert_string_equal(rig_change(c, "x") != NULL ? "x" : "", "x");
	for (size_t i = 0; i < c->n_changes; i++)
		if (c->changes[i].moved_from != NULL && c->changes[i].root == 1)
			return;
	fail_msg("where it came from was not told");
}

static void clients_of_a_tree_share_it(void **state)
{
	struct rig *r = *state;
	uint32_t watches;

	rig_sh(r, "mkdir -p a/b/c");
	begin(r, &r->clients[0]);
	watches = r->w->map.n;
	for (size_t i = 1; i < RIG_CLIENTS; i++)
		begin(r, &r->clients[i]);
	assert_int_equal(r->w->map.n, watches);
	assert_null(r->w->trees->next);
	rig_sh(r, "touch a/b/f");
	for (size_t i = 0; i < RIG_CLIENTS; i++)
		rig_check(r, &r->clients[i], "shared");
}

/* ---- since ---- */

static void a_clock_goes_on(void **state)
{
	struct rig *r = *state;
	struct rig_client *c = &r->clients[0];
	Telex__V1__WatchBegin b = rig_begin(r, NULL);

	rig_sh(r, "mkdir d; touch d/f g");
	begin(r, c);
	rig_hang_up(c);
	rig_sh(r, "echo 1 > d/f; rm g; mkdir d/n; touch d/n/x");
	b.since = c->clock;
	rig_watch(r, c, &b);
	rig_check(r, c, "since");
	assert_int_equal(c->fresh, 1);
	assert_non_null(rig_change(c, "d/f"));
	assert_null(rig_change(c, "d"));
}

static void and_so_it_does_in_another_process(void **state)
{
	struct rig *r = *state;
	struct rig_client *c = &r->clients[0];
	Telex__V1__WatchBegin b = rig_begin(r, NULL);

	rig_sh(r, "mkdir d; touch d/f d/h g");
	begin(r, c);
	rig_restart(r);
	rig_sh(r, "echo 1 > d/f; rm g; mkdir d/n; touch d/n/x");
	b.since = c->clock;
	rig_watch(r, c, &b);
	rig_check(r, c, "restarted");
	assert_int_equal(c->fresh, 1);
	assert_int_equal(c->rescans[TELEX__V1__WATCH_RESCAN__REASON__REASON_RESTARTED], 1);
	assert_int_equal(c->rescanned[TELEX__V1__WATCH_RESCAN__REASON__REASON_RESTARTED], 1);
	assert_non_null(rig_change(c, "d/f"));
	assert_null(rig_change(c, "d/h"));
}

static void a_clock_of_before_the_store_is_a_fresh_instance(void **state)
{
	struct rig *r = *state;
	struct rig_client *c = &r->clients[0];
	Telex__V1__WatchBegin b = rig_begin(r, NULL);

	rig_sh(r, "mkdir d; touch d/f");
	begin(r, c);
	rig_hang_up(c);
	rig_sh(r, "rm -r d; touch g");
	/* Another boot: the store is gone. */
	watcher_free(r->w);
	assert_int_equal(ftruncate(r->store, 0), 0);
	assert_int_equal(watcher_new(&r->w, r->store, r->wide, NULL), 0);
	b.since = c->clock;
	rig_watch(r, c, &b);
	rig_check(r, c, "fresh");
	assert_int_equal(c->fresh, 2);
}

static void one_that_lags_too_far_begins_anew(void **state)
{
	struct rig *r = *state;
	struct rig_client *c = &r->clients[0];

	watch_store_limit(r->w->store, UINT32_MAX, 4);
	begin(r, c);
	c->room = 1;
	c->taken = 1;
	rig_sh(r, "for i in $(seq 100); do touch f$i; done");
	/* It is full, and stays that. */
	for (int i = 0; i < 30; i++)
		watcher_run(r->w);
	rig_sh(r, "rm f*");
	for (int i = 0; i < 30; i++)
		watcher_run(r->w);
	rig_check(r, c, "anew");
	assert_true(c->fresh >= 2);
}

/* ---- the end ---- */

static void closing_tells_what_has_happened(void **state)
{
	struct rig *r = *state;
	struct rig_client *c = &r->clients[0];

	begin(r, c);
	rig_sh(r, "mkdir -p a/b; touch a/b/f");
	watch_client_half_closed(c->call);
	rig_until(r, has_finished, c);
	assert_int_equal(c->status.code, RPC_OK);
	assert_non_null(rig_change(c, "a/b/f"));
}

/* ---- time ---- */

static bool has_beaten(const struct rig_client *c)
{
	return c->beats > 0;
}

static bool has_changes(const struct rig_client *c)
{
	return c->n_changes > 0;
}

/* Who comes back after each end of this process, knows at once that there is another one. */
static void who_is_not_armed_at_once_hears_that_it_will_be(void **state)
{
	struct rig *r = *state;
	Google__Protobuf__Duration hour = GOOGLE__PROTOBUF__DURATION__INIT;
	Telex__V1__WatchBegin b = rig_begin(r, NULL);

	rig_sh(r, "seq 30000 | xargs touch");
	hour.seconds = 3600;
	b.heartbeat_interval = &hour;
	assert_true(rig_call(r, &r->clients[0], &b));
	rig_turn(r);
	assert_int_equal(r->clients[0].armed, 0);
	assert_int_equal(r->clients[0].beats, 1);
	rig_watch(r, &r->clients[1], &b);
	/* Once. And who is armed at once needs none. */
	assert_int_equal(r->clients[0].beats, 1);
	rig_watch(r, &r->clients[2], &b);
	rig_sync(r, &r->clients[2]);
	assert_int_equal(r->clients[2].beats, 0);
}

static void where_nothing_happens_there_is_a_heartbeat(void **state)
{
	struct rig *r = *state;
	Telex__V1__WatchBegin b = rig_begin(r, NULL);
	Google__Protobuf__Duration second = GOOGLE__PROTOBUF__DURATION__INIT;

	second.seconds = 1;
	b.heartbeat_interval = &second;
	rig_watch(r, &r->clients[0], &b);
	rig_until(r, has_beaten, &r->clients[0]);
}

static void what_settles_comes_as_one(void **state)
{
	struct rig *r = *state;
	struct rig_client *c = &r->clients[0];
	Telex__V1__WatchBegin b = rig_begin(r, NULL);
	Google__Protobuf__Duration some = GOOGLE__PROTOBUF__DURATION__INIT;

	b.settle = &some;
	/* With longer and longer times, until they were not over before all had happened. */
	for (int64_t settle_ns = 300000000;; settle_ns *= 2) {
		int64_t begun = clock_monotonic_ns();

		some.seconds = settle_ns / NS_PER_S;
		some.nanos = (int32_t)(settle_ns % NS_PER_S);
		rig_watch(r, c, &b);
		for (int i = 0; i < 5; i++) {
			rig_sh(r, "echo %d > f", i);
			for (int k = 0; k < 5; k++)
				rig_turn(r);
		}
		if (clock_monotonic_ns() - begun < settle_ns)
			break;
		rig_hang_up(c);
		rig_clear(c);
		rig_sh(r, "rm f");
	}
	rig_until(r, has_changes, c);
	rig_sync(r, c);
	assert_int_equal(c->n_changes, 1);
	assert_int_equal(c->changes[0].kinds, WATCH_CREATED | WATCH_MODIFIED | WATCH_CLOSED);
	assert_true(c->changes[0].count >= 5);
}

static void but_not_for_longer_than_that(void **state)
{
	struct rig *r = *state;
	struct rig_client *c = &r->clients[0];
	Telex__V1__WatchBegin b = rig_begin(r, NULL);
	Google__Protobuf__Duration hour = GOOGLE__PROTOBUF__DURATION__INIT;
	Google__Protobuf__Duration most = GOOGLE__PROTOBUF__DURATION__INIT;

	hour.seconds = 3600;
	most.nanos = 200000000;
	b.settle = &hour;
	b.max_delay = &most;
	rig_watch(r, c, &b);
	rig_sh(r, "touch f");
	rig_until(r, has_changes, c);
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_make, rig_free)
	const struct CMUnitTest tests[] = {
	    TEST(a_root_that_is_not_there_is_an_error),
	    TEST(a_file_has_nothing_below_it),
	    TEST(what_the_policy_does_not_say_is_not_watched),
	    TEST(patterns_are_checked),
	    TEST(numbers_are_checked),
	    TEST(paths_are_checked),
	    TEST(clocks_are_checked),
	    TEST(a_second_begin_is_an_error),
	    TEST(only_what_is_included_is_told),
	    TEST(what_is_excluded_is_not_watched),
	    TEST(only_the_kinds_that_are_asked_for_are_told),
	    TEST(depth_is_kept),
	    TEST(several_roots_are_one_stream),
	    TEST(clients_of_a_tree_share_it),
	    TEST(a_clock_goes_on),
	    TEST(and_so_it_does_in_another_process),
	    TEST(a_clock_of_before_the_store_is_a_fresh_instance),
	    TEST(one_that_lags_too_far_begins_anew),
	    TEST(closing_tells_what_has_happened),
	    TEST(who_is_not_armed_at_once_hears_that_it_will_be),
	    TEST(where_nothing_happens_there_is_a_heartbeat),
	    TEST(what_settles_comes_as_one),
	    TEST(but_not_for_longer_than_that),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return rig_run("watch_call", tests, sizeof(tests) / sizeof(tests[0]));
}
