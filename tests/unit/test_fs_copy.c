/* SPDX-License-Identifier: Apache-2.0 */
/* Copy. */
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
#include <sys/mount.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "telex/v1/file.pb-c.h"
#include "tests/support/files_place.h"

#define MB    ((off_t)1 << 20)
#define NEVER TELEX__V1__REPLACE__REPLACE_NEVER

struct how {
	bool recursive, preserve, follow, attributes, links;
	Telex__V1__Replace replace;
};

#define copy_it(p, from, to, reason, ...) copy_as(p, from, to, (struct how){__VA_ARGS__}, reason)

static int run(struct place *p, const char *from, const char *to, struct how how)
{
	Telex__V1__CopyRequest r = TELEX__V1__COPY_REQUEST__INIT;

	r.source = place_bytes(p, from);
	r.target = place_bytes(p, to);
	r.recursive = how.recursive;
	r.preserve = how.preserve;
	r.follow = how.follow;
	r.preserve_attributes = how.attributes;
	r.preserve_links = how.links;
	r.replace = how.replace;
	return memory_call_run(p->call, "Copy", &r.base);
}

/* The response; NULL where it was to fail. */
static const Telex__V1__CopyResponse *copy_as(
    struct place *p, const char *from, const char *to, struct how how, const char *reason)
{
	const struct rpc_status *s = memory_call_status(p->call);
	int code = run(p, from, to, how);

	if (reason == NULL && code != RPC_OK)
		fail_msg("%s to %s: %s", from, to, s->message);
	if (reason != NULL && (code == RPC_OK || strcmp(s->reason, reason) != 0))
		fail_msg(
		    "%s to %s: %s (%s) instead of %s", from, to, s->reason, s->message, reason);
	return reason != NULL ? NULL : place_response(p, &telex__v1__copy_response__descriptor);
}

static void what_is_replaced_keeps_its_mode(void **state)
{
	struct place *p = *state;
	struct stat st;

	place_put(p, "f", "content");
	place_put(p, "old", "old");
	assert_int_equal(fchmodat(p->fd, "f", 0755, 0), 0);
	if (geteuid() == 0)
		assert_int_equal(fchownat(p->fd, "old", 1234, 4321, 0), 0);
	assert_int_equal(fchmodat(p->fd, "old", 04601, 0), 0);
	copy_it(p, "f", "old", NULL, 0);
	st = place_stat(p, "old");
	assert_int_equal(st.st_size, 7);
	assert_int_equal(st.st_mode, S_IFREG | 0601);
	assert_int_equal(st.st_uid, geteuid() == 0 ? 1234 : geteuid());
	assert_int_equal(st.st_gid, geteuid() == 0 ? 4321 : getegid());
}

static void links_alone_are_kept(void **state)
{
	const struct timespec ts[2] = {{.tv_sec = 1111}, {.tv_sec = 2222}};
	struct place *p = *state;
	struct stat st;

	place_folder(p, "t");
	place_put(p, "t/a", "content");
	assert_int_equal(linkat(p->fd, "t/a", p->fd, "t/b", 0), 0);
	assert_int_equal(utimensat(p->fd, "t/a", ts, 0), 0);
	copy_it(p, "t", "u", NULL, .recursive = true, .links = true);
	st = place_stat(p, "u/a");
	assert_int_equal(st.st_nlink, 2);
	assert_true(st.st_mtim.tv_sec > 2222);
	copy_it(p, "t", "v", NULL, .recursive = true, .attributes = true);
	st = place_stat(p, "v/a");
	assert_int_equal(st.st_nlink, 1);
	assert_int_equal(st.st_mtim.tv_sec, 2222);
}

