/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/digest.h"
#include "common/file_range.h"
#include "tests/support/folder.h"

#define MB ((uint64_t)1 << 20)

static void digests_are_sha256(void **state)
{
	static const struct {
		const char *text, *hex;
	} rows[] = {
	    {"", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
	    {"abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
	};
	struct digest *d;
	uint8_t out[DIGEST_SIZE];
	char hex[DIGEST_HEX_SIZE];

	(void)state;
	assert_int_equal(digest_prepare(), 0);
	d = digest_new();
	assert_non_null(d);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(digest_reset(d), 0);
		for (const char *p = rows[i].text; *p != '\0'; p++)
			assert_int_equal(digest_add(d, p, 1), 0);
		assert_int_equal(digest_end(d, out), 0);
		digest_hex(hex, out);
		assert_string_equal(hex, rows[i].hex);
	}
	digest_free(d);
	digest_free(NULL);
}

/* ---- ranges ---- */

struct seen {
	uint8_t *data;
	size_t len, calls, stop_at;
};

static int collect(const void *data, size_t len, void *arg)
{
	struct seen *s = arg;

	assert_true(len > 0 && len <= FILE_RANGE_PIECE);
	if (++s->calls == s->stop_at)
		return -7;
	memcpy(s->data + s->len, data, len);
	s->len += len;
	return 0;
}

/* 3 MiB: bytes, a hole of 1 MiB, and bytes again, with an odd end. */
static int make_file(const char *folder, uint8_t **want, size_t *len)
{
	char *path = folder_path(folder, "f");
	int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);

	assert_true(fd >= 0);
	free(path);
	*len = (size_t)(3 * MB) + 77;
	*want = calloc(1, *len);
	assert_non_null(*want);
	for (size_t i = 0; i < *len; i++)
		if (i < MB || i >= 2 * MB)
			(*want)[i] = (uint8_t)(i * 31 + (i >> 9));
	assert_int_equal(pwrite(fd, *want, MB, 0), MB);
	assert_int_equal(pwrite(fd, *want + 2 * MB, *len - 2 * MB, (off_t)(2 * MB)), *len - 2 * MB);
	return fd;
}

static void ranges_come_whole(void **state)
{
	static const struct {
		uint64_t offset, length;
	} rows[] = {{0, 0}, {0, 1}, {1, MB}, {MB - 1, 2}, {MB + 5, 10}, {MB / 2, 2 * MB},
	    {2 * MB - 1, 0}, {3 * MB + 76, 1}, {3 * MB + 76, 100}, {3 * MB + 77, 0}, {9 * MB, 5},
	    {5, UINT64_MAX}, {UINT64_MAX, 0}, {INT64_MAX, 3}};
	uint8_t *want;
	struct seen s = {0};
	uint64_t done;
	size_t len;
	int fd = make_file(*state, &want, &len);

	s.data = malloc(len);
	assert_non_null(s.data);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint64_t from = rows[i].offset < len ? rows[i].offset : len, to = len;

		if (rows[i].length > 0 && rows[i].length < len - from)
			to = from + rows[i].length;
		s.len = 0;
		assert_int_equal(
		    file_range_read(fd, rows[i].offset, rows[i].length, collect, &s, &done), 0);
		assert_int_equal(done, to - from);
		assert_int_equal(s.len, done);
		assert_memory_equal(s.data, want + from, s.len);
	}
	free(s.data);
	free(want);
	close(fd);
}

static void whoever_is_told_may_stop(void **state)
{
	uint8_t *want;
	struct seen s = {.stop_at = 3};
	uint64_t done;
	size_t len;
	int fd = make_file(*state, &want, &len);

	s.data = malloc(len);
	assert_non_null(s.data);
	assert_int_equal(file_range_read(fd, 0, 0, collect, &s, &done), -7);
	assert_int_equal(done, 2 * FILE_RANGE_PIECE);
	free(s.data);
	free(want);
	close(fd);
}

static void holes_are_found(void **state)
{
	uint8_t *want;
	size_t len;
	int fd = make_file(*state, &want, &len);
	uint64_t at = 0, to, bytes = 0;
	bool data;

	while (at < len) {
		file_range_part(fd, at, len, &data, &to);
		assert_true(to > at && to <= len);
		/* A file system may have written zeros where it has no holes, never the reverse. */
		if (data)
			bytes += to - at;
		else
			for (uint64_t i = at; i < to; i++)
				assert_int_equal(want[i], 0);
		at = to;
	}
	assert_true(bytes >= 2 * MB + 77);
	free(want);
	close(fd);
}

static void sizes_that_are_not_so_do_not_matter(void **state)
{
	uint8_t buffer[4096];
	struct seen s = {.data = buffer};
	uint64_t done;
	int fd = open("/proc/self/stat", O_RDONLY | O_CLOEXEC);

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(file_range_read(fd, 0, 0, collect, &s, &done), 0);
	assert_true(done > 10);
	close(fd);
}

static void failures_are_told(void **state)
{
	struct seen s = {0};
	uint64_t done;
	int fd = open(*state, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	char c;

	assert_true(fd >= 0);
	assert_int_equal(file_range_read(fd, 0, 0, collect, &s, &done), EISDIR);
	assert_int_equal(done, 0);
	assert_int_equal(file_range_get(fd, &c, 1, 0), -1);
	close(fd);
	assert_int_equal(file_range_read(fd, 0, 0, collect, &s, &done), EBADF);
}

#define in_folder(f) cmocka_unit_test_setup_teardown(f, folder_make, folder_remove)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(digests_are_sha256),
	    in_folder(ranges_come_whole),
	    in_folder(whoever_is_told_may_stop),
	    in_folder(holes_are_found),
	    cmocka_unit_test(sizes_that_are_not_so_do_not_matter),
	    in_folder(failures_are_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
