/* SPDX-License-Identifier: Apache-2.0 */
/* What is mounted on watched folders, before and while they are watched. Needs root and a mount
 * namespace of its own; else each of them is skipped. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/watch/watch_remote.h"
#include "common/duration.h"
#include "tests/unit/watch_rig.h"

#define ROOT_GONE (1u << 7)
#define ROOT_BACK (1u << 8)
#define MOUNTS    TELEX__V1__WATCH_RESCAN__REASON__REASON_MOUNTS
#define BACK      TELEX__V1__WATCH_RESCAN__REASON__REASON_ROOT_BACK

/* ---- what is known ---- */

static watch_id known(const struct rig *r, const char *path)
{
	watch_id id = watch_store_root(r->w->store, r->w->trees->number);
	const char *end;

	for (; id != WATCH_NO_ID && *path != '\0'; path = *end == '\0' ? end : end + 1) {
		end = strchrnul(path, '/');
		id = watch_store_find(r->w->store, id, path, (size_t)(end - path));
	}
	return id;
}

static bool is_mount(const struct rig *r, const char *path)
{
	return (watch_store_see(r->w->store, known(r, path))->flags & NODE_MOUNT) != 0;
}

/* What is mounted here is for nobody else. Before any root is opened. */
static bool own_mounts;

static void own_the_mounts(void)
{
	own_mounts = geteuid() == 0 && unshare(CLONE_NEWNS) == 0 &&
	             mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) == 0;
}

static void need_mounts(void)
{
	if (own_mounts)
		return;
	print_message("# skipped: a mount namespace of its own needs root\n");
	skip();
}

static void mount_at(const struct rig *r, const char *name, const char *type)
{
	assert_int_equal(mount("none", rig_path(r, name), type, 0, NULL), 0);
}

static void unmount(const struct rig *r, const char *name)
{
	assert_int_equal(umount2(rig_path(r, name), MNT_DETACH), 0);
}

/* And not each folder that is on another file system than the root. */
static void a_mount_is_where_the_device_changes(void **state)
{
	struct rig *r = *state;
	struct rig_client *c = &r->clients[0];
	Telex__V1__WatchBegin b = rig_begin(r, NULL);

	need_mounts();
	rig_sh(r, "mkdir m n");
	mount_at(r, "m", "tmpfs");
	rig_sh(r, "mkdir -p m/a/b n/c");
	b.state = true;
	b.across_mounts = true;
	rig_watch(r, c, &b);
	rig_check(r, c, "across");
	assert_true(is_mount(r, "m"));
	assert_false(is_mount(r, "m/a") || is_mount(r, "m/a/b") || is_mount(r, "n"));
	rig_hang_up(c);
	b.across_mounts = false;
	rig_watch(r, &r->clients[1], &b);
	assert_true(rig_warned(&r->clients[1], "OTHER_FILESYSTEM m"));
	assert_int_equal(r->clients[1].n_warned, 1);
	assert_null(rig_change(&r->clients[1], "m/a"));
	/* Who takes over does not go into it, either. */
	rig_restart(r);
	rig_watch(r, &r->clients[2], &b);
	rig_sync(r, &r->clients[2]);
	assert_null(rig_change(&r->clients[2], "m/a"));
	unmount(r, "m");
}

#define RAMFS_TYPE 0x858458f6 /* RAMFS_MAGIC */

static bool is_finished(const struct rig_client *c)
{
	return c->finished;
}

static const struct watch_tree *remote_tree(const struct rig *r)
{
	const struct watch_tree *t = r->w->trees;

	while (t != NULL && !t->options.allow_remote)
		t = t->next;
	assert_non_null(t);
	return t;
}

static void mount_for_others(const struct rig *r)
{
	mount_at(r, "m", "ramfs");
	watch_remote_add(RAMFS_TYPE);
	rig_sh(r, "mkdir m/root; touch m/root/f");
}

