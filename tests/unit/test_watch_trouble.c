/* SPDX-License-Identifier: Apache-2.0 */
/* Where events do not tell all: the kernel's queue overflows, watches are few, roots go and come,
 * there is no room. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/watch_control.h"
#include "tests/unit/watch_rig.h"

#define ROOT_GONE (1u << 7)
#define ROOT_BACK (1u << 8)
#define BACK      TELEX__V1__WATCH_RESCAN__REASON__REASON_ROOT_BACK
#define OVERFLOW  TELEX__V1__WATCH_RESCAN__REASON__REASON_OVERFLOW

static void begin(struct rig *r, struct rig_client *c)
{
	Telex__V1__WatchBegin b = rig_begin(r, NULL);

	b.state = true;
	rig_watch(r, c, &b);
	rig_check(r, c, "at first");
	rig_clear(c);
}

/* ---- overflow ---- */

static bool is_rescanned(const struct rig_client *c)
{
	return c->rescanned[OVERFLOW] == c->rescans[OVERFLOW] && c->rescans[OVERFLOW] > 0;
}

static void an_overflow_is_told_and_made_good(void **state)
{
	struct rig *r = *state;
	struct rig_client *c = &r->clients[0];

	rig_sh(r, "mkdir -p a/b c/d; touch a/b/f c/d/g c/d/same; echo 1 > a/h");
	begin(r, c);
	rig_sh(
	    r, "rm -r a/b; mkdir a/b a/n; touch a/b/x a/n/y; mv c/d a/d; echo 22 > a/h; touch new");
	watch_source_overflow(r->w->source);
	rig_until(r, is_rescanned, c);
	rig_check(r, c, "overflowed");
	assert_int_equal(c->rescans[OVERFLOW], 1);
	assert_int_equal(c->fresh, 1);
	assert_true((rig_change(c, "a/h")->kinds & WATCH_MODIFIED) != 0);
	/* And from then on exactly. */
	rig_clear(c);
	rig_sh(r, "touch a/n/z a/d/z a/b/z");
	rig_check(r, c, "and after it");
}

static bool is_held_back(const struct rig_client *c)
{
	return c->waited > 0;
}

static void many_overflows_are_held_back(void **state)
{
	struct rig *r = *state;
	struct rig_client *c = &r->clients[0], *other = &r->clients[1];

	begin(r, c);
	watch_source_overflow(r->w->source);
	rig_until(r, is_rescanned, c);
	assert_int_equal(c->waited, 0);
	rig_sh(r, "touch f");
	watch_source_overflow(r->w->source);
	rig_until(r, is_held_back, c);
	assert_int_equal(c->waited, 500000000);
	rig_until(r, is_rescanned, c);
	assert_true(rig_warned(c, "OVERFLOWS "));
	rig_check(r, c, "after two");
	/* A tree that comes is told so, too. */
	rig_sh(r, "mkdir d");
	rig_begin_at(r, other, "d", true, false);
	assert_true(rig_warned(other, "OVERFLOWS "));
	/* Until there was none for a while. */
	r->w->rescan.ended -= 20000 * MS;
	rig_sync(r, c);
	rig_sync(r, other);
	assert_int_equal(c->n_warned, 0);
	assert_int_equal(other->n_warned, 0);
}

/* What is lost while it is looked for is no part of what was found. */
static void an_overflow_within_is_another_one(void **state)
{
	struct rig *r = *state;
	struct rig_client *c = &r->clients[0];

	begin(r, c);
	watch_source_overflow(r->w->source);
	for (int i = 0; i < 3 && r->w->rescan.state != RESCAN_GOING; i++)
		rig_turn(r);
	assert_int_equal(r->w->rescan.state, RESCAN_GOING);
	watch_source_overflow(r->w->source);
	rig_until(r, is_held_back, c);
	assert_int_equal(r->w->rescan.state, RESCAN_WAITING);
	assert_int_equal(c->rescans[OVERFLOW], 2);
	assert_int_equal(c->rescanned[OVERFLOW], 1);
	assert_true(c->rescanning[OVERFLOW]);
	rig_check(r, c, "after both");
	assert_int_equal(c->rescanned[OVERFLOW], 2);
	assert_false(c->rescanning[OVERFLOW]);
}

/* A barrier is about what happened, whether it was told of or not. */
static void a_barrier_waits_for_what_was_lost(void **state)
{
	struct rig *r = *state;
	struct rig_client *c = &r->clients[0];

	begin(r, c);
	for (int i = 0; i < 4; i++) {
		rig_sh(r, "mkdir -p a/%d; touch a/%d/f; rm -rf a/%d", i, i, i - 1);
		watch_source_overflow(r->w->source);
		/* The second one is held back for half a second, if nobody waits for it. */
		rig_check(r, c, "overflowed");
	}
}

