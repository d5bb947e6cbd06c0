/* SPDX-License-Identifier: Apache-2.0 */
/* Watching real folders: what is told, and that it is all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/unit/watch_rig.h"

#define ROOT_GONE (1u << 7)
#define ROOT_BACK (1u << 8)

static void begin(struct rig *r, struct rig_client *c)
{
	Telex__V1__WatchBegin b = rig_begin(r, NULL);

	b.state = true;
	rig_watch(r, c, &b);
	rig_check(r, c, "at first");
	rig_clear(c);
}

static void the_state_comes_first_where_it_is_asked_for(void **state)
{
	struct rig *r = *state;
	struct rig_client *c = &r->clients[0];

	rig_sh(r, "mkdir -p a/b/c && echo 1 > a/b/f && ln -s f a/b/l && mkfifo p");
	begin(r, c);
	assert_int_equal(c->fresh, 1);
	assert_int_equal(c->folders, 4);
	assert_int_equal(c->entries, 7);
}

static void what_changes_is_told(void **state)
{
	struct rig *r = *state;
	struct rig_client *c = &r->clients[0];

	rig_sh(r, "mkdir d; echo 1 > d/f; echo 1 > d/g");
	begin(r, c);
	rig_sh(r, "echo 2 >> d/f; chmod 600 d/g; echo 3 > d/h; rm d/g");
	rig_check(r, c, "changed");
	assert_int_equal(rig_change(c, "d/f")->kinds, WATCH_MODIFIED | WATCH_CLOSED);
	assert_true((rig_change(c, "d/g")->kinds & WATCH_DELETED) != 0);
	assert_false(rig_change(c, "d/g")->exists);
	assert_true((rig_change(c, "d/h")->kinds & WATCH_CREATED) != 0);
	assert_null(rig_change(c, ""));
}

static void what_is_made_in_a_new_folder_is_told(void **state)
{
	struct rig *r = *state;
	struct rig_client *c = &r->clients[0];

	begin(r, c);
	for (int i = 0; i < 50; i += 3) {
		rig_sh(r,
		    "for i in %d %d %d; do mkdir -p n$i/a/b/c/d/e/f/g && "
		    "touch n$i/a/b/c/d/e/f/g/file n$i/a/x; done",
		    i, i + 1, i + 2);
		rig_turn(r);
	}
	rig_check(r, c, "made");
	rig_sh(r, "for i in 1 2 3 4; do echo $i > n$i/a/b/c/d/e/f/g/file; done");
	rig_check(r, c, "and changed");
}

static void a_rename_tells_both_names(void **state)
{
	struct rig *r = *state;
	struct rig_client *c = &r->clients[0];

	rig_sh(r, "mkdir -p a/s/t b; echo 1 > a/s/f; echo 2 > a/s/t/g");
	begin(r, c);
	rig_sh(r, "mv a/s b/z");
	rig_check(r, c, "moved");
	assert_int_equal(rig_change(c, "b/z")->kinds, WATCH_CREATED | WATCH_MOVED);
	assert_string_equal(rig_change(c, "b/z")->moved_from, "a/s");
	assert_int_equal(rig_change(c, "a/s")->kinds, WATCH_DELETED | WATCH_MOVED);
	assert_string_equal(rig_change(c, "a/s")->moved_to, "b/z");
	assert_int_equal(rig_change(c, "b/z/t/g")->kinds, WATCH_CREATED);
	rig_clear(c);
	rig_sh(r, "echo 3 >> b/z/t/g; mkdir b/z/t/new; touch b/z/t/new/x");
	rig_check(r, c, "and in it");
	assert_int_equal(rig_change(c, "b/z/t/g")->kinds, WATCH_MODIFIED | WATCH_CLOSED);
}

static void a_folder_may_leave_and_come_back(void **state)
{
	struct rig *r = *state;
	struct rig_client *c = &r->clients[0];
	static const char *const names[] = {"in", NULL};
	Telex__V1__WatchBegin b;

	rig_sh(r, "mkdir -p in/a/b out; touch in/a/b/f");
	b = rig_begin(r, names);
	b.state = true;
	rig_watch(r, c, &b);
	rig_check_root(r, c, 0, "in", "at first");
	rig_sh(r, "mv in/a out/a; touch out/a/b/while-out; mv out/a in/a; touch in/a/b/after");
	rig_check_root(r, c, 0, "in", "left and back");
	rig_sh(r, "mv in/a out/a");
	rig_check_root(r, c, 0, "in", "left");
	rig_sh(r, "touch out/a/b/x; mkdir out/a/y; mv out/a in/z; touch in/z/y/1");
	rig_check_root(r, c, 0, "in", "back");
	rig_sh(r, "rm -r in/z; mkdir -p in/z/y; touch in/z/y/2");
	rig_check_root(r, c, 0, "in", "replaced");
}

static void names_may_be_exchanged(void **state)
{
	struct rig *r = *state;
	struct rig_client *c = &r->clients[0];

	rig_sh(r, "mkdir -p a/1/2 b/3/4; touch a/1/2/f b/3/4/g");
	begin(r, c);
	rig_sh(r, "for i in $(seq 20); do mv a t; touch t/in$i; mv b a; touch a/in$i; mv t b; "
	          "echo > b/x$i; done");
	rig_check(r, c, "a and b");
	rig_sh(r, "mkdir n; mv n a/1/n; mv b/3 a/1/n/3; touch a/1/n/3/4/late");
	rig_check(r, c, "into a new one");
}

/* Not more than what the kernel's queue takes. */
static void a_storm_ends_with_the_tree(void **state)
{
	struct rig *r = *state;
	struct rig_client *c = &r->clients[0];
	const int rounds = getenv("TELEX_TEST_SLOW") != NULL ? 4 : 6;

	begin(r, c);
	for (int i = 0; i < rounds; i++) {
		rig_sh(r,
		    "for d in 1 2 3 4 5 6 7 8; do ("
		    "mkdir -p w$d/a/b/c; for f in 1 2 3 4 5 6 7 8 9; do echo $f > w$d/a/b/f$f; "
		    "mv w$d/a/b/f$f w$d/a/g$f 2>/dev/null; mkdir -p w$d/x$f/y; echo > w$d/x$f/y/z; "
		    "done; "
		    "mv w$d/a w$d/x1/a%d; rm -rf w$d/x2 w$d/x3/y; mv w$d/x4 w$d/x5/; "
		    "mv w$d/x5 w$(((d %% 8) + 1))/v%d 2>/dev/null || true) & done; wait",
		    i, i);
		if (i == rounds / 2)
			rig_check(r, c, "half of a storm");
	}
	rig_check(r, c, "a storm");
	assert_int_equal(c->fresh, 1);
}

static void a_barrier_does_not_wait_for_quiet(void **state)
{
	struct rig *r = *state;
	struct rig_client *c = &r->clients[0];
	Telex__V1__WatchBegin b = rig_begin(r, NULL);
	Google__Protobuf__Duration hour = GOOGLE__PROTOBUF__DURATION__INIT;

	hour.seconds = 3600;
	b.settle = &hour;
	b.state = true;
	rig_watch(r, c, &b);
	rig_sh(r, "touch f");
	for (int i = 0; i < 20; i++)
		rig_turn(r);
	assert_null(rig_change(c, "f"));
	rig_check(r, c, "with a barrier");
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_make, rig_free)
	const struct CMUnitTest tests[] = {
	    TEST(the_state_comes_first_where_it_is_asked_for),
	    TEST(what_changes_is_told),
	    TEST(what_is_made_in_a_new_folder_is_told),
	    TEST(a_rename_tells_both_names),
	    TEST(a_folder_may_leave_and_come_back),
	    TEST(names_may_be_exchanged),
	    TEST(a_storm_ends_with_the_tree),
	    TEST(a_barrier_does_not_wait_for_quiet),
	};

	return rig_run("watch_tree", tests, sizeof(tests) / sizeof(tests[0]));
}
