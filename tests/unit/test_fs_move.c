/* SPDX-License-Identifier: Apache-2.0 */
/* Move, on one file system and to another. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "telex/v1/file.pb-c.h"
#include "tests/support/files_place.h"

#define ALWAYS   TELEX__V1__REPLACE__REPLACE_ALWAYS
#define NEVER    TELEX__V1__REPLACE__REPLACE_NEVER
#define EXCHANGE TELEX__V1__REPLACE__REPLACE_EXCHANGE

static int run(struct place *p, const char *from, const char *to, Telex__V1__Replace replace)
{
	Telex__V1__MoveRequest r = TELEX__V1__MOVE_REQUEST__INIT;

	r.source = place_bytes(p, from);
	r.target = place_bytes(p, to);
	r.replace = replace;
	return memory_call_run(p->call, "Move", &r.base);
}

/* Whether it was copied. */
static bool move_it(struct place *p, const char *from, const char *to, Telex__V1__Replace replace,
    const char *reason)
{
	const struct rpc_status *s = memory_call_status(p->call);
	const Telex__V1__MoveResponse *r;
	int code = run(p, from, to, replace);

	if (reason == NULL && code != RPC_OK)
		fail_msg("%s to %s: %s", from, to, s->message);
	if (reason != NULL && (code == RPC_OK || strcmp(s->reason, reason) != 0))
		fail_msg(
		    "%s to %s: %s (%s) instead of %s", from, to, s->reason, s->message, reason);
	if (reason != NULL)
		return false;
	r = place_response(p, &telex__v1__move_response__descriptor);
	return r->copied;
}

static void names_change(void **state)
{
	struct place *p = *state;

	place_put(p, "f", "f");
	place_put(p, "g", "g");
	assert_false(move_it(p, "f", "h", NEVER, NULL));
	assert_string_equal(place_text(p, "h"), "f");
	assert_false(place_has(p, "f"));
	move_it(p, "h", "g", NEVER, "FILE_EXISTS");
	assert_string_equal(place_text(p, "g"), "g");
	move_it(p, "h", "g", EXCHANGE, NULL);
	assert_string_equal(place_text(p, "g"), "f");
	assert_string_equal(place_text(p, "h"), "g");
	move_it(p, "h", "g", ALWAYS, NULL);
	assert_string_equal(place_text(p, "g"), "g");
	move_it(p, "g", "g", ALWAYS, NULL);
	assert_string_equal(place_text(p, "g"), "g");
	move_it(p, "g", "none", EXCHANGE, "NO_SUCH_FILE");
	place_folder(p, "d");
	place_folder(p, "d/e");
	move_it(p, "d", "x", TELEX__V1__REPLACE__REPLACE_UNSPECIFIED, NULL);
	move_it(p, "g", "x", EXCHANGE, NULL);
	assert_string_equal(place_text(p, "x"), "g");
	assert_true(place_has(p, "g/e"));
	move_it(p, "x", "g/e", ALWAYS, "IS_A_FOLDER");
	move_it(p, "g", "x", ALWAYS, "NOT_A_FOLDER");
	move_it(p, "g", "g/e/y", ALWAYS, "BAD_REQUEST");
	place_folder(p, "full");
	place_put(p, "full/f", "");
	move_it(p, "g", "full", ALWAYS, "NOT_EMPTY");
	/* The link itself. */
	place_link(p, "x", "link");
	move_it(p, "link", "link2", NEVER, NULL);
	assert_true(S_ISLNK(place_stat(p, "link2").st_mode));
}

static void two_names_of_one_file_become_one(void **state)
{
	struct place *p = *state;

	place_put(p, "f", "f");
	assert_int_equal(linkat(p->fd, "f", p->fd, "g", 0), 0);
	move_it(p, "f", "g", ALWAYS, NULL);
	assert_false(place_has(p, "f"));
	assert_string_equal(place_text(p, "g"), "f");
	assert_int_equal(linkat(p->fd, "g", p->fd, "h", 0), 0);
	move_it(p, "g", "g", ALWAYS, NULL);
	assert_true(place_has(p, "g"));
}