/* The departure of a folder is lost; then one that was in it gets its name. */
static void a_folder_may_take_the_place_of_its_own(void **state)
{
	struct rig *r = *state;
	struct rig_client *c = &r->clients[0];

	rig_sh(r, "mkdir -p d/x/y; touch d/f d/x/g");
	begin(r, c);
	rig_sh(r, "mv d e");
	watch_source_overflow(r->w->source);
	rig_sh(r, "mv e/x d");
	rig_check(r, c, "moved up");
}

/* ---- many ---- */

static void each_of_many_trees_is_told(void **state)
{
	enum { TREES = 80 };
	struct rig *r = *state;
	struct rig_client *c = &r->clients[0];
	char pattern[16], *patterns[] = {pattern};

	rig_sh(r, "mkdir a b; touch a/f");
	begin(r, c);
	/* Other trees of the same folders, which nobody asks for any more. */
	for (int i = 0; i < TREES; i++) {
		Telex__V1__WatchBegin b = rig_begin(r, NULL);

		snprintf(pattern, sizeof(pattern), "none-%d", i);
		b.exclude = patterns;
		b.n_exclude = 1;
		rig_watch(r, &r->clients[1], &b);
		rig_hang_up(&r->clients[1]);
	}
	rig_sh(r, "mkdir a/d; mv a/f b/g; touch a/h; mv a/d b/d; touch b/d/i");
	rig_check(r, c, "beside many others");
	rig_sh(r, "mv b c; rmdir a || rm -r a");
	rig_check(r, c, "once more");
}

/* ---- watches ---- */

static uint32_t wanted_changes;

static bool has_been_told(const struct rig_client *c)
{
	return c->n_changes >= wanted_changes;
}

static void where_watches_are_few_the_rest_is_looked_through(void **state)
{
	struct rig *r = *state;
	struct rig_client *c = &r->clients[0];

	rig_sh(r, "mkdir -p a/b/c d/e/f; touch a/b/c/x d/e/f/x");
	r->w->watch_limit = 2;
	begin(r, c);
	assert_int_equal(r->w->map.n, 2);
	assert_true(rig_warned(c, "WATCH_LIMIT "));
	wanted_changes = 2;
	rig_sh(r, "echo 1 > a/b/c/x; echo 1 > d/e/f/x");
	rig_until(r, has_been_told, c);
	assert_non_null(rig_change(c, "a/b/c/x"));
	assert_non_null(rig_change(c, "d/e/f/x"));
}

/* A barrier is about all that happened, also where nobody tells of it. */
static void a_barrier_looks_through_what_is_not_watched(void **state)
{
	struct rig *r = *state;
	struct rig_client *c = &r->clients[0];

	rig_sh(r, "mkdir -p a/b/c d/e/f; touch a/b/c/x d/e/f/x");
	r->w->watch_limit = 2;
	begin(r, c);
	rig_sh(r, "echo 1 > a/b/c/x; mkdir -p d/e/f/g/h; touch d/e/f/g/h/y");
	/* It is not its interval that is over. */
	r->w->trees->interval_due = INT64_MAX;
	rig_check(r, c, "what is not watched");
	/* As it is where others change files from elsewhere. */
	r->w->trees->remote = true;
	rig_sh(r, "rm a/b/c/x; echo 2 > d/e/f/x; rm -r d/e/f/g");
	r->w->trees->interval_due = INT64_MAX;
	rig_check(r, c, "what others may change");
}

/* A root that is a file, too. */
static void a_file_that_cannot_be_watched_is_compared(void **state)
{
	struct rig *r = *state;
	struct rig_client *c = &r->clients[0];

	rig_sh(r, "echo 1 > f");
	r->w->watch_limit = 0;
	rig_begin_at(r, c, "f", false, false);
	assert_true(rig_warned(c, "WATCH_LIMIT "));
	wanted_changes = 1;
	rig_sh(r, "echo 2 >> f");
	rig_until(r, has_been_told, c);
	assert_true((rig_change(c, "")->kinds & WATCH_MODIFIED) != 0);
	/* When it can be, it is. */
	r->w->watch_limit = UINT32_MAX;
	rig_sync(r, c);
	assert_int_equal(r->w->map.n, 1);
	assert_int_equal(c->n_warned, 0);
	assert_int_equal(c->n_over, 1);
}

/* ---- room ---- */

