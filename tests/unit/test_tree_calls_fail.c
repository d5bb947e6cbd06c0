/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Trees on their way, while a system call of the sender or of the receiver fails: each in turn.
 * What is said to be there is there; every file is the old one or the new one; what was cut is gone
 * on with, and leaves nothing behind. TELEX_CALLS=all: each call fails with each error; else with
 * EIO and with one of the others.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/tree_delta.h"
#include "tests/support/call_fail.h"
#include "tests/support/folder.h"
#include "tests/support/look.h"
#include "tests/support/tree_pump.h"

#define CALLS_MAX 5000

static const int errors[] = {EIO, EINTR, ENOMEM, EMFILE, ENOSPC, EDQUOT, CALL_FAIL_SHORT};

static char *top;

static const char *at(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static const char *at(const char *fmt, ...)
{
	static char paths[8][4096];
	static unsigned next;
	char *out = paths[next++ % 8];
	va_list ap;
	int n = snprintf(out, sizeof(paths[0]), "%s/", top);

	va_start(ap, fmt);
	vsnprintf(out + n, sizeof(paths[0]) - (size_t)n, fmt, ap);
	va_end(ap);
	return out;
}

static int set_up(void **state)
{
	if (folder_make(state) != 0)
		return -1;
	top = *state;
	return 0;
}

/* ---- the trees ---- */

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static void remove_all(const char *path)
{
	if (access(path, F_OK) == 0)
		assert_int_equal(nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS), 0);
}

static void put(const char *path, size_t size, unsigned seed)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	const struct timespec ts[2] = {{1000000000 + seed, 5}, {1000000000 + seed, 5}};
	static uint32_t block[16384];
	uint64_t x = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;

	assert_true(fd >= 0);
	for (size_t i = 0; i < sizeof(block) / sizeof(block[0]) && i * sizeof(block[0]) < size;
	     i++) {
		x = x * UINT64_C(6364136223846793005) + 1442695040888963407u;
		block[i] = (uint32_t)(x >> 32);
	}
	for (size_t n = 0; n < size; n += sizeof(block)) {
		size_t len = size - n < sizeof(block) ? size - n : sizeof(block);

		block[0] = (uint32_t)n;
		assert_int_equal(write(fd, block, len), len);
	}
	assert_int_equal(futimens(fd, ts), 0);
	close(fd);
}

static void make_link(const char *target, const char *path)
{
	const struct timespec ts[2] = {{1000000000, 1}, {1000000000, 1}};

	assert_int_equal(symlink(target, path), 0);
	assert_int_equal(utimensat(AT_FDCWD, path, ts, AT_SYMLINK_NOFOLLOW), 0);
}

/* What is sent. */
static void make_source(void)
{
	int fd;

	mkdir(at("a"), 0755);
	mkdir(at("a/d"), 0750);
	mkdir(at("a/d/e"), 0700);
	put(at("a/small"), 100, 1);
	put(at("a/large"), TREE_DELTA_MIN + 5000, 2);
	put(at("a/d/one"), TREE_INLINE_MAX + 1, 3);
	put(at("a/d/e/deep"), 10, 4);
	assert_int_equal(link(at("a/small"), at("a/d/same")), 0);
	make_link("../small", at("a/d/link"));
	make_link("nowhere", at("a/was-file"));
	put(at("a/was-link"), 5, 5);
	fd = open(at("a/sparse"), O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, "middle", 6, 150000), 6);
	assert_int_equal(ftruncate(fd, 200000), 0);
	close(fd);
}

/* What is there already, in part. */
static void make_old(void)
{
	const struct timespec ts[2] = {{1000000003, 0}, {1000000003, 0}};
	int fd;

	mkdir(at("b"), 0755);
	mkdir(at("b/d"), 0750);
	mkdir(at("b/gone"), 0700);
	put(at("b/gone/below"), 10, 6);
	put(at("b/extra"), 10, 7);
	put(at("b/small"), 90, 8);
	put(at("b/large"), TREE_DELTA_MIN + 5000, 2);
	put(at("b/d/one"), 50, 9);
	make_link("../large", at("b/d/link"));
	put(at("b/was-file"), 10, 10);
	make_link("small", at("b/was-link"));
	fd = open(at("b/large"), O_WRONLY | O_CLOEXEC);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, "another", 7, 30000), 7);
	assert_int_equal(futimens(fd, ts), 0);
	close(fd);
}

/* ---- each call ---- */

struct way {
	const char *name;
	bool old; /* something is there */
	void (*options)(struct tree_pump *p);
};

static void arm(void *arg)
{
	const int *how = arg;

	call_fail_at(how[0], how[1]);
}

/* n 0: nothing fails. */
static struct tree_pump_result transfer(const struct way *way, long n, int error)
{
	int how[2] = {(int)n, error};
	struct tree_pump_result r;
	struct tree_pump p;

	tree_pump_init(&p, at("a"), at("b"));
	way->options(&p);
	p.ready = arm;
	p.arg = how;
	r = tree_pump_run(&p);
	call_fail_stop();
	return r;
}

static unsigned wrongs;
static const char *last_failed = "";

