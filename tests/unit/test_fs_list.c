/* SPDX-License-Identifier: Apache-2.0 */
/* List. */
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
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "telex/v1/file.pb-c.h"
#include "tests/support/files_place.h"

#define ALL      UINT32_MAX
#define LISTED   ((size_t)16384)
#define RESPONSE &telex__v1__file_service_list_response__descriptor

/* ask(place, name, .member = value, …): see ask_it. */
#define ask(p, name, ...) ask_it(p, name, (struct wanted){__VA_ARGS__})

struct wanted {
	const char *pattern; /* NULL: none */
	uint32_t depth;
	bool hidden, sorted, extended_attributes, across_mounts, names_only, targets;
};

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static size_t entry_count(struct place *p)
{
	size_t n = 0;

	for (size_t i = 0; i < memory_call_count(p->call); i++) {
		const Telex__V1__FileServiceListResponse *r =
		    memory_call_response(p->call, i, RESPONSE);

		assert_true(r->n_entries > 0 && r->n_entries <= 256);
		n += r->n_entries;
	}
	return n;
}

/* The nth of all entries. */
static const Telex__V1__ListEntry *entry(struct place *p, size_t n)
{
	for (size_t i = 0; i < memory_call_count(p->call); i++) {
		const Telex__V1__FileServiceListResponse *r =
		    memory_call_response(p->call, i, RESPONSE);

		if (n < r->n_entries)
			return r->entries[n];
		n -= r->n_entries;
	}
	fail_msg("there is no such entry");
	return NULL;
}

static const Telex__V1__ListEntry *entry_of(struct place *p, const char *path)
{
	for (size_t i = 0; i < entry_count(p); i++) {
		const Telex__V1__ListEntry *e = entry(p, i);

		if (e->file->path.len == strlen(path) &&
		    memcmp(e->file->path.data, path, strlen(path)) == 0)
			return e;
	}
	return NULL;
}

/* All paths, joined by spaces, an error as "!"; sorted here unless that was asked for. */
static const char *ask_it(struct place *p, const char *name, struct wanted w)
{
	Telex__V1__FileServiceListRequest r = TELEX__V1__FILE_SERVICE_LIST_REQUEST__INIT;
	static char out[LISTED];
	char *paths[512];
	size_t n;

	r.path = place_bytes(p, name);
	if (w.pattern != NULL)
		r.pattern = (char *)(uintptr_t)w.pattern;
	r.depth = w.depth;
	r.hidden = w.hidden;
	r.sorted = w.sorted;
	r.extended_attributes = w.extended_attributes;
	r.across_mounts = w.across_mounts;
	r.names_only = w.names_only;
	r.targets = w.targets;
	place_expect(p, "List", &r.base, NULL);
	n = entry_count(p);
	assert_true(n <= 512);
	for (size_t i = 0; i < n; i++) {
		const Telex__V1__ListEntry *e = entry(p, i);

		paths[i] = malloc(e->file->path.len + 2);
		assert_non_null(paths[i]);
		snprintf(paths[i], e->file->path.len + 2, "%.*s%s", (int)e->file->path.len,
		    (const char *)e->file->path.data, e->error != NULL ? "!" : "");
	}
	if (!w.sorted)
		qsort(paths, n, sizeof(paths[0]), compare);
	out[0] = '\0';
	for (size_t i = 0; i < n; i++) {
		snprintf(out + strlen(out), sizeof(out) - strlen(out), "%s%s", i > 0 ? " " : "",
		    paths[i]);
		free(paths[i]);
	}
	return out;
}

static void make_tree(struct place *p)
{
	place_folder(p, "t");
	place_put(p, "t/file.c", "12345");
	place_put(p, "t/file.h", "");
	place_put(p, "t/.hidden", "");
	place_folder(p, "t/sub");
	place_put(p, "t/sub/x.c", "");
	place_folder(p, "t/sub/deep");
	place_put(p, "t/sub/deep/y.c", "");
	place_folder(p, "t/.git");
	place_put(p, "t/.git/config", "");
	place_link(p, "file.c", "t/link");
	place_put(p, "t/sub-x", "");
}

