/* SPDX-License-Identifier: Apache-2.0 */
/* Trees from a sender to a receiver, both in this process. */
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
#include <sys/xattr.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/tree_pump.h"

static char top[64];

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

static int remove_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	(void)ftw;
	return remove(path);
}

static int open_up(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)ftw;
	(void)flag;
	if (S_ISDIR(st->st_mode))
		(void)chmod(path, 0700);
	return 0;
}

static int set_up(void **state)
{
	(void)state;
	snprintf(top, sizeof(top), "/tmp/telex-tree.XXXXXX");
	return mkdtemp(top) == NULL ? -1 : 0;
}

static int tear_down(void **state)
{
	(void)state;
	nftw(top, open_up, 16, FTW_PHYS);
	return nftw(top, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* A file of `size` bytes that are like no other's. */
static void make_file(const char *path, size_t size, unsigned seed)
{
	FILE *f = fopen(path, "w");
	uint64_t x = seed * UINT64_C(0x9e3779b97f4a7c15) + 1;

	assert_non_null(f);
	for (size_t i = 0; i < size; i += sizeof(x)) {
		size_t n = size - i < sizeof(x) ? size - i : sizeof(x);

		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		assert_int_equal(fwrite(&x, 1, n, f), n);
	}
	assert_int_equal(fclose(f), 0);
}

/* ---- comparing ---- */

static size_t prefix_len;
static const char *other_top;
static unsigned differences;

static void differ(const char *path, const char *what)
{
	print_message("%s: %s differs\n", path, what);
	differences++;
}

static void compare_content(const char *a, const char *b)
{
	static char x[65536], y[65536];
	FILE *f = fopen(a, "r"), *g = fopen(b, "r");
	size_t n, m;

	if (f == NULL || g == NULL) {
		differ(a, "being readable");
	} else {
		do {
			n = fread(x, 1, sizeof(x), f);
			m = fread(y, 1, sizeof(y), g);
			if (n != m || memcmp(x, y, n) != 0) {
				differ(a, "content");
				break;
			}
		} while (n > 0);
	}
	if (f != NULL)
		fclose(f);
	if (g != NULL)
		fclose(g);
}

static int compare_one(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	char other[4096], x[4096], y[4096];
	struct stat os;

	(void)flag;
	(void)ftw;
	snprintf(other, sizeof(other), "%s%s", other_top, path + prefix_len);
	if (lstat(other, &os) != 0) {
		differ(path, "being there");
		return 0;
	}
	if (st->st_mode != os.st_mode)
		differ(path, "mode");
	if (st->st_uid != os.st_uid || st->st_gid != os.st_gid)
		differ(path, "owner");
	if (st->st_mtim.tv_sec != os.st_mtim.tv_sec || st->st_mtim.tv_nsec != os.st_mtim.tv_nsec)
		differ(path, "mtime");
	if (!S_ISDIR(st->st_mode) && (st->st_size != os.st_size || st->st_nlink != os.st_nlink))
		differ(path, "size or links");
	if (S_ISREG(st->st_mode))
		compare_content(path, other);
	if (S_ISLNK(st->st_mode)) {
		ssize_t n = readlink(path, x, sizeof(x)), m = readlink(other, y, sizeof(y));

		if (n != m || n < 0 || memcmp(x, y, (size_t)n) != 0)
			differ(path, "target");
	} else {
		ssize_t n = getxattr(path, "user.telex", x, sizeof(x));
		ssize_t m = getxattr(other, "user.telex", y, sizeof(y));

		if (n != m || (n > 0 && memcmp(x, y, (size_t)n) != 0))
			differ(path, "attribute");
	}
	return 0;
}

static void compare(const char *a, const char *b)
{
	char one[4096], two[4096];

	snprintf(one, sizeof(one), "%s", a);
	snprintf(two, sizeof(two), "%s", b);
	differences = 0;
	prefix_len = strlen(one);
	other_top = two;
	nftw(one, compare_one, 16, FTW_PHYS);
	prefix_len = strlen(two);
	other_top = one;
	nftw(two, compare_one, 16, FTW_PHYS);
	other_top = NULL;
	assert_int_equal(differences, 0);
}

static unsigned parts;

static int count_part(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	if (strncmp(path + ftw->base, ".telex-", 7) == 0)
		parts++;
	return 0;
}

static unsigned count_parts(const char *path)
{
	parts = 0;
	nftw(path, count_part, 16, FTW_PHYS);
	return parts;
}

/* ---- a tree with a bit of everything ---- */

static void set_times(const char *path, long seconds, long ns)
{
	const struct timespec ts[2] = {{seconds, ns}, {seconds, ns}};

	assert_int_equal(utimensat(AT_FDCWD, path, ts, AT_SYMLINK_NOFOLLOW), 0);
}

static void make_tree(const char *name)
{
	char root[4096];
	int fd;

	snprintf(root, sizeof(root), "%s", at("%s", name));
	mkdir(root, 0755);
	mkdir(at("%s/empty", name), 0700);
	mkdir(at("%s/deep", name), 0755);
	mkdir(at("%s/deep/er", name), 02755);
	make_file(at("%s/nothing", name), 0, 0);
	make_file(at("%s/one", name), 1, 1);
	make_file(at("%s/edge", name), TREE_INLINE_MAX, 2);
	make_file(at("%s/over", name), TREE_INLINE_MAX + 1, 3);
	make_file(at("%s/deep/large", name), 3 * TREE_CHUNK + 17, 4);
	make_file(at("%s/deep/er/odd\n\x01\xff name", name), 100, 5);
	assert_int_equal(link(at("%s/one", name), at("%s/deep/same", name)), 0);
	assert_int_equal(link(at("%s/deep/large", name), at("%s/deep/er/same", name)), 0);
	assert_int_equal(symlink("../one", at("%s/deep/link", name)), 0);
	assert_int_equal(symlink("nowhere", at("%s/dangling", name)), 0);
	assert_int_equal(mkfifo(at("%s/fifo", name), 0640), 0);
	fd = open(at("%s/sparse", name), O_CREAT | O_WRONLY, 0644);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, "middle", 6, 5 << 20), 6);
	assert_int_equal(ftruncate(fd, 9 << 20), 0);
	close(fd);
	chmod(at("%s/over", name), 0400);
	chmod(at("%s/one", name), 04711);
	(void)setxattr(at("%s/over", name), "user.telex", "value\0x", 7, 0);
	(void)setxattr(at("%s/deep", name), "user.telex", "folder", 6, 0);
	set_times(at("%s/over", name), 1000000000, 123456789);
	set_times(at("%s/deep/link", name), 999, 1);
	set_times(at("%s/one", name), -5, 7);
	set_times(at("%s/deep/er", name), 12345, 678);
	set_times(at("%s/deep", name), 12346, 679);
	set_times(root, 12347, 680);
}

