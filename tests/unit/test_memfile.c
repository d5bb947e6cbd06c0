/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/memfile.h"

static void what_is_frozen_is_loaded_and_cannot_change(void **state)
{
	uint8_t *data;
	size_t len;
	int fd;

	(void)state;
	assert_int_equal(memfile_freeze("t", "a\0b", 3, &fd, NULL), 0);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	assert_true(pwrite(fd, "x", 1, 0) < 0 && errno == EPERM);
	assert_true(ftruncate(fd, 0) < 0 && errno == EPERM);
	assert_true(mmap(NULL, 3, PROT_WRITE, MAP_SHARED, fd, 0) == MAP_FAILED);
	assert_true(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE) < 0);
	assert_int_equal(memfile_load(fd, 3, &data, &len, NULL), 0);
	assert_int_equal(len, 3);
	assert_memory_equal(data, "a\0b", 3);
	free(data);
	close(fd);
}

static void a_copy_is_frozen_private_and_as_long_as_the_file(void **state)
{
	char path[] = "/tmp/telex-memfile-XXXXXX";
	char text[9000], got[sizeof(text)];
	int from = mkstemp(path), fd = -1, pipes[2];
	struct stat st;

	(void)state;
	memset(text, 'k', sizeof(text));
	assert_true(from >= 0);
	assert_int_equal(unlink(path), 0);
	assert_int_equal(write(from, text, sizeof(text)), sizeof(text));
	assert_int_equal(memfile_copy("t", from, sizeof(text), 0400, &fd, NULL), 0);
	assert_int_equal(pread(fd, got, sizeof(got), 0), sizeof(got));
	assert_memory_equal(got, text, sizeof(got));
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_mode & 07777, 0400);
	assert_int_equal(st.st_size, sizeof(text));
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	assert_true(pwrite(fd, "x", 1, 0) < 0 && errno == EPERM);
	assert_true(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE) < 0);
	close(fd);
	fd = -1;
	assert_int_equal(memfile_copy("t", from, sizeof(text) - 1, 0400, &fd, NULL), TX_ETOOBIG);
	assert_int_equal(pipe(pipes), 0);
	assert_int_equal(memfile_copy("t", pipes[0], 10, 0400, &fd, NULL), TX_EINVAL);
	assert_int_equal(fd, -1);
	close(pipes[0]);
	close(pipes[1]);
	close(from);
}

static void load_leaves_the_file_offset_alone(void **state)
{
	uint8_t *data;
	size_t len;
	int fd;

	(void)state;
	assert_int_equal(memfile_freeze("t", "abc", 3, &fd, NULL), 0);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(memfile_load(fd, 100, &data, &len, NULL), 0);
		assert_int_equal(len, 3);
		free(data);
	}
	close(fd);
}

static void what_is_not_frozen_is_refused(void **state)
{
	static const int lacking[] = {0, F_SEAL_WRITE | F_SEAL_GROW, F_SEAL_WRITE | F_SEAL_SHRINK,
	    F_SEAL_GROW | F_SEAL_SHRINK};
	uint8_t *data = NULL;
	struct err e;
	size_t len;
	int fd;

	(void)state;
	for (size_t i = 0; i < sizeof(lacking) / sizeof(lacking[0]); i++) {
		assert_int_equal(memfile_new("t", &fd, NULL), 0);
		assert_int_equal(write(fd, "abc", 3), 3);
		assert_int_equal(memfile_seal(fd, lacking[i], NULL), 0);
		assert_int_equal(memfile_load(fd, 100, &data, &len, &e), TX_EPROTO);
		assert_null(data);
		close(fd);
	}
}

static void empty_big_and_foreign_ones_are_refused(void **state)
{
	uint8_t *data = NULL;
	struct err e;
	size_t len;
	int fd, pipes[2];

	(void)state;
	assert_int_equal(memfile_freeze("t", "", 0, &fd, NULL), 0);
	assert_int_equal(memfile_load(fd, 100, &data, &len, &e), TX_EPROTO);
	close(fd);
	assert_int_equal(memfile_freeze("t", "abc", 3, &fd, NULL), 0);
	assert_int_equal(memfile_load(fd, 2, &data, &len, &e), TX_ETOOBIG);
	close(fd);
	assert_int_equal(pipe2(pipes, O_CLOEXEC), 0);
	assert_int_equal(memfile_load(pipes[0], 100, &data, &len, &e), TX_EPROTO);
	close(pipes[0]);
	close(pipes[1]);
	assert_int_equal(memfile_load(-1, 100, &data, &len, &e), TX_EPROTO);
	assert_null(data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(what_is_frozen_is_loaded_and_cannot_change),
	    cmocka_unit_test(a_copy_is_frozen_private_and_as_long_as_the_file),
	    cmocka_unit_test(load_leaves_the_file_offset_alone),
	    cmocka_unit_test(what_is_not_frozen_is_refused),
	    cmocka_unit_test(empty_big_and_foreign_ones_are_refused),
	};

	return cmocka_run_group_tests_name("memfile", tests, NULL, NULL);
}