static void idle_trees_make_way(void **state)
{
	struct rig *r = *state;
	struct rig_client *c = &r->clients[0];
	const char *const names[] = {"a", NULL};
	Telex__V1__WatchBegin b;

	rig_sh(r, "mkdir a b c; touch a/1 a/2 a/3 a/4 b/1 b/2 b/3 b/4 c/1 c/2 c/3 c/4");
	watch_store_limit(r->w->store, 13, 0);
	rig_begin_at(r, &r->clients[1], "a", true, false);
	rig_begin_at(r, &r->clients[2], "b", true, false);
	rig_hang_up(&r->clients[1]);
	rig_begin_at(r, c, "c", true, false);
	assert_int_equal(c->n_warned, 0);
	rig_sh(r, "touch b/5 c/5");
	rig_check_root(r, c, 0, "c", "in its place");
	rig_check_root(r, &r->clients[2], 0, "b", "as before");
	/* Nobody else makes way. */
	b = rig_begin(r, names);
	assert_false(rig_call(r, &r->clients[3], &b));
	assert_string_equal(r->clients[3].status.reason, "TOO_MANY_ENTRIES");
}

static void what_had_no_room_comes_when_there_is_some(void **state)
{
	struct rig *r = *state;
	struct rig_client *c = &r->clients[0];
	const char *const names[] = {"d", NULL};
	Telex__V1__WatchBegin b = rig_begin(r, names);

	rig_sh(r, "mkdir -p d/e; touch d/e/1 d/e/2 d/e/3 d/e/4 d/e/5 d/e/6 d/e/7 d/e/8 d/e/9");
	watch_store_limit(r->w->store, 10, 0);
	b.state = true;
	rig_watch(r, c, &b);
	rig_sync(r, c);
	assert_true(rig_warned(c, "TOO_MANY_ENTRIES e"));
	assert_int_equal(c->models[0].n, 9);
	for (size_t i = 0, gone = 0; gone < 3; i++)
		if (strncmp(c->changes[i].path, "e/", 2) == 0 && ++gone > 0)
			rig_sh(r, "rm d/%s", c->changes[i].path);
	/* That they are gone is told first. */
	rig_sync(r, c);
	rig_check_root(r, c, 0, "d", "with room");
	assert_int_equal(c->models[0].n, 8);
	assert_int_equal(c->n_warned, 0);
}

static bool has_no_warning(const struct rig_client *c)
{
	return c->n_warned == 0;
}

static void allow(struct rig *r, uint64_t bytes)
{
	const struct watch_allow a = {.memory = bytes, .limit = 3 << 20};

	watcher_allow(r->w, &a);
}

/* One that grows beyond what may be remembered is told so; others go on. */
static void memory_has_a_limit_that_is_named(void **state)
{
	struct rig *r = *state;
	struct rig_client *large = &r->clients[0], *small = &r->clients[1];

	rig_sh(r, "mkdir small large; touch small/1; seq -f large/%%0.f 100 | xargs touch");
	rig_begin_at(r, small, "small", true, false);
	rig_begin_at(r, large, "large", true, false);
	allow(r, 80000);
	rig_sh(r, "mkdir large/d; seq -f large/d/%%0.f 300 | xargs touch");
	rig_sync(r, large);
	assert_int_equal(large->n_warned, 1);
	assert_true(strncmp(large->warned[0], "TOO_MANY_ENTRIES ", 17) == 0);
	assert_non_null(strstr(large->last_warning, "max_watch_memory"));
	assert_non_null(strstr(large->last_warning, "3.0 MiB"));
	rig_sh(r, "touch small/2; mkdir small/d; touch small/d/1");
	rig_check_root(r, small, 0, "small", "another one");
	assert_int_equal(small->n_warned, 0);
	/* There is more of it. */
	allow(r, 1 << 20);
	rig_until(r, has_no_warning, large);
	rig_check_root(r, large, 0, "large", "all of it");
}

static bool is_all_armed(const struct rig_client *c)
{
	return c->armed > 0;
}

/* Of so many a tree is large: it takes some turns to be looked through. */
static int many(void)
{
	return getenv("TELEX_TEST_SLOW") != NULL ? 3000 : 30000;
}