static void wrong(const struct way *way, long n, int error, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
static void wrong(const struct way *way, long n, int error, const char *fmt, ...)
{
	char what[1024];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(what, sizeof(what), fmt, ap);
	va_end(ap);
	if (++wrongs <= 20)
		print_message("%s: call %ld, %s, fails with %s: %s\n", way->name, n, last_failed,
		    error == CALL_FAIL_SHORT ? "fewer bytes" : strerrorname_np(error), what);
}

static bool all_done(const struct tree_pump_result *r)
{
	return r->rc >= 0 && r->finished && r->failed == 0 && r->errors == 0;
}

static bool is_sync(const char *name)
{
	return strcmp(name, "fsync") == 0 || strcmp(name, "syncfs") == 0;
}

/* What needs room. */
static bool makes(const char *name)
{
	return strcmp(name, "write") == 0 || strcmp(name, "pwrite") == 0 ||
	       strcmp(name, "mkdirat") == 0 || strcmp(name, "symlinkat") == 0 ||
	       strcmp(name, "linkat") == 0;
}

static void judge(const struct way *way, long n, int error, const struct tree_pump_result *r,
    const struct look *was, const struct look *to_be)
{
	struct look now = look_at(at("b"), LOOK_TIMES | LOOK_KIND_OF_FOLDER);
	const char *torn = look_torn(was, to_be, &now);

	if (torn != NULL)
		wrong(way, n, error, "%s is torn: %s", torn, look_what(&now, torn));
	torn = look_torn(to_be, to_be, &now);
	if (all_done(r) && torn != NULL)
		wrong(way, n, error, "said to be done, and %s is %s", torn, look_what(&now, torn));
	if (all_done(r) && error == EIO && is_sync(last_failed))
		wrong(way, n, error, "said to be durable");
	if (!all_done(r) && r->rc >= 0 && r->last[0] == '\0')
		wrong(way, n, error, "it does not say why");
	/* What failed with it tells of it. */
	if (!all_done(r) && r->rc >= 0 && error == EDQUOT && makes(last_failed) &&
	    strstr(r->reason, "_FAILED") == NULL &&
	    (strcmp(r->reason, "QUOTA") != 0 || strstr(r->last, ": Disk quota exceeded (") == NULL))
		wrong(way, n, error, "it does not say that a quota is used up: %s", r->last);
	if (r->finished && now.parts > 0)
		wrong(way, n, error, "finished, and a temporary file is left");
	look_clear(&now);
}

/* The same again, in peace. */
static void go_on(const struct way *way, long n, int error, const struct look *to_be)
{
	struct tree_pump_result r = transfer(way, 0, 0);
	struct look now = look_at(at("b"), LOOK_TIMES | LOOK_KIND_OF_FOLDER);
	const char *torn = look_torn(to_be, to_be, &now);

	if (!all_done(&r))
		wrong(way, n, error, "the same again does not go: %s", r.last);
	else if (torn != NULL)
		wrong(way, n, error, "after the same again %s is %s", torn, look_what(&now, torn));
	else if (now.parts > 0)
		wrong(way, n, error, "after the same again %u temporary files are left", now.parts);
	look_clear(&now);
}

/* Under valgrind (TELEX_TEST_SLOW) not each, but each of these many. */
static bool is_tried(long n, int error)
{
	const size_t others = sizeof(errors) / sizeof(errors[0]) - 1;

	if (getenv("TELEX_TEST_SLOW") != NULL && n % 11 != 0)
		return false;
	return error == EIO || errors[1 + (size_t)n % others] == error ||
	       getenv("TELEX_CALLS") != NULL;
}

static void each_call(const struct way *way)
{
	struct look was = {0}, to_be;
	struct tree_pump_result r;
	long calls;

	if (way->old) {
		make_old();
		was = look_at(at("b"), LOOK_TIMES | LOOK_KIND_OF_FOLDER);
	}
	r = transfer(way, 0, 0);
	assert_true(all_done(&r));
	calls = call_fail_count();
	assert_true(calls > 50 && calls < CALLS_MAX);
	to_be = look_at(at("b"), LOOK_TIMES | LOOK_KIND_OF_FOLDER);
	assert_int_equal(to_be.parts, 0);
	remove_all(at("b"));
	for (size_t k = 0; k < sizeof(errors) / sizeof(errors[0]); k++) {
		for (long n = 1; n <= calls; n++) {
			int open_before, open_after;

			if (!is_tried(n, errors[k]))
				continue;
			if (way->old)
				make_old();
			open_before = folder_count("/proc/self/fd");
			r = transfer(way, n, errors[k]);
			last_failed = call_fail_name();
			open_after = folder_count("/proc/self/fd");
			if (open_before != open_after)
				wrong(way, n, errors[k], "a descriptor stays open");
			if (access(at("b"), F_OK) == 0)
				judge(way, n, errors[k], &r, &was, &to_be);
			else if (all_done(&r))
				wrong(way, n, errors[k], "said to be done, and nothing is there");
			go_on(way, n, errors[k], &to_be);
			remove_all(at("b"));
		}
	}
	look_clear(&was);
	look_clear(&to_be);
}

static void run(const struct way *way)
{
	make_source();
	wrongs = 0;
	each_call(way);
	assert_int_equal(wrongs, 0);
}

/* ---- the ways ---- */

static void plain(struct tree_pump *p)
{
	(void)p;
}

static void a_new_tree(void **state)
{
	(void)state;
	run(&(struct way){"a new tree", false, plain});
}

static void compressed(struct tree_pump *p)
{
	p->options.compress = true;
}

static void over_an_old_tree(void **state)
{
	(void)state;
	run(&(struct way){"over an old tree", true, compressed});
}

static void differing(struct tree_pump *p)
{
	p->options.eager = false;
	p->options.delta = p->options.delete_extraneous = true;
	p->options.check = TELEX__V1__TREE_CHECK__TREE_CHECK_CHECKSUM;
}

static void what_differs(void **state)
{
	(void)state;
	run(&(struct way){"what differs", true, differing});
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(a_new_tree, set_up, folder_remove),
	    cmocka_unit_test_setup_teardown(over_an_old_tree, set_up, folder_remove),
	    cmocka_unit_test_setup_teardown(what_differs, set_up, folder_remove),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