/* Who waits for a root is refused what others are refused at once. */
static void a_root_that_others_change_ends_the_watch(void **state)
{
	struct rig *r = *state;
	struct rig_client *c = &r->clients[0];
	const char *const names[] = {"m/root", NULL};
	Telex__V1__WatchBegin b;

	need_mounts();
	rig_sh(r, "mkdir m");
	/* One that comes, and one that takes another one's place. */
	for (int i = 0; i < 2; i++) {
		rig_begin_at(r, c, names[0], true, true);
		mount_for_others(r);
		rig_until(r, is_finished, c);
		assert_string_equal(c->status.reason, "REMOTE_FILESYSTEM");
		assert_int_equal(c->status.code, RPC_FAILED_PRECONDITION);
		unmount(r, "m");
		rig_sh(r, "mkdir -p m/root");
	}
	/* It is no more than its root that was refused. */
	rig_begin_at(r, c, names[0], true, true);
	rig_sh(r, "touch m/root/g");
	rig_check_root(r, c, 0, names[0], "its own");
	rig_hang_up(c);
	/* Who may is looked through at intervals as long as it is there. */
	mount_for_others(r);
	b = rig_begin(r, names);
	b.allow_remote = true;
	rig_watch(r, c, &b);
	assert_true(rig_warned(c, "REMOTE_FILESYSTEM "));
	assert_true(remote_tree(r)->remote);
	unmount(r, "m");
	rig_sync(r, c);
	assert_false(remote_tree(r)->remote);
	watch_remote_add(0);
}

/* ---- what is mounted later ---- */

static void begin(struct rig *r, struct rig_client *c, bool across, bool remote)
{
	Telex__V1__WatchBegin b = rig_begin(r, NULL);

	b.state = true;
	b.across_mounts = across;
	b.allow_remote = remote;
	rig_watch(r, c, &b);
	rig_sync(r, c);
	rig_clear(c);
}

/* What was there is gone, and what is there is told, each exactly once. */
static void what_is_mounted_later_is_told(void **state)
{
	struct rig *r = *state;
	struct rig_client *c = &r->clients[0];

	need_mounts();
	rig_sh(r, "mkdir -p m/old n; touch m/old/f n/f");
	begin(r, c, true, false);
	mount_at(r, "m", "tmpfs");
	rig_sh(r, "mkdir -p m/a/b; touch m/a/b/f");
	rig_check(r, c, "mounted");
	assert_int_equal(rig_change(c, "m")->kinds, WATCH_DELETED | WATCH_CREATED);
	assert_int_equal(rig_change(c, "m/a/b/f")->kinds, WATCH_CREATED);
	assert_null(rig_change(c, "n"));
	assert_int_equal(c->rescans[MOUNTS], 1);
	assert_int_equal(c->rescanned[MOUNTS], 1);
	assert_int_equal(c->n_warned, 0);
	/* It is watched. */
	rig_clear(c);
	rig_sh(r, "touch m/a/b/g; rm m/a/b/f; mkdir m/c; touch m/c/x");
	rig_check(r, c, "in it");
	rig_clear(c);
	unmount(r, "m");
	rig_check(r, c, "unmounted");
	assert_int_equal(rig_change(c, "m")->kinds, WATCH_DELETED | WATCH_CREATED);
	assert_int_equal(rig_change(c, "m/old/f")->kinds, WATCH_CREATED);
	assert_int_equal(c->rescans[MOUNTS], 2);
	assert_int_equal(c->rescanned[MOUNTS], 2);
	rig_clear(c);
	rig_sh(r, "touch m/old/g");
	rig_check(r, c, "what was there before");
	assert_int_equal(c->n_changes, 1);
}

/* All of them have a root folder of the same number, and one takes the other one's device. */
static void one_after_the_other_is_another_one(void **state)
{
	struct rig *r = *state;
	struct rig_client *c = &r->clients[0];

	need_mounts();
	rig_sh(r, "mkdir m");
	mount_at(r, "m", "tmpfs");
	rig_sh(r, "touch m/first; mkdir m/d; touch m/d/1");
	begin(r, c, true, false);
	for (int i = 0; i < 3; i++) {
		unmount(r, "m");
		mount_at(r, "m", i == 1 ? "ramfs" : "tmpfs");
		rig_sh(r, "mkdir m/d; touch m/d/%d m/n%d", i + 2, i);
		rig_check(r, c, "another one");
		rig_sh(r, "touch m/d/after");
		rig_check(r, c, "and it is watched");
	}
	mount_at(r, "m", "tmpfs");
	rig_check(r, c, "above it");
	rig_sh(r, "touch m/above");
	rig_check(r, c, "in what is above");
	unmount(r, "m");
	rig_check(r, c, "seen again");
	unmount(r, "m");
	rig_check(r, c, "at last");
}

