/* SPDX-License-Identifier: Apache-2.0 */
/* Who may do what with what is copied or written: ACLs of the source, of the folder, and of what is
 * replaced. */
#include <endian.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/rpc_status.h"
#include "telex/v1/file.pb-c.h"
#include "tests/support/files_place.h"

#define OF_FILE   "system.posix_acl_access"
#define OF_FOLDER "system.posix_acl_default"

/* As the kernel has it: a version, and entries of tag, rights and number. */
struct acl {
	uint32_t version;
	struct {
		uint16_t tag, rights;
		uint32_t id;
	} entries[5];
};

/* user::rw-, user:1234:rw-, group::---, mask::rw-, other::---; "ls" shows 0660. */
static struct acl acl_of_1234(void)
{
	static const uint16_t tags[] = {0x01, 0x02, 0x04, 0x10, 0x20}, rights[] = {6, 6, 0, 6, 0};
	struct acl a = {.version = htole32(2)};

	for (size_t i = 0; i < 5; i++) {
		a.entries[i].tag = htole16(tags[i]);
		a.entries[i].rights = htole16(rights[i]);
		a.entries[i].id = htole32(tags[i] == 0x02 ? 1234 : UINT32_MAX);
	}
	return a;
}

/* False: this file system has none. */
static bool set_acl(struct place *p, const char *name, const char *key)
{
	const struct acl a = acl_of_1234();

	return setxattr(place_path(p, name), key, &a, sizeof(a), 0) == 0;
}

static bool has_acl(struct place *p, const char *name, const char *key)
{
	const struct acl wanted = acl_of_1234();
	struct acl got;
	ssize_t n = getxattr(place_path(p, name), key, &got, sizeof(got));

	if (n < 0)
		return false;
	assert_int_equal(n, sizeof(got));
	assert_memory_equal(&got, &wanted, sizeof(got));
	return true;
}

static void put(struct place *p, const char *name, const char *text, mode_t mode)
{
	place_put(p, name, text);
	assert_int_equal(fchmodat(p->fd, name, mode, 0), 0);
}

enum how { PLAIN, AS_P, AS_A };

static int run(struct place *p, const char *from, const char *to, enum how how)
{
	Telex__V1__CopyRequest r = TELEX__V1__COPY_REQUEST__INIT;

	r.source = place_bytes(p, from);
	r.target = place_bytes(p, to);
	r.recursive = how == AS_A;
	r.preserve = how == AS_A;
	r.preserve_attributes = how == AS_P;
	return memory_call_run(p->call, "Copy", &r.base);
}

static void copy_it(struct place *p, const char *from, const char *to, enum how how)
{
	assert_int_equal(run(p, from, to, how), RPC_OK);
}

/* Nothing, with this mode; NULL: none is asked for. */
static void write_it(struct place *p, const char *name, Telex__V1__FileMode *mode)
{
	Telex__V1__WriteRequest first = TELEX__V1__WRITE_REQUEST__INIT, last = first;
	Telex__V1__WriteBegin begin = TELEX__V1__WRITE_BEGIN__INIT;
	Telex__V1__WriteEnd end = TELEX__V1__WRITE_END__INIT;

	begin.path = place_bytes(p, name);
	begin.mode = mode;
	first.request_case = TELEX__V1__WRITE_REQUEST__REQUEST_BEGIN;
	first.begin = &begin;
	last.request_case = TELEX__V1__WRITE_REQUEST__REQUEST_END;
	last.end = &end;
	memory_call_queue(p->call, &last.base);
	place_expect(p, "Write", &first.base, NULL);
}

/* What "ls" shows as the group's rights are not the group's. */
static void what_is_replaced_keeps_its_acl(void **state)
{
	struct place *p = *state;

	put(p, "f", "new", 0600);
	put(p, "old", "old", 0600);
	if (!set_acl(p, "old", OF_FILE))
		skip();
	copy_it(p, "f", "old", PLAIN);
	assert_string_equal(place_text(p, "old"), "new");
	assert_true(has_acl(p, "old", OF_FILE));
	assert_int_equal(place_stat(p, "old").st_mode, S_IFREG | 0660);
	write_it(p, "old", NULL);
	assert_string_equal(place_text(p, "old"), "");
	assert_true(has_acl(p, "old", OF_FILE));
	assert_int_equal(place_stat(p, "old").st_mode, S_IFREG | 0660);
}

