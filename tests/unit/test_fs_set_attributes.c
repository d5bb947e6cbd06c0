/* SPDX-License-Identifier: Apache-2.0 */
/* SetAttributes. */
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

#include "agent/files/names.h"
#include "telex/v1/file.pb-c.h"
#include "tests/support/files_place.h"

/* What a test asks for. */
struct wanted {
	const unsigned *mode;
	const char *change, *owner, *group;
	const Google__Protobuf__Timestamp *modified, *accessed;
	bool follow, recursive, login_group;
	const char *set, *value, *remove; /* an extended attribute */
};

#define change_it(p, name, reason, files, ...)                                                     \
	change_as(p, name, (struct wanted){__VA_ARGS__}, reason, files)

static int run(struct place *p, const char *name, struct wanted w)
{
	Telex__V1__SetAttributesRequest r = TELEX__V1__SET_ATTRIBUTES_REQUEST__INIT;
	Telex__V1__FileMode mode = TELEX__V1__FILE_MODE__INIT;
	Telex__V1__ExtendedAttribute x = TELEX__V1__EXTENDED_ATTRIBUTE__INIT, *xs = &x;
	ProtobufCBinaryData removed;

	r.path = place_bytes(p, name);
	r.follow = w.follow;
	r.recursive = w.recursive;
	r.login_group = w.login_group;
	if (w.mode != NULL) {
		mode.mode = *w.mode;
		r.mode = &mode;
	}
	if (w.change != NULL)
		r.mode_change = (char *)(uintptr_t)w.change;
	if (w.owner != NULL)
		r.owner = (char *)(uintptr_t)w.owner;
	if (w.group != NULL)
		r.group = (char *)(uintptr_t)w.group;
	r.modified = (Google__Protobuf__Timestamp *)(uintptr_t)w.modified;
	r.accessed = (Google__Protobuf__Timestamp *)(uintptr_t)w.accessed;
	if (w.set != NULL) {
		x.name = bytes_of(w.set);
		x.value = bytes_of(w.value);
		r.set_extended_attributes = &xs;
		r.n_set_extended_attributes = 1;
	}
	if (w.remove != NULL) {
		removed = bytes_of(w.remove);
		r.remove_extended_attributes = &removed;
		r.n_remove_extended_attributes = 1;
	}
	return memory_call_run(p->call, "SetAttributes", &r.base);
}

static void change_as(
    struct place *p, const char *name, struct wanted w, const char *reason, uint64_t files)
{
	const struct rpc_status *s = memory_call_status(p->call);
	const Telex__V1__SetAttributesResponse *response;
	int code = run(p, name, w);

	if (reason == NULL && code != RPC_OK)
		fail_msg("%s: %s", name, s->message);
	if (reason != NULL && (code == RPC_OK || strcmp(s->reason, reason) != 0))
		fail_msg("%s: %s (%s) instead of %s", name, s->reason, s->message, reason);
	if (reason != NULL)
		return;
	response = place_response(p, &telex__v1__set_attributes_response__descriptor);
	assert_int_equal(response->files, files);
}

static unsigned mode_of(const struct place *p, const char *name)
{
	return place_stat(p, name).st_mode & 07777;
}

static void modes_are_set(void **state)
{
	static const unsigned modes[] = {0, 0644, 04755, 02755, 01777, 07777};
	const unsigned too_many = 010000;
	struct place *p = *state;

	place_put(p, "f", "");
	place_folder(p, "d");
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		change_it(p, "f", NULL, 1, .mode = &modes[i]);
		assert_int_equal(mode_of(p, "f"), modes[i]);
		change_it(p, "d", NULL, 1, .mode = &modes[i]);
		assert_int_equal(mode_of(p, "d"), modes[i]);
	}
	change_it(p, "f", "BAD_REQUEST", 0, .mode = &too_many);
	change_it(p, "f", "BAD_REQUEST", 0, .mode = &modes[1], .change = "u+x");
	change_it(p, "f", NULL, 1, .mode = &modes[1]);
	change_it(p, "f", NULL, 1, .change = "u+x,go-r");
	assert_int_equal(mode_of(p, "f"), 0700);
	change_it(p, "f", "BAD_REQUEST", 0, .change = "u+y");
	change_it(p, "f", NULL, 1, .change = "0640");
	assert_int_equal(mode_of(p, "f"), 0640);
	change_it(p, "f", NULL, 1, 0);
}