static void what_cannot_be_moved_is_said(void **state)
{
	struct place *p = *state;
	char name[300];

	move_it(p, "none", "x", ALWAYS, "NO_SUCH_FILE");
	place_put(p, "f", "");
	move_it(p, "f", "none/x", ALWAYS, "NO_SUCH_FILE");
	move_it(p, "f", "f/x", ALWAYS, "NOT_A_FOLDER");
	move_it(p, "f", "../x", ALWAYS, "BAD_REQUEST");
	move_it(p, "f", "x", (Telex__V1__Replace)9, "BAD_REQUEST");
	memset(name, 'n', 299);
	name[299] = '\0';
	move_it(p, "f", name, ALWAYS, "NAME_TOO_LONG");
	place_link(p, "loop", "loop");
	move_it(p, "loop/x", "y", ALWAYS, "LINK_LOOP");
	place_link(p, "/etc", "out");
	move_it(p, "out/passwd", "x", ALWAYS, "OUTSIDE_ROOT");
	move_it(p, "f", "out/telex-never-there", ALWAYS, "OUTSIDE_ROOT");
	assert_true(place_has(p, "f"));
}

static int nobody_moves(struct place *p)
{
	if (run(p, "f", "g", ALWAYS) != RPC_PERMISSION_DENIED)
		return 1;
	return run(p, "open/f", "f2", ALWAYS) == RPC_PERMISSION_DENIED ? 0 : 2;
}

static void who_may_not_is_told(void **state)
{
	struct place *p = *state;

	if (!place_root("be another user"))
		skip();
	place_put(p, "f", "");
	place_folder(p, "open");
	assert_int_equal(fchmodat(p->fd, "open", 0777, 0), 0);
	place_put(p, "open/f", "");
	assert_int_equal(place_as_nobody(p, nobody_moves), 0);
}

/* A role that may write in both, and read only in one, reads nothing of the other by moving it. */
static void a_new_name_gives_no_more_rights(void **state)
{
	struct place *p = *state;
	char in[700], pub[700], top[700];
	const char *write[] = {in, pub, top, NULL}, *read[] = {pub, NULL};

	place_folder(p, "in");
	place_put(p, "in/f", "secret");
	place_folder(p, "in/d");
	place_folder(p, "pub");
	place_put(p, "pub/g", "public");
	place_folder(p, "one");
	place_put(p, "one/f", "");
	snprintf(in, sizeof(in), "%s/in/**", p->folder);
	snprintf(pub, sizeof(pub), "%s/pub/**", p->folder);
	snprintf(top, sizeof(top), "%s/*", p->folder);
	memory_call_free(p->call);
	p->call = memory_call_new(read, write);
	move_it(p, "in/f", "pub/f", ALWAYS, "OUTSIDE_ROOT");
	move_it(p, "in/d", "pub/d", ALWAYS, "OUTSIDE_ROOT");
	move_it(p, "pub/g", "in/f", EXCHANGE, "OUTSIDE_ROOT");
	move_it(p, "in/f", "in/f2", ALWAYS, NULL);
	move_it(p, "in/d", "in/d2", ALWAYS, NULL);
	move_it(p, "pub/g", "in/g", ALWAYS, NULL);
	/* A folder whose inside may not be written stays out of where it might. */
	move_it(p, "one", "in/one", ALWAYS, "OUTSIDE_ROOT");
	assert_true(place_has(p, "one/f"));
	assert_string_equal(place_text(p, "in/f2"), "secret");
}

/* ---- to another file system ---- */