static void files_are_copied(void **state)
{
	struct place *p = *state;
	const Telex__V1__CopyResponse *r;

	place_put(p, "f", "content");
	assert_int_equal(fchmodat(p->fd, "f", 04777, 0), 0);
	r = copy_it(p, "f", "g", NULL, 0);
	assert_int_equal(r->files, 1);
	assert_int_equal(r->bytes, 7);
	assert_string_equal(place_text(p, "g"), "content");
	assert_int_equal(place_stat(p, "g").st_mode, S_IFREG | 0755);
	place_put(p, "empty", "");
	assert_int_equal(copy_it(p, "empty", "g", NULL, 0)->bytes, 0);
	assert_string_equal(place_text(p, "g"), "");
	copy_it(p, "f", "g", "FILE_EXISTS", .replace = NEVER);
	assert_string_equal(place_text(p, "g"), "");
	copy_it(p, "f", "h", NULL, .replace = NEVER);
	copy_it(p, "f", "i", "BAD_REQUEST", .replace = TELEX__V1__REPLACE__REPLACE_EXCHANGE);
	copy_it(p, "f", "f", "BAD_REQUEST", 0);
	assert_string_equal(place_text(p, "f"), "content");
	assert_int_equal(place_count(p, ""), 4);
	assert_string_equal(memory_call_summary(p->call), "");
}

static void links_and_what_they_lead_to(void **state)
{
	struct place *p = *state;

	place_put(p, "f", "content");
	place_link(p, "f", "link");
	copy_it(p, "link", "copy", NULL, 0);
	assert_true(S_ISLNK(place_stat(p, "copy").st_mode));
	copy_it(p, "link", "copy", NULL, .follow = true);
	assert_string_equal(place_text(p, "copy"), "content");
	/* What a link in the target's place leads to stays. */
	place_put(p, "other", "other");
	place_link(p, "other", "target");
	copy_it(p, "f", "target", NULL, 0);
	assert_string_equal(place_text(p, "other"), "other");
	assert_string_equal(place_text(p, "target"), "content");
	place_link(p, "/etc/passwd", "out");
	copy_it(p, "out", "x", "OUTSIDE_ROOT", .follow = true);
	place_link(p, "none", "dangling");
	copy_it(p, "dangling", "x", "NO_SUCH_FILE", .follow = true);
	copy_it(p, "dangling", "y", NULL, 0);
}

static void attributes_are_kept_where_told(void **state)
{
	const struct timespec ts[2] = {{1111, 1}, {2222, 999999999}};
	struct place *p = *state;
	struct stat st;
	char value[16];
	bool xattrs;

	place_put(p, "f", "content");
	assert_int_equal(fchmodat(p->fd, "f", 0640, 0), 0);
	xattrs = setxattr(place_path(p, "f"), "user.telex", "value", 5, 0) == 0;
	if (geteuid() == 0)
		assert_int_equal(fchownat(p->fd, "f", 1234, 4321, 0), 0);
	assert_int_equal(fchmodat(p->fd, "f", 06750, 0), 0);
	assert_int_equal(utimensat(p->fd, "f", ts, 0), 0);
	copy_it(p, "f", "g", NULL, .preserve = true);
	st = place_stat(p, "g");
	assert_int_equal(st.st_mode, S_IFREG | 06750);
	assert_int_equal(st.st_mtim.tv_sec, 2222);
	assert_int_equal(st.st_mtim.tv_nsec, 999999999);
	assert_int_equal(st.st_atim.tv_sec, 1111);
	if (geteuid() == 0) {
		assert_int_equal(st.st_uid, 1234);
		assert_int_equal(st.st_gid, 4321);
	}
	if (xattrs)
		assert_int_equal(
		    getxattr(place_path(p, "g"), "user.telex", value, sizeof(value)), 5);
	/* Without what is of the content alone. */
	copy_it(p, "f", "a", NULL, .attributes = true);
	st = place_stat(p, "a");
	assert_int_equal(st.st_mode, S_IFREG | 06750);
	assert_int_equal(st.st_mtim.tv_sec, 2222);
	assert_true(getxattr(place_path(p, "a"), "user.telex", value, sizeof(value)) < 0);
	copy_it(p, "f", "h", NULL, 0);
	st = place_stat(p, "h");
	assert_int_equal(st.st_uid, geteuid());
	assert_true(st.st_mtim.tv_sec > 2222);
	assert_true(getxattr(place_path(p, "h"), "user.telex", value, sizeof(value)) < 0);
}