static void links_are_changed_or_followed(void **state)
{
	const unsigned mode = 0600;
	const Google__Protobuf__Timestamp t = {
	    PROTOBUF_C_MESSAGE_INIT(&google__protobuf__timestamp__descriptor), 1000, 5};
	struct place *p = *state;
	struct stat before;

	place_put(p, "f", "");
	place_link(p, "f", "link");
	before = place_stat(p, "f");
	change_it(p, "link", "NOT_SUPPORTED", 0, .mode = &mode);
	assert_int_equal(mode_of(p, "f"), 0644);
	change_it(p, "link", NULL, 1, .modified = &t);
	assert_int_equal(place_stat(p, "link").st_mtim.tv_sec, 1000);
	assert_int_equal(place_stat(p, "f").st_mtim.tv_sec, before.st_mtim.tv_sec);
	change_it(p, "link", NULL, 1, .mode = &mode, .modified = &t, .follow = true);
	assert_int_equal(mode_of(p, "f"), 0600);
	assert_int_equal(place_stat(p, "f").st_mtim.tv_sec, 1000);
	place_link(p, "/etc/passwd", "out");
	change_it(p, "out", "OUTSIDE_ROOT", 0, .mode = &mode, .follow = true);
	place_link(p, "none", "dangling");
	change_it(p, "dangling", "NO_SUCH_FILE", 0, .mode = &mode, .follow = true);
	change_it(p, "dangling", NULL, 1, .modified = &t);
	place_link(p, "loop", "loop");
	change_it(p, "loop", "LINK_LOOP", 0, .mode = &mode, .follow = true);
}

static void times_are_set_to_the_nanosecond(void **state)
{
	Google__Protobuf__Timestamp t = {
	    PROTOBUF_C_MESSAGE_INIT(&google__protobuf__timestamp__descriptor), -77, 999999999};
	Google__Protobuf__Timestamp u = {
	    PROTOBUF_C_MESSAGE_INIT(&google__protobuf__timestamp__descriptor), 1234567890, 1};
	struct place *p = *state;
	struct stat st;

	place_put(p, "f", "");
	change_it(p, "f", NULL, 1, .modified = &t, .accessed = &u);
	st = place_stat(p, "f");
	assert_int_equal(st.st_mtim.tv_sec, -77);
	assert_int_equal(st.st_mtim.tv_nsec, 999999999);
	assert_int_equal(st.st_atim.tv_sec, 1234567890);
	assert_int_equal(st.st_atim.tv_nsec, 1);
	t.seconds = 5;
	change_it(p, "f", NULL, 1, .modified = &t);
	st = place_stat(p, "f");
	assert_int_equal(st.st_mtim.tv_sec, 5);
	assert_int_equal(st.st_atim.tv_sec, 1234567890);
	t.nanos = 1000000000;
	change_it(p, "f", "BAD_REQUEST", 0, .modified = &t);
	t.nanos = -1;
	change_it(p, "f", "BAD_REQUEST", 0, .accessed = &t);
}

static void owners_are_set_by_name_or_number(void **state)
{
	struct place *p = *state;

	place_put(p, "f", "");
	names_load();
	change_it(p, "f", "BAD_REQUEST", 0, .owner = "no-such-user-here");
	change_it(p, "f", "BAD_REQUEST", 0, .group = "no-such-group-here");
	change_it(p, "f", "BAD_REQUEST", 0, .owner = "4294967295");
	if (!place_root("give files away")) {
		names_free();
		skip();
	}
	change_it(p, "f", NULL, 1, .owner = "1234", .group = "4321");
	assert_int_equal(place_stat(p, "f").st_uid, 1234);
	assert_int_equal(place_stat(p, "f").st_gid, 4321);
	change_it(p, "f", NULL, 1, .owner = "root");
	assert_int_equal(place_stat(p, "f").st_uid, 0);
	assert_int_equal(place_stat(p, "f").st_gid, 4321);
	/* The login group is of a name alone. */
	change_it(p, "f", NULL, 1, .owner = "root", .login_group = true);
	assert_int_equal(place_stat(p, "f").st_gid, 0);
	change_it(p, "f", "BAD_REQUEST", 0, .owner = "0", .login_group = true);
	change_it(p, "f", "BAD_REQUEST", 0, .login_group = true);
	change_it(p, "f", "BAD_REQUEST", 0, .owner = "root", .group = "4321", .login_group = true);
	/* The mode is set after the owner, which takes set-user-ID away. */
	change_it(p, "f", NULL, 1, .owner = "1234", .change = "u+s");
	assert_int_equal(mode_of(p, "f"), 04644);
	/* Of a link itself. */
	place_link(p, "f", "link");
	change_it(p, "link", NULL, 1, .owner = "7");
	assert_int_equal(place_stat(p, "link").st_uid, 7);
	assert_int_equal(place_stat(p, "f").st_uid, 1234);
	names_free();
}