static void files_go_across(void **state)
{
	const struct timespec ts[2] = {{1000, 0}, {2000, 7}};
	struct place *p = *state;
	struct stat st;

	if (!place_mount(p, "size=4m"))
		skip();
	place_put(p, "f", "content");
	assert_int_equal(fchownat(p->fd, "f", 1234, 4321, 0), 0);
	assert_int_equal(fchmodat(p->fd, "f", 04710, 0), 0);
	assert_int_equal(utimensat(p->fd, "f", ts, 0), 0);
	assert_true(move_it(p, "f", "mount/f", NEVER, NULL));
	assert_false(place_has(p, "f"));
	assert_string_equal(place_text(p, "mount/f"), "content");
	st = place_stat(p, "mount/f");
	assert_int_equal(st.st_mode, S_IFREG | 04710);
	assert_int_equal(st.st_uid, 1234);
	assert_int_equal(st.st_mtim.tv_nsec, 7);
	assert_string_equal(memory_call_summary(p->call), "files=1 bytes=7");
	place_put(p, "f", "other");
	move_it(p, "f", "mount/f", NEVER, "FILE_EXISTS");
	move_it(p, "f", "mount/f", EXCHANGE, "CROSS_DEVICE");
	assert_string_equal(place_text(p, "f"), "other");
	assert_true(move_it(p, "f", "mount/f", ALWAYS, NULL));
	assert_string_equal(place_text(p, "mount/f"), "other");
	place_link(p, "nowhere", "link");
	assert_true(move_it(p, "link", "mount/link", ALWAYS, NULL));
	assert_true(S_ISLNK(place_stat(p, "mount/link").st_mode));
	assert_int_equal(mkfifoat(p->fd, "fifo", 0600), 0);
	assert_true(move_it(p, "fifo", "mount/fifo", ALWAYS, NULL));
	assert_int_equal(place_count(p, "mount"), 3);
	assert_int_equal(place_count(p, ""), 1);
}

static void make_tree(struct place *p)
{
	place_folder(p, "t");
	place_folder(p, "t/a");
	place_put(p, "t/a/f", "one");
	assert_int_equal(linkat(p->fd, "t/a/f", p->fd, "t/g", 0), 0);
	place_link(p, "a/f", "t/link");
	place_folder(p, "t/empty");
	assert_int_equal(fchmodat(p->fd, "t", 0710, 0), 0);
}

static void trees_go_across(void **state)
{
	struct place *p = *state;

	if (!place_mount(p, "size=4m"))
		skip();
	make_tree(p);
	assert_true(move_it(p, "t", "mount/u", NEVER, NULL));
	assert_false(place_has(p, "t"));
	assert_string_equal(place_text(p, "mount/u/a/f"), "one");
	assert_int_equal(place_stat(p, "mount/u/a/f").st_ino, place_stat(p, "mount/u/g").st_ino);
	assert_int_equal(place_stat(p, "mount/u").st_mode, S_IFDIR | 0710);
	assert_true(place_has(p, "mount/u/empty"));
	assert_int_equal(place_count(p, "mount"), 1);
	/* In the place of an empty folder, and of no other. */
	make_tree(p);
	move_it(p, "t", "mount/u", ALWAYS, "NOT_EMPTY");
	move_it(p, "t", "mount/u", NEVER, "FILE_EXISTS");
	place_put(p, "mount/file", "");
	move_it(p, "t", "mount/file", ALWAYS, "NOT_A_FOLDER");
	place_folder(p, "mount/e");
	assert_true(move_it(p, "t", "mount/e", ALWAYS, NULL));
	assert_true(place_has(p, "mount/e/a/f"));
	place_put(p, "file", "");
	move_it(p, "file", "mount/e", ALWAYS, "IS_A_FOLDER");
	assert_int_equal(place_count(p, "mount"), 3);
}

/* What somebody else does when the copy is whole, and is about to get its place. */
static void (*meanwhile)(struct place *p);
static struct place *meanwhile_place;

/* In libc's stead. */
int syncfs(int fd)
{
	void (*act)(struct place *) = meanwhile;

	meanwhile = NULL;
	if (act != NULL)
		act(meanwhile_place);
	return (int)syscall(SYS_syncfs, fd);
}