static void holes_stay_holes(void **state)
{
	struct place *p = *state;
	int fd = openat(p->fd, "f", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	const Telex__V1__CopyResponse *r;
	struct stat st, copy;

	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, "begin", 5, 0), 5);
	assert_int_equal(pwrite(fd, "middle", 6, 40 * MB), 6);
	assert_int_equal(ftruncate(fd, 100 * MB), 0);
	close(fd);
	st = place_stat(p, "f");
	r = copy_it(p, "f", "g", NULL, 0);
	assert_int_equal(r->bytes, 100 * MB);
	copy = place_stat(p, "g");
	assert_int_equal(copy.st_size, st.st_size);
	if (st.st_blocks < 1000)
		assert_true(copy.st_blocks < 1000);
	fd = openat(p->fd, "g", O_RDONLY | O_CLOEXEC);
	assert_int_equal(lseek(fd, 10 * MB, SEEK_DATA) >= 0, 1);
	close(fd);
	/* Nothing but a hole. */
	assert_int_equal(truncate(place_path(p, "f"), 0), 0);
	assert_int_equal(truncate(place_path(p, "f"), 10 * MB), 0);
	copy_it(p, "f", "g", NULL, 0);
	assert_int_equal(place_stat(p, "g").st_size, 10 * MB);
}

/* ---- trees ---- */

static void make_tree(struct place *p)
{
	const struct timespec ts[2] = {{1000, 0}, {2000, 7}};

	place_folder(p, "t");
	place_folder(p, "t/a");
	place_folder(p, "t/a/empty");
	place_put(p, "t/a/f", "one");
	place_put(p, "t/g", "two");
	place_link(p, "../g", "t/a/link");
	place_link(p, "nowhere", "t/dangling");
	assert_int_equal(linkat(p->fd, "t/g", p->fd, "t/a/hard", 0), 0);
	assert_int_equal(mkfifoat(p->fd, "t/fifo", 0620), 0);
	assert_int_equal(fchmodat(p->fd, "t/fifo", 0622, 0), 0);
	assert_int_equal(fchmodat(p->fd, "t/a", 0500, 0), 0);
	assert_int_equal(utimensat(p->fd, "t/a/link", ts, AT_SYMLINK_NOFOLLOW), 0);
	assert_int_equal(utimensat(p->fd, "t/a", ts, 0), 0);
	assert_int_equal(utimensat(p->fd, "t", ts, 0), 0);
}

static void trees_are_copied(void **state)
{
	struct place *p = *state;
	const Telex__V1__CopyResponse *r;

	make_tree(p);
	copy_it(p, "t", "u", "IS_A_FOLDER", 0);
	assert_false(place_has(p, "u"));
	r = copy_it(p, "t", "u", NULL, .recursive = true, .preserve = true);
	assert_int_equal(r->files, 6);
	assert_string_equal(place_text(p, "u/a/f"), "one");
	assert_string_equal(place_text(p, "u/a/hard"), "two");
	assert_true(place_has(p, "u/a/empty"));
	assert_int_equal(place_stat(p, "u/a/hard").st_ino, place_stat(p, "u/g").st_ino);
	assert_int_not_equal(place_stat(p, "u/g").st_ino, place_stat(p, "t/g").st_ino);
	assert_int_equal(place_stat(p, "u/a").st_mode, S_IFDIR | 0500);
	assert_int_equal(place_stat(p, "u/a").st_mtim.tv_sec, 2000);
	assert_int_equal(place_stat(p, "u").st_mtim.tv_nsec, 7);
	assert_int_equal(place_stat(p, "u/a/link").st_mtim.tv_sec, 2000);
	assert_int_equal(place_stat(p, "u/fifo").st_mode, S_IFIFO | 0622);
	assert_true(S_ISLNK(place_stat(p, "u/dangling").st_mode));
	/* Without: links are files of their own, and modes are less the umask. */
	copy_it(p, "t", "v", NULL, .recursive = true);
	assert_int_equal(place_stat(p, "v/g").st_nlink, 1);
	assert_int_equal(place_stat(p, "v/fifo").st_mode, S_IFIFO | 0600);
	assert_int_equal(place_stat(p, "v/a").st_mode, S_IFDIR | 0500);
	assert_int_equal(fchmodat(p->fd, "t/a", 0700, 0), 0);
	assert_int_equal(fchmodat(p->fd, "u/a", 0700, 0), 0);
	assert_int_equal(fchmodat(p->fd, "v/a", 0700, 0), 0);
}

