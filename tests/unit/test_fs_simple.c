/* SPDX-License-Identifier: Apache-2.0 */
/* MakeDirectory, Link, ReadLink, StatFilesystem, Truncate. */
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
#include <unistd.h>

#include "telex/v1/file.pb-c.h"
#include "tests/support/files_place.h"

/* ---- MakeDirectory ---- */

static void make_folder(struct place *p, const char *name, const unsigned *mode, bool parents,
    const char *reason, bool made)
{
	Telex__V1__MakeDirectoryRequest r = TELEX__V1__MAKE_DIRECTORY_REQUEST__INIT;
	Telex__V1__FileMode m = TELEX__V1__FILE_MODE__INIT;
	const Telex__V1__MakeDirectoryResponse *response;

	r.path = place_bytes(p, name);
	r.parents = parents;
	if (mode != NULL) {
		m.mode = *mode;
		r.mode = &m;
	}
	place_expect(p, "MakeDirectory", &r.base, reason);
	if (reason != NULL)
		return;
	response = place_response(p, &telex__v1__make_directory_response__descriptor);
	assert_int_equal(response->made, made);
}

static void folders_are_made(void **state)
{
	static const unsigned modes[] = {0700, 0, 01777, 02775, 0777};
	struct place *p = *state;
	char name[32];

	make_folder(p, "a", NULL, false, NULL, true);
	assert_int_equal(place_stat(p, "a").st_mode, S_IFDIR | 0755);
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		snprintf(name, sizeof(name), "m%zu", i);
		make_folder(p, name, &modes[i], false, NULL, true);
		assert_int_equal(place_stat(p, name).st_mode, S_IFDIR | modes[i]);
	}
	make_folder(p, "a", NULL, false, "FILE_EXISTS", false);
	make_folder(p, "x/y", NULL, false, "NO_SUCH_FILE", false);
	assert_false(place_has(p, "x"));
}

static void folders_are_made_with_parents(void **state)
{
	const unsigned mode = 0700;
	struct place *p = *state;

	make_folder(p, "a/b/c/d", &mode, true, NULL, true);
	assert_int_equal(place_stat(p, "a").st_mode, S_IFDIR | 0755);
	assert_int_equal(place_stat(p, "a/b/c").st_mode, S_IFDIR | 0755);
	assert_int_equal(place_stat(p, "a/b/c/d").st_mode, S_IFDIR | 0700);
	make_folder(p, "a/b/c/d", NULL, true, NULL, false);
	assert_int_equal(place_stat(p, "a/b/c/d").st_mode, S_IFDIR | 0700);
	make_folder(p, "a/b/e", NULL, true, NULL, true);
	make_folder(p, "", NULL, true, NULL, false);
	place_put(p, "file", "");
	make_folder(p, "file", NULL, true, "FILE_EXISTS", false);
	make_folder(p, "file/x/y", NULL, true, "NOT_A_FOLDER", false);
	place_link(p, "a", "link");
	make_folder(p, "link", NULL, true, NULL, false);
	make_folder(p, "link/new/x", NULL, true, NULL, true);
	assert_true(place_has(p, "a/new/x"));
	place_link(p, "nowhere", "dangling");
	make_folder(p, "dangling/x", NULL, true, "NO_SUCH_FILE", false);
	place_link(p, "/tmp", "out");
	make_folder(p, "out/telex-never-there", NULL, true, "OUTSIDE_ROOT", false);
}

static void folders_that_cannot_be_made_say_so(void **state)
{
	const unsigned mode = 010000;
	struct place *p = *state;
	char name[400];

	memset(name, 'n', 300);
	name[300] = '\0';
	make_folder(p, name, NULL, false, "NAME_TOO_LONG", false);
	make_folder(p, "x", &mode, false, "BAD_REQUEST", false);
	place_link(p, "b", "l1");
	place_link(p, "l1", "b");
	make_folder(p, "l1/x", NULL, false, "LINK_LOOP", false);
	make_folder(p, "../telex-never-there", NULL, false, "BAD_REQUEST", false);
}

static int nobody_makes(struct place *p)
{
	Telex__V1__MakeDirectoryRequest r = TELEX__V1__MAKE_DIRECTORY_REQUEST__INIT;

	r.path = place_bytes(p, "denied");
	if (memory_call_run(p->call, "MakeDirectory", &r.base) != RPC_PERMISSION_DENIED)
		return 1;
	return strcmp(memory_call_status(p->call)->reason, "FILE_DENIED") == 0 ? 0 : 2;
}