static void go_on_writing(struct place *p)
{
	int fd = openat(p->fd, "t/log", O_WRONLY | O_APPEND);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, "more", 4), 4);
	close(fd);
	place_put(p, "t/a/new", "came since");
	place_folder(p, "t/a/new folder");
}

static void what_came_since_is_not_removed(void **state)
{
	struct place *p = *state;

	if (!place_mount(p, "size=4m"))
		skip();
	make_tree(p);
	place_put(p, "t/log", "first ");
	meanwhile = go_on_writing;
	meanwhile_place = p;
	move_it(p, "t", "mount/u", NEVER, "CHANGED");
	assert_null(meanwhile);
	/* The copy is as it was; what is newer is where it was written. */
	assert_string_equal(place_text(p, "mount/u/log"), "first ");
	assert_string_equal(place_text(p, "t/log"), "first more");
	assert_string_equal(place_text(p, "t/a/new"), "came since");
	assert_true(place_has(p, "t/a/new folder"));
	/* The rest went, names of one file too. */
	assert_false(place_has(p, "t/a/f"));
	assert_false(place_has(p, "t/g"));
	assert_false(place_has(p, "t/empty"));
	assert_string_equal(place_text(p, "mount/u/g"), "one");
}

static void take_its_name(struct place *p)
{
	assert_int_equal(renameat(p->fd, "t", p->fd, "aside"), 0);
	place_folder(p, "t");
	place_put(p, "t/f", "another");
}

static void another_folder_of_that_name_stays(void **state)
{
	struct place *p = *state;

	if (!place_mount(p, "size=4m"))
		skip();
	make_tree(p);
	meanwhile = take_its_name;
	meanwhile_place = p;
	move_it(p, "t", "mount/u", NEVER, "CHANGED");
	assert_string_equal(place_text(p, "t/f"), "another");
	assert_string_equal(place_text(p, "aside/g"), "one");
	assert_string_equal(place_text(p, "mount/u/g"), "one");
}