static void folders_are_listed(void **state)
{
	struct place *p = *state;

	make_tree(p);
	assert_string_equal(ask(p, "t", .depth = 0), "file.c file.h link sub sub-x");
	assert_string_equal(ask(p, "t", .depth = 1), "file.c file.h link sub sub-x");
	assert_string_equal(
	    ask(p, "t", .hidden = true), ".git .hidden file.c file.h link sub sub-x");
	assert_string_equal(
	    ask(p, "t", .depth = 2), "file.c file.h link sub sub-x sub/deep sub/x.c");
	assert_string_equal(ask(p, "t", .depth = ALL),
	    "file.c file.h link sub sub-x sub/deep sub/deep/y.c sub/x.c");
	assert_string_equal(ask(p, "t", .depth = ALL, .hidden = true),
	    ".git .git/config .hidden file.c file.h link sub sub-x sub/deep sub/deep/y.c sub/x.c");
	/* "-" comes before "/". */
	assert_string_equal(ask(p, "t", .depth = ALL, .sorted = true),
	    "file.c file.h link sub sub-x sub/deep sub/deep/y.c sub/x.c");
	assert_string_equal(ask(p, "t", .depth = ALL, .names_only = true),
	    "file.c file.h link sub sub-x sub/deep sub/deep/y.c sub/x.c");
	place_folder(p, "empty");
	assert_string_equal(ask(p, "empty", .depth = ALL, .sorted = true), "");
}

static void patterns_choose(void **state)
{
	struct place *p = *state;

	make_tree(p);
	assert_string_equal(
	    ask(p, "t", .pattern = "*.c", .depth = ALL), "file.c sub/deep/y.c sub/x.c");
	assert_string_equal(ask(p, "t", .pattern = "*/*.c", .depth = ALL), "sub/x.c");
	assert_string_equal(ask(p, "t", .pattern = "sub/*", .depth = ALL), "sub/deep sub/x.c");
	assert_string_equal(ask(p, "t", .pattern = "[fs]*"), "file.c file.h sub sub-x");
	assert_string_equal(ask(p, "t", .pattern = "none", .depth = ALL), "");
}

static void all_that_is_known_is_told(void **state)
{
	struct place *p = *state;
	const Telex__V1__FileInfo *f;
	struct stat st;

	make_tree(p);
	(void)ask(p, "t", .depth = 0);
	f = entry_of(p, "file.c")->file;
	st = place_stat(p, "t/file.c");
	assert_int_equal(f->type, TELEX__V1__FILE_TYPE__FILE_TYPE_REGULAR);
	assert_int_equal(f->mode, 0644);
	assert_int_equal(f->size, 5);
	assert_int_equal(f->inode, st.st_ino);
	assert_int_equal(f->modified->seconds, st.st_mtim.tv_sec);
	assert_int_equal(f->modified->nanos, st.st_mtim.tv_nsec);
	f = entry_of(p, "link")->file;
	assert_int_equal(f->type, TELEX__V1__FILE_TYPE__FILE_TYPE_SYMLINK);
	assert_int_equal(f->link_target.len, 6);
	assert_memory_equal(f->link_target.data, "file.c", 6);
	assert_int_equal(entry_of(p, "sub")->file->type, TELEX__V1__FILE_TYPE__FILE_TYPE_DIRECTORY);
	(void)ask(p, "t", .names_only = true);
	f = entry_of(p, "link")->file;
	assert_int_equal(f->type, TELEX__V1__FILE_TYPE__FILE_TYPE_SYMLINK);
	assert_int_equal(f->link_target.len, 0);
	assert_null(f->modified);
	if (setxattr(place_path(p, "t/file.c"), "user.telex", "v", 1, 0) != 0) {
		print_message("# no extended attributes here: %s\n", strerror(errno));
		skip();
	}
	(void)ask(p, "t", .extended_attributes = true);
	f = entry_of(p, "file.c")->file;
	assert_int_equal(f->n_extended_attributes, 1);
	assert_memory_equal(f->extended_attributes[0]->name.data, "user.telex", 10);
	assert_int_equal(entry_of(p, "file.h")->file->n_extended_attributes, 0);
}

static void one_file_is_the_only_entry(void **state)
{
	struct place *p = *state;

	make_tree(p);
	assert_string_equal(ask(p, "t/file.c", .depth = ALL), place_path(p, "t/file.c"));
	assert_int_equal(entry(p, 0)->file->size, 5);
	/* What a link leads to; or, where that is nothing, the link. */
	assert_string_equal(ask(p, "t/link", .depth = 0), place_path(p, "t/link"));
	assert_int_equal(entry(p, 0)->file->type, TELEX__V1__FILE_TYPE__FILE_TYPE_REGULAR);
	place_link(p, "nowhere", "dangling");
	(void)ask(p, "dangling", .depth = 0);
	assert_int_equal(entry(p, 0)->file->type, TELEX__V1__FILE_TYPE__FILE_TYPE_SYMLINK);
	place_link(p, "loop", "loop");
	(void)ask(p, "loop", .depth = 0);
	assert_int_equal(entry(p, 0)->file->type, TELEX__V1__FILE_TYPE__FILE_TYPE_SYMLINK);
	place_link(p, "t", "folder");
	assert_string_equal(ask(p, "folder", .depth = 0), "file.c file.h link sub sub-x");
}