static void a_file_may_be_mounted_on(void **state)
{
	struct rig *r = *state;
	struct rig_client *c = &r->clients[0];

	need_mounts();
	rig_sh(r, "echo 1 > f; echo 22 > 'g \\ h'; echo > other");
	begin(r, c, true, false);
	assert_int_equal(mount(rig_path(r, "f"), rig_path(r, "g \\ h"), "", MS_BIND, NULL), 0);
	rig_check(r, c, "mounted");
	assert_int_equal(rig_change(c, "g \\ h")->kinds, WATCH_DELETED | WATCH_CREATED);
	assert_int_equal(c->n_changes, 1);
	unmount(r, "g \\ h");
	rig_check(r, c, "unmounted");
}

static bool has_old(const struct rig_client *c)
{
	return rig_change(c, "m/old") != NULL;
}

static bool has_mount(const struct rig_client *c)
{
	return rig_warned(c, "OTHER_FILESYSTEM m");
}

/* Nobody asks: it is told as it happens. */
static void it_is_not_gone_into_without_leave(void **state)
{
	struct rig *r = *state;
	struct rig_client *c = &r->clients[0];

	need_mounts();
	rig_sh(r, "mkdir -p m/old");
	begin(r, c, false, false);
	mount_at(r, "m", "tmpfs");
	rig_sh(r, "touch m/new");
	rig_sync(r, c);
	assert_true(rig_warned(c, "OTHER_FILESYSTEM m"));
	assert_int_equal(rig_change(c, "m")->kinds, WATCH_DELETED | WATCH_CREATED);
	assert_null(rig_change(c, "m/new"));
	assert_false(has_old(c));
	unmount(r, "m");
	rig_until(r, has_old, c);
	rig_check(r, c, "unmounted");
	assert_int_equal(c->n_warned, 0);
	assert_int_equal(c->n_over, 1);
}

static void nor_where_others_may_change_it(void **state)
{
	struct rig *r = *state;
	struct rig_client *a = &r->clients[0], *b = &r->clients[1];

	need_mounts();
	rig_sh(r, "mkdir m n");
	begin(r, a, true, false);
	begin(r, b, true, true);
	mount_for_others(r);
	rig_check(r, b, "by looking");
	assert_true(rig_warned(b, "REMOTE_FILESYSTEM m"));
	assert_true(remote_tree(r)->remote);
	rig_sync(r, a);
	assert_true(rig_warned(a, "REMOTE_FILESYSTEM m"));
	assert_null(rig_change(a, "m/root"));
	/* It is over with the last of them. */
	mount_at(r, "n", "ramfs");
	unmount(r, "m");
	rig_check(r, b, "one is left");
	assert_true(remote_tree(r)->remote);
	unmount(r, "n");
	rig_check(r, b, "none is left");
	assert_false(remote_tree(r)->remote);
	watch_remote_add(0);
}

static bool is_back(const struct rig_client *c)
{
	const struct rig_change *change = rig_change(c, "");

	return change != NULL && (change->kinds & ROOT_BACK) != 0 && change->exists;
}

/* On the root itself, and on what it is in. */
static void a_root_may_be_mounted_on(void **state)
{
	static const char *const places[] = {"p/root", "p"};
	struct rig *r = *state;
	struct rig_client *c = &r->clients[0];

	need_mounts();
	rig_sh(r, "mkdir -p p/root; touch p/root/f");
	rig_begin_at(r, c, "p/root", true, false);
	for (size_t i = 0; i < 2; i++) {
		mount_at(r, places[i], "tmpfs");
		rig_sh(r, "mkdir -p p/root; touch p/root/g%zu", i);
		/* It is the mount that says so, and no clock. */
		r->w->trees->check_due = INT64_MAX;
		rig_until(r, is_back, c);
		rig_check_root(r, c, 0, "p/root", "mounted");
		rig_sh(r, "touch p/root/h");
		rig_check_root(r, c, 0, "p/root", "in it");
		rig_clear(c);
		unmount(r, places[i]);
		r->w->trees->check_due = INT64_MAX;
		rig_until(r, is_back, c);
		rig_check_root(r, c, 0, "p/root", "unmounted");
		rig_clear(c);
	}
	assert_int_equal(c->rescans[BACK], 4);
	assert_int_equal(c->rescanned[BACK], 4);
}