/* ---- tests ---- */

static void everything_arrives(void **state)
{
	struct tree_pump p;
	struct tree_pump_result r;
	struct stat st;

	(void)state;
	make_tree("a");
	tree_pump_init(&p, at("a"), at("b"));
	r = tree_pump_run(&p);
	assert_int_equal(r.rc, 0);
	assert_true(r.finished);
	assert_int_equal(r.failed, 0);
	compare(at("a"), at("b"));
	assert_int_equal(count_parts(top), 0);
	/* Holes stay holes, where this file system has any. */
	assert_int_equal(stat(at("a/sparse"), &st), 0);
	if (st.st_blocks * 512 < st.st_size) {
		assert_int_equal(stat(at("b/sparse"), &st), 0);
		assert_true(st.st_blocks * 512 < 1 << 20);
	}
}

/* Nobody waits for what is gathered with it. */
static void an_empty_file_alone_arrives(void **state)
{
	struct tree_pump p;
	struct tree_pump_result r;

	(void)state;
	mkdir(at("a"), 0755);
	make_file(at("a/nothing"), 0, 0);
	make_file(at("a/small"), 5, 1);
	for (int eager = 0; eager < 2; eager++) {
		tree_pump_init(&p, at("a"), at(eager ? "b" : "c"));
		p.options.eager = eager;
		r = tree_pump_run(&p);
		assert_true(r.finished);
		assert_int_equal(r.files, 2);
	}
	compare(at("a"), at("b"));
	compare(at("a"), at("c"));
}

static void expect_totals(const struct tree_pump_totals *t, uint64_t files, uint64_t bytes)
{
	assert_true(t->complete);
	assert_int_equal(t->files, files);
	assert_int_equal(t->bytes, bytes);
}

static void totals_are_told_before_the_contents(void **state)
{
	const uint64_t bytes =
	    1 + TREE_INLINE_MAX + TREE_INLINE_MAX + 1 + 3 * TREE_CHUNK + 17 + 100 + (9 << 20);
	struct tree_pump p;
	struct tree_pump_result r;

	(void)state;
	make_tree("a");
	tree_pump_init(&p, at("a"), at("b"));
	p.options.totals = true;
	r = tree_pump_run(&p);
	assert_true(r.finished);
	compare(at("a"), at("b"));
	/* Of a file with two names only one. */
	expect_totals(&r.sender, 10, bytes);
	expect_totals(&r.receiver, 10, bytes);
	assert_int_equal(r.sender.told, 1);
	assert_true(r.sender.messages <= 1);
	/* What is not kept or not sent does not count; links that are no links are files. */
	p.options.hard_links = p.options.specials = false;
	r = tree_pump_run(&p);
	expect_totals(&r.sender, 11, bytes + 1 + 3 * TREE_CHUNK + 17);
	/* Nobody asked. */
	p.options.totals = false;
	r = tree_pump_run(&p);
	assert_int_equal(r.sender.told + r.receiver.told, 0);
}

static void totals_of_many_are_told_on_the_way(void **state)
{
	struct tree_pump p;
	struct tree_pump_result r;

	(void)state;
	mkdir(at("a"), 0755);
	for (unsigned i = 0; i < 9000; i++)
		make_file(at("a/%u", i), i % 3, i);
	tree_pump_init(&p, at("a"), at("b"));
	p.options.totals = true;
	r = tree_pump_run(&p);
	assert_true(r.finished);
	expect_totals(&r.receiver, 9000, 9000);
	assert_int_equal(r.receiver.told, 3);
	assert_int_equal(r.receiver.told, r.sender.told);
}