static void who_may_not_is_told(void **state)
{
	struct place *p = *state;

	if (!place_root("be another user"))
		skip();
	assert_int_equal(place_as_nobody(p, nobody_makes), 0);
	assert_false(place_has(p, "denied"));
}

static void file_systems_that_cannot_be_written_are_said(void **state)
{
	struct place *p = *state;
	const char *dir;
	char name[] = "mount/a";

	if (!place_mount(p, "size=64k,nr_inodes=9"))
		skip();
	while (name[6] < 'z' && mkdirat(p->fd, name, 0700) == 0)
		name[6]++;
	make_folder(p, name, NULL, false, "DISK_FULL", false);
	assert_non_null(rpc_status_get(memory_call_status(p->call), "available"));
	dir = place_path(p, "mount");
	assert_int_equal(mount("none", dir, "", MS_REMOUNT | MS_RDONLY, NULL), 0);
	make_folder(p, "mount/zz", NULL, false, "READ_ONLY", false);
}

/* Of the folders on the way, the first one; but nothing above what the role may write. */
static void the_folder_that_is_missing_is_named(void **state)
{
	struct place *p = *state;
	const struct rpc_status *s;
	char wanted[600], root[600];
	const char *roots[] = {root, NULL};

	place_folder(p, "t");
	make_folder(p, "t/a/b/c", NULL, false, "NO_SUCH_FILE", false);
	s = memory_call_status(p->call);
	snprintf(wanted, sizeof(wanted),
	    "cannot make the folder %s/t/a/b/c: the folder %s/t/a is not there", p->folder,
	    p->folder);
	assert_string_equal(s->message, wanted);
	assert_string_equal(rpc_status_get(s, "folder"), place_path(p, "t/a"));
	assert_string_equal(rpc_status_get(s, "path"), place_path(p, "t/a/b/c"));
	assert_string_equal(rpc_status_get(s, "errno_name"), "ENOENT");
	make_folder(p, "t/a/b", NULL, false, "NO_SUCH_FILE", false);
	assert_string_equal(
	    rpc_status_get(memory_call_status(p->call), "folder"), place_path(p, "t/a"));
	/* What is there, and is no folder, is told as what it is. */
	place_put(p, "t/file", "");
	make_folder(p, "t/file/b", NULL, false, "NOT_A_FOLDER", false);
	snprintf(root, sizeof(root), "%s/t/x/y/**", p->folder);
	memory_call_free(p->call);
	p->call = memory_call_new(roots, roots);
	make_folder(p, "t/x/y/z/f", NULL, false, "NO_SUCH_FILE", false);
	assert_string_equal(
	    rpc_status_get(memory_call_status(p->call), "folder"), place_path(p, "t/x/y"));
}

static void names_in_errors_are_escaped(void **state)
{
	struct place *p = *state;
	const struct rpc_status *s;
	char name[] = "x/ESC";

	for (int c = 1; c < 256; c++) {
		if (c == '/' || c == '.')
			continue;
		name[0] = (char)c;
		name[1] = '/';
		make_folder(p, name, NULL, false, "NO_SUCH_FILE", false);
		s = memory_call_status(p->call);
		for (const char *t = s->message; *t != '\0'; t++)
			assert_true((unsigned char)*t >= 0x20 && *t != 0x7f);
		for (const char *t = rpc_status_get(s, "path"); *t != '\0'; t++)
			assert_true((unsigned char)*t >= 0x20 && *t != 0x7f);
	}
}

/* ---- Link, ReadLink ---- */

static void link_it(struct place *p, const char *target, const char *name, bool symbolic,
    Telex__V1__Replace replace, const char *reason)
{
	Telex__V1__LinkRequest r = TELEX__V1__LINK_REQUEST__INIT;

	r.path = place_bytes(p, name);
	r.target = symbolic ? bytes_of(target) : place_bytes(p, target);
	r.symbolic = symbolic;
	r.replace = replace;
	place_expect(p, "Link", &r.base, reason);
}

#define ALWAYS TELEX__V1__REPLACE__REPLACE_ALWAYS
#define NEVER  TELEX__V1__REPLACE__REPLACE_NEVER

static void read_link(
    struct place *p, const char *name, bool canonical, const char *want, const char *reason)
{
	Telex__V1__ReadLinkRequest r = TELEX__V1__READ_LINK_REQUEST__INIT;
	const Telex__V1__ReadLinkResponse *response;