static void a_large_tree_lets_small_ones_be_armed(void **state)
{
	struct rig *r = *state;
	const char *const large[] = {"large", NULL}, *const small[] = {"small", NULL};
	Telex__V1__WatchBegin b;

	rig_sh(r, "mkdir large small; touch small/f");
	/* More and more, until it takes longer than a turn. */
	for (int n = many(), from = 1;; from = n + 1, n *= 2) {
		assert_true(n < 4000000);
		rig_sh(r, "cd large; seq %d %d | xargs touch", from, n);
		b = rig_begin(r, small);
		assert_true(rig_call(r, &r->clients[0], &b));
		b = rig_begin(r, large);
		assert_true(rig_call(r, &r->clients[1], &b));
		rig_until(r, is_all_armed, &r->clients[0]);
		if (r->clients[1].armed == 0)
			break;
		rig_restart(r);
	}
	rig_until(r, is_all_armed, &r->clients[1]);
	/* And each has its own folders alone. */
	assert_int_equal(r->clients[0].folders, 1);
	assert_int_equal(r->clients[1].folders, 1);
}

static void a_queue_that_was_long_is_given_back(void **state)
{
	struct rig *r = *state;
	struct rig_client *c = &r->clients[0];

	begin(r, c);
	/* Some 3 MiB of events, as their names are long. */
	rig_sh(r, "seq -f '%%0200.0f' 4000 | xargs touch");
	rig_check(r, c, "many long names");
	assert_true(watch_source_memory(r->w->source) <= 1 << 20);
}

/* ---- roots ---- */

static bool is_gone(const struct rig_client *c)
{
	const struct rig_change *change = rig_change(c, "");

	return change != NULL && (change->kinds & ROOT_GONE) != 0;
}

static bool is_back(const struct rig_client *c)
{
	const struct rig_change *change = rig_change(c, "");

	return change != NULL && (change->kinds & ROOT_BACK) != 0 && change->exists;
}

static bool is_looked_through(const struct rig_client *c)
{
	return c->rescans[BACK] > 0 && c->rescanned[BACK] == c->rescans[BACK];
}

static void a_root_may_go_and_come_back(void **state)
{
	struct rig *r = *state;
	struct rig_client *c = &r->clients[0];

	rig_sh(r, "mkdir -p p/q/root/a; touch p/q/root/a/f");
	rig_begin_at(r, c, "p/q/root", true, false);
	rig_sh(r, "rm -r p/q/root");
	rig_until(r, is_gone, c);
	rig_check_root(r, c, 0, "p/q/root", "gone");
	rig_clear(c);
	rig_sh(r, "mkdir -p p/q/root/b; touch p/q/root/b/g");
	rig_until(r, is_back, c);
	rig_check_root(r, c, 0, "p/q/root", "back");
	rig_until(r, is_looked_through, c);
	assert_int_equal(c->rescans[BACK], 1);
	/* With all that it is in, and by a rename. */
	rig_clear(c);
	rig_sh(r, "mv p away");
	rig_until(r, is_gone, c);
	rig_sh(r, "touch away/q/root/b/h");
	rig_clear(c);
	rig_sh(r, "mv away p");
	rig_until(r, is_back, c);
	rig_check_root(r, c, 0, "p/q/root", "renamed back");
	rig_sh(r, "rm -r p/q/root; mkdir -p p/q/root; touch p/q/root/new");
	rig_check_root(r, c, 0, "p/q/root", "replaced");
}

/* Nothing is compared by the clock here. */
static void turn_without_looking(struct rig *r)
{
	for (int i = 0; i < 4; i++) {
		r->w->trees->check_due = INT64_MAX;
		rig_turn(r);
	}
}

static void the_folder_of_a_root_may_be_renamed(void **state)
{
	struct rig *r = *state;
	struct rig_client *c = &r->clients[0];

	rig_sh(r, "mkdir -p p/root; touch p/root/f");
	rig_begin_at(r, c, "p/root", true, false);
	rig_sh(r, "mv p q; mkdir -p p/root; touch p/root/g");
	turn_without_looking(r);
	assert_true(is_back(c));
	rig_check_root(r, c, 0, "p/root", "another one");
	/* It is the new one that is watched. */
	rig_clear(c);
	rig_sh(r, "mv p/root p/away");
	turn_without_looking(r);
	assert_true(is_gone(c));
	rig_clear(c);
	rig_sh(r, "mkdir p/root");
	turn_without_looking(r);
	assert_true(is_back(c));
	rig_clear(c);
	rig_sh(r, "mv p z");
	turn_without_looking(r);
	assert_true(is_gone(c));
}