static void without_eager_and_with_compression_too(void **state)
{
	struct tree_pump p;
	struct tree_pump_result r;

	(void)state;
	make_tree("a");
	tree_pump_init(&p, at("a"), at("b"));
	p.options.eager = false;
	p.options.compress = true;
	p.options.check = TELEX__V1__TREE_CHECK__TREE_CHECK_CHECKSUM;
	r = tree_pump_run(&p);
	assert_true(r.finished);
	assert_int_equal(r.failed, 0);
	compare(at("a"), at("b"));
}

static void what_is_there_is_not_sent(void **state)
{
	struct tree_pump p;
	struct tree_pump_result r;

	(void)state;
	make_tree("a");
	tree_pump_init(&p, at("a"), at("b"));
	tree_pump_run(&p);
	p.options.eager = false;
	p.options.check = TELEX__V1__TREE_CHECK__TREE_CHECK_QUICK;
	r = tree_pump_run(&p);
	assert_true(r.finished);
	assert_int_equal(r.files, 0);
	assert_true(r.wire < 4096);
	/* Attributes alone are put right without content. */
	chmod(at("b/over"), 0600);
	removexattr(at("b/over"), "user.telex");
	set_times(at("b/over"), 1000000000, 123456789);
	r = tree_pump_run(&p);
	assert_int_equal(r.files, 0);
	compare(at("a"), at("b"));
}

static void cut_anywhere_it_goes_on(void **state)
{
	struct tree_pump p;
	struct tree_pump_result r;
	uint64_t whole;

	(void)state;
	make_tree("a");
	tree_pump_init(&p, at("a"), at("whole"));
	whole = tree_pump_run(&p).messages;
	assert_true(whole > 8);
	for (size_t cut = 1; cut < whole; cut++) {
		char target[32];

		snprintf(target, sizeof(target), "cut%zu", cut);
		tree_pump_init(&p, at("a"), at("%s", target));
		assert_int_equal(tree_set_new(&p.done), 0);
		p.cut_after = cut;
		r = tree_pump_run(&p);
		assert_false(r.finished);
		p.cut_after = 0;
		p.had = p.done;
		p.done = NULL;
		p.target = at("%s", target);
		p.source = at("a");
		r = tree_pump_run(&p);
		assert_true(r.finished);
		assert_int_equal(r.failed, 0);
		compare(at("a"), at("%s", target));
		assert_int_equal(count_parts(at("%s", target)), 0);
		tree_set_free(p.had);
	}
}

static void a_part_is_gone_on_with(void **state)
{
	struct tree_pump p;
	struct tree_pump_result r;

	(void)state;
	mkdir(at("a"), 0755);
	make_file(at("a/large"), 40 * TREE_CHUNK, 9);
	tree_pump_init(&p, at("a"), at("b"));
	p.cut_after = 30;
	tree_pump_run(&p);
	assert_int_equal(count_parts(at("b")), 1);
	p.cut_after = 0;
	r = tree_pump_run(&p);
	assert_true(r.finished);
	assert_true(r.wire < 15 * TREE_CHUNK);
	compare(at("a"), at("b"));
	assert_int_equal(count_parts(at("b")), 0);
}

/* What is cut beside so many others is not kept. */
static void parts_that_wait_are_bounded(void **state)
{
	struct tree_pump p;

	(void)state;
	mkdir(at("a"), 0755);
	mkdir(at("b"), 0755);
	make_file(at("a/large"), 40 * TREE_CHUNK, 9);
	make_file(at("b/.telex-00000000000000000000000000000001.part"), 1, 1);
	/* A mark, which holds nothing. */
	make_file(at("b/.telex-00000000000000000000000000000002.part"), 0, 1);
	tree_pump_init(&p, at("a"), at("b"));
	p.cut_after = 30;
	p.receiver.max_parts = 1;
	tree_pump_run(&p);
	assert_int_equal(count_parts(at("b")), 2);
	p.receiver.max_parts = 2;
	tree_pump_run(&p);
	assert_int_equal(count_parts(at("b")), 3);
	/* One that is gone on with counts itself not. */
	p.cut_after = 4;
	tree_pump_run(&p);
	assert_int_equal(count_parts(at("b")), 3);
}

/* With `late`, the answer comes when the sender has nothing more to send. */
static void spoil_a_part(bool late)
{
	struct tree_pump p;
	struct tree_pump_result r;
	char command[256];

	mkdir(at("a"), 0755);
	make_file(at("a/large"), 20 * TREE_CHUNK, 9);
	tree_pump_init(&p, at("a"), at("b"));
	p.cut_after = 12;
	tree_pump_run(&p);
	assert_int_equal(count_parts(at("b")), 1);
	snprintf(command, sizeof(command),
	    "printf x | dd of=\"$(echo %s/b/.telex-*)\" conv=notrunc "
	    "seek=1000 bs=1 2>/dev/null",
	    top);
	assert_int_equal(system(command), 0);
	p.cut_after = 0;
	p.late = late;
	r = tree_pump_run(&p);
	assert_true(r.finished);
	assert_int_equal(r.failed, 0);
	compare(at("a"), at("b"));
	assert_int_equal(count_parts(at("b")), 0);
}

static void a_part_that_was_spoiled_is_sent_whole(void **state)
{
	(void)state;
	spoil_a_part(false);
}

static void a_part_that_was_spoiled_is_sent_whole_by_a_fast_sender(void **state)
{
	(void)state;
	spoil_a_part(true);
}

