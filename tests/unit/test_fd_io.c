/* SPDX-License-Identifier: Apache-2.0 */
/* All is read and written, where the kernel does parts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "common/fd_io.h"

#define MUCH ((size_t)1 << 20) /* more than a pipe holds */

static void *read_slowly(void *arg)
{
	const int *fd = arg;
	size_t *total = calloc(1, sizeof(*total));
	char part[777];
	ssize_t n;

	while ((n = read(*fd, part, sizeof(part))) > 0)
		*total += (size_t)n;
	return total;
}

static void a_pipe_that_takes_parts_gets_all(void **state)
{
	char *much = calloc(1, MUCH);
	pthread_t reader;
	void *total;
	int fds[2];

	(void)state;
	assert_non_null(much);
	assert_int_equal(pipe2(fds, O_CLOEXEC), 0);
	assert_int_equal(pthread_create(&reader, NULL, read_slowly, &fds[0]), 0);
	assert_int_equal(fd_write_all(fds[1], much, MUCH), 0);
	close(fds[1]);
	assert_int_equal(pthread_join(reader, &total), 0);
	assert_int_equal(*(size_t *)total, MUCH);
	free(total);
	close(fds[0]);
	free(much);
}

static void a_file_is_read_from_its_begin_and_up_to_its_end(void **state)
{
	int fd = memfd_create("test", MFD_CLOEXEC);
	char text[8] = "";
	size_t got = 9;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(fd_write_all(fd, "abcdef", 6), 0);
	assert_int_equal(fd_read_all(fd, text, 4, &got), 0);
	assert_int_equal(got, 4);
	assert_memory_equal(text, "abcd", 4);
	assert_int_equal(fd_read_all(fd, text, sizeof(text), &got), 0);
	assert_int_equal(got, 6);
	/* Whoever shares it finds its offset where it was. */
	assert_int_equal(lseek(fd, 0, SEEK_CUR), 6);
	close(fd);
}

static void what_fails_is_told_by_its_errno(void **state)
{
	int fd = open("/dev/full", O_WRONLY | O_CLOEXEC);
	size_t got = 9;
	char c;

	(void)state;
	assert_int_equal(fd_write_all(-1, "x", 1), EBADF);
	assert_int_equal(fd_write_all(-1, NULL, 0), 0);
	assert_int_equal(fd_read_all(-1, &c, 1, &got), EBADF);
	assert_int_equal(got, 9);
	if (fd < 0)
		skip();
	assert_int_equal(fd_write_all(fd, "x", 1), ENOSPC);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_pipe_that_takes_parts_gets_all),
	    cmocka_unit_test(a_file_is_read_from_its_begin_and_up_to_its_end),
	    cmocka_unit_test(what_fails_is_told_by_its_errno),
	};

	return cmocka_run_group_tests_name("fd_io", tests, NULL, NULL);
}