static void names_are_any_bytes(void **state)
{
	struct place *p = *state;
	char name[4] = "t/x";

	place_folder(p, "t");
	for (int c = 1; c < 256; c++) {
		if (c == '/' || c == '.')
			continue;
		name[2] = (char)c;
		place_put(p, name, "");
	}
	(void)ask(p, "t", .sorted = true, .depth = ALL);
	assert_int_equal(entry_count(p), 253);
	for (size_t i = 0, c = 1; c < 256; c++)
		if (c != '/' && c != '.')
			assert_int_equal(entry(p, i++)->file->path.data[0], c);
}

static void large_folders_come_in_parts(void **state)
{
	struct place *p = *state;
	Telex__V1__FileServiceListRequest r = TELEX__V1__FILE_SERVICE_LIST_REQUEST__INIT;
	char name[32];

	place_folder(p, "t");
	for (int i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "t/%d", i);
		place_put(p, name, "");
	}
	r.path = place_bytes(p, "t");
	for (int sorted = 0; sorted < 2; sorted++) {
		r.sorted = sorted != 0;
		place_expect(p, "List", &r.base, NULL);
		assert_int_equal(memory_call_count(p->call), 4);
		assert_int_equal(entry_count(p), 1000);
	}
	assert_memory_equal(entry(p, 0)->file->path.data, "0", 1);
	assert_memory_equal(entry(p, 999)->file->path.data, "999", 3);
	/* Nobody is there any more. */
	memory_call_gone_at(p->call, 2);
	(void)memory_call_run(p->call, "List", &r.base);
	assert_true(memory_call_count(p->call) <= 1);
}

static void what_cannot_be_listed_is_said(void **state)
{
	static const struct {
		const char *name, *reason;
	} rows[] = {{"none", "NO_SUCH_FILE"}, {"file/x", "NOT_A_FOLDER"},
	    {"out/passwd", "OUTSIDE_ROOT"}, {"loop/x", "LINK_LOOP"}, {"..", "BAD_REQUEST"}};
	struct place *p = *state;
	Telex__V1__FileServiceListRequest r = TELEX__V1__FILE_SERVICE_LIST_REQUEST__INIT;
	char name[300];

	place_put(p, "file", "");
	place_link(p, "/etc", "out");
	place_link(p, "loop", "loop");
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		r.path = place_bytes(p, rows[i].name);
		place_expect(p, "List", &r.base, rows[i].reason);
	}
	memset(name, 'n', 299);
	name[299] = '\0';
	r.path = place_bytes(p, name);
	place_expect(p, "List", &r.base, "NAME_TOO_LONG");
	/* A link that leads out is one entry, and not what it leads to. */
	assert_string_equal(ask(p, "out", .depth = ALL), place_path(p, "out"));
	assert_int_equal(entry(p, 0)->file->type, TELEX__V1__FILE_TYPE__FILE_TYPE_SYMLINK);
}

static int nobody_lists(struct place *p)
{
	const Telex__V1__ListEntry *e;
	const char *all = ask(p, "t", .depth = ALL);

	if (strcmp(all, "dark! open open/f shut shut/f!") != 0)
		return 1;
	e = entry_of(p, "dark");
	if (e->error->code != RPC_PERMISSION_DENIED || e->error->errno_value != EACCES ||
	    strcmp(e->error->reason, "FILE_DENIED") != 0 || e->error->message[0] == '\0')
		return 2;
	/* A name can be known although nothing else is. */
	all = ask(p, "t", .depth = ALL, .names_only = true);
	return strcmp(all, "dark! open open/f shut shut/f") == 0 ? 0 : 3;
}

static void what_may_not_be_read_is_an_entry_with_an_error(void **state)
{
	struct place *p = *state;

	if (!place_root("be another user"))
		skip();
	place_folder(p, "t");
	place_folder(p, "t/dark");
	place_folder(p, "t/open");
	place_folder(p, "t/shut");
	place_put(p, "t/dark/f", "");
	place_put(p, "t/open/f", "");
	place_put(p, "t/shut/f", "");
	assert_int_equal(fchmodat(p->fd, "t/dark", 0711, 0), 0);
	assert_int_equal(fchmodat(p->fd, "t/shut", 0744, 0), 0);
	assert_int_equal(place_as_nobody(p, nobody_lists), 0);
}

static void other_mounts_are_not_entered(void **state)
{
	struct place *p = *state;

	if (!place_mount(p, "size=64k"))
		skip();
	place_put(p, "mount/f", "");
	place_put(p, "g", "");
	assert_string_equal(ask(p, "", .depth = ALL), "g mount");
	assert_string_equal(ask(p, "", .depth = ALL, .across_mounts = true), "g mount mount/f");
	assert_string_equal(ask(p, "mount", .depth = ALL), "f");
}

