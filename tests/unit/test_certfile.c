/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "certs/certfile.h"
#include "common/tls.h"
#include "tests/support/folder.h"

static void expect_file(const char *path, const char *text, mode_t mode)
{
	char *got = NULL;
	size_t len = 0;
	struct stat st;

	assert_int_equal(tls_read_file(path, &got, &len, NULL), 0);
	assert_string_equal(got, text);
	tls_text_free(got, len);
	assert_int_equal(stat(path, &st), 0);
	assert_int_equal(st.st_mode & 07777, mode);
}

static int put(
    const char *path, const char *text, enum certfile_kind kind, bool force, struct err *e)
{
	return certfile_write(path, text, strlen(text), kind, force, e);
}

static void modes_do_not_depend_on_the_umask(void **state)
{
	char *key = folder_path(*state, "a.key"), *certificate = folder_path(*state, "a.pem");
	mode_t old = umask(0);

	assert_int_equal(put(key, "secret", CERTFILE_KEY, false, NULL), 0);
	umask(0277);
	assert_int_equal(put(certificate, "public", CERTFILE_CERTIFICATE, false, NULL), 0);
	umask(old);
	expect_file(key, "secret", 0600);
	expect_file(certificate, "public", 0644);
	assert_int_equal(folder_count(*state), 2);
	free(key);
	free(certificate);
}

static void nothing_is_written_over_without_force(void **state)
{
	char *path = folder_path(*state, "a.key");
	struct err e;

	assert_int_equal(put(path, "one", CERTFILE_KEY, false, NULL), 0);
	assert_int_equal(put(path, "two", CERTFILE_KEY, false, &e), TX_EEXIST);
	assert_non_null(strstr(e.message, "a.key is there already; --force writes over it"));
	expect_file(path, "one", 0600);
	assert_int_equal(put(path, "two", CERTFILE_KEY, true, NULL), 0);
	expect_file(path, "two", 0600);
	assert_int_equal(folder_count(*state), 1);
	free(path);
}

static void force_replaces_an_open_mode_and_a_link_not_its_target(void **state)
{
	char *path = folder_path(*state, "a.key"), *target = folder_path(*state, "target");

	assert_int_equal(put(target, "target", CERTFILE_CERTIFICATE, false, NULL), 0);
	assert_int_equal(symlink(target, path), 0);
	assert_int_equal(put(path, "key", CERTFILE_KEY, false, NULL), TX_EEXIST);
	assert_int_equal(put(path, "key", CERTFILE_KEY, true, NULL), 0);
	expect_file(target, "target", 0644);
	expect_file(path, "key", 0600);
	free(path);
	free(target);
}

static void a_dangling_link_is_something_that_is_there(void **state)
{
	char *path = folder_path(*state, "a.key");

	assert_int_equal(symlink("/no/such/target", path), 0);
	assert_int_equal(put(path, "key", CERTFILE_KEY, false, NULL), TX_EEXIST);
	free(path);
}

static void a_missing_folder_is_named(void **state)
{
	char *path = folder_path(*state, "no/a.pem");
	struct err e;

	assert_int_equal(put(path, "x", CERTFILE_CERTIFICATE, false, &e), TX_ESYS);
	assert_int_equal(e.sys_errno, ENOENT);
	assert_non_null(strstr(e.message, "no/a.pem"));
	free(path);
}

static int put_pair(const char *c, const char *k, const char *text, bool force, struct err *e)
{
	return certfile_write_pair(c, text, strlen(text), k, text, strlen(text), force, e);
}

static void a_pair_is_written_as_a_whole_or_not(void **state)
{
	char *certificate = folder_path(*state, "a.pem"), *key = folder_path(*state, "a.key");
	char *other = folder_path(*state, "b.pem"), *nowhere = folder_path(*state, "no/b.pem");
	struct err e;

	assert_int_equal(put_pair(certificate, key, "1", false, NULL), 0);
	/* The key is there: no certificate of the other name may appear. */
	assert_int_equal(put_pair(other, key, "2", false, &e), TX_EEXIST);
	assert_int_equal(put_pair(nowhere, key, "2", true, &e), TX_ESYS);
	expect_file(certificate, "1", 0644);
	expect_file(key, "1", 0600);
	assert_int_equal(folder_count(*state), 2);
	assert_int_equal(put_pair(certificate, key, "3", true, NULL), 0);
	expect_file(certificate, "3", 0644);
	expect_file(key, "3", 0600);
	assert_int_equal(folder_count(*state), 2);
	free(certificate);
	free(key);
	free(other);
	free(nowhere);
}

static void a_certificate_that_cannot_be_moved_leaves_no_new_key(void **state)
{
	char *folder = folder_path(*state, "a.pem"), *key = folder_path(*state, "a.key");
	char *inside = folder_path(*state, "a.pem/full");

	assert_int_equal(mkdir(folder, 0700), 0);
	assert_int_equal(put(inside, "x", CERTFILE_CERTIFICATE, false, NULL), 0);
	assert_int_equal(put_pair(folder, key, "1", false, NULL), TX_EEXIST);
	assert_int_equal(put_pair(folder, key, "1", true, NULL), TX_ESYS);
	assert_int_equal(folder_count(folder), 1);
	free(folder);
	free(key);
	free(inside);
}