static void trees_are_merged(void **state)
{
	struct place *p = *state;

	place_folder(p, "t");
	place_put(p, "t/f", "new");
	place_put(p, "t/g", "new");
	place_put(p, "t/is-folder", "new");
	place_folder(p, "t/is-file");
	place_put(p, "t/is-file/x", "");
	place_folder(p, "u");
	assert_int_equal(fchmodat(p->fd, "u", 0711, 0), 0);
	place_put(p, "u/f", "old");
	place_put(p, "u/stays", "old");
	place_folder(p, "u/is-folder");
	place_put(p, "u/is-file", "old");
	copy_it(p, "t", "u", "FILE_EXISTS", .recursive = true, .replace = NEVER);
	assert_int_equal(
	    run(p, "t", "u", (struct how){.recursive = true}), RPC_FAILED_PRECONDITION);
	assert_string_equal(rpc_status_get(memory_call_status(p->call), "failed"), "2");
	assert_string_equal(rpc_status_get(memory_call_status(p->call), "copied"), "2");
	assert_string_equal(place_text(p, "u/f"), "new");
	assert_string_equal(place_text(p, "u/g"), "new");
	assert_string_equal(place_text(p, "u/stays"), "old");
	assert_string_equal(place_text(p, "u/is-file"), "old");
	assert_true(S_ISDIR(place_stat(p, "u/is-folder").st_mode));
	assert_int_equal(place_stat(p, "u").st_mode, S_IFDIR | 0711);
	assert_int_equal(place_count(p, "u"), 5);
	place_put(p, "file", "");
	copy_it(p, "t", "file", "NOT_A_FOLDER", .recursive = true);
	copy_it(p, "file", "u", "IS_A_FOLDER", .recursive = true);
	place_link(p, "u", "link");
	copy_it(p, "t", "link", "NOT_A_FOLDER", .recursive = true);
}

static void nothing_is_copied_into_itself(void **state)
{
	struct place *p = *state;

	make_tree(p);
	assert_int_equal(fchmodat(p->fd, "t/a", 0700, 0), 0);
	copy_it(p, "t", "t/a/new", "BAD_REQUEST", .recursive = true);
	copy_it(p, "t", "t/new", "BAD_REQUEST", .recursive = true);
	copy_it(p, "t", "t", "BAD_REQUEST", .recursive = true);
	place_link(p, "t/a", "way");
	copy_it(p, "t", "way/new", "BAD_REQUEST", .recursive = true);
	assert_false(place_has(p, "t/a/new"));
	/* A name that only begins like it is another one. */
	copy_it(p, "t", "t2", NULL, .recursive = true);
	if (!place_root("mount"))
		skip();
	/* By a way that names do not tell. */
	place_folder(p, "bound");
	if (mount(place_path(p, "t"), place_path(p, "bound"), "", MS_BIND, NULL) != 0) {
		print_message("# no mounts here\n");
		skip();
	}
	assert_int_not_equal(run(p, "t", "bound/new", (struct how){.recursive = true}), RPC_OK);
	assert_true(place_has(p, "t/new/a/f"));
	assert_false(place_has(p, "t/new/new"));
	assert_int_equal(umount2(place_path(p, "bound"), MNT_DETACH), 0);
}

static void links_in_trees_are_followed_where_told(void **state)
{
	struct place *p = *state;

	place_folder(p, "t");
	place_folder(p, "t/d");
	place_put(p, "t/d/f", "one");
	place_folder(p, "other");
	place_put(p, "other/g", "two");
	assert_int_equal(linkat(p->fd, "other/g", p->fd, "other/h", 0), 0);
	place_link(p, "../other", "t/folder");
	place_link(p, "d/f", "t/file");
	assert_int_equal(
	    copy_it(p, "t", "u", NULL, .recursive = true, .follow = true, .preserve = true)->files,
	    4);
	assert_true(S_ISDIR(place_stat(p, "u/folder").st_mode));
	assert_string_equal(place_text(p, "u/folder/g"), "two");
	assert_int_equal(place_stat(p, "u/folder/g").st_ino, place_stat(p, "u/folder/h").st_ino);
	assert_string_equal(place_text(p, "u/file"), "one");
	/* Circles end, and ways out. */
	place_link(p, "..", "t/d/up");
	place_link(p, "../t", "other/back");
	place_link(p, "/etc", "t/out");
	place_link(p, "none", "t/dangling");
	assert_int_not_equal(
	    run(p, "t", "v", (struct how){.recursive = true, .follow = true}), RPC_OK);
	assert_string_equal(rpc_status_get(memory_call_status(p->call), "failed"), "4");
	assert_string_equal(place_text(p, "v/folder/g"), "two");
	assert_false(place_has(p, "v/out"));
	assert_false(place_has(p, "v/d/up"));
	assert_false(place_has(p, "v/folder/back"));
}