static void what_does_not_fit_stays_where_it_is(void **state)
{
	struct place *p = *state;
	char page[4096];
	int fd;

	if (!place_mount(p, "size=256k"))
		skip();
	make_tree(p);
	fd = openat(p->fd, "t/big", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	memset(page, 'x', sizeof(page));
	for (int i = 0; i < 100; i++)
		assert_int_equal(write(fd, page, sizeof(page)), sizeof(page));
	close(fd);
	place_put(p, "mount/f", "old");
	move_it(p, "t/big", "mount/f", ALWAYS, "DISK_FULL");
	assert_string_equal(place_text(p, "mount/f"), "old");
	move_it(p, "t", "mount/t", ALWAYS, "DISK_FULL");
	assert_int_equal(place_count(p, "mount"), 1);
	assert_int_equal(place_stat(p, "t/big").st_size, 100 * 4096);
	assert_int_equal(place_count(p, "t"), 5);
	assert_string_equal(place_text(p, "t/a/f"), "one");
}

static void a_mount_in_a_tree_keeps_it_where_it_is(void **state)
{
	struct place *p = *state;

	if (!place_mount(p, "size=1m"))
		skip();
	make_tree(p);
	place_folder(p, "mount/precious");
	place_put(p, "mount/precious/f", "");
	assert_int_equal(
	    mount(place_path(p, "mount/precious"), place_path(p, "t/empty"), "", MS_BIND, NULL), 0);
	move_it(p, "t", "mount/t", ALWAYS, "BUSY");
	assert_int_equal(umount2(place_path(p, "t/empty"), MNT_DETACH), 0);
	assert_true(place_has(p, "mount/precious/f"));
	assert_true(place_has(p, "t/a/f"));
	assert_int_equal(place_count(p, "mount"), 1);
}

static int nobody_moves_across(struct place *p)
{
	const struct rpc_status *s = memory_call_status(p->call);

	/* One file of it cannot be read: nothing is moved. */
	if (run(p, "open/t", "mount/t", ALWAYS) != RPC_PERMISSION_DENIED)
		return 1;
	if (strcmp(rpc_status_get(s, "failed"), "1") != 0)
		return 2;
	return 0;
}

static void nothing_is_moved_in_part(void **state)
{
	struct place *p = *state;

	if (!place_mount(p, "size=1m,mode=777"))
		skip();
	place_folder(p, "open");
	place_folder(p, "open/t");
	place_put(p, "open/t/f", "");
	place_put(p, "open/t/secret", "");
	assert_int_equal(fchmodat(p->fd, "open", 0777, 0), 0);
	assert_int_equal(fchmodat(p->fd, "open/t", 0777, 0), 0);
	assert_int_equal(fchmodat(p->fd, "open/t/secret", 0600, 0), 0);
	assert_int_equal(place_as_nobody(p, nobody_moves_across), 0);
	assert_int_equal(place_count(p, "mount"), 0);
	assert_int_equal(place_count(p, "open/t"), 2);
}

static void a_worker_that_is_gone_leaves_the_source(void **state)
{
	struct place *p = *state;

	if (!place_mount(p, "size=1m"))
		skip();
	make_tree(p);
	for (unsigned long n = 1; n < 8; n++) {
		memory_call_gone_at(p->call, n);
		(void)run(p, "t", "mount/t", ALWAYS);
		if (place_has(p, "mount/t"))
			break;
		assert_string_equal(place_text(p, "t/a/f"), "one");
		assert_int_equal(place_count(p, "t"), 4);
		assert_int_equal(place_count(p, "mount"), 0);
	}
	/* At the latest then one of them is whole. */
	assert_true(place_has(p, "mount/t/a/f") || place_has(p, "t/a/f"));
}

static void what_was_left_over_is_reaped(void **state)
{
	static const char old[] = "mount/.telex-0123456789abcdef0123456789abcdef.part";
	static const char young[] = "mount/.telex-00000000000000000000000000000001.part";
	static const char busy[] = "mount/.telex-00000000000000000000000000000002.part";
	const struct timespec ts[2] = {{1000, 0}, {1000, 0}};
	struct place *p = *state;
	int fd;

	if (!place_mount(p, "size=1m"))
		skip();
	make_tree(p);
	place_folder(p, old);
	place_folder(p, "mount/.telex-0123456789abcdef0123456789abcdef.part/sub");
	place_folder(p, young);
	place_folder(p, busy);
	assert_int_equal(utimensat(p->fd, old, ts, 0), 0);
	assert_int_equal(utimensat(p->fd, busy, ts, 0), 0);
	fd = openat(p->fd, busy, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	assert_int_equal(flock(fd, LOCK_EX), 0);
	move_it(p, "t", "mount/t", ALWAYS, NULL);
	close(fd);
	assert_true(place_has(p, "mount/t/a/f"));
	assert_false(place_has(p, old));
	assert_true(place_has(p, young));
	assert_true(place_has(p, busy));
}

#define in_place(f) cmocka_unit_test_setup_teardown(f, place_make, place_remove)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    in_place(names_change),
	    in_place(two_names_of_one_file_become_one),
	    in_place(what_cannot_be_moved_is_said),
	    in_place(who_may_not_is_told),
	    in_place(a_new_name_gives_no_more_rights),
	    in_place(files_go_across),
	    in_place(trees_go_across),
	    in_place(what_came_since_is_not_removed),
	    in_place(another_folder_of_that_name_stays),
	    in_place(what_does_not_fit_stays_where_it_is),
	    in_place(a_mount_in_a_tree_keeps_it_where_it_is),
	    in_place(nothing_is_moved_in_part),
	    in_place(a_worker_that_is_gone_leaves_the_source),
	    in_place(what_was_left_over_is_reaped),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
