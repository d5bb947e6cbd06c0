/* SPDX-License-Identifier: Apache-2.0 */
/* Trees: what files have besides their content, where that is not as usual. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/tree_meta.h"
#include "tests/support/alloc_fail.h"
#include "tests/support/folder.h"
#include "tests/support/tree_pump.h"

#define NOBODY 65534

static char top[600];

static int set_up(void **state)
{
	int rc = folder_make(state);

	if (rc == 0)
		snprintf(top, sizeof(top), "%s", (const char *)*state);
	return rc;
}

static int tear_down(void **state)
{
	return folder_remove(state);
}

static const char *at(const char *name)
{
	static char paths[8][700];
	static unsigned next;
	char *out = paths[next++ % 8];

	snprintf(out, sizeof(paths[0]), "%s/%s", top, name);
	return out;
}

static void write_to(const char *name, const char *content)
{
	FILE *f = fopen(at(name), "w");

	assert_non_null(f);
	assert_true(fputs(content, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static unsigned mode_of(const char *name)
{
	struct stat st;

	assert_int_equal(lstat(at(name), &st), 0);
	return st.st_mode & 07777;
}

/* ---- attributes of files that their owner may not write to ---- */

static struct tree_pump_result run(bool again)
{
	struct tree_pump p;

	tree_pump_init(&p, at("a"), at("b"));
	if (again)
		p.options.check = TELEX__V1__TREE_CHECK__TREE_CHECK_QUICK;
	return tree_pump_run(&p);
}

