/* SPDX-License-Identifier: Apache-2.0 */
/* Trees: what a transfer says that it did, and what a dry run says that it would, is what is done.
 */
#include <fcntl.h>
#include <glob.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "tests/support/folder.h"
#include "tests/support/tree_pump.h"

#define TOLD_MAX 32

static char top[600];

/* What the receiver's owner was told of, in its order: "done x", "removed x/y". */
static char told[TOLD_MAX][64];
static size_t n_told;

static int set_up(void **state)
{
	int rc = folder_make(state);

	n_told = 0;
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

static void make_folder(const char *name)
{
	assert_int_equal(mkdir(at(name), 0755), 0);
}

static bool is_there(const char *name)
{
	struct stat st;

	return lstat(at(name), &st) == 0;
}

static void on_note(const struct tree_note *note, void *arg)
{
	const char *word = note->kind == TREE_NOTE_DONE      ? "done"
	                   : note->kind == TREE_NOTE_REMOVED ? "removed"
	                   : note->kind == TREE_NOTE_FAILED  ? "failed"
	                                                     : NULL;

	(void)arg;
	if (word == NULL)
		return;
	assert_in_range(n_told, 0, TOLD_MAX - 1);
	snprintf(told[n_told++], sizeof(told[0]), "%s %s", word, note->path);
}

static bool was_told(const char *what)
{
	for (size_t i = 0; i < n_told; i++)
		if (strcmp(told[i], what) == 0)
			return true;
	print_message("not told: %s\n", what);
	for (size_t i = 0; i < n_told; i++)
		print_message("  but: %s\n", told[i]);
	return false;
}

/* As sync does it: from a to b. */
static void prepare(struct tree_pump *p)
{
	tree_pump_init(p, at("a"), at("b"));
	p->options.check = TELEX__V1__TREE_CHECK__TREE_CHECK_QUICK;
	p->options.eager = false;
	p->options.delete_extraneous = true;
	p->receiver.note = on_note;
}

static struct tree_pump_result run(struct tree_pump *p, bool dry)
{
	struct tree_pump_result r;

	n_told = 0;
	p->source = at("a");
	p->target = at("b");
	p->options.dry_run = dry;
	r = tree_pump_run(p);
	assert_int_equal(r.rc, 0);
	assert_true(r.finished);
	return r;
}

/* Both say the same, and the second does it. */
static struct tree_pump_result run_both(struct tree_pump *p)
{
	struct tree_pump_result dry = run(p, true), real;
	char would[TOLD_MAX][64];
	size_t n = n_told;

	memcpy(would, told, sizeof(would));
	real = run(p, false);
	assert_int_equal(dry.removed, real.removed);
	assert_int_equal(dry.failed, real.failed);
	assert_int_equal(dry.files, real.files);
	for (size_t i = 0; i < n_told; i++) {
		bool found = false;

		for (size_t k = 0; k < n; k++)
			found |= strcmp(told[i], would[k]) == 0;
		if (!found)
			print_message("a dry run does not say: %s\n", told[i]);
		assert_true(found);
	}
	return real;
}

static void a_dry_run_sees_what_is_below(void **state)
{
	struct tree_pump p;

	(void)state;
	make_folder("a");
	make_folder("a/sub");
	make_folder("a/sub/sub");
	make_folder("b");
	make_folder("b/sub");
	make_folder("b/sub/sub");
	write_to("b/sub/extra", "x");
	write_to("b/sub/sub/extra", "x");
	prepare(&p);
	assert_int_equal(run(&p, true).removed, 2);
	assert_true(was_told("removed sub/extra"));
	assert_true(was_told("removed sub/sub/extra"));
	assert_true(is_there("b/sub/extra"));
	assert_int_equal(run_both(&p).removed, 2);
	assert_false(is_there("b/sub/extra"));
}

static void a_dry_run_knows_kinds(void **state)
{
	struct tree_pump p;

	(void)state;
	make_folder("a");
	make_folder("b");
	assert_int_equal(symlink("new", at("a/link")), 0);
	assert_int_equal(symlink("old", at("b/link")), 0);
	assert_int_equal(symlink("same", at("a/kept")), 0);
	assert_int_equal(mkfifo(at("a/fifo"), 0600), 0);
	write_to("a/one", "content");
	assert_int_equal(link(at("a/one"), at("a/two")), 0);
	/* A file where a folder was, a folder where a file and a link were. */
	write_to("a/file", "x");
	make_folder("b/file");
	write_to("b/file/x", "x");
	make_folder("a/folder");
	write_to("a/folder/in", "x");
	write_to("b/folder", "x");
	make_folder("a/led");
	write_to("a/led/in", "x");
	assert_int_equal(symlink("folder", at("b/led")), 0);
	prepare(&p);
	assert_int_equal(run(&p, true).failed, 0);
	assert_true(was_told("done link"));
	assert_true(was_told("done two"));
	assert_true(was_told("done folder"));
	assert_true(was_told("done folder/in"));
	assert_true(was_told("removed file"));
	assert_int_equal(run_both(&p).files, 7);
	/* All of it is there: there is nothing to do. */
	assert_int_equal(run(&p, true).files, 0);
	assert_int_equal(n_told, 0);
	/* What is not sent is not written. */
	p.options.specials = false;
	assert_int_equal(unlink(at("b/fifo")), 0);
	assert_int_equal(run(&p, true).failed, 1);
	assert_true(was_told("failed fifo"));
	assert_int_equal(n_told, 1);
}

/* Without delete_extraneous, what is in the way is said at once. */
static void a_dry_run_fails_as_the_run_would(void **state)
{
	struct tree_pump p;

	(void)state;
	make_folder("a");
	make_folder("b");
	assert_int_equal(symlink("x", at("a/link")), 0);
	make_folder("b/link");
	make_folder("a/folder");
	write_to("a/folder/in", "x");
	write_to("b/folder", "x");
	prepare(&p);
	p.options.delete_extraneous = false;
	assert_int_equal(run_both(&p).failed, 3);
}

static void a_dry_run_counts_what_goes_where_nothing_is(void **state)
{
	struct tree_pump p;
	struct tree_pump_result r;

	(void)state;
	make_folder("a");
	make_folder("a/sub");
	write_to("a/sub/x", "x");
	write_to("a/y", "y");
	prepare(&p);
	r = run(&p, true);
	assert_int_equal(r.files, 2);
	assert_true(was_told("done sub/x"));
	assert_false(is_there("b"));
}

static void what_is_removed_is_told(void **state)
{
	struct tree_pump p;
	Telex__V1__TreeFilter filter = TELEX__V1__TREE_FILTER__INIT, *list[] = {&filter};

	(void)state;
	make_folder("a");
	make_folder("b");
	make_folder("b/d");
	make_folder("b/d/all");
	make_folder("b/d/part");
	write_to("b/d/f", "x");
	write_to("b/d/all/x", "x");
	write_to("b/d/part/x", "x");
	write_to("b/d/part/kept.o", "x");
	make_folder("b/whole");
	write_to("b/whole/x", "x");
	prepare(&p);
	filter.pattern = (char[]){"*.o"};
	filter.exclude = true;
	p.options.filters = list;
	p.options.n_filters = 1;
	/* A folder that goes as a whole counts once. */
	assert_int_equal(run_both(&p).removed, 4);
	assert_true(was_told("removed d/f"));
	assert_true(was_told("removed d/all"));
	assert_true(was_told("removed d/part/x"));
	assert_true(was_told("removed whole"));
	assert_true(is_there("b/d/part/kept.o"));
	assert_false(is_there("b/d/all"));
	assert_int_equal(run_both(&p).removed, 0);
}

static void what_gives_way_is_told(void **state)
{
	struct tree_pump p;

	(void)state;
	make_folder("a");
	make_folder("b");
	make_folder("a/x");
	write_to("b/x", "it was a file");
	prepare(&p);
	assert_int_equal(run_both(&p).removed, 1);
	assert_true(was_told("removed x"));
}

/* Typed again, it is the same transfer, and goes on in the folder that it made. */
static void what_failed_in_part_is_known_again(void **state)
{
	static const char id[] = "0123456789abcdef";
	struct tree_pump p;

	(void)state;
	make_folder("a");
	write_to("a/file", "x");
	assert_int_equal(mkfifo(at("a/fifo"), 0600), 0);
	prepare(&p);
	p.options.specials = false;
	p.receiver.marker = id;
	for (int again = 0; again < 2; again++) {
		int fd;

		assert_int_equal(run(&p, false).failed, again == 0);
		fd = open(at("b"), O_RDONLY | O_DIRECTORY);
		assert_true(fd >= 0);
		if (fsetxattr(fd, "user.k", "", 0, 0) == 0)
			assert_int_equal(tree_marked(fd, id), again == 0);
		/* It is nothing to see or to send. */
		assert_int_equal(folder_count(at("b")), 1);
		close(fd);
		assert_int_equal(unlink(at("a/fifo")), again == 0 ? 0 : -1);
	}
}

static unsigned sleeps;

/* In the place of libc's: nothing that is tested here takes its time. */
int nanosleep(const struct timespec *wanted, struct timespec *left)
{
	(void)wanted;
	(void)left;
	sleeps++;
	return 0;
}

/* Who has anything else to do is not kept waiting by another transfer's part. */
static void a_part_in_use_is_waited_for_by_some(void **state)
{
	char part[100], *content = calloc(1, 300001);
	struct tree_pump_result r;
	struct tree_pump p;
	glob_t found;
	int fd;

	(void)state;
	assert_non_null(content);
	memset(content, 'x', 300000);
	make_folder("a");
	write_to("a/large", content);
	prepare(&p);
	p.cut_after = 2;
	tree_pump_run(&p);
	assert_int_equal(glob(at("b/.telex-*"), 0, NULL, &found), 0);
	snprintf(part, sizeof(part), "%s", found.gl_pathv[0]);
	globfree(&found);
	fd = open(part, O_RDONLY);
	assert_int_equal(flock(fd, LOCK_EX), 0);
	p.cut_after = 0;
	for (int waits = 0; waits < 2; waits++) {
		sleeps = 0;
		p.receiver.waits = waits;
		r = run(&p, false);
		assert_int_equal(r.failed, 1);
		assert_string_equal(r.reason, "UPLOAD_BUSY");
		assert_int_equal(sleeps > 0, waits);
	}
	close(fd);
	assert_int_equal(run(&p, false).files, 1);
	free(content);
}

/* Far more levels than the sender holds open. */
static void a_loop_is_told_however_long_it_is(void **state)
{
	char path[512] = "a";
	struct tree_pump_result r;
	struct tree_pump p;

	(void)state;
	make_folder(path);
	for (int i = 0; i < 50; i++) {
		strcat(path, "/d");
		make_folder(path);
	}
	strcat(path, "/up");
	assert_int_equal(symlink(at("a"), at(path)), 0);
	prepare(&p);
	p.options.follow = true;
	r = run(&p, false);
	assert_int_equal(r.errors, 1);
	assert_string_equal(r.reason, "LINK_LOOP");
	assert_int_equal(n_told, 1);
	memmove(strrchr(path, '/'), "/up/d", 6);
	path[0] = 'b';
	assert_false(is_there(path));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(a_dry_run_sees_what_is_below, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(a_dry_run_knows_kinds, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(a_dry_run_fails_as_the_run_would, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(
	        a_dry_run_counts_what_goes_where_nothing_is, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(what_is_removed_is_told, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(what_gives_way_is_told, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(a_part_in_use_is_waited_for_by_some, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(a_loop_is_told_however_long_it_is, set_up, tear_down),
	    cmocka_unit_test_setup_teardown(what_failed_in_part_is_known_again, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
