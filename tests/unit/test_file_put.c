/* SPDX-License-Identifier: Apache-2.0 */
/* A writer of a certificate and its key that dies at each step, and what a reader finds then. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "certs/certfile.h"
#include "common/file_put.h"
#include "common/tls.h"
#include "tests/support/folder.h"

#define STEPS_MAX 200

/* The linker puts these in front: before its nth call of them the process is gone. */
static int steps_left = -1;

static void step(void)
{
	if (steps_left == 0)
		_exit(1);
	if (steps_left > 0)
		steps_left--;
}

int __real_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to)
{
	step();
	return __real_rename(from, to);
}

int __real_unlink(const char *path);
int __wrap_unlink(const char *path);
int __wrap_unlink(const char *path)
{
	step();
	return __real_unlink(path);
}

ssize_t __real_write(int fd, const void *bytes, size_t len);
ssize_t __wrap_write(int fd, const void *bytes, size_t len);
ssize_t __wrap_write(int fd, const void *bytes, size_t len)
{
	step();
	return __real_write(fd, bytes, len);
}

int __real_fchmod(int fd, mode_t mode);
int __wrap_fchmod(int fd, mode_t mode);
int __wrap_fchmod(int fd, mode_t mode)
{
	step();
	return __real_fchmod(fd, mode);
}

int __real_fsync(int fd);
int __wrap_fsync(int fd);
int __wrap_fsync(int fd)
{
	step();
	return __real_fsync(fd);
}

/* ---- a pair ---- */

struct pair {
	char *certificate, *key;
};

static struct pair pair_in(const char *folder)
{
	return (struct pair){folder_path(folder, "user.pem"), folder_path(folder, "user.key")};
}

static void pair_clear(struct pair *p)
{
	free(p->certificate);
	free(p->key);
}

static int put(const struct pair *p, const char *text)
{
	return certfile_write_pair(
	    p->certificate, text, strlen(text), p->key, text, strlen(text), true, NULL);
}

/* Whether they belong together, and are of one of these. */
static bool reads_as(const struct pair *p, const char *one, const char *other)
{
	char *certificate = NULL, *key = NULL;
	size_t certificate_len = 0, key_len = 0;
	struct err e;
	bool good;

	if (tls_read_pair(
	        p->certificate, &certificate, &certificate_len, p->key, &key, &key_len, &e) != 0) {
		print_error("%s\n", e.message);
		return false;
	}
	good = strcmp(certificate, key) == 0 && (strcmp(key, one) == 0 || strcmp(key, other) == 0);
	if (!good)
		print_error("certificate %s, key %s\n", certificate, key);
	tls_text_free(certificate, certificate_len);
	tls_text_free(key, key_len);
	return good;
}

/* True: it came to its end. */
static bool write_until(const struct pair *p, const char *text, int steps)
{
	pid_t child = fork();
	int status = 0;

	assert_true(child >= 0);
	if (child == 0) {
		steps_left = steps;
		_exit(put(p, text) == 0 ? 0 : 2);
	}
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status) && WEXITSTATUS(status) <= 1);
	return WEXITSTATUS(status) == 0;
}

static void a_writer_that_dies_leaves_a_pair(void **state)
{
	struct pair p = pair_in(*state);
	bool done = false;
	int steps = 0;

	assert_int_equal(put(&p, "old"), 0);
	for (; !done && steps < STEPS_MAX; steps++) {
		done = write_until(&p, "new", steps);
		assert_true(reads_as(&p, "old", "new"));
		/* And who comes after it puts all in order. */
		assert_int_equal(put(&p, "old"), 0);
		assert_true(reads_as(&p, "old", "old"));
		assert_int_equal(folder_count(*state), 2);
	}
	assert_true(done);
	assert_in_range(steps, 8, STEPS_MAX);
	pair_clear(&p);
}