static void a_difference_is_enough(void **state)
{
	struct tree_pump p;
	struct tree_pump_result r;
	int fd;

	(void)state;
	mkdir(at("a"), 0755);
	make_file(at("a/large"), (4 << 20) + 123, 11);
	tree_pump_init(&p, at("a"), at("b"));
	tree_pump_run(&p);
	fd = open(at("a/large"), O_WRONLY);
	assert_int_equal(pwrite(fd, "changed", 7, 1 << 20), 7);
	assert_int_equal(pwrite(fd, "longer now", 10, (4 << 20) + 123), 10);
	close(fd);
	p.options.delta = true;
	p.options.eager = false;
	p.options.check = TELEX__V1__TREE_CHECK__TREE_CHECK_QUICK;
	r = tree_pump_run(&p);
	assert_true(r.finished);
	assert_int_equal(r.failed, 0);
	assert_int_equal(r.files, 1);
	assert_true(r.wire < 100000);
	compare(at("a"), at("b"));
	assert_int_equal(count_parts(at("b")), 0);
}

static void what_the_sender_has_not_is_removed(void **state)
{
	struct tree_pump p;
	struct tree_pump_result r;
	Telex__V1__TreeFilter filter = TELEX__V1__TREE_FILTER__INIT, *list[] = {&filter};

	(void)state;
	make_tree("a");
	tree_pump_init(&p, at("a"), at("b"));
	tree_pump_run(&p);
	mkdir(at("b/more"), 0755);
	mkdir(at("b/more/below"), 0755);
	make_file(at("b/more/below/x"), 10, 1);
	make_file(at("b/deep/y"), 10, 1);
	make_file(at("b/deep/kept.o"), 10, 1);
	p.options.delete_extraneous = true;
	p.options.check = TELEX__V1__TREE_CHECK__TREE_CHECK_QUICK;
	filter.pattern = (char[]){"*.o"};
	filter.exclude = true;
	p.options.filters = list;
	p.options.n_filters = 1;
	r = tree_pump_run(&p);
	assert_true(r.finished);
	assert_int_equal(r.removed, 2);
	assert_int_equal(access(at("b/deep/kept.o"), F_OK), 0);
	assert_int_equal(unlink(at("b/deep/kept.o")), 0);
	set_times(at("b/deep"), 12346, 679);
	compare(at("a"), at("b"));
}

static void nothing_is_removed_after_an_error(void **state)
{
	struct tree_pump p;
	struct tree_pump_result r;

	(void)state;
	if (geteuid() == 0) {
		print_message("root reads everything\n");
		skip();
	}
	make_tree("a");
	mkdir(at("a/shut"), 0000);
	tree_pump_init(&p, at("a"), at("b"));
	tree_pump_run(&p);
	make_file(at("b/deep/y"), 10, 1);
	p.options.delete_extraneous = true;
	r = tree_pump_run(&p);
	assert_true(r.finished);
	assert_int_equal(r.errors, 1);
	assert_int_equal(access(at("b/deep/y"), F_OK), 0);
}

static void append(size_t message, void *arg)
{
	int *times = arg;
	int fd;

	if (message < 3 || *times == 0)
		return;
	--*times;
	fd = open(at("a/large"), O_WRONLY | O_APPEND);
	assert_int_equal(write(fd, "more", 4), 4);
	close(fd);
}

static void a_source_that_changes_is_tried_once_more(void **state)
{
	struct tree_pump p;
	struct tree_pump_result r;
	int times = 1;

	(void)state;
	mkdir(at("a"), 0755);
	make_file(at("a/large"), 8 * TREE_CHUNK, 9);
	tree_pump_init(&p, at("a"), at("b"));
	p.between = append;
	p.arg = &times;
	r = tree_pump_run(&p);
	assert_true(r.finished);
	assert_int_equal(r.failed, 0);
	compare(at("a"), at("b"));
	/* Again and again: then it is named. */
	times = 1000;
	r = tree_pump_run(&p);
	assert_true(r.finished);
	assert_int_equal(r.failed, 1);
	assert_string_equal(r.reason, "CHANGED");
	assert_non_null(strstr(r.last, "large"));
	assert_int_equal(count_parts(at("b")), 0);
}

/* While the receiver has the entries, and has wanted nothing yet. */
static void lengthen_once(size_t message, void *arg)
{
	int *times = arg;

	(void)message;
	if (*times == 0)
		return;
	--*times;
	assert_int_equal(truncate(at("a/large"), 9 * TREE_CHUNK), 0);
}

static int is_part_and_link(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)flag;
	return S_ISLNK(st->st_mode) && strncmp(path + ftw->base, ".telex-", 7) == 0;
}

static void no_part_is_a_link(size_t message, void *arg)
{
	(void)message;
	(void)arg;
	assert_int_equal(nftw(at("b"), is_part_and_link, 16, FTW_PHYS), 0);
}

static void a_source_that_changes_is_tried_once_more_by_a_fast_sender(void **state)
{
	struct tree_pump p;
	struct tree_pump_result r;
	int times = 1;

	(void)state;
	mkdir(at("a"), 0755);
	make_file(at("a/large"), 8 * TREE_CHUNK, 9);
	tree_pump_init(&p, at("a"), at("b"));
	p.late = true;
	p.options.eager = false;
	p.between = lengthen_once;
	p.arg = &times;
	r = tree_pump_run(&p);
	assert_true(r.finished);
	assert_int_equal(r.failed, 0);
	assert_int_equal(times, 0);
	compare(at("a"), at("b"));
}