	r.path = place_bytes(p, name);
	r.canonical = canonical;
	place_expect(p, "ReadLink", &r.base, reason);
	if (reason != NULL)
		return;
	assert_non_null(want);
	response = place_response(p, &telex__v1__read_link_response__descriptor);
	assert_int_equal(response->target.len, strlen(want));
	assert_memory_equal(response->target.data, want, strlen(want));
}

static void links_are_made_and_read(void **state)
{
	struct place *p = *state;
	char longest[4096];

	link_it(p, "anything at all\n\xff", "s", true, NEVER, NULL);
	read_link(p, "s", false, "anything at all\n\xff", NULL);
	memset(longest, 't', 4095);
	longest[4095] = '\0';
	link_it(p, longest, "long", true, NEVER, NULL);
	read_link(p, "long", false, longest, NULL);
	place_put(p, "file", "content");
	link_it(p, "file", "hard", false, NEVER, NULL);
	assert_int_equal(place_stat(p, "file").st_nlink, 2);
	assert_string_equal(place_text(p, "hard"), "content");
	/* A hard link to a symbolic one is one to that itself. */
	link_it(p, "s", "s2", false, NEVER, NULL);
	assert_int_equal(place_stat(p, "s").st_ino, place_stat(p, "s2").st_ino);
	read_link(p, "file", false, NULL, "NOT_A_LINK");
	read_link(p, "none", false, NULL, "NO_SUCH_FILE");
}

static void links_replace_at_once(void **state)
{
	struct place *p = *state;

	place_put(p, "old", "old");
	place_put(p, "file", "content");
	link_it(p, "new", "old", true, NEVER, "FILE_EXISTS");
	assert_string_equal(place_text(p, "old"), "old");
	link_it(p, "new", "old", true, ALWAYS, NULL);
	read_link(p, "old", false, "new", NULL);
	link_it(p, "newer", "old", true, TELEX__V1__REPLACE__REPLACE_UNSPECIFIED, NULL);
	read_link(p, "old", false, "newer", NULL);
	link_it(p, "file", "old", false, NEVER, "FILE_EXISTS");
	link_it(p, "file", "old", false, ALWAYS, NULL);
	assert_string_equal(place_text(p, "old"), "content");
	/* Again: the same file, and no name too many. */
	link_it(p, "file", "old", false, ALWAYS, NULL);
	assert_int_equal(place_stat(p, "file").st_nlink, 2);
	assert_int_equal(place_count(p, ""), 2);
	place_folder(p, "folder");
	link_it(p, "x", "folder", true, ALWAYS, "IS_A_FOLDER");
	link_it(p, "x", "old", true, TELEX__V1__REPLACE__REPLACE_EXCHANGE, "BAD_REQUEST");
	assert_int_equal(place_count(p, ""), 3);
}

static void links_that_cannot_be_made_say_so(void **state)
{
	struct place *p = *state;
	char longer[4097];

	memset(longer, 't', 4096);
	longer[4096] = '\0';
	link_it(p, "", "s", true, NEVER, "BAD_REQUEST");
	link_it(p, longer, "s", true, NEVER, "BAD_REQUEST");
	link_it(p, "none", "h", false, NEVER, "NO_SUCH_FILE");
	place_folder(p, "folder");
	link_it(p, "folder", "h", false, NEVER, "FILE_DENIED");
	link_it(p, "../../etc/passwd", "h", false, NEVER, "BAD_REQUEST");
	place_link(p, "/etc", "etc");
	link_it(p, "etc/passwd", "h", false, NEVER, "OUTSIDE_ROOT");
	link_it(p, "x", "etc/telex-never-there", true, NEVER, "OUTSIDE_ROOT");
	assert_int_equal(place_count(p, ""), 2);
}

static void what_may_be_read_alone_gets_no_hard_link(void **state)
{
	struct place *p = *state;
	char write[700];
	const char *read_roots[] = {p->pattern, NULL}, *write_roots[] = {write, NULL};
	Telex__V1__LinkRequest r = TELEX__V1__LINK_REQUEST__INIT;
	struct call *c;

	place_folder(p, "w");
	place_put(p, "r", "read only");
	snprintf(write, sizeof(write), "%s/w/**", p->folder);
	c = memory_call_new(read_roots, write_roots);
	r.target = place_bytes(p, "r");
	r.path = place_bytes(p, "w/h");
	assert_int_equal(memory_call_run(c, "Link", &r.base), RPC_PERMISSION_DENIED);
	assert_string_equal(memory_call_status(c)->reason, "OUTSIDE_ROOT");
	assert_false(place_has(p, "w/h"));
	memory_call_free(c);
}