static void extended_attributes_are_set_and_removed(void **state)
{
	struct place *p = *state;
	char long_name[300], value[16];
	const unsigned mode = 0;

	place_put(p, "f", "");
	memset(long_name, 'n', 256);
	long_name[256] = '\0';
	change_it(p, "f", "BAD_REQUEST", 0, .set = "", .value = "v");
	change_it(p, "f", "BAD_REQUEST", 0, .set = long_name, .value = "v");
	change_it(p, "f", "BAD_REQUEST", 0, .remove = "");
	if (run(p, "f", (struct wanted){.set = "user.telex", .value = "v"}) != RPC_OK) {
		print_message(
		    "# no extended attributes here: %s\n", memory_call_status(p->call)->message);
		skip();
	}
	assert_int_equal(getxattr(place_path(p, "f"), "user.telex", value, sizeof(value)), 1);
	change_it(p, "f", NULL, 1, .set = "user.telex", .value = "longer");
	assert_int_equal(getxattr(place_path(p, "f"), "user.telex", value, sizeof(value)), 6);
	change_it(p, "f", NULL, 1, .remove = "user.telex");
	assert_true(getxattr(place_path(p, "f"), "user.telex", value, sizeof(value)) < 0);
	change_it(p, "f", NULL, 1, .remove = "user.telex");
	change_it(p, "f", NULL, 1, .set = "user.a", .value = "1", .mode = &mode);
	assert_int_equal(mode_of(p, "f"), 0);
	change_it(p, "f", "NOT_SUPPORTED", 0, .set = "nonsense.telex", .value = "v");
}

static void trees_are_changed(void **state)
{
	const unsigned mode = 0700;
	const Google__Protobuf__Timestamp t = {
	    PROTOBUF_C_MESSAGE_INIT(&google__protobuf__timestamp__descriptor), 1000, 0};
	struct place *p = *state;

	place_folder(p, "t");
	place_folder(p, "t/a");
	place_folder(p, "t/a/b");
	place_put(p, "t/a/b/f", "");
	place_put(p, "t/x", "");
	place_put(p, "out", "");
	place_link(p, "../../out", "t/a/link");
	change_it(p, "t", NULL, 6, .mode = &mode, .modified = &t, .recursive = true);
	assert_int_equal(mode_of(p, "t"), 0700);
	assert_int_equal(mode_of(p, "t/a/b"), 0700);
	assert_int_equal(mode_of(p, "t/a/b/f"), 0700);
	/* What the work did to a folder does not show. */
	assert_int_equal(place_stat(p, "t/a").st_mtim.tv_sec, 1000);
	assert_int_equal(place_stat(p, "t/a/link").st_mtim.tv_sec, 1000);
	assert_int_equal(mode_of(p, "out"), 0644);
	change_it(p, "t", NULL, 6, .change = "a=,u=rX", .recursive = true);
	assert_int_equal(mode_of(p, "t/a/b"), 0500);
	assert_int_equal(mode_of(p, "t/a/b/f"), 0400);
	change_it(p, "t", NULL, 6, .change = "u+rwX", .recursive = true);
	change_it(p, "out", NULL, 1, .mode = &mode, .recursive = true);
	assert_int_equal(mode_of(p, "out"), 0700);
}

static int nobody_changes(struct place *p)
{
	const unsigned none = 0;
	const struct rpc_status *s = memory_call_status(p->call);

	/* Rights that it takes away and gives back, also those that it needs itself. */
	if (run(p, "mine", (struct wanted){.mode = &none, .recursive = true}) != RPC_OK)
		return 1;
	if (run(p, "mine", (struct wanted){.change = "u+rwx", .recursive = true}) != RPC_OK)
		return 2;
	if (run(p, "theirs", (struct wanted){.mode = &none}) != RPC_PERMISSION_DENIED)
		return 3;
	if (run(p, "mixed", (struct wanted){.change = "u+x", .recursive = true}) !=
	    RPC_PERMISSION_DENIED)
		return 4;
	if (strcmp(rpc_status_get(s, "failed"), "1") != 0 ||
	    strcmp(rpc_status_get(s, "files"), "2") != 0)
		return 5;
	return run(p, "mine", (struct wanted){.owner = "0"}) == RPC_PERMISSION_DENIED ? 0 : 6;
}