/* Patterns that do not allow all below: names that they do not allow are not there. */
static void links_tell_what_they_lead_to(void **state)
{
	struct place *p = *state;
	const Telex__V1__FileInfo *f;

	place_folder(p, "t");
	place_folder(p, "t/d");
	place_put(p, "t/f", "content");
	assert_int_equal(fchmodat(p->fd, "t/f", 0711, 0), 0);
	place_link(p, "f", "t/to-f");
	place_link(p, "to-f", "t/d/twice");
	place_link(p, "../to-f", "t/d/above");
	place_link(p, "d", "t/to-d");
	place_link(p, "none", "t/to-none");
	place_link(p, "/etc/passwd", "t/out");
	(void)ask(p, "t", .targets = true, .depth = ALL);
	f = entry_of(p, "to-f")->file;
	assert_int_equal(f->type, TELEX__V1__FILE_TYPE__FILE_TYPE_SYMLINK);
	assert_int_equal(f->target_type, TELEX__V1__FILE_TYPE__FILE_TYPE_REGULAR);
	assert_int_equal(f->target_mode, 0711);
	assert_int_equal(entry_of(p, "d/above")->file->target_mode, 0711);
	assert_int_equal(
	    entry_of(p, "to-d")->file->target_type, TELEX__V1__FILE_TYPE__FILE_TYPE_DIRECTORY);
	/* To nothing, and to what is none of this role's business. */
	assert_int_equal(entry_of(p, "to-none")->file->target_type, 0);
	assert_int_equal(entry_of(p, "d/twice")->file->target_type, 0);
	assert_int_equal(entry_of(p, "out")->file->target_type, 0);
	assert_int_equal(entry_of(p, "f")->file->target_type, 0);
	(void)ask(p, "t/to-none", .targets = true);
	assert_int_equal(entry(p, 0)->file->target_type, 0);
	(void)ask(p, "t", .depth = ALL);
	assert_int_equal(entry_of(p, "to-f")->file->target_type, 0);
}

static void roots_choose_too(void **state)
{
	struct place *p = *state;
	char one[700], two[700];
	const char *read[] = {one, two, NULL};

	make_tree(p);
	snprintf(one, sizeof(one), "%s/*", p->folder);
	snprintf(two, sizeof(two), "%s/t/*.c", p->folder);
	memory_call_free(p->call);
	p->call = memory_call_new(read, NULL);
	assert_string_equal(ask(p, "t", .depth = ALL), "file.c");
	assert_string_equal(ask(p, "t", .depth = ALL, .names_only = true), "file.c");
	/* By the file, not by what a link calls its folder: t2/file.c is t/file.c. */
	place_link(p, "t/sub", "t2");
	assert_string_equal(ask(p, "t2", .depth = 0), place_path(p, "t2"));
}

/* What has its path by now is not what was meant. */
static void only_that_folder_is_listed(void **state)
{
	Telex__V1__FileServiceListRequest r = TELEX__V1__FILE_SERVICE_LIST_REQUEST__INIT;
	Telex__V1__FileIdentity only = TELEX__V1__FILE_IDENTITY__INIT;
	struct place *p = *state;
	struct stat st;

	place_folder(p, "t");
	place_put(p, "t/mine", "");
	place_folder(p, "other");
	place_put(p, "other/secret", "");
	st = place_stat(p, "t");
	only.device_major = major(st.st_dev);
	only.device_minor = minor(st.st_dev);
	only.inode = st.st_ino;
	r.path = place_bytes(p, "t");
	r.only = &only;
	place_expect(p, "List", &r.base, NULL);
	assert_int_equal(entry_count(p), 1);
	assert_int_equal(renameat(p->fd, "t", p->fd, "was"), 0);
	place_link(p, "other", "t");
	place_expect(p, "List", &r.base, "CHANGED");
	assert_int_equal(memory_call_count(p->call), 0);
	/* By another path it is still that one. */
	r.path = place_bytes(p, "was");
	place_expect(p, "List", &r.base, NULL);
	only.device_minor++;
	place_expect(p, "List", &r.base, "CHANGED");
}

#define in_place(f) cmocka_unit_test_setup_teardown(f, place_make, place_remove)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    in_place(folders_are_listed),
	    in_place(patterns_choose),
	    in_place(all_that_is_known_is_told),
	    in_place(one_file_is_the_only_entry),
	    in_place(names_are_any_bytes),
	    in_place(large_folders_come_in_parts),
	    in_place(what_cannot_be_listed_is_said),
	    in_place(what_may_not_be_read_is_an_entry_with_an_error),
	    in_place(other_mounts_are_not_entered),
	    in_place(links_tell_what_they_lead_to),
	    in_place(roots_choose_too),
	    in_place(only_that_folder_is_listed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