static void canonical_paths_have_no_links(void **state)
{
	struct place *p = *state;

	place_folder(p, "real");
	place_put(p, "real/file", "");
	place_link(p, "real", "one");
	place_link(p, "one/file", "two");
	read_link(p, "two", true, place_path(p, "real/file"), NULL);
	read_link(p, "one/file", true, place_path(p, "real/file"), NULL);
	read_link(p, "real/file", true, place_path(p, "real/file"), NULL);
	place_link(p, "loop", "loop");
	read_link(p, "loop", true, NULL, "LINK_LOOP");
	read_link(p, "loop", false, "loop", NULL);
	place_link(p, "/etc/passwd", "out");
	read_link(p, "out", true, NULL, "OUTSIDE_ROOT");
	read_link(p, "out", false, "/etc/passwd", NULL);
}

/* ---- StatFilesystem ---- */

static const Telex__V1__StatFilesystemResponse *look(struct place *p, const char *name)
{
	Telex__V1__StatFilesystemRequest r = TELEX__V1__STAT_FILESYSTEM_REQUEST__INIT;

	r.path = place_bytes(p, name);
	place_expect(p, "StatFilesystem", &r.base, NULL);
	return place_response(p, &telex__v1__stat_filesystem_response__descriptor);
}

static void file_systems_are_described(void **state)
{
	struct place *p = *state;
	const Telex__V1__StatFilesystemResponse *s = look(p, "");
	Telex__V1__StatFilesystemRequest r = TELEX__V1__STAT_FILESYSTEM_REQUEST__INIT;

	assert_true(strlen(s->type) > 0);
	assert_true(s->total >= s->free && s->free >= s->available && s->total > 0);
	assert_true(s->block_size > 0);
	assert_int_equal(s->name_max, 255);
	assert_false(s->read_only);
	r.path = place_bytes(p, "none");
	place_expect(p, "StatFilesystem", &r.base, "NO_SUCH_FILE");
	if (!place_mount(p, "size=1m,nr_inodes=77"))
		skip();
	s = look(p, "mount");
	assert_string_equal(s->type, "tmpfs");
	assert_int_equal(s->total, 1 << 20);
	assert_int_equal(s->files, 77);
	assert_int_equal(
	    mount("none", place_path(p, "mount"), "", MS_REMOUNT | MS_RDONLY, NULL), 0);
	assert_true(look(p, "mount")->read_only);
}

/* ---- Truncate ---- */

static void cut(struct place *p, const char *name, uint64_t size, const char *reason)
{
	Telex__V1__TruncateRequest r = TELEX__V1__TRUNCATE_REQUEST__INIT;

	r.path = place_bytes(p, name);
	r.size = size;
	place_expect(p, "Truncate", &r.base, reason);
}

static void files_are_cut_and_extended(void **state)
{
	struct place *p = *state;

	place_put(p, "f", "0123456789");
	cut(p, "f", 4, NULL);
	assert_string_equal(place_text(p, "f"), "0123");
	cut(p, "f", (uint64_t)1 << 40, NULL);
	assert_int_equal(place_stat(p, "f").st_size, (off_t)1 << 40);
	assert_true(place_stat(p, "f").st_blocks < 100);
	cut(p, "f", 0, NULL);
	cut(p, "f", UINT64_MAX, "BAD_REQUEST");
	cut(p, "none", 0, "NO_SUCH_FILE");
	cut(p, "", 0, "IS_A_FOLDER");
	assert_int_equal(mkfifoat(p->fd, "fifo", 0600), 0);
	cut(p, "fifo", 0, "NOT_SUPPORTED");
	place_link(p, "f", "link");
	cut(p, "link", 3, NULL);
	assert_int_equal(place_stat(p, "f").st_size, 3);
	place_link(p, "/etc/passwd", "out");
	cut(p, "out", 0, "OUTSIDE_ROOT");
}

#define in_place(f) cmocka_unit_test_setup_teardown(f, place_make, place_remove)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    in_place(folders_are_made),
	    in_place(folders_are_made_with_parents),
	    in_place(folders_that_cannot_be_made_say_so),
	    in_place(who_may_not_is_told),
	    in_place(file_systems_that_cannot_be_written_are_said),
	    in_place(names_in_errors_are_escaped),
	    in_place(the_folder_that_is_missing_is_named),
	    in_place(links_are_made_and_read),
	    in_place(links_replace_at_once),
	    in_place(links_that_cannot_be_made_say_so),
	    in_place(what_may_be_read_alone_gets_no_hard_link),
	    in_place(canonical_paths_have_no_links),
	    in_place(file_systems_are_described),
	    in_place(files_are_cut_and_extended),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
