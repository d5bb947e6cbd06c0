/* SPDX-License-Identifier: Apache-2.0 */
/* Walks, and the ways down that they stand on. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/deep.h"
#include "common/walk.h"
#include "tests/support/files_place.h"

static int open_here(const struct place *p, const char *name)
{
	int fd = openat(p->fd, name[0] != '\0' ? name : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

/* NAME/NAME/… below `top`, n levels, by descriptors; a file in the last. */
static void make_deep(const struct place *p, const char *top, const char *name, int n)
{
	int fd = open_here(p, top), next;

	for (int i = 0; i < n; i++) {
		assert_int_equal(mkdirat(fd, name, 0755), 0);
		next = openat(fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		assert_true(next >= 0);
		close(fd);
		fd = next;
	}
	next = openat(fd, "end", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	assert_true(next >= 0);
	close(next);
	close(fd);
}

static int descriptors(void)
{
	DIR *d = opendir("/proc/self/fd");
	int n = 0;

	assert_non_null(d);
	while (readdir(d) != NULL)
		n++;
	closedir(d);
	return n;
}

/* Removes what no path reaches. */
static void remove_deep(const struct place *p, const char *top, const char *name)
{
	int fd = open_here(p, top), inner;

	/* Turned inside out: what is in NAME/NAME moves up, and the empty one goes. */
	while (faccessat(fd, name, F_OK, 0) == 0) {
		inner = openat(fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		assert_true(inner >= 0);
		(void)unlinkat(inner, "end", 0);
		if (renameat(inner, name, fd, "up") == 0) {
			assert_int_equal(unlinkat(fd, name, AT_REMOVEDIR), 0);
			assert_int_equal(renameat(fd, "up", fd, name), 0);
		} else {
			assert_int_equal(unlinkat(fd, name, AT_REMOVEDIR), 0);
		}
		close(inner);
	}
	close(fd);
}

static void deep_ways_go_down_and_up(void **state)
{
	const int n = getenv("TELEX_TEST_SLOW") != NULL ? 300 : 3000;
	struct place *p = *state;
	struct deep d;
	int fds, before;

	place_folder(p, "t");
	make_deep(p, "t", "some-name", n);
	before = descriptors();
	assert_int_equal(deep_init(&d, open_here(p, "t"), O_RDONLY), 0);
	for (int i = 0; i < n; i++) {
		assert_non_null(deep_append(&d, "some-name"));
		assert_int_equal(deep_down(&d), 0);
	}
	fds = descriptors();
	assert_true(fds <= before + (int)DEEP_OPEN + 1);
	assert_int_equal(d.n, n);
	assert_int_equal(strlen(d.path), (size_t)n * 10 - 1);
	assert_non_null(deep_append(&d, "none"));
	assert_int_equal(deep_down(&d), ENOENT);
	assert_int_equal(faccessat(deep_last(&d)->fd, "end", F_OK, 0), 0);
	while (d.n > 0) {
		assert_int_equal(deep_up(&d), 0);
		assert_int_equal(faccessat(deep_last(&d)->fd, "some-name", F_OK, 0), 0);
		assert_true(descriptors() <= fds);
	}
	deep_free(&d);
	remove_deep(p, "t", "some-name");
}

static void deep_ways_follow_nothing(void **state)
{
	struct place *p = *state;
	struct deep d;

	place_folder(p, "t");
	place_folder(p, "other");
	place_link(p, "../other", "t/link");
	place_put(p, "t/file", "");
	assert_int_equal(deep_init(&d, open_here(p, "t"), O_PATH), 0);
	assert_non_null(deep_append(&d, "link"));
	assert_true(deep_down(&d) == ELOOP || deep_last(&d)->fd == d.top.fd);
	assert_non_null(deep_append(&d, "file"));
	assert_int_equal(deep_down(&d), ENOTDIR);
	assert_int_equal(d.n, 0);
	deep_free(&d);
}

static void what_was_moved_away_is_not_found_again(void **state)
{
	const int n = (int)DEEP_OPEN + 8;
	struct place *p = *state;
	struct deep d;
	int error = 0;

	place_folder(p, "t");
	make_deep(p, "t", "x", n);
	assert_int_equal(deep_init(&d, open_here(p, "t"), O_RDONLY), 0);
	for (int i = 0; i < n; i++) {
		(void)deep_append(&d, "x");
		assert_int_equal(deep_down(&d), 0);
	}
	/* The second level is elsewhere, and another one has its name. */
	assert_int_equal(renameat(p->fd, "t/x/x", p->fd, "away"), 0);
	place_folder(p, "t/x/x");
	while (d.n > 2 && error == 0)
		error = deep_up(&d);
	assert_true(error == ENOENT || error == ESTALE);
	assert_int_equal(deep_last(&d)->fd, -1);
	while (d.n > 1)
		(void)deep_up(&d);
	/* What is above it is as it was. */
	assert_true(deep_last(&d)->fd >= 0);
	assert_int_equal(deep_up(&d), 0);
	deep_free(&d);
}

/* ---- walks ---- */

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* All paths, a folder that is left with a "/" behind it, sorted and joined by spaces. */
static const char *walk_it(const struct place *p, const char *top, int *errors)
{
	static char out[8192];
	char *paths[256], name[600];
	struct walk_entry e;
	struct walk *w;
	size_t n = 0;
	int more;

	*errors = 0;
	assert_int_equal(walk_new(&w, open_here(p, top)), 0);
	while ((more = walk_next(w, &e)) > 0) {
		if (e.error != 0) {
			++*errors;
			continue;
		}
		assert_true(faccessat(e.dir_fd, e.name, F_OK, AT_SYMLINK_NOFOLLOW) == 0);
		snprintf(name, sizeof(name), "%s%s", e.path, e.leaving ? "/" : "");
		paths[n++] = strdup(name);
		if (!e.leaving && e.type == DT_DIR && walk_enter(w, true) != 0)
			++*errors;
	}
	assert_int_equal(more, 0);
	walk_free(w);
	qsort(paths, n, sizeof(paths[0]), compare);
	out[0] = '\0';
	for (size_t i = 0; i < n; i++) {
		snprintf(out + strlen(out), sizeof(out) - strlen(out), "%s%s", i > 0 ? " " : "",
		    paths[i]);
		free(paths[i]);
	}
	return out;
}

static void all_names_come_once(void **state)
{
	struct place *p = *state;
	int errors;

	place_folder(p, "t");
	assert_string_equal(walk_it(p, "t", &errors), "");
	place_folder(p, "t/a");
	place_folder(p, "t/a/b");
	place_folder(p, "t/.c");
	place_put(p, "t/a/f", "");
	place_put(p, "t/a/b/g", "");
	place_put(p, "t/...", "");
	place_link(p, "..", "t/a/link");
	assert_string_equal(walk_it(p, "t", &errors), "... .c .c/ a a/ a/b a/b/ a/b/g a/f a/link");
	assert_int_equal(errors, 0);
}

static void wide_folders_are_read_on(void **state)
{
	const unsigned n = getenv("TELEX_TEST_SLOW") != NULL ? 300 : 2500;
	struct place *p = *state;
	struct walk_entry e;
	struct walk *w;
	unsigned folders = 0, files = 0;
	char name[64];

	/* More than one buffer of folders, each with a folder in it. */
	place_folder(p, "t");
	for (unsigned i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "t/folder-with-a-name-%u", i);
		place_folder(p, name);
		snprintf(name, sizeof(name), "t/folder-with-a-name-%u/f", i);
		place_put(p, name, "");
	}
	assert_int_equal(walk_new(&w, open_here(p, "t")), 0);
	while (walk_next(w, &e) > 0) {
		assert_int_equal(e.error, 0);
		if (e.leaving) {
			assert_int_equal(e.note, 7);
			assert_int_equal(e.depth, 1);
			folders++;
		} else if (e.type == DT_DIR) {
			assert_int_equal(walk_enter(w, false), 0);
			*walk_note(w) = 7;
		} else {
			assert_int_equal(e.depth, 2);
			assert_string_equal(e.name, "f");
			files++;
		}
	}
	assert_int_equal(folders, n);
	assert_int_equal(files, n);
	walk_free(w);
}

/* Every level has entries behind the way down, that come after the way up: the place in a folder is
 * found again although its descriptor was closed. */
static void deep_walks_lose_nothing(void **state)
{
	const int n = 3 * (int)DEEP_OPEN;
	struct place *p = *state;
	struct walk_entry e;
	struct walk *w;
	int files = 0, left = 0, fd, next;
	char name[16];

	place_folder(p, "t");
	fd = open_here(p, "t");
	for (int i = 0; i < n; i++) {
		for (int k = 0; k < 9; k++) {
			snprintf(name, sizeof(name), "%d", k);
			next = openat(fd, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
			assert_true(next >= 0);
			close(next);
		}
		assert_int_equal(mkdirat(fd, "d", 0700), 0);
		next = openat(fd, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
		close(fd);
		fd = next;
	}
	close(fd);
	assert_int_equal(walk_new(&w, open_here(p, "t")), 0);
	while (walk_next(w, &e) > 0) {
		assert_int_equal(e.error, 0);
		if (e.leaving)
			left++;
		else if (e.type == DT_DIR)
			assert_int_equal(walk_enter(w, true), 0);
		else
			files++;
	}
	walk_free(w);
	assert_int_equal(files, 9 * n);
	assert_int_equal(left, n);
}

static void folders_may_be_gone_through_again(void **state)
{
	struct place *p = *state;
	struct walk_entry e;
	struct walk *w;
	int entered = 0, seen = 0;

	place_folder(p, "t");
	place_folder(p, "t/a");
	place_put(p, "t/a/f", "");
	assert_int_equal(walk_new(&w, open_here(p, "t")), 0);
	while (walk_next(w, &e) > 0) {
		seen += strcmp(e.path, "a/f") == 0;
		if (strcmp(e.path, "a") == 0 && entered++ < 3)
			assert_int_equal(walk_enter(w, true), 0);
	}
	walk_free(w);
	assert_int_equal(seen, 3);
}

static void what_is_lost_on_the_way_is_told(void **state)
{
	const int n = (int)DEEP_OPEN + 8;
	struct place *p = *state;
	struct walk_entry e;
	struct walk *w;
	int errors = 0, seen = 0;

	place_folder(p, "t");
	make_deep(p, "t", "x", n);
	place_put(p, "t/last", "");
	assert_int_equal(walk_new(&w, open_here(p, "t")), 0);
	while (walk_next(w, &e) > 0) {
		if (e.error != 0)
			errors++;
		else if (!e.leaving && e.type == DT_DIR)
			assert_int_equal(walk_enter(w, true), 0);
		else if (strcmp(e.name, "end") == 0)
			assert_int_equal(renameat(p->fd, "t/x/x", p->fd, "away"), 0);
		seen += e.error == 0 && strcmp(e.path, "last") == 0;
	}
	walk_free(w);
	assert_true(errors > 0);
	assert_int_equal(seen, 1);
}

static void other_mounts_are_entered_only_where_told(void **state)
{
	struct place *p = *state;
	struct walk_entry e;
	struct walk *w;

	if (!place_mount(p, "size=64k"))
		skip();
	place_put(p, "mount/inside", "");
	assert_int_equal(walk_new(&w, open_here(p, "")), 0);
	assert_int_equal(walk_next(w, &e), 1);
	assert_string_equal(e.path, "mount");
	assert_int_equal(walk_enter(w, false), EXDEV);
	assert_int_equal(walk_next(w, &e), 0);
	walk_free(w);
	assert_int_equal(walk_new(&w, open_here(p, "")), 0);
	assert_int_equal(walk_next(w, &e), 1);
	assert_int_equal(walk_enter(w, true), 0);
	assert_int_equal(walk_next(w, &e), 1);
	assert_string_equal(e.path, "mount/inside");
	walk_free(w);
}

#define in_place(f) cmocka_unit_test_setup_teardown(f, place_make, place_remove)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    in_place(deep_ways_go_down_and_up),
	    in_place(deep_ways_follow_nothing),
	    in_place(what_was_moved_away_is_not_found_again),
	    in_place(all_names_come_once),
	    in_place(wide_folders_are_read_on),
	    in_place(deep_walks_lose_nothing),
	    in_place(folders_may_be_gone_through_again),
	    in_place(what_is_lost_on_the_way_is_told),
	    in_place(other_mounts_are_entered_only_where_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