static void a_link_is_in_its_place_before_others_are_durable(void **state)
{
	struct tree_pump p;
	char target[8];

	(void)state;
	mkdir(at("a"), 0755);
	mkdir(at("b"), 0755);
	assert_int_equal(symlink("new", at("a/link")), 0);
	assert_int_equal(symlink("old", at("b/link")), 0);
	make_file(at("a/large"), 20 * TREE_CHUNK, 9);
	tree_pump_init(&p, at("a"), at("b"));
	p.between = no_part_is_a_link;
	tree_pump_run(&p);
	assert_int_equal(readlink(at("b/link"), target, sizeof(target)), 3);
	assert_memory_equal(target, "new", 3);
}

static void a_hard_link_to_what_failed_is_not_made(void **state)
{
	struct tree_pump p;
	struct tree_pump_result r;
	struct stat st;

	(void)state;
	mkdir(at("a"), 0755);
	make_file(at("a/first"), 100, 1);
	assert_int_equal(link(at("a/first"), at("a/second")), 0);
	/* A folder is where the first name is to be. */
	mkdir(at("b"), 0755);
	mkdir(at("b/first"), 0755);
	make_file(at("b/first/x"), 1, 1);
	tree_pump_init(&p, at("a"), at("b"));
	r = tree_pump_run(&p);
	assert_true(r.finished);
	assert_int_equal(r.failed, 2);
	assert_int_equal(lstat(at("b/second"), &st), -1);
}

static void a_link_in_the_target_is_not_gone_through(void **state)
{
	struct tree_pump p;
	struct tree_pump_result r;

	(void)state;
	mkdir(at("a"), 0755);
	mkdir(at("a/sub"), 0755);
	make_file(at("a/sub/x"), 10, 1);
	mkdir(at("b"), 0755);
	mkdir(at("outside"), 0755);
	assert_int_equal(symlink("../outside", at("b/sub")), 0);
	tree_pump_init(&p, at("a"), at("b"));
	r = tree_pump_run(&p);
	assert_true(r.finished);
	assert_int_not_equal(r.failed, 0);
	assert_int_not_equal(access(at("outside/x"), F_OK), 0);
}

static void links_that_leave_are_refused(void **state)
{
	struct tree_pump p;
	struct tree_pump_result r;

	(void)state;
	mkdir(at("a"), 0755);
	assert_int_equal(symlink("/etc/passwd", at("a/absolute")), 0);
	assert_int_equal(symlink("../x", at("a/above")), 0);
	assert_int_equal(symlink("./x/y", at("a/inside")), 0);
	tree_pump_init(&p, at("a"), at("b"));
	p.receiver.links_stay = true;
	r = tree_pump_run(&p);
	assert_true(r.finished);
	assert_int_equal(r.failed, 2);
	assert_string_equal(r.reason, "OUTSIDE_ROOT");
	assert_int_equal(access(at("b/absolute"), F_OK), -1);
}