/* Each time it is looked at costs something. */
static void mounts_that_flap_are_held_back(void **state)
{
	struct rig *r = *state;
	struct rig_client *c = &r->clients[0];

	need_mounts();
	rig_sh(r, "mkdir m");
	begin(r, c, true, false);
	mount_at(r, "m", "tmpfs");
	rig_turn(r);
	assert_false(r->w->remount.wanted);
	for (unsigned i = 0; i < 10; i++) {
		unmount(r, "m");
		rig_turn(r);
		assert_true(r->w->remount.wanted);
		r->w->remount.due = INT64_MAX;
		mount_at(r, "m", "tmpfs");
		rig_turn(r);
		assert_true(r->w->remount.wanted);
		/* Its turn comes. */
		r->w->remount.due = 0;
		rig_turn(r);
		assert_false(r->w->remount.wanted);
	}
	assert_int_equal(r->w->remount.level, 8);
	unmount(r, "m");
	rig_turn(r);
	assert_true(r->w->remount.due - r->w->now > 1000 * MS);
	/* Who waits for a barrier does not wait for that. */
	r->w->remount.due = INT64_MAX;
	rig_check(r, c, "flapped");
}

/* Of what comes and goes, or goes and comes, before it is looked at, mountinfo says nothing. */
static void what_flaps_unseen_is_told(void **state)
{
	struct rig *r = *state;
	struct rig_client *c = &r->clients[0];
	int hidden;

	need_mounts();
	rig_sh(r, "mkdir -p m/old");
	hidden = open(rig_path(r, "m"), O_PATH | O_DIRECTORY | O_CLOEXEC);
	begin(r, c, false, false);
	r->w->remount = (struct watch_remount){.wanted = true, .due = INT64_MAX};
	mount_at(r, "m", "tmpfs");
	/* An event leads there. */
	assert_int_equal(mkdirat(hidden, "more", 0755), 0);
	close(hidden);
	rig_until(r, has_mount, c);
	unmount(r, "m");
	rig_check(r, c, "it came and went");
	assert_non_null(rig_change(c, "m/more"));
	assert_int_equal(c->n_warned, 0);
	assert_int_equal(c->rescans[MOUNTS], 1);
	assert_int_equal(c->rescanned[MOUNTS], 1);
	/* As where it goes after it was met, and before it would be gone into. */
	mount_at(r, "m", "tmpfs");
	look_again(r->w->trees, known(r, "m"), 0);
	unmount(r, "m");
	rig_check(r, c, "it came, was met, and went");
	assert_int_equal(c->n_warned, 0);
	rig_hang_up(c);
	/* And the other way round, where it was gone into. */
	mount_at(r, "m", "tmpfs");
	rig_sh(r, "touch m/new");
	rig_clear(c);
	begin(r, c, true, false);
	r->w->remount = (struct watch_remount){.wanted = true, .due = INT64_MAX};
	unmount(r, "m");
	rig_until(r, has_old, c);
	mount_at(r, "m", "tmpfs");
	rig_sh(r, "touch m/newer");
	rig_check(r, c, "it went and came");
	rig_sh(r, "touch m/after");
	rig_check(r, c, "and is watched");
	unmount(r, "m");
}

/* ---- what can be unmounted ---- */

/* Where nothing is to be done, nobody holds it. */
static void unmount_for_good(struct rig *r, const char *name)
{
	int64_t end = clock_monotonic_ns() + 60 * NS_PER_S;

	while (umount2(rig_path(r, name), 0) != 0) {
		assert_int_equal(errno, EBUSY);
		assert_true(clock_monotonic_ns() < end);
		rig_turn(r);
	}
}

static bool is_gone(const struct rig_client *c)
{
	const struct rig_change *change = rig_change(c, "");

	return change != NULL && (change->kinds & ROOT_GONE) != 0;
}

