/* SPDX-License-Identifier: Apache-2.0 */
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
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "common/parts.h"
#include "common/temp_file.h"
#include "tests/support/folder.h"

#define ID   "0123456789abcdef0123456789abcdef"
#define NAME ".telex-" ID ".part"

struct place {
	char *folder;
	int fd;
};

static int setup(void **state)
{
	struct place *p = calloc(1, sizeof(*p));
	void *folder;

	if (p == NULL || folder_make(&folder) != 0)
		return -1;
	p->folder = folder;
	p->fd = open(p->folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
	*state = p;
	return p->fd >= 0 ? 0 : -1;
}

static int teardown(void **state)
{
	struct place *p = *state;
	void *folder = p->folder;
	int rc;

	close(p->fd);
	free(p);
	rc = folder_remove(&folder);
	return rc;
}

static void put(const struct place *p, const char *name, const char *text)
{
	int fd = openat(p->fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	assert_true(fd >= 0);
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

static const char *text_of(const struct place *p, const char *name)
{
	static char text[256];
	int fd = openat(p->fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return NULL;
	n = read(fd, text, sizeof(text) - 1);
	assert_true(n >= 0);
	text[n] = '\0';
	close(fd);
	return text;
}

static void open_new(struct temp_file *t, const struct place *p, const char *text)
{
	uint64_t size;

	assert_int_equal(temp_file_open(t, p->fd, ID, &size), 0);
	assert_int_equal(size, 0);
	assert_int_equal(temp_file_write(t, text, strlen(text), 0), 0);
}

static void ids_and_names(void **state)
{
	char name[TEMP_FILE_NAME_SIZE], id[TEMP_FILE_ID_SIZE], other[TEMP_FILE_ID_SIZE];

	(void)state;
	assert_true(temp_file_id_valid(ID));
	assert_true(temp_file_id_valid(ID ID));
	assert_true(temp_file_id_valid("0123456789abcdef"));
	assert_false(temp_file_id_valid("0123456789abcde"));
	assert_false(temp_file_id_valid(ID ID "0"));
	assert_false(temp_file_id_valid(""));
	assert_false(temp_file_id_valid("0123456789ABCDEF"));
	assert_false(temp_file_id_valid("0123456789abcdef/../x"));
	temp_file_name(name, ID "ffff");
	assert_string_equal(name, NAME);
	temp_file_name(name, "0123456789abcdef");
	assert_string_equal(name, ".telex-0123456789abcdef.part");
	assert_true(parts_is_name(name));
	assert_true(parts_is_name(NAME));
	assert_false(parts_is_name(".telex-.part"));
	assert_false(parts_is_name(".telex-0g.part"));
	assert_false(parts_is_name(".telex-" ID "0.part"));
	assert_false(parts_is_name(".telex-00.part2"));
	assert_false(parts_is_name("telex-00.part"));
	assert_int_equal(temp_file_id_make(id), 0);
	assert_int_equal(temp_file_id_make(other), 0);
	assert_true(temp_file_id_valid(id));
	assert_string_not_equal(id, other);
}

static void it_takes_its_place_at_once(void **state)
{
	const struct place *p = *state;
	struct temp_file t;
	struct stat st;

	put(p, "target", "old");
	open_new(&t, p, "new content");
	assert_string_equal(text_of(p, "target"), "old");
	assert_int_equal(fstat(t.fd, &st), 0);
	assert_int_equal(st.st_mode, S_IFREG | 0600);
	assert_int_equal(temp_file_commit(&t, "target", TEMP_FILE_DURABLE), 0);
	assert_int_equal(t.fd, -1);
	assert_string_equal(text_of(p, "target"), "new content");
	assert_int_equal(folder_count(p->folder), 1);
	temp_file_keep(&t);
	temp_file_drop(&t);
	assert_int_equal(folder_count(p->folder), 1);
}

static void it_replaces_nothing_where_it_is_told(void **state)
{
	const struct place *p = *state;
	struct temp_file t;

	put(p, "target", "old");
	open_new(&t, p, "new");
	assert_int_equal(
	    temp_file_commit(&t, "target", TEMP_FILE_NEVER | TEMP_FILE_DURABLE), EEXIST);
	assert_string_equal(text_of(p, "target"), "old");
	assert_string_equal(text_of(p, NAME), "new");
	assert_int_equal(temp_file_commit(&t, "other", TEMP_FILE_NEVER), 0);
	assert_string_equal(text_of(p, "other"), "new");
	assert_int_equal(folder_count(p->folder), 2);
}

static void a_commit_that_fails_leaves_all(void **state)
{
	const struct place *p = *state;
	struct temp_file t;

	open_new(&t, p, "new");
	assert_int_equal(mkdirat(p->fd, "folder", 0700), 0);
	assert_int_equal(temp_file_commit(&t, "folder", 0), EISDIR);
	assert_string_equal(text_of(p, NAME), "new");
	assert_true(t.fd >= 0);
	temp_file_drop(&t);
	assert_null(text_of(p, NAME));
}

static void what_was_kept_is_found_again(void **state)
{
	const struct place *p = *state;
	struct temp_file t;
	int64_t expires, now = (int64_t)time(NULL);
	uint64_t size = 7;

	assert_int_equal(temp_file_look(p->fd, ID, &size, &expires), ENOENT);
	open_new(&t, p, "half");
	temp_file_keep(&t);
	assert_int_equal(temp_file_look(p->fd, ID, &size, &expires), 0);
	assert_int_equal(size, 4);
	assert_true(expires >= now + TEMP_FILE_LIFE - 60 && expires <= now + TEMP_FILE_LIFE + 600);
	assert_int_equal(temp_file_open(&t, p->fd, ID, &size), 0);
	assert_int_equal(size, 4);
	assert_int_equal(temp_file_resize(&t, 2), 0);
	assert_int_equal(temp_file_write(&t, "NGE", 3, 2), 0);
	assert_int_equal(temp_file_commit(&t, "target", 0), 0);
	assert_string_equal(text_of(p, "target"), "haNGE");
}

static void one_call_writes_it(void **state)
{
	const struct place *p = *state;
	struct temp_file t, other;
	uint64_t size;

	open_new(&t, p, "mine");
	assert_int_equal(temp_file_open(&other, p->fd, ID, &size), EAGAIN);
	temp_file_drop(&other);
	assert_string_equal(text_of(p, NAME), "mine");
	assert_int_equal(temp_file_commit(&t, "target", 0), 0);
	/* The name is free again. */
	open_new(&other, p, "other");
	assert_int_equal(temp_file_commit(&other, "target", 0), 0);
	assert_string_equal(text_of(p, "target"), "other");
}

static void what_others_put_there_is_not_written(void **state)
{
	const struct place *p = *state;
	struct temp_file t;
	uint64_t size;
	int64_t expires;

	put(p, "victim", "precious");
	for (int kind = 0; kind < 4; kind++) {
		if (kind == 0)
			assert_int_equal(symlinkat("victim", p->fd, NAME), 0);
		else if (kind == 1)
			assert_int_equal(linkat(p->fd, "victim", p->fd, NAME, 0), 0);
		else if (kind == 2)
			assert_int_equal(mknodat(p->fd, NAME, S_IFIFO | 0600, 0), 0);
		else
			assert_int_equal(symlinkat("nowhere", p->fd, NAME), 0);
		assert_int_equal(temp_file_look(p->fd, ID, &size, &expires), ENOENT);
		open_new(&t, p, "new");
		assert_int_equal(temp_file_commit(&t, "target", 0), 0);
		assert_string_equal(text_of(p, "victim"), "precious");
		assert_string_equal(text_of(p, "target"), "new");
		assert_null(text_of(p, "nowhere"));
	}
	assert_int_equal(mkdirat(p->fd, NAME, 0700), 0);
	assert_int_equal(temp_file_open(&t, p->fd, ID, &size), EEXIST);
	assert_int_equal(t.fd, -1);
}

static void another_users_is_not_written(void **state)
{
	const struct place *p = *state;
	struct temp_file t;

	if (geteuid() != 0) {
		print_message("# not root: cannot give a file away\n");
		skip();
	}
	put(p, NAME, "theirs");
	assert_int_equal(fchownat(p->fd, NAME, 65534, 65534, 0), 0);
	open_new(&t, p, "new");
	assert_int_equal(temp_file_commit(&t, "target", 0), 0);
	assert_string_equal(text_of(p, "target"), "new");
}

static void sizes_are_checked(void **state)
{
	const struct place *p = *state;
	struct temp_file t;
	struct stat st;

	open_new(&t, p, "x");
	assert_int_equal(temp_file_reserve(&t, 0, UINT64_MAX), EFBIG);
	assert_int_equal(temp_file_reserve(&t, 0, INT64_MAX), ENOSPC);
	assert_int_equal(temp_file_reserve(&t, 1, (uint64_t)4 << 20), 0);
	assert_int_equal(temp_file_reserve(&t, 5, 2), 0);
	assert_int_equal(fstat(t.fd, &st), 0);
	assert_int_equal(st.st_size, 1);
	assert_int_equal(temp_file_write(&t, "x", 1, INT64_MAX), EFBIG);
	assert_int_equal(temp_file_write(&t, "x", 1, UINT64_MAX), EFBIG);
	assert_int_equal(temp_file_resize(&t, UINT64_MAX), EFBIG);
	temp_file_drop(&t);
	assert_int_equal(folder_count(p->folder), 0);
}

static void dropping_takes_nobody_elses(void **state)
{
	const struct place *p = *state;
	struct temp_file t;

	open_new(&t, p, "mine");
	assert_int_equal(unlinkat(p->fd, NAME, 0), 0);
	put(p, NAME, "another");
	temp_file_drop(&t);
	assert_string_equal(text_of(p, NAME), "another");
}

static void make_old(const struct place *p, const char *name)
{
	struct timespec ts[2] = {{.tv_sec = time(NULL) - TEMP_FILE_LIFE - 100}};

	ts[1] = ts[0];
	assert_int_equal(utimensat(p->fd, name, ts, AT_SYMLINK_NOFOLLOW), 0);
}

static void what_has_expired_is_reaped(void **state)
{
	static const char other[] = ".telex-fedcba9876543210.part";
	static const char third[] = ".telex-00000000000000000000.part";
	const struct place *p = *state;
	struct temp_file_reaped memory = {0};
	int fd;

	put(p, NAME, "old");
	make_old(p, NAME);
	put(p, other, "young");
	put(p, third, "old and written");
	make_old(p, third);
	fd = openat(p->fd, third, O_RDONLY | O_CLOEXEC);
	assert_int_equal(flock(fd, LOCK_EX), 0);
	put(p, "old", "not a temporary");
	make_old(p, "old");
	assert_int_equal(symlinkat("old", p->fd, ".telex-aaaaaaaaaaaaaaaa.part"), 0);
	make_old(p, ".telex-aaaaaaaaaaaaaaaa.part");
	assert_int_equal(temp_file_reap(p->fd, &memory), 1);
	assert_int_equal(folder_count(p->folder), 4);
	assert_null(text_of(p, NAME));
	close(fd);
	/* It was looked through just now; another process would look. */
	assert_int_equal(temp_file_reap(p->fd, &memory), 0);
	memset(&memory, 0, sizeof(memory));
	assert_int_equal(temp_file_reap(p->fd, &memory), 1);
	assert_null(text_of(p, third));
	assert_non_null(text_of(p, other));
	assert_int_equal(temp_file_reap(-1, &memory), 0);
}

static void folders_that_cannot_be_used_say_so(void **state)
{
	const struct place *p = *state;
	struct temp_file t;
	uint64_t size;
	int fd;

	assert_int_equal(mkdirat(p->fd, "gone", 0700), 0);
	fd = openat(p->fd, "gone", O_PATH | O_DIRECTORY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(unlinkat(p->fd, "gone", AT_REMOVEDIR), 0);
	assert_int_equal(temp_file_open(&t, fd, ID, &size), ENOENT);
	close(fd);
	assert_int_equal(temp_file_open(&t, -1, ID, &size), EBADF);
	if (geteuid() != 0) {
		assert_int_equal(fchmodat(p->fd, ".", 0500, 0), 0);
		assert_int_equal(temp_file_open(&t, p->fd, ID, &size), EACCES);
		assert_int_equal(fchmodat(p->fd, ".", 0700, 0), 0);
	}
	assert_int_equal(temp_file_sync_folder(-1), EBADF);
}

#define in_place(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(ids_and_names),
	    in_place(it_takes_its_place_at_once),
	    in_place(it_replaces_nothing_where_it_is_told),
	    in_place(a_commit_that_fails_leaves_all),
	    in_place(what_was_kept_is_found_again),
	    in_place(one_call_writes_it),
	    in_place(what_others_put_there_is_not_written),
	    in_place(another_users_is_not_written),
	    in_place(sizes_are_checked),
	    in_place(dropping_takes_nobody_elses),
	    in_place(what_has_expired_is_reaped),
	    in_place(folders_that_cannot_be_used_say_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