static void special_bits_are_masked(void **state)
{
	struct tree_pump p;
	struct stat st;

	(void)state;
	make_tree("a");
	tree_pump_init(&p, at("a"), at("b"));
	p.receiver.special = 0;
	assert_true(tree_pump_run(&p).finished);
	assert_int_equal(stat(at("b/one"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0711);
}

static void a_dry_run_does_nothing(void **state)
{
	struct tree_pump p;
	struct tree_pump_result r;

	(void)state;
	make_tree("a");
	tree_pump_init(&p, at("a"), at("b"));
	p.options.dry_run = true;
	r = tree_pump_run(&p);
	assert_true(r.finished);
	assert_int_equal(r.failed, 0);
	assert_int_not_equal(access(at("b"), F_OK), 0);
}

static void a_dry_run_leaves_attributes_alone(void **state)
{
	struct tree_pump p;
	struct stat st;

	(void)state;
	make_tree("a");
	tree_pump_init(&p, at("a"), at("b"));
	assert_true(tree_pump_run(&p).finished);
	assert_int_equal(chmod(at("b/over"), 0640), 0);
	set_times(at("b/over"), 1000000000, 123456789);
	p.options.dry_run = true;
	p.options.check = TELEX__V1__TREE_CHECK__TREE_CHECK_QUICK;
	assert_true(tree_pump_run(&p).finished);
	assert_int_equal(stat(at("b/over"), &st), 0);
	assert_int_equal(st.st_mode & 07777, 0640);
}

static void a_difference_counts_as_what_it_writes(void **state)
{
	struct tree_pump p;
	struct tree_pump_result r;
	int fd;

	(void)state;
	mkdir(at("a"), 0755);
	make_file(at("a/large"), 4 << 20, 11);
	tree_pump_init(&p, at("a"), at("b"));
	tree_pump_run(&p);
	fd = open(at("a/large"), O_WRONLY);
	assert_int_equal(pwrite(fd, "changed", 7, 1 << 20), 7);
	close(fd);
	p.options.delta = true;
	p.options.eager = false;
	p.receiver.max_bytes = 1 << 20;
	r = tree_pump_run(&p);
	assert_true(r.finished);
	assert_int_equal(r.failed, 1);
	assert_string_equal(r.reason, "UPLOAD_LIMIT");
	assert_int_equal(count_parts(at("b")), 0);
}

static void what_may_not_be_read_gets_no_other_names(void **state)
{
	struct tree_pump p;
	struct tree_pump_result r;
	int fd;

	(void)state;
	mkdir(at("a"), 0755);
	make_file(at("a/one"), 10, 1);
	make_file(at("a/large"), 1 << 20, 2);
	assert_int_equal(link(at("a/one"), at("a/two")), 0);
	tree_pump_init(&p, at("a"), at("b"));
	p.receiver.unreadable = true;
	r = tree_pump_run(&p);
	assert_true(r.finished);
	assert_int_equal(r.failed, 1);
	assert_string_equal(r.reason, "NOT_ALLOWED");
	/* And no signature of it is told. */
	fd = open(at("a/large"), O_WRONLY);
	assert_int_equal(pwrite(fd, "changed", 7, 1000), 7);
	close(fd);
	p.options.delta = true;
	r = tree_pump_run(&p);
	assert_true(r.finished);
	assert_true(r.wire > 1 << 20);
	/* Nor whether it is what was guessed. */
	p.options.check = TELEX__V1__TREE_CHECK__TREE_CHECK_CHECKSUM;
	r = tree_pump_run(&p);
	assert_true(r.finished);
	assert_int_equal(r.unchanged, 1); /* the folder */
	assert_true(r.wire > 1 << 20);
}

static bool only_text(const char *path, void *arg)
{
	const char *dot = strrchr(path, '.');

	(void)arg;
	return path[0] == '\0' || (dot != NULL && strcmp(dot, ".txt") == 0);
}

static void what_may_not_be_written_is_not_removed(void **state)
{
	struct tree_pump p;
	struct tree_pump_result r;

	(void)state;
	mkdir(at("a"), 0755);
	make_file(at("a/x.txt"), 10, 1);
	mkdir(at("b"), 0755);
	mkdir(at("b/folder"), 0755);
	make_file(at("b/folder/y.txt"), 10, 1);
	make_file(at("b/secret"), 10, 1);
	make_file(at("b/old.txt"), 10, 1);
	tree_pump_init(&p, at("a"), at("b"));
	p.options.delete_extraneous = true;
	p.receiver.allowed = only_text;
	r = tree_pump_run(&p);
	assert_true(r.finished);
	assert_int_equal(r.removed, 1);
	assert_int_equal(access(at("b/secret"), F_OK), 0);
	assert_int_equal(access(at("b/folder/y.txt"), F_OK), 0);
	assert_int_equal(access(at("b/old.txt"), F_OK), -1);
}

static int give_away(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	(void)st;
	(void)flag;
	if (strncmp(path + ftw->base, ".telex-", 7) == 0)
		assert_int_equal(chown(path, 65534, 65534), 0);
	return 0;
}

static void a_part_of_somebody_else_is_not_written(void **state)
{
	struct tree_pump p;
	struct tree_pump_result r;
	struct stat st;

	(void)state;
	if (geteuid() != 0) {
		print_message("only root can give files away\n");
		skip();
	}
	mkdir(at("a"), 0755);
	make_file(at("a/large"), 20 * TREE_CHUNK, 9);
	tree_pump_init(&p, at("a"), at("b"));
	p.cut_after = 12;
	tree_pump_run(&p);
	assert_int_equal(count_parts(at("b")), 1);
	nftw(at("b"), give_away, 16, FTW_PHYS);
	p.cut_after = 0;
	p.options.owner = false;
	r = tree_pump_run(&p);
	assert_true(r.finished);
	assert_int_equal(r.failed, 0);
	assert_int_equal(stat(at("b/large"), &st), 0);
	assert_int_equal(st.st_uid, 0);
	assert_int_equal(count_parts(at("b")), 0);
}

static void one_file_becomes_the_target(void **state)
{
	struct tree_pump p;
	struct tree_pump_result r;

	(void)state;
	make_file(at("a"), 1000, 1);
	make_file(at("b"), 5, 2);
	tree_pump_init(&p, at("a"), at("b"));
	r = tree_pump_run(&p);
	assert_true(r.finished);
	compare(at("a"), at("b"));
	mkdir(at("c"), 0755);
	tree_pump_init(&p, at("a"), at("c"));
	p.receiver.target_fd = -1;
	r = tree_pump_run(&p);
	assert_int_equal(r.failed, 1);
	assert_string_equal(r.reason, "IS_A_FOLDER");
}

static void many_small_files(void **state)
{
	struct tree_pump p;
	struct tree_pump_result r;

	(void)state;
	mkdir(at("a"), 0755);
	for (unsigned d = 0; d < 20; d++) {
		mkdir(at("a/%u", d), 0755);
		for (unsigned i = 0; i < 100; i++)
			make_file(at("a/%u/%u", d, i), 500 + i, i);
	}
	tree_pump_init(&p, at("a"), at("b"));
	r = tree_pump_run(&p);
	assert_true(r.finished);
	assert_int_equal(r.files, 2000);
	assert_true(r.messages < 60);
	compare(at("a"), at("b"));
}

/* ---- a hostile sender ---- */

static int swallow(const struct tree_span *spans, size_t n, void *arg)
{
	(void)spans;
	(void)n;
	(void)arg;
	return 0;
}

static int take_entry(struct tree_receiver *r, Telex__V1__TreeEntry *e, struct err *err)
{
	Telex__V1__TreeSend m = TELEX__V1__TREE_SEND__INIT;
	Telex__V1__TreeEntry *list[] = {e};
	uint8_t packed[8192];
	size_t n;

	m.entries = list;
	m.n_entries = 1;
	n = telex__v1__tree_send__pack(&m, packed);
	return tree_receiver_take(r, packed, n, err);
}

static void names_that_lead_out_end_it(void **state)
{
	static const char *const names[] = {
	    "..", "../x", "a/../../x", "/etc/x", "a//b", ".", "a/.", "a/", "/"};
	Telex__V1__TreeOptions options = TELEX__V1__TREE_OPTIONS__INIT;
	struct tree_receiver_config cfg = {.options = &options, .parent_fd = -1, .emit = swallow};
	struct tree_receiver *r;
	struct err err;

	(void)state;
	mkdir(at("b"), 0755);
	cfg.target_fd = open(at("b"), O_RDONLY | O_DIRECTORY);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		Telex__V1__TreeEntry e = TELEX__V1__TREE_ENTRY__INIT;

		assert_int_equal(tree_receiver_new(&r, &cfg), 0);
		e.index = 1;
		e.type = TELEX__V1__FILE_TYPE__FILE_TYPE_REGULAR;
		e.path.data = (uint8_t *)(uintptr_t)names[i];
		e.path.len = strlen(names[i]);
		assert_int_equal(take_entry(r, &e, &err), TX_EPROTO);
		tree_receiver_free(r);
	}
	close(cfg.target_fd);
}

/* How far entries are answered with done. */
static int see_done(const struct tree_span *spans, size_t n, void *arg)
{
	Telex__V1__TreeReceive *m =
	    telex__v1__tree_receive__unpack(NULL, spans[0].len, spans[0].data);
	uint64_t *first = arg;

	assert_int_equal(n, 1);
	assert_non_null(m);
	for (size_t i = 0; i < m->n_done; i++)
		if (*first == 0 || m->done[i]->index < *first)
			*first = m->done[i]->index;
	telex__v1__tree_receive__free_unpacked(m, NULL);
	return 0;
}

static void name_entry(Telex__V1__TreeEntry *e, uint64_t index, const char *path)
{
	telex__v1__tree_entry__init(e);
	e->index = index;
	e->mode = 0755;
	e->path.data = (uint8_t *)(uintptr_t)path;
	e->path.len = strlen(path);
}

/* A sender may be out of room for more by then: what waits for a batch is answered before. */
static void a_small_file_does_not_wait_behind_thousands(void **state)
{
	Telex__V1__TreeOptions options = TELEX__V1__TREE_OPTIONS__INIT;
	uint64_t first = 0;
	struct tree_receiver_config cfg = {
	    .options = &options, .parent_fd = -1, .emit = see_done, .arg = &first};
	Telex__V1__TreeEntry e;
	struct tree_receiver *r;
	struct err err;

	(void)state;
	mkdir(at("b"), 0755);
	cfg.target_fd = open(at("b"), O_RDONLY | O_DIRECTORY);
	assert_int_equal(tree_receiver_new(&r, &cfg), 0);
	name_entry(&e, 1, "small");
	e.type = TELEX__V1__FILE_TYPE__FILE_TYPE_REGULAR;
	e.has_content = true;
	e.content.data = (uint8_t *)(uintptr_t) "x";
	e.content.len = e.size = 1;
	assert_int_equal(take_entry(r, &e, &err), 0);
	name_entry(&e, TREE_UNANSWERED / 2, "folder");
	e.type = TELEX__V1__FILE_TYPE__FILE_TYPE_DIRECTORY;
	assert_int_equal(take_entry(r, &e, &err), 0);
	assert_int_equal(tree_receiver_flush(r), 0);
	assert_int_equal(first, 1);
	tree_receiver_free(r);
	close(cfg.target_fd);
}

static void who_sends_no_contents_is_stopped(void **state)
{
	Telex__V1__TreeOptions options = TELEX__V1__TREE_OPTIONS__INIT;
	struct tree_receiver_config cfg = {.options = &options, .parent_fd = -1, .emit = swallow};
	uint8_t *large = calloc(1, TREE_MESSAGE_MAX + 1);
	struct tree_receiver *r;
	struct err err;
	int rc = 0;

	(void)state;
	mkdir(at("b"), 0755);
	cfg.target_fd = open(at("b"), O_RDONLY | O_DIRECTORY);
	assert_int_equal(tree_receiver_new(&r, &cfg), 0);
	for (uint64_t i = 1; rc == 0 && i < 3 * TREE_UNANSWERED; i++) {
		Telex__V1__TreeEntry e;

		name_entry(&e, i, "file");
		e.type = TELEX__V1__FILE_TYPE__FILE_TYPE_REGULAR;
		e.size = 100;
		e.upload_id = (char[]){"0123456789abcdef"};
		rc = take_entry(r, &e, &err);
	}
	assert_int_equal(rc, TX_EPROTO);
	assert_non_null(strstr(err.message, "too many entries"));
	assert_int_equal(tree_receiver_take(r, large, TREE_MESSAGE_MAX + 1, &err), TX_EPROTO);
	tree_receiver_free(r);
	close(cfg.target_fd);
	free(large);
}

static void only_what_was_asked_for(void **state)
{
	static const char *const only[] = {"mine", NULL};
	Telex__V1__TreeOptions options = TELEX__V1__TREE_OPTIONS__INIT;
	struct tree_receiver_config cfg = {
	    .options = &options, .parent_fd = -1, .emit = swallow, .only = only};
	Telex__V1__TreeEntry e = TELEX__V1__TREE_ENTRY__INIT;
	struct tree_receiver *r;
	struct err err;

	(void)state;
	mkdir(at("b"), 0755);
	cfg.target_fd = open(at("b"), O_RDONLY | O_DIRECTORY);
	assert_int_equal(tree_receiver_new(&r, &cfg), 0);
	e.index = 1;
	e.type = TELEX__V1__FILE_TYPE__FILE_TYPE_DIRECTORY;
	e.path.data = (uint8_t *)(uintptr_t) "mine";
	e.path.len = 4;
	assert_int_equal(take_entry(r, &e, &err), 0);
	e.index = 2;
	e.path.data = (uint8_t *)(uintptr_t) ".bashrc";
	e.path.len = 7;
	assert_int_equal(take_entry(r, &e, &err), TX_EPROTO);
	assert_non_null(strstr(err.message, "not asked for"));
	tree_receiver_free(r);
	close(cfg.target_fd);
}

/* Bytes of a real transfer with one of them changed: whatever comes of it, nothing outside, no
 * crash. */
static void mutated_messages_do_no_harm(void **state)
{
	Telex__V1__TreeOptions options = TELEX__V1__TREE_OPTIONS__INIT;
	struct tree_receiver_config cfg = {.options = &options, .parent_fd = -1, .emit = swallow};
	Telex__V1__TreeSend m = TELEX__V1__TREE_SEND__INIT;
	Telex__V1__TreeEntry e[3], *list[] = {&e[0], &e[1], &e[2]};
	uint8_t packed[4096];
	size_t n;

	(void)state;
	mkdir(at("b"), 0755);
	for (int i = 0; i < 3; i++) {
		telex__v1__tree_entry__init(&e[i]);
		e[i].index = (uint64_t)i + 1;
		e[i].mode = 0644;
		e[i].path.data = (uint8_t *)(uintptr_t)(i == 0 ? "d" : i == 1 ? "d/f" : "d/l");
		e[i].path.len = i == 0 ? 1 : 3;
	}
	e[0].type = TELEX__V1__FILE_TYPE__FILE_TYPE_DIRECTORY;
	e[1].type = TELEX__V1__FILE_TYPE__FILE_TYPE_REGULAR;
	e[1].has_content = true;
	e[1].content.data = (uint8_t *)(uintptr_t) "hello";
	e[1].content.len = e[1].size = 5;
	e[2].type = TELEX__V1__FILE_TYPE__FILE_TYPE_SYMLINK;
	e[2].link_target.data = (uint8_t *)(uintptr_t) "f";
	e[2].link_target.len = 1;
	m.entries = list;
	m.n_entries = 3;
	n = telex__v1__tree_send__pack(&m, packed);
	cfg.target_fd = open(at("b"), O_RDONLY | O_DIRECTORY);
	for (size_t i = 0; i < n * 4; i++) {
		struct tree_receiver *r;
		struct err err;
		uint8_t was = packed[i / 4];

		packed[i / 4] = (uint8_t)(was ^ (1u << (i % 4 * 2)));
		assert_int_equal(tree_receiver_new(&r, &cfg), 0);
		(void)tree_receiver_take(r, packed, n, &err);
		tree_receiver_free(r);
		packed[i / 4] = was;
	}
	close(cfg.target_fd);
	assert_int_equal(access(at("d"), F_OK), -1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(everything_arrives, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(an_empty_file_alone_arrives, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(totals_are_told_before_the_contents, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(totals_of_many_are_told_on_the_way, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(
	        without_eager_and_with_compression_too, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(what_is_there_is_not_sent, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(cut_anywhere_it_goes_on, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(a_part_is_gone_on_with, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(parts_that_wait_are_bounded, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(
	        a_part_that_was_spoiled_is_sent_whole, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(
	        a_part_that_was_spoiled_is_sent_whole_by_a_fast_sender, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(
	        a_source_that_changes_is_tried_once_more_by_a_fast_sender, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(
	        a_link_is_in_its_place_before_others_are_durable, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(
	        a_hard_link_to_what_failed_is_not_made, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(a_difference_is_enough, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(what_the_sender_has_not_is_removed, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(nothing_is_removed_after_an_error, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(
	        a_source_that_changes_is_tried_once_more, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(
	        a_link_in_the_target_is_not_gone_through, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(links_that_leave_are_refused, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(special_bits_are_masked, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(a_dry_run_does_nothing, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(a_dry_run_leaves_attributes_alone, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(
	        a_difference_counts_as_what_it_writes, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(
	        what_may_not_be_read_gets_no_other_names, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(
	        what_may_not_be_written_is_not_removed, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(
	        a_part_of_somebody_else_is_not_written, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(
	        a_small_file_does_not_wait_behind_thousands, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(who_sends_no_contents_is_stopped, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(one_file_becomes_the_target, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(many_small_files, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(names_that_lead_out_end_it, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(only_what_was_asked_for, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(mutated_messages_do_no_harm, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