/* Once the client has gone, and while it is there: as with inotifywait, it is told. */
static void what_is_watched_can_be_unmounted(void **state)
{
	static const char *const roots[] = {"m", "m/root"};
	struct rig *r = *state;
	struct rig_client *c = &r->clients[0];

	need_mounts();
	rig_sh(r, "mkdir m");
	for (size_t i = 0; i < 2; i++) {
		mount_at(r, "m", "tmpfs");
		rig_sh(r, "mkdir -p m/root/d; touch m/root/d/f");
		rig_begin_at(r, c, roots[i], true, true);
		rig_hang_up(c);
		unmount_for_good(r, "m");
		mount_at(r, "m", "tmpfs");
		rig_sh(r, "mkdir -p m/root/d; touch m/root/d/g");
		rig_begin_at(r, c, roots[i], true, true);
		rig_sh(r, "touch m/root/d/h");
		rig_check_root(r, c, 0, roots[i], "mounted again");
		rig_clear(c);
		unmount_for_good(r, "m");
		r->w->trees->check_due = INT64_MAX;
		rig_until(r, is_gone, c);
		rig_check_root(r, c, 0, roots[i], "unmounted");
		rig_hang_up(c);
	}
}

/* It has the same device and the same number as the one before, and nobody looked in between. */
static void a_root_that_is_mounted_anew_is_watched_anew(void **state)
{
	struct rig *r = *state;
	struct rig_client *c = &r->clients[0];
	const struct watch_tree *t;

	need_mounts();
	rig_sh(r, "mkdir m");
	mount_at(r, "m", "tmpfs");
	rig_sh(r, "mkdir m/d; touch m/d/f");
	rig_begin_at(r, c, "m", true, false);
	t = r->w->trees;
	assert_true(t->rests);
	for (int i = 0; i < 3; i++) {
		unmount_for_good(r, "m");
		mount_at(r, "m", "tmpfs");
		rig_sh(r, "mkdir m/d; touch m/d/g%d", i);
		rig_check_root(r, c, 0, "m", "another one");
		rig_sh(r, "mkdir m/d/e; touch m/d/e/after");
		rig_check_root(r, c, 0, "m", "and it is watched");
		assert_int_equal(t->cover.number != 0, r->wide != NULL);
	}
	/* What is renamed away and back rests, too. */
	rig_clear(c);
	rig_sh(r, "mkdir m/root");
	rig_begin_at(r, &r->clients[1], "m/root", true, false);
	rig_sh(r, "touch m/root/f; mv m/root m/away; touch m/away/g");
	rig_check_root(r, &r->clients[1], 0, "m/root", "away");
	rig_sh(r, "mv m/away m/root");
	rig_check_root(r, &r->clients[1], 0, "m/root", "back");
	rig_hang_up(c);
	rig_hang_up(&r->clients[1]);
	unmount_for_good(r, "m");
}

/* Who leaves it does not find it, but what has taken its place and its device. */
static void who_leaves_takes_nothing_from_others(void **state)
{
	struct rig *r = *state;
	struct rig_client *below = &r->clients[0], *c = &r->clients[1];

	need_mounts();
	rig_sh(r, "mkdir m");
	mount_at(r, "m", "tmpfs");
	rig_sh(r, "mkdir -p m/sub");
	rig_begin_at(r, below, "m/sub", true, true);
	rig_begin_at(r, c, "m", true, false);
	unmount_for_good(r, "m");
	mount_at(r, "m", "tmpfs");
	rig_check_root(r, c, 0, "m", "another one");
	rig_sync(r, below);
	rig_sh(r, "touch m/f");
	rig_check_root(r, c, 0, "m", "and it is watched");
	rig_hang_up(below);
	rig_hang_up(c);
	unmount_for_good(r, "m");
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_make, rig_free)
	const struct CMUnitTest tests[] = {
	    TEST(a_mount_is_where_the_device_changes),
	    TEST(a_root_that_others_change_ends_the_watch),
	    TEST(what_is_mounted_later_is_told),
	    TEST(one_after_the_other_is_another_one),
	    TEST(a_file_may_be_mounted_on),
	    TEST(it_is_not_gone_into_without_leave),
	    TEST(nor_where_others_may_change_it),
	    TEST(a_root_may_be_mounted_on),
	    TEST(mounts_that_flap_are_held_back),
	    TEST(what_flaps_unseen_is_told),
	    TEST(what_is_watched_can_be_unmounted),
	    TEST(a_root_that_is_mounted_anew_is_watched_anew),
	    TEST(who_leaves_takes_nothing_from_others),
	};

	own_the_mounts();
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return rig_run("watch_mounts", tests, sizeof(tests) / sizeof(tests[0]));
}
