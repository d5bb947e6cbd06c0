/* SPDX-License-Identifier: Apache-2.0 */
/* What cannot be watched is said, counted, and taken back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tests/unit/watch_rig.h"

/* Root may read everything. */
static void be_somebody(const struct rig *r)
{
	if (geteuid() != 0)
		return;
	rig_sh(r, "chown -R 65534 .");
	if (seteuid(65534) != 0)
		skip();
}

static void be_root_again(void)
{
	if (geteuid() != 0 && getuid() == 0)
		assert_int_equal(seteuid(0), 0);
}

/* ---- permissions ---- */

static void what_cannot_be_read_is_named(void **state)
{
	struct rig *r = *state;
	struct rig_client *c = &r->clients[0];
	Telex__V1__WatchBegin b = rig_begin(r, NULL);

	rig_sh(
	    r, "chmod 755 .; mkdir -p a/closed/b a/open; touch a/closed/b/f; chmod 000 a/closed");
	be_somebody(r);
	b.state = true;
	rig_watch(r, c, &b);
	assert_true(rig_warned(c, "FILE_DENIED a/closed"));
	rig_sh(r, "touch a/open/f");
	rig_sync(r, c);
	assert_non_null(rig_change(c, "a/open/f"));
	assert_null(rig_change(c, "a/closed/b"));
	rig_sh(r, "chmod 755 a/closed");
	rig_check(r, c, "when it can be");
	assert_non_null(rig_change(c, "a/closed/b/f"));
	/* What is closed on the way is missed, and met again. */
	rig_sh(r, "chmod 000 a");
	rig_sync(r, c);
	rig_sh(r, "chmod 755 a; touch a/closed/b/g; chmod 000 a");
	rig_sync(r, c);
	rig_sh(r, "chmod 755 a");
	rig_check(r, c, "again");
	be_root_again();
}

static bool has_two(const struct rig_client *c)
{
	return rig_change(c, "d/f") != NULL;
}

/* Who has no more than its entries' names, cannot look at them; and the root may be the one. */
static void what_may_be_read_again_is_told(void **state)
{
	struct rig *r = *state;
	struct rig_client *c = &r->clients[0];

	rig_sh(r, "chmod 755 .; mkdir -p names/b root/d; touch names/f names/b/g root/d/f");
	be_somebody(r);
	rig_sh(r, "chmod 444 names; chmod 000 root");
	for (size_t i = 0; i < 2; i++) {
		const char *const names[] = {i == 0 ? "root" : "names", NULL};
		Telex__V1__WatchBegin b = rig_begin(r, names);

		b.state = true;
		rig_watch(r, &r->clients[i], &b);
		rig_sync(r, &r->clients[i]);
	}
	assert_true(rig_warned(c, "FILE_DENIED "));
	assert_true(rig_warned(&r->clients[1], "FILE_DENIED "));
	rig_sh(r, "chmod 755 names root");
	rig_until(r, has_two, c);
	rig_check_root(r, c, 0, "root", "the root");
	rig_check_root(r, &r->clients[1], 0, "names", "names");
	be_root_again();
}

/* ---- what is over ---- */

static void begin(struct rig *r, struct rig_client *c)
{
	Telex__V1__WatchBegin b = rig_begin(r, NULL);

	b.state = true;
	rig_watch(r, c, &b);
	rig_sync(r, c);
}

static void what_was_said_is_taken_back(void **state)
{
	struct rig *r = *state;
	struct rig_client *first = &r->clients[0], *second = &r->clients[1],
	                  *third = &r->clients[2];

	rig_sh(r, "chmod 755 .; mkdir -p a/1 a/2 a/3 a/4; touch a/1/f a/4/f; chmod 000 a/*");
	be_somebody(r);
	begin(r, first);
	/* Whoever comes later is told of it, too. */
	begin(r, second);
	assert_int_equal(first->n_warned, 4);
	assert_int_equal(second->n_warned, 4);
	rig_sh(r, "chmod 755 a/1; rmdir a/2");
	rig_sync(r, second);
	rig_sync(r, first);
	assert_int_equal(first->n_warned, 2);
	assert_int_equal(second->n_warned, 2);
	/* It has the name that its folder has. */
	rig_sh(r, "mv a b");
	rig_sync(r, first);
	rig_sync(r, second);
	assert_true(rig_warned(first, "FILE_DENIED b/3") && rig_warned(first, "FILE_DENIED b/4"));
	assert_int_equal(first->n_warned, 2);
	/* And is said once more where it is so once more. */
	rig_sh(r, "chmod 755 b/3");
	rig_sync(r, first);
	assert_int_equal(first->n_warned, 1);
	rig_sh(r, "chmod 000 b/3; rm -rf b/1; mkdir -m 000 b/1");
	rig_sync(r, first);
	assert_true(rig_warned(first, "FILE_DENIED b/1") && rig_warned(first, "FILE_DENIED b/4"));
	rig_sh(r, "chmod 755 b/*");
	rig_check(r, first, "all of it");
	rig_sync(r, second);
	begin(r, third);
	assert_int_equal(first->n_warned, 0);
	assert_int_equal(second->n_warned, 0);
	assert_int_equal(third->n_warned, 0);
	assert_int_equal(third->n_over, 0);
	assert_int_equal(r->w->trees->n_warnings, 0);
	be_root_again();
}

static void so_many_are_named_and_the_rest_is_counted(void **state)
{
	struct rig *r = *state;
	struct rig_client *c = &r->clients[0];

	rig_sh(r, "chmod 755 .; mkdir -m 000 $(seq 300)");
	be_somebody(r);
	begin(r, c);
	assert_int_equal(c->n_warned, 257);
	assert_true(rig_warned(c, "MORE_FOLDERS "));
	assert_string_equal(
	    c->last_warning, "and 44 more folders cannot be watched as it was asked for");
	rig_sh(r, "mkdir -m 000 more");
	rig_sync(r, c);
	assert_string_equal(
	    c->last_warning, "and 45 more folders cannot be watched as it was asked for");
	rig_sh(r, "chmod 755 *");
	rig_check(r, c, "all of them");
	assert_int_equal(c->n_warned, 0);
	assert_int_equal(c->n_over, 257);
	be_root_again();
}

static bool has_none(const struct rig_client *c)
{
	return c->n_warned == 0;
}

static void a_limit_that_is_raised_is_none(void **state)
{
	struct rig *r = *state;
	struct rig_client *c = &r->clients[0];

	rig_sh(r, "mkdir -p a/b/c/d");
	r->w->watch_limit = 2;
	begin(r, c);
	assert_true(rig_warned(c, "WATCH_LIMIT "));
	r->w->watch_limit = UINT32_MAX;
	rig_until(r, has_none, c);
	rig_sh(r, "touch a/b/c/d/f");
	rig_check(r, c, "all are watched");
	assert_int_equal(r->w->trees->n_unwatched, 0);
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_make, rig_free)
	const struct CMUnitTest tests[] = {
	    TEST(what_cannot_be_read_is_named),
	    TEST(what_may_be_read_again_is_told),
	    TEST(what_was_said_is_taken_back),
	    TEST(so_many_are_named_and_the_rest_is_counted),
	    TEST(a_limit_that_is_raised_is_none),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return rig_run("watch_warnings", tests, sizeof(tests) / sizeof(tests[0]));
}