static void users_change_what_is_theirs(void **state)
{
	struct place *p = *state;
	static const char *const mine[] = {"mine", "mine/a", "mine/a/f", "mixed", "mixed/f"};

	if (!place_root("be another user"))
		skip();
	place_folder(p, "mine");
	place_folder(p, "mine/a");
	place_put(p, "mine/a/f", "");
	place_put(p, "theirs", "");
	place_folder(p, "mixed");
	place_put(p, "mixed/f", "");
	place_put(p, "mixed/g", "");
	for (size_t i = 0; i < sizeof(mine) / sizeof(mine[0]); i++)
		assert_int_equal(fchownat(p->fd, mine[i], 65534, 65534, 0), 0);
	assert_int_equal(place_as_nobody(p, nobody_changes), 0);
	assert_int_equal(mode_of(p, "mine"), 0700);
	assert_int_equal(mode_of(p, "mine/a/f"), 0700);
	assert_int_equal(mode_of(p, "mixed/f"), 0744);
	assert_int_equal(mode_of(p, "mixed/g"), 0644);
}

static void what_cannot_be_changed_is_said(void **state)
{
	const unsigned mode = 0600;
	struct place *p = *state;
	char name[300];

	change_it(p, "none", "NO_SUCH_FILE", 0, .mode = &mode);
	change_it(p, "../x", "BAD_REQUEST", 0, .mode = &mode);
	place_put(p, "f", "");
	change_it(p, "f/x", "NOT_A_FOLDER", 0, .mode = &mode);
	memset(name, 'n', 299);
	name[299] = '\0';
	change_it(p, name, "NAME_TOO_LONG", 0, .mode = &mode);
	assert_int_equal(mkfifoat(p->fd, "fifo", 0600), 0);
	change_it(p, "fifo", NULL, 1, .change = "a+r");
	assert_int_equal(mode_of(p, "fifo"), 0644);
	if (!place_mount(p, "size=64k"))
		skip();
	place_put(p, "mount/f", "");
	assert_int_equal(
	    mount("none", place_path(p, "mount"), "", MS_REMOUNT | MS_RDONLY, NULL), 0);
	change_it(p, "mount/f", "READ_ONLY", 0, .mode = &mode);
}

static void a_worker_that_is_gone_ends_it(void **state)
{
	const unsigned mode = 0600;
	struct place *p = *state;
	char name[32];

	place_folder(p, "t");
	for (int i = 0; i < 200; i++) {
		snprintf(name, sizeof(name), "t/%d", i);
		place_put(p, name, "");
	}
	memory_call_gone_at(p->call, 2);
	(void)run(p, "t", (struct wanted){.mode = &mode, .recursive = true});
	assert_int_equal(memory_call_count(p->call), 0);
	assert_int_equal(mode_of(p, "t"), 0755);
}

static void fill(const struct place *p, const char *name)
{
	static const char page[65536];
	int fd = openat(p->fd, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	while (write(fd, page, sizeof(page)) > 0)
		;
	assert_int_equal(errno, ENOSPC);
	close(fd);
}

/* What a small file system has room for of it. */
static void a_full_disk_keeps_what_there_was(void **state)
{
	struct place *p = *state;
	char value[30001];

	if (!place_mount(p, "size=1m,nr_inodes=16"))
		skip();
	memset(value, 'x', sizeof(value) - 1);
	value[sizeof(value) - 1] = '\0';
	place_put(p, "mount/f", "old");
	if (run(p, "mount/f", (struct wanted){.set = "user.small", .value = "kept"}) != RPC_OK) {
		print_message("# a tmpfs has no attributes here\n");
		skip();
	}
	/* No attribute of that length fits in so few inodes, however many bytes are free. */
	change_it(p, "mount/f", "TOO_LARGE", 0, .set = "user.large", .value = value);
	assert_non_null(strstr(memory_call_status(p->call)->message, "leave them out"));
	/* And where none are. */
	fill(p, "mount/fill");
	change_it(p, "mount/f", "DISK_FULL", 0, .set = "user.large", .value = value);
	assert_non_null(strstr(memory_call_status(p->call)->message, "bytes are free)"));
	assert_int_equal(getxattr(place_path(p, "mount/f"), "user.large", NULL, 0), -1);
	assert_int_equal(getxattr(place_path(p, "mount/f"), "user.small", value, 10), 4);
	assert_memory_equal(value, "kept", 4);
	assert_string_equal(place_text(p, "mount/f"), "old");
}

#define in_place(f) cmocka_unit_test_setup_teardown(f, place_make, place_remove)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    in_place(modes_are_set),
	    in_place(links_are_changed_or_followed),
	    in_place(times_are_set_to_the_nanosecond),
	    in_place(owners_are_set_by_name_or_number),
	    in_place(extended_attributes_are_set_and_removed),
	    in_place(trees_are_changed),
	    in_place(users_change_what_is_theirs),
	    in_place(what_cannot_be_changed_is_said),
	    in_place(a_full_disk_keeps_what_there_was),
	    in_place(a_worker_that_is_gone_ends_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