static void deep_trees_are_copied(void **state)
{
	const int n = getenv("TELEX_TEST_SLOW") != NULL ? 60 : 1500;
	struct place *p = *state;
	Telex__V1__FileServiceRemoveRequest r = TELEX__V1__FILE_SERVICE_REMOVE_REQUEST__INIT;
	int fd, next, depth = 0;

	place_folder(p, "t");
	fd = openat(p->fd, "t", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	for (int i = 0; i < n; i++) {
		assert_int_equal(mkdirat(fd, "d", 0750), 0);
		next = openat(fd, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		close(fd);
		fd = next;
	}
	assert_int_equal(symlinkat("end", fd, "link"), 0);
	close(fd);
	copy_it(p, "t", "u", NULL, .recursive = true, .preserve = true);
	fd = openat(p->fd, "u", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	while ((next = openat(fd, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC)) >= 0) {
		close(fd);
		fd = next;
		depth++;
	}
	assert_int_equal(depth, n);
	assert_int_equal(faccessat(fd, "link", F_OK, AT_SYMLINK_NOFOLLOW), 0);
	close(fd);
	r.recursive = true;
	r.path = place_bytes(p, "t");
	place_expect(p, "Remove", &r.base, NULL);
	r.path = place_bytes(p, "u");
	place_expect(p, "Remove", &r.base, NULL);
}

/* ---- what fails ---- */

static void what_cannot_be_copied_is_said(void **state)
{
	struct place *p = *state;
	char name[300];

	copy_it(p, "none", "x", "NO_SUCH_FILE", 0);
	place_put(p, "f", "");
	copy_it(p, "f", "none/x", "NO_SUCH_FILE", 0);
	copy_it(p, "f", "f/x", "NOT_A_FOLDER", 0);
	copy_it(p, "f", "../x", "BAD_REQUEST", 0);
	memset(name, 'n', 299);
	name[299] = '\0';
	copy_it(p, "f", name, "NAME_TOO_LONG", 0);
	assert_int_equal(mkfifoat(p->fd, "fifo", 0600), 0);
	copy_it(p, "fifo", "x", "NOT_SUPPORTED", 0);
	copy_it(p, "f", "fifo", "FILE_EXISTS", 0);
	place_link(p, "loop", "loop");
	copy_it(p, "loop", "x", "LINK_LOOP", .follow = true);
	copy_it(p, "f", "loop/x", "LINK_LOOP", 0);
	place_link(p, "/etc", "out");
	copy_it(p, "out/passwd", "x", "OUTSIDE_ROOT", 0);
	copy_it(p, "f", "out/telex-never-there", "OUTSIDE_ROOT", 0);
	assert_int_equal(place_count(p, ""), 4);
}

static int nobody_copies(struct place *p)
{
	const struct rpc_status *s = memory_call_status(p->call);

	if (run(p, "t", "open/u", (struct how){.recursive = true, .preserve = true}) !=
	    RPC_PERMISSION_DENIED)
		return 1;
	if (strcmp(rpc_status_get(s, "failed"), "2") != 0)
		return 2;
	if (strcmp(rpc_status_get(s, "copied"), "1") != 0)
		return 3;
	return run(p, "t/f", "t/x", (struct how){0}) == RPC_PERMISSION_DENIED ? 0 : 4;
}

static void what_fails_does_not_stop_the_others(void **state)
{
	struct place *p = *state;

	if (!place_root("be another user"))
		skip();
	place_folder(p, "t");
	place_put(p, "t/f", "");
	place_put(p, "t/secret", "");
	place_folder(p, "t/dark");
	place_put(p, "t/dark/f", "");
	assert_int_equal(fchmodat(p->fd, "t/f", 04755, 0), 0);
	assert_int_equal(fchmodat(p->fd, "t/secret", 0600, 0), 0);
	assert_int_equal(fchmodat(p->fd, "t/dark", 0700, 0), 0);
	place_folder(p, "open");
	assert_int_equal(fchmodat(p->fd, "open", 0777, 0), 0);
	assert_int_equal(place_as_nobody(p, nobody_copies), 0);
	assert_true(place_has(p, "open/u/f"));
	/* Another user's set-user-ID is not kept. */
	assert_int_equal(place_stat(p, "open/u/f").st_mode, S_IFREG | 0755);
	assert_false(place_has(p, "open/u/secret"));
	assert_false(place_has(p, "open/u/dark"));
	assert_int_equal(place_count(p, "open/u"), 1);
}

static void full_disks_leave_the_old(void **state)
{
	struct place *p = *state;
	const struct rpc_status *s = memory_call_status(p->call);
	int fd;

	if (!place_mount(p, "size=1m"))
		skip();
	place_folder(p, "t");
	fd = openat(p->fd, "t/big", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	for (int i = 0; i < 40; i++)
		assert_int_equal(pwrite(fd, "x", 1, i * 65536), 1);
	for (int i = 0; i < 600; i++) {
		char page[4096];

		memset(page, i, sizeof(page));
		assert_int_equal(pwrite(fd, page, sizeof(page), i * 4096), sizeof(page));
	}
	close(fd);
	place_put(p, "mount/f", "old");
	copy_it(p, "t/big", "mount/f", "DISK_FULL", 0);
	assert_string_equal(place_text(p, "mount/f"), "old");
	assert_int_equal(place_count(p, "mount"), 1);
	/* It is the copy's disk that is full. */
	assert_non_null(strstr(s->message, "mount/f"));
	assert_true(strtoull(rpc_status_get(s, "available"), NULL, 10) < (2 << 20));
	place_put(p, "t/small", "");
	copy_it(p, "t", "mount/t", "DISK_FULL", .recursive = true);
	assert_false(place_has(p, "mount/t/big"));
	assert_int_equal(
	    mount("none", place_path(p, "mount"), "", MS_REMOUNT | MS_RDONLY, NULL), 0);
	copy_it(p, "t/small", "mount/s", "READ_ONLY", 0);
	copy_it(p, "t", "mount/u", "READ_ONLY", .recursive = true);
}

static void a_worker_that_is_gone_ends_it(void **state)
{
	struct place *p = *state;
	char name[32];

	place_folder(p, "t");
	for (int i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "t/%d", i);
		place_put(p, name, "content");
	}
	memory_call_gone_at(p->call, 20);
	(void)run(p, "t", "u", (struct how){.recursive = true});
	assert_int_equal(memory_call_count(p->call), 0);
	assert_true(place_count(p, "u") < 30);
	for (int i = 0; i < 100; i++) {
		snprintf(name, sizeof(name), "u/%d", i);
		if (place_has(p, name))
			assert_string_equal(place_text(p, name), "content");
	}
}

static void files_without_a_size_are_copied(void **state)
{
	struct place *p = *state;
	Telex__V1__CopyRequest r = TELEX__V1__COPY_REQUEST__INIT;
	const char *read[] = {"/proc/self/**", NULL}, *write[] = {p->pattern, NULL};

	memory_call_free(p->call);
	p->call = memory_call_new(read, write);
	r.source = bytes_of("/proc/self/stat");
	r.target = place_bytes(p, "stat");
	place_expect(p, "Copy", &r.base, NULL);
	assert_true(place_stat(p, "stat").st_size > 10);
}

#define in_place(f) cmocka_unit_test_setup_teardown(f, place_make, place_remove)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    in_place(files_are_copied),
	    in_place(what_is_replaced_keeps_its_mode),
	    in_place(links_alone_are_kept),
	    in_place(links_and_what_they_lead_to),
	    in_place(attributes_are_kept_where_told),
	    in_place(holes_stay_holes),
	    in_place(trees_are_copied),
	    in_place(trees_are_merged),
	    in_place(nothing_is_copied_into_itself),
	    in_place(links_in_trees_are_followed_where_told),
	    in_place(deep_trees_are_copied),
	    in_place(what_cannot_be_copied_is_said),
	    in_place(what_fails_does_not_stop_the_others),
	    in_place(full_disks_leave_the_old),
	    in_place(a_worker_that_is_gone_ends_it),
	    in_place(files_without_a_size_are_copied),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