static void what_is_replaced_gets_no_acl_of_its_folder(void **state)
{
	struct place *p = *state;

	place_folder(p, "d");
	put(p, "f", "new", 0600);
	put(p, "d/old", "old", 0660);
	if (!set_acl(p, "d", OF_FOLDER))
		skip();
	copy_it(p, "f", "d/old", PLAIN);
	assert_string_equal(place_text(p, "d/old"), "new");
	assert_false(has_acl(p, "d/old", OF_FILE));
	assert_int_equal(place_stat(p, "d/old").st_mode, S_IFREG | 0660);
	write_it(p, "d/old", NULL);
	assert_string_equal(place_text(p, "d/old"), "");
	assert_false(has_acl(p, "d/old", OF_FILE));
	assert_int_equal(place_stat(p, "d/old").st_mode, S_IFREG | 0660);
}

static void a_mode_that_is_asked_for_counts(void **state)
{
	Telex__V1__FileMode mode = TELEX__V1__FILE_MODE__INIT;
	struct place *p = *state;

	mode.mode = 0640;
	put(p, "old", "old", 0600);
	if (!set_acl(p, "old", OF_FILE))
		skip();
	write_it(p, "old", &mode);
	/* Whoever is named has no more than the group would have. */
	assert_int_equal(getxattr(place_path(p, "old"), OF_FILE, NULL, 0), sizeof(struct acl));
	assert_int_equal(place_stat(p, "old").st_mode, S_IFREG | 0640);
	write_it(p, "new", &mode);
	assert_int_equal(place_stat(p, "new").st_mode, S_IFREG | 0640);
}

static void what_is_kept_is_the_acl_of_the_source(void **state)
{
	struct place *p = *state;

	place_folder(p, "d");
	place_folder(p, "t");
	put(p, "t/none", "", 0640);
	put(p, "t/some", "", 0600);
	if (!set_acl(p, "d", OF_FOLDER) || !set_acl(p, "t/some", OF_FILE))
		skip();
	copy_it(p, "t/none", "d/p", AS_P);
	assert_false(has_acl(p, "d/p", OF_FILE));
	assert_int_equal(place_stat(p, "d/p").st_mode, S_IFREG | 0640);
	copy_it(p, "t/some", "d/q", AS_P);
	assert_true(has_acl(p, "d/q", OF_FILE));
	copy_it(p, "t", "d/t", AS_A);
	assert_false(has_acl(p, "d/t", OF_FILE));
	assert_false(has_acl(p, "d/t", OF_FOLDER));
	assert_false(has_acl(p, "d/t/none", OF_FILE));
	assert_true(has_acl(p, "d/t/some", OF_FILE));
	/* A new file has its folder's, as any that is made there. */
	copy_it(p, "t/none", "d/new", PLAIN);
	assert_int_equal(getxattr(place_path(p, "d/new"), OF_FILE, NULL, 0), sizeof(struct acl));
}

static int nobody_copies(struct place *p)
{
	return run(p, "f", "open/old", PLAIN) == RPC_OK ? 0 : 1;
}

static void another_group_gets_what_all_have(void **state)
{
	struct place *p = *state;

	if (!place_root("be another user"))
		skip();
	put(p, "f", "new", 0644);
	place_folder(p, "open");
	assert_int_equal(fchmodat(p->fd, "open", 0777, 0), 0);
	put(p, "open/old", "old", 0674);
	assert_int_equal(place_as_nobody(p, nobody_copies), 0);
	assert_string_equal(place_text(p, "open/old"), "new");
	assert_int_equal(place_stat(p, "open/old").st_mode, S_IFREG | 0644);
}

#define in_place(f) cmocka_unit_test_setup_teardown(f, place_make, place_remove)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    in_place(what_is_replaced_keeps_its_acl),
	    in_place(what_is_replaced_gets_no_acl_of_its_folder),
	    in_place(a_mode_that_is_asked_for_counts),
	    in_place(what_is_kept_is_the_acl_of_the_source),
	    in_place(another_group_gets_what_all_have),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