/* In a process of its own, without privileges. False: these file systems have no attributes. */
static bool as_nobody(int (*test)(void))
{
	int status;
	pid_t pid;

	write_to("probe", "");
	if (setxattr(at("probe"), "user.k", "v", 1, 0) != 0)
		return false;
	assert_int_equal(unlink(at("probe")), 0);
	if (geteuid() == 0)
		assert_int_equal(chown(top, NOBODY, NOBODY), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (pid == 0)
		_exit(geteuid() == 0 && (setgid(NOBODY) != 0 || setuid(NOBODY) != 0) ? 99 : test());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
	return true;
}

static bool has_value(const char *name, const char *value)
{
	char path[700], got[64];
	ssize_t n;

	snprintf(path, sizeof(path), "%s", at(name));
	n = getxattr(path, "user.k", got, sizeof(got));
	return n == (ssize_t)strlen(value) && memcmp(got, value, (size_t)n) == 0;
}

static int closed_files(void)
{
	static const struct {
		const char *name;
		mode_t mode;
	} all[] = {{"a/read", 0444}, {"a/run", 0555}, {"a/write", 0644}};
	char copy[16];

	mkdir(at("a"), 0755);
	for (size_t i = 0; i < 3; i++) {
		write_to(all[i].name, "content");
		if (setxattr(at(all[i].name), "user.k", "value", 5, 0) != 0 ||
		    chmod(at(all[i].name), all[i].mode) != 0)
			return 1;
	}
	if (setxattr(at("a"), "user.k", "folder", 6, 0) != 0 || chmod(at("a"), 0555) != 0)
		return 2;
	if (run(false).failed != 0)
		return 3;
	for (size_t i = 0; i < 3; i++) {
		snprintf(copy, sizeof(copy), "b%s", all[i].name + 1);
		if (mode_of(copy) != all[i].mode || !has_value(copy, "value"))
			return 4;
	}
	if (mode_of("b") != 0555 || !has_value("b", "folder"))
		return 5;
	/* And where the content is there. */
	chmod(at("a/read"), 0644);
	if (setxattr(at("a/read"), "user.k", "other", 5, 0) != 0)
		return 6;
	chmod(at("a/read"), 0444);
	chmod(at("b/run"), 0000);
	if (run(true).failed != 0 || mode_of("b/run") != 0555 || mode_of("b/read") != 0444 ||
	    !has_value("b/read", "other") || !has_value("b/run", "value"))
		return 7;
	return 0;
}

static void who_may_not_write_a_file_has_its_attributes(void **state)
{
	(void)state;
	if (!as_nobody(closed_files)) {
		print_message("no attributes here\n");
		skip();
	}
}

static int shut_files(void)
{
	Telex__V1__TreeOptions options = TELEX__V1__TREE_OPTIONS__INIT;
	struct tree_apply apply = {.options = &options};
	Telex__V1__TreeEntry e = TELEX__V1__TREE_ENTRY__INIT;
	Telex__V1__ExtendedAttribute x = TELEX__V1__EXTENDED_ATTRIBUTE__INIT, *list[] = {&x};
	const char *what = "";
	int fd = open(at("shut"), O_CREAT | O_RDWR, 0600);

	options.extended_attributes = true;
	e.type = TELEX__V1__FILE_TYPE__FILE_TYPE_REGULAR;
	e.extended_attributes = list;
	e.n_extended_attributes = 1;
	x.name = (ProtobufCBinaryData){6, (uint8_t *)(uintptr_t) "user.k"};
	x.value = (ProtobufCBinaryData){5, (uint8_t *)(uintptr_t) "value"};
	if (fd < 0 || tree_apply_fd(&apply, fd, &e, &what) != 0 || mode_of("shut") != 0)
		return 1;
	/* One that is there, and is shut. */
	x.value = (ProtobufCBinaryData){5, (uint8_t *)(uintptr_t) "other"};
	if (tree_apply_fd(&apply, fd, &e, &what) != 0 || mode_of("shut") != 0)
		return 2;
	if (fchmod(fd, 0600) != 0 || !has_value("shut", "other") || fchmod(fd, 0) != 0)
		return 3;
	e.n_extended_attributes = 0;
	if (tree_apply_fd(&apply, fd, &e, &what) != 0 || mode_of("shut") != 0)
		return 4;
	if (fchmod(fd, 0600) != 0 || has_value("shut", "other"))
		return 5;
	/* Where they cannot be set, the mode is what it was. */
	e.n_extended_attributes = 1;
	x.name = (ProtobufCBinaryData){5, (uint8_t *)(uintptr_t) "user."};
	if (fchmod(fd, 0400) != 0 || tree_apply_fd(&apply, fd, &e, &what) == 0)
		return 6;
	return mode_of("shut") == 0400 ? 0 : 7;
}

static void who_may_not_even_read_it_has_them(void **state)
{
	(void)state;
	if (!as_nobody(shut_files)) {
		print_message("no attributes here\n");
		skip();
	}
}

/* ---- files of size 0 with content ---- */

static struct tree_pump_result send(const char *source, bool eager)
{
	struct tree_pump p;

	tree_pump_init(&p, source, at("x"));
	p.options.eager = eager;
	return tree_pump_run(&p);
}

static void what_has_no_size_arrives_as_it_is_read(void **state)
{
	char line[8] = "";
	FILE *f;

	(void)state;
	for (int eager = 0; eager < 2; eager++) {
		assert_int_equal(send("/proc/self/status", eager).failed, 0);
		f = fopen(at("x"), "r");
		assert_non_null(f);
		assert_non_null(fgets(line, sizeof(line), f));
		assert_int_equal(fclose(f), 0);
		assert_memory_equal(line, "Name:", 5);
		assert_int_equal(unlink(at("x")), 0);
	}
}

/* Pages that are each a line of /proc/self/maps. */
struct pages {
	char *map;
	size_t n, size;
};

static struct pages make_pages(size_t n)
{
	struct pages p = {.n = n, .size = (size_t)sysconf(_SC_PAGESIZE)};

	p.map = mmap(NULL, n * p.size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	assert_true(p.map != MAP_FAILED);
	for (size_t i = 0; i < n; i += 2)
		assert_int_equal(mprotect(p.map + i * p.size, p.size, PROT_READ), 0);
	return p;
}

/* Their lines in what was read of it; malloc'd. */
static char *lines_of(const struct pages *p, const char *path)
{
	size_t room = (size_t)1 << 20, len;
	char *all = malloc(room), *out, *from, *to, begin[32], end[32];
	FILE *f = fopen(path, "r");

	assert_non_null(all);
	assert_non_null(f);
	len = fread(all, 1, room - 1, f);
	assert_int_equal(fclose(f), 0);
	assert_true(len > 2 * TREE_INLINE_MAX && len < room - 1);
	all[len] = '\0';
	snprintf(begin, sizeof(begin), "%lx-", (unsigned long)(uintptr_t)(p->map + p->size));
	snprintf(
	    end, sizeof(end), "%lx-", (unsigned long)(uintptr_t)(p->map + (p->n - 2) * p->size));
	from = strstr(all, begin);
	to = strstr(all, end);
	assert_true(from != NULL && to > from);
	out = strndup(from, (size_t)(to - from));
	assert_non_null(out);
	free(all);
	return out;
}

static void what_has_no_size_and_much_content_arrives(void **state)
{
	struct pages p = make_pages(4000);

	(void)state;
	for (int eager = 0; eager < 2; eager++) {
		const struct tree_pump_result r = send("/proc/self/maps", eager);
		char *is, *came;

		assert_string_equal(r.last, "");
		assert_int_equal(r.failed, 0);
		assert_int_equal(r.files, 1);
		is = lines_of(&p, "/proc/self/maps");
		came = lines_of(&p, at("x"));
		assert_string_equal(came, is);
		free(is);
		free(came);
		assert_int_equal(unlink(at("x")), 0);
	}
	assert_int_equal(munmap(p.map, p.n * p.size), 0);
}

/* Together more than may be held: the sender waits until some of it is gone. */
static void much_of_that_arrives_one_after_the_other(void **state)
{
	enum { FILES = 10 };
	struct tree_pump_result r;
	struct pages pages;
	struct tree_pump p;
	struct stat st;
	char name[32];

	(void)state;
	if (getenv("TELEX_TEST_SLOW") != NULL || access("/proc/self/smaps", R_OK) != 0)
		skip();
	assert_int_equal(mkdir(at("a"), 0755), 0);
	for (int i = 0; i < FILES; i++) {
		snprintf(name, sizeof(name), "a/%d", i);
		assert_int_equal(symlink("/proc/self/smaps", at(name)), 0);
	}
	pages = make_pages(14000);
	tree_pump_init(&p, at("a"), at("b"));
	p.options.follow = p.late = true;
	r = tree_pump_run(&p);
	assert_int_equal(munmap(pages.map, pages.n * pages.size), 0);
	assert_string_equal(r.last, "");
	assert_true(r.finished);
	assert_int_equal(r.files, FILES);
	for (int i = 0; i < FILES; i++) {
		snprintf(name, sizeof(name), "b/%d", i);
		assert_int_equal(stat(at(name), &st), 0);
		assert_true(st.st_size > 7 << 20);
	}
}

static void what_has_no_size_and_does_not_end_is_refused(void **state)
{
	struct tree_pump_result r;
	struct pages p;

	(void)state;
	/* It takes long there. */
	if (getenv("TELEX_TEST_SLOW") != NULL || access("/proc/self/smaps", R_OK) != 0)
		skip();
	/* Each is 700 bytes of it, and more. */
	p = make_pages(50000);
	r = send("/proc/self/smaps", true);
	assert_int_equal(munmap(p.map, p.n * p.size), 0);
	assert_int_equal(r.failed, 1);
	assert_string_equal(r.reason, "NOT_SUPPORTED");
	assert_non_null(strstr(r.last, "more than 32 MiB"));
	assert_int_equal(access(at("x"), F_OK), -1);
}

/* ---- times ---- */

/* False: not on this file system. */
static bool set_time(const char *name, time_t seconds, long ns)
{
	const struct timespec ts[2] = {{seconds, ns}, {seconds, ns}};
	struct stat st;

	assert_int_equal(utimensat(AT_FDCWD, at(name), ts, 0), 0);
	assert_int_equal(stat(at(name), &st), 0);
	return st.st_mtim.tv_sec == seconds;
}

static void times_beyond_2262_are_kept(void **state)
{
	static const time_t times[] = {9999999999, 9223372036, -9223372037, -1, 0};
	struct tree_pump_result r;
	struct stat st;
	char content[8];

	(void)state;
	assert_int_equal(mkdir(at("a"), 0755), 0);
	for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
		snprintf(content, sizeof(content), "%zu", i);
		write_to("a/file", content);
		if (!set_time("a/file", times[i], 999999999))
			continue;
		assert_int_equal(run(false).failed, 0);
		assert_int_equal(stat(at("b/file"), &st), 0);
		assert_true(st.st_mtim.tv_sec == times[i]);
		assert_int_equal(st.st_mtim.tv_nsec, 999999999);
		/* And so it is not sent again. */
		r = run(true);
		assert_int_equal(r.files, 0);
		assert_int_equal(r.failed, 0);
	}
}

static void times_of_entries_cannot_overflow(void **state)
{
	static const int64_t most[] = {INT64_MIN, -1, 0, 1, INT64_MAX};
	Telex__V1__TreeEntry e = TELEX__V1__TREE_ENTRY__INIT, back = TELEX__V1__TREE_ENTRY__INIT;
	struct stat st = {0};

	(void)state;
	for (size_t i = 0; i < 5; i++)
		for (size_t k = 0; k < 5; k++) {
			e.mtime_s = most[i];
			e.mtime_ns = most[k];
			assert_int_equal(tree_mtime_is(&e, &st), e.mtime_s == 0 && e.mtime_ns == 0);
			st.st_mtim.tv_sec = most[i];
			tree_mtime_put(&back, &st);
			assert_true(tree_mtime_is(&back, &st));
			st.st_mtim.tv_sec = 0;
		}
}

/* ---- what a peer may say, and what the system may not give ---- */

/* False: these file systems have no attributes. */
static bool make_with(const char *name, mode_t mode, size_t n)
{
	char key[32];

	write_to(name, "");
	for (size_t i = 0; i < n; i++) {
		snprintf(key, sizeof(key), "user.%zu", i);
		if (setxattr(at(name), key, "v", 1, 0) != 0)
			return false;
	}
	assert_int_equal(chmod(at(name), mode), 0);
	return true;
}

static int open_top(void)
{
	int fd = open(top, O_PATH | O_DIRECTORY | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

static void put_attribute(
    Telex__V1__ExtendedAttribute *x, const char *key, const void *value, size_t len)
{
	telex__v1__extended_attribute__init(x);
	x->name.data = (uint8_t *)(uintptr_t)key;
	x->name.len = strlen(key);
	x->value.data = (uint8_t *)(uintptr_t)value;
	x->value.len = len;
}

static void more_attributes_than_are_kept_are_told(void **state)
{
	Telex__V1__ExtendedAttribute **list;
	size_t n;
	int dir;

	(void)state;
	if (!make_with("many", 0644, 1))
		skip();
	if (!make_with("most", 0644, TREE_XATTRS_MAX) ||
	    !make_with("many", 0644, TREE_XATTRS_MAX + 1))
		skip(); /* this one has not that much room for them */
	dir = open_top();
	assert_int_equal(tree_xattrs_read(dir, "most", &list, &n), 0);
	assert_int_equal(n, TREE_XATTRS_MAX);
	tree_xattrs_free(list, n);
	assert_int_equal(tree_xattrs_read(dir, "many", &list, &n), -1);
	assert_int_equal(errno, E2BIG);
	close(dir);
}

static void without_memory_attributes_are_not_read(void **state)
{
	Telex__V1__ExtendedAttribute **list;
	size_t n;
	bool failed = true;
	long count = 1;
	int dir;

	(void)state;
	if (!make_with("some", 0644, 3))
		skip();
	dir = open_top();
	for (; failed; count++) {
		int rc;

		alloc_fail_at(count, false);
		errno = 0;
		rc = tree_xattrs_read(dir, "some", &list, &n);
		failed = alloc_fail_happened();
		alloc_fail_stop();
		assert_int_equal(rc, failed ? -1 : 0);
		if (rc == 0)
			assert_int_equal(n, 3);
		else
			assert_int_equal(errno, ENOMEM);
		if (rc == 0)
			tree_xattrs_free(list, n);
	}
	assert_true(count > 10);
	close(dir);
}

/* Whoever could not be given an attribute does not keep the rights that setting it took. */
static void an_attribute_that_is_none_leaves_the_mode(void **state)
{
	static const mode_t modes[] = {0444, 0400, 0644, 0000};
	Telex__V1__TreeOptions options = TELEX__V1__TREE_OPTIONS__INIT;
	Telex__V1__TreeEntry e = TELEX__V1__TREE_ENTRY__INIT;
	const struct tree_apply a = {.options = &options, .umask = 022};
	Telex__V1__ExtendedAttribute none, *list[] = {&none};
	const char *what;

	(void)state;
	if (!make_with("none", 0644, 1))
		skip();
	put_attribute(&none, "user.", "v", 1);
	options.extended_attributes = true;
	e.type = TELEX__V1__FILE_TYPE__FILE_TYPE_REGULAR;
	e.mode = 0666;
	e.extended_attributes = list;
	e.n_extended_attributes = 1;
	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		int fd = open(at("none"), O_RDWR | O_CLOEXEC);

		assert_true(fd >= 0);
		assert_int_equal(fchmod(fd, modes[i]), 0);
		assert_int_equal(tree_apply_fd(&a, fd, &e, &what), -1);
		assert_int_equal(errno, EINVAL);
		assert_non_null(strstr(what, "attributes"));
		assert_int_equal(mode_of("none"), modes[i]);
		assert_int_equal(fchmod(fd, 0644), 0);
		close(fd);
	}
}

/* One that a peer says twice does not stand for another that is there. */
static void attributes_are_compared_one_by_one(void **state)
{
	Telex__V1__TreeOptions options = TELEX__V1__TREE_OPTIONS__INIT;
	Telex__V1__TreeEntry e = TELEX__V1__TREE_ENTRY__INIT;
	const struct tree_apply a = {.options = &options, .umask = 022};
	Telex__V1__ExtendedAttribute zero, one, other, *twice[] = {&zero, &zero},
	                                               *both[] = {&other, &one, &zero};
	struct stat st;
	int dir;

	(void)state;
	if (!make_with("two", 0644, 2))
		skip();
	put_attribute(&zero, "user.0", "v", 1);
	put_attribute(&one, "user.1", "v", 1);
	put_attribute(&other, "other.space", "v", 1);
	options.extended_attributes = true;
	options.no_times = true;
	e.type = TELEX__V1__FILE_TYPE__FILE_TYPE_REGULAR;
	e.mode = 0644;
	assert_int_equal(stat(at("two"), &st), 0);
	dir = open_top();
	e.extended_attributes = twice;
	e.n_extended_attributes = 2;
	assert_false(tree_applied(&a, dir, "two", &st, &e));
	e.extended_attributes = both;
	e.n_extended_attributes = 3;
	assert_true(tree_applied(&a, dir, "two", &st, &e));
	put_attribute(&one, "user.1", "w", 1);
	assert_false(tree_applied(&a, dir, "two", &st, &e));
	close(dir);
}

static void what_is_no_file_has_its_type(void **state)
{
	(void)state;
	assert_int_equal(tree_type(S_IFSOCK), TELEX__V1__FILE_TYPE__FILE_TYPE_SOCKET);
	assert_int_equal(tree_type(S_IFCHR), TELEX__V1__FILE_TYPE__FILE_TYPE_CHARACTER_DEVICE);
	assert_int_equal(tree_type(S_IFBLK), TELEX__V1__FILE_TYPE__FILE_TYPE_BLOCK_DEVICE);
	assert_int_equal(tree_type(0), TELEX__V1__FILE_TYPE__FILE_TYPE_UNSPECIFIED);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(
	        who_may_not_write_a_file_has_its_attributes, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(who_may_not_even_read_it_has_them, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(times_beyond_2262_are_kept, set_up, tear_down),
	    cmocka_unit_test(times_of_entries_cannot_overflow),
	    cmocka_unit_test_setup_teardown(
	        what_has_no_size_arrives_as_it_is_read, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(
	        what_has_no_size_and_much_content_arrives, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(
	        what_has_no_size_and_does_not_end_is_refused, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(
	        much_of_that_arrives_one_after_the_other, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(
	        more_attributes_than_are_kept_are_told, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(
	        without_memory_attributes_are_not_read, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(
	        an_attribute_that_is_none_leaves_the_mode, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(attributes_are_compared_one_by_one, set_up, tear_down),
	    cmocka_unit_test(what_is_no_file_has_its_type),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