static void a_key_that_others_may_read_is_refused(void **state)
{
	static const mode_t open_modes[] = {0640, 0604, 0644, 0620, 0602, 0610};
	char *path = folder_path(*state, "a.key");
	char *text = NULL;
	size_t len = 0;
	struct err e;

	assert_int_equal(put(path, "key", CERTFILE_KEY, false, NULL), 0);
	for (size_t i = 0; i < sizeof(open_modes) / sizeof(open_modes[0]); i++) {
		assert_int_equal(chmod(path, open_modes[i]), 0);
		assert_int_equal(certfile_read_key(path, &text, &len, &e), TX_EPERM);
		assert_non_null(strstr(e.message, "type: chmod 600 "));
		assert_non_null(strstr(e.message, path));
		assert_null(text);
	}
	assert_int_equal(chmod(path, 0400), 0);
	assert_int_equal(certfile_read_key(path, &text, &len, &e), 0);
	assert_string_equal(text, "key");
	tls_text_free(text, len);
	free(path);
}

static void no_key_and_no_file_are_told(void **state)
{
	char *path = folder_path(*state, "none.key");
	char *text = NULL;
	size_t len = 0;
	struct err e;

	assert_int_equal(certfile_read_key(path, &text, &len, &e), TX_ESYS);
	assert_int_equal(e.sys_errno, ENOENT);
	assert_int_equal(certfile_read_key(*state, &text, &len, &e), TX_EINVAL);
	free(path);
}

static void a_folder_is_made_once_and_kept(void **state)
{
	char *dir = folder_path(*state, "d"), *file = folder_path(*state, "f");
	struct stat st;
	struct err e;

	assert_int_equal(certfile_make_dir(dir, NULL), 0);
	assert_int_equal(stat(dir, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0700);
	assert_int_equal(chmod(dir, 0755), 0);
	assert_int_equal(certfile_make_dir(dir, NULL), 0);
	assert_int_equal(stat(dir, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0755);
	assert_int_equal(put(file, "x", CERTFILE_CERTIFICATE, false, NULL), 0);
	assert_int_equal(certfile_make_dir(file, &e), TX_ESYS);
	assert_int_equal(e.sys_errno, ENOTDIR);
	free(dir);
	free(file);
}

static void paths_that_do_not_fit_are_refused(void **state)
{
	char out[PATH_MAX], big[PATH_MAX + 1];

	(void)state;
	memset(big, 'a', sizeof(big) - 1);
	big[sizeof(big) - 1] = '\0';
	assert_int_equal(certfile_path(out, "/etc/telex/", "web1", ".pem", NULL), 0);
	assert_string_equal(out, "/etc/telex/web1.pem");
	assert_int_equal(certfile_path(out, "d", "web1", ".pem", NULL), 0);
	assert_string_equal(out, "d/web1.pem");
	assert_int_equal(certfile_path(out, big, "a", ".pem", NULL), TX_ETOOBIG);
	big[PATH_MAX - 8] = '/';
	assert_int_equal(put(big, "x", CERTFILE_KEY, false, NULL), TX_ETOOBIG);
}

/* A file in the folder, open. */
static int leave(const char *folder, const char *name, const char *text)
{
	char *path = folder_path(folder, name);
	int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	free(path);
	return fd;
}

static bool is_there(const char *folder, const char *name)
{
	char *path = folder_path(folder, name);
	bool there = access(path, F_OK) == 0;

	free(path);
	return there;
}

static void what_a_killed_writer_left_is_removed_by_the_next(void **state)
{
	const struct timespec old[2] = {{1000000000, 0}, {1000000000, 0}};
	char *path = folder_path(*state, "a.key");
	int held, aged;

	close(leave(*state, ".telex-aaaaaa", "a key"));
	/* Somebody is at it; it was just made; it is none of ours. */
	held = leave(*state, ".telex-bbbbbb", "a key");
	assert_int_equal(flock(held, LOCK_EX), 0);
	close(leave(*state, ".telex-cccccc", ""));
	close(leave(*state, ".telex-renewed", "another's"));
	aged = leave(*state, ".telex-dddddd", "");
	assert_int_equal(futimens(aged, old), 0);
	close(aged);
	assert_int_equal(put(path, "secret", CERTFILE_KEY, false, NULL), 0);
	assert_false(is_there(*state, ".telex-aaaaaa"));
	assert_true(is_there(*state, ".telex-bbbbbb"));
	assert_true(is_there(*state, ".telex-cccccc"));
	assert_true(is_there(*state, ".telex-renewed"));
	assert_false(is_there(*state, ".telex-dddddd"));
	close(held);
	free(path);
}

#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, folder_make, folder_remove)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    IN_FOLDER(modes_do_not_depend_on_the_umask),
	    IN_FOLDER(nothing_is_written_over_without_force),
	    IN_FOLDER(force_replaces_an_open_mode_and_a_link_not_its_target),
	    IN_FOLDER(a_dangling_link_is_something_that_is_there),
	    IN_FOLDER(a_missing_folder_is_named),
	    IN_FOLDER(a_pair_is_written_as_a_whole_or_not),
	    IN_FOLDER(a_certificate_that_cannot_be_moved_leaves_no_new_key),
	    IN_FOLDER(a_key_that_others_may_read_is_refused),
	    IN_FOLDER(no_key_and_no_file_are_told),
	    IN_FOLDER(a_folder_is_made_once_and_kept),
	    IN_FOLDER(what_a_killed_writer_left_is_removed_by_the_next),
	    cmocka_unit_test(paths_that_do_not_fit_are_refused),
	};

	return cmocka_run_group_tests_name("certfile", tests, NULL, NULL);
}