static void so_does_one_that_dies_where_one_has_died(void **state)
{
	struct pair p = pair_in(*state);
	bool done = false;

	assert_int_equal(put(&p, "old"), 0);
	/* Under valgrind, where each child takes its time, every fourth moment of the first. */
	const int step = getenv("TELEX_TEST_SLOW") != NULL ? 4 : 1;

	for (int first = 0; !done && first < STEPS_MAX; first += step) {
		bool second_done = false;

		for (int second = 0; !second_done && second < STEPS_MAX; second++) {
			done = write_until(&p, "new", first);
			second_done = write_until(&p, "newer", second);
			assert_true(reads_as(&p, "new", "newer") || reads_as(&p, "old", "old"));
			assert_int_equal(put(&p, "old"), 0);
		}
		assert_true(second_done);
	}
	assert_true(done);
	pair_clear(&p);
}

/* Who knows nothing of this reads the files by their names after it. */
static void what_was_cut_off_is_finished(void **state)
{
	struct pair p = pair_in(*state);
	char *certificate = NULL, *key = NULL;
	size_t certificate_len = 0, key_len = 0;
	bool done = false;

	assert_int_equal(put(&p, "old"), 0);
	for (int steps = 0; !done && steps < STEPS_MAX; steps++) {
		done = write_until(&p, "new", steps);
		(void)file_finish_pair(p.certificate, p.key);
		assert_int_equal(
		    tls_read_file(p.certificate, &certificate, &certificate_len, NULL), 0);
		assert_int_equal(tls_read_file(p.key, &key, &key_len, NULL), 0);
		assert_string_equal(certificate, key);
		tls_text_free(certificate, certificate_len);
		tls_text_free(key, key_len);
		assert_int_equal(put(&p, "old"), 0);
	}
	assert_true(done);
	pair_clear(&p);
}

/* Readers beside a writer: never one of each. */
static void a_reader_beside_a_writer_gets_a_pair(void **state)
{
	struct pair p = pair_in(*state);
	pid_t child;
	int status;

	assert_int_equal(put(&p, "one"), 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		int rc = 0;

		for (int i = 0; i < 200 && rc == 0; i++)
			rc = put(&p, i % 2 == 0 ? "two" : "one");
		_exit(rc == 0 ? 0 : 1);
	}
	while (waitpid(child, &status, WNOHANG) == 0)
		assert_true(reads_as(&p, "one", "two"));
	assert_int_equal(status, 0);
	pair_clear(&p);
}

static void what_is_missing_is_named(void **state)
{
	struct pair p = pair_in(*state);
	struct err e;
	int fds[2];

	assert_int_equal(file_open_pair(p.certificate, p.key, fds, &e), TX_ESYS);
	assert_non_null(strstr(e.message, "user.pem"));
	assert_int_equal(e.sys_errno, ENOENT);
	assert_int_equal(put(&p, "old"), 0);
	assert_int_equal(unlink(p.key), 0);
	assert_int_equal(file_open_pair(p.certificate, p.key, fds, &e), TX_ESYS);
	assert_non_null(strstr(e.message, "user.key"));
	assert_int_equal(fds[0], -1);
	pair_clear(&p);
}

static void a_key_that_others_may_read_is_refused(void **state)
{
	char *certificate = NULL, *key = NULL;
	size_t certificate_len = 0, key_len = 0;
	struct pair p = pair_in(*state);
	char wanted[4200];
	struct err e;

	assert_int_equal(put(&p, "old"), 0);
	assert_int_equal(chmod(p.key, 0640), 0);
	assert_int_equal(
	    tls_read_pair(p.certificate, &certificate, &certificate_len, p.key, &key, &key_len, &e),
	    TX_EPERM);
	snprintf(wanted, sizeof(wanted), "type: chmod 600 %s", p.key);
	assert_non_null(strstr(e.message, wanted));
	assert_null(certificate);
	assert_null(key);
	pair_clear(&p);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, folder_make, folder_remove)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(a_writer_that_dies_leaves_a_pair),
	    TEST(so_does_one_that_dies_where_one_has_died),
	    TEST(what_was_cut_off_is_finished),
	    TEST(a_reader_beside_a_writer_gets_a_pair),
	    TEST(what_is_missing_is_named),
	    TEST(a_key_that_others_may_read_is_refused),
	};

	return cmocka_run_group_tests_name("file_put", tests, NULL, NULL);
}