/* Who comes to a tree that is known is armed when that is what is there, not before. */
static void who_joins_is_armed_on_what_is_there(void **state)
{
	const int n = many();
	struct rig *r = *state;
	struct rig_client *c = &r->clients[1];
	const char *const names[] = {"q/p/root", NULL};
	Telex__V1__WatchBegin b;

	rig_sh(r, "mkdir -p q/p/root/old");
	rig_begin_at(r, &r->clients[0], names[0], true, false);
	rig_hang_up(&r->clients[0]);
	/* Of this nobody tells, and it takes some turns to be looked through. */
	rig_sh(r, "mv q away; mkdir -p q/p/root; cd q/p/root; seq %d | xargs touch", n);
	r->w->trees->check_due = INT64_MAX;
	b = rig_begin(r, names);
	rig_watch(r, c, &b);
	assert_int_equal(c->entries, n + 1);
	rig_sync(r, c);
	assert_int_equal(c->rescans[BACK], 0);
}

static void a_root_may_be_waited_for(void **state)
{
	struct rig *r = *state;
	struct rig_client *c = &r->clients[0];

	rig_begin_at(r, c, "x/y", true, true);
	rig_sh(r, "mkdir -p x/y/z; touch x/y/z/f");
	rig_until(r, is_back, c);
	rig_check_root(r, c, 0, "x/y", "came");
}

static void a_file_may_be_a_root(void **state)
{
	struct rig *r = *state;
	struct rig_client *c = &r->clients[0];

	rig_sh(r, "echo 1 > f; touch other");
	rig_begin_at(r, c, "f", false, false);
	rig_sh(r, "echo 2 >> f; touch other");
	rig_check_root(r, c, 0, "f", "written");
	assert_int_equal(rig_change(c, "")->kinds, WATCH_MODIFIED | WATCH_CLOSED);
	rig_clear(c);
	/* As editors do it. */
	rig_sh(r, "echo 3 > t; mv t f");
	rig_check_root(r, c, 0, "f", "replaced");
	assert_true(is_back(c));
	/* There is nothing to be looked through. */
	assert_int_equal(c->rescans[BACK], 0);
	rig_clear(c);
	rig_sh(r, "echo 4 >> f");
	rig_check_root(r, c, 0, "f", "written again");
	assert_true((rig_change(c, "")->kinds & WATCH_MODIFIED) != 0);
	rig_sh(r, "rm f");
	rig_until(r, is_gone, c);
	rig_clear(c);
	rig_sh(r, "touch f");
	rig_until(r, is_back, c);
}

/* ---- scope ---- */

/* A role that allows one level only. */
static void what_the_policy_leaves_out_below_is_not_told(void **state)
{
	struct rig *r = *state;
	struct rig_client *c = &r->clients[0];
	const char *const patterns[] = {rig_path(r, ""), rig_path(r, "pub*"), NULL};

	rig_sh(r, "mkdir public secret; touch public.txt secret.txt public/in");
	rig_allow(r, patterns);
	{
		Telex__V1__WatchBegin b = rig_begin(r, NULL);

		b.state = true;
		rig_watch(r, c, &b);
	}
	rig_sh(r,
	    "echo 1 > public.txt; echo 1 > secret.txt; touch public/new secret/new; mv secret.txt "
	    "public2");
	rig_sync(r, c);
	assert_non_null(rig_change(c, "public.txt"));
	assert_non_null(rig_change(c, "public2"));
	assert_null(rig_change(c, "secret"));
	assert_null(rig_change(c, "secret.txt"));
	assert_null(rig_change(c, "public/in"));
	assert_null(rig_change(c, "public/new"));
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_make, rig_free)
	const struct CMUnitTest tests[] = {
	    TEST(an_overflow_is_told_and_made_good),
	    TEST(many_overflows_are_held_back),
	    TEST(an_overflow_within_is_another_one),
	    TEST(a_barrier_waits_for_what_was_lost),
	    TEST(a_folder_may_take_the_place_of_its_own),
	    TEST(each_of_many_trees_is_told),
	    TEST(where_watches_are_few_the_rest_is_looked_through),
	    TEST(a_barrier_looks_through_what_is_not_watched),
	    TEST(a_file_that_cannot_be_watched_is_compared),
	    TEST(idle_trees_make_way),
	    TEST(what_had_no_room_comes_when_there_is_some),
	    TEST(memory_has_a_limit_that_is_named),
	    TEST(a_large_tree_lets_small_ones_be_armed),
	    TEST(a_queue_that_was_long_is_given_back),
	    TEST(a_root_may_go_and_come_back),
	    TEST(the_folder_of_a_root_may_be_renamed),
	    TEST(who_joins_is_armed_on_what_is_there),
	    TEST(a_root_may_be_waited_for),
	    TEST(a_file_may_be_a_root),
	    TEST(what_the_policy_leaves_out_below_is_not_told),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return rig_run("watch_trouble", tests, sizeof(tests) / sizeof(tests[0]));
}
