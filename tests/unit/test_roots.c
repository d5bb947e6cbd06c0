/* SPDX-License-Identifier: Apache-2.0 */
/* Where paths may lead: every way out that a link, a name or a race could be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "agent/files/roots.h"
#include "tests/support/folder.h"

/* In T: in/ (the root, as a rule) with file, sub/file; out/ with secret. */
struct scene {
	void *folder;
	char *top; /* as the kernel names it */
	struct rpc_status status;
};

static char *at(const struct scene *s, const char *name)
{
	static char bufs[8][512];
	static unsigned next;
	char *buf = bufs[next++ % 8];

	snprintf(buf, sizeof(bufs[0]), "%s/%s", s->top, name);
	return buf;
}

static void put(const struct scene *s, const char *name, const char *text)
{
	FILE *f = fopen(at(s, name), "we");

	assert_non_null(f);
	assert_true(fputs(text, f) >= 0);
	assert_int_equal(fclose(f), 0);
}

static void folder(const struct scene *s, const char *name)
{
	assert_int_equal(mkdir(at(s, name), 0755), 0);
}

static void link_to(const struct scene *s, const char *target, const char *name)
{
	assert_int_equal(symlink(target, at(s, name)), 0);
}

/* Else no link is followed, and tests of those that are have nothing to see. */
static bool follows(void)
{
	struct open_how how = {.flags = O_PATH | O_CLOEXEC};
	int fd = (int)syscall(SYS_openat2, AT_FDCWD, "/", &how, sizeof(how));

	if (fd >= 0)
		close(fd);
	else
		print_message("no openat2 here: %s\n", strerror(errno));
	return fd >= 0;
}

static int set_up(void **state)
{
	struct scene *s = calloc(1, sizeof(*s));

	assert_non_null(s);
	assert_int_equal(folder_make(&s->folder), 0);
	s->top = realpath(s->folder, NULL);
	assert_non_null(s->top);
	folder(s, "in");
	folder(s, "in/sub");
	folder(s, "out");
	put(s, "in/file", "inside");
	put(s, "in/sub/file", "inside");
	put(s, "out/secret", "outside");
	*state = s;
	return 0;
}

static int tear_down(void **state)
{
	struct scene *s = *state;
	int rc = folder_remove(&s->folder);

	free(s->top);
	free(s);
	return rc;
}

/* For reading; the pattern below T. */
static struct roots *reading(const struct scene *s, const char *pattern)
{
	const char *const list[] = {
	    pattern[0] == '/' || strcmp(pattern, "**") == 0 ? pattern : at(s, pattern), NULL};
	struct roots *r;

	assert_int_equal(roots_new(&r, list, list, NULL), 0);
	return r;
}

/* What is in the file behind a path; "": it cannot be opened. */
static const char *content(struct scene *s, const struct roots *r, const char *path)
{
	static char text[64];
	ssize_t n;
	int fd =
	    roots_open(r, ROOTS_READ, path[0] == '/' ? path : at(s, path), O_RDONLY, &s->status);

	if (fd < 0)
		return "";
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[n > 0 ? n : 0] = '\0';
	return text;
}

static void refused(struct scene *s, const struct roots *r, const char *path, const char *reason)
{
	assert_string_equal(content(s, r, path), "");
	assert_string_equal(s->status.reason, reason);
	assert_true(s->status.message[0] != '\0');
}

static void what_is_below_a_root_is_open(void **state)
{
	struct scene *s = *state;
	struct roots *r = reading(s, "in/**");

	assert_string_equal(content(s, r, "in/file"), "inside");
	assert_string_equal(content(s, r, "in/sub/file"), "inside");
	refused(s, r, "out/secret", "OUTSIDE_ROOT");
	refused(s, r, "in2/file", "OUTSIDE_ROOT");
	refused(s, r, "in/nothing", "NO_SUCH_FILE");
	refused(s, r, "in/file/below", "NOT_A_FOLDER");
	refused(s, r, "in/../out/secret", "OUTSIDE_ROOT");
	refused(s, r, "in//file", "OUTSIDE_ROOT");
	assert_int_equal(roots_open(r, ROOTS_WATCH, at(s, "in/file"), O_RDONLY, &s->status), -1);
	roots_free(r);
}

static void the_root_itself_is_open(void **state)
{
	struct scene *s = *state;
	struct roots *r = reading(s, "in/**");
	int fd = roots_open(r, ROOTS_READ, at(s, "in"), O_RDONLY | O_DIRECTORY, &s->status);

	assert_true(fd >= 0);
	close(fd);
	refused(s, r, "", "OUTSIDE_ROOT");
	roots_free(r);
}

static void links_that_stay_are_followed(void **state)
{
	struct scene *s = *state;
	struct roots *r = follows() ? reading(s, "in/**") : NULL;

	if (r == NULL)
		skip();
	link_to(s, "sub/file", "in/link");
	link_to(s, "../file", "in/sub/up");
	link_to(s, "sub", "in/folder");
	assert_string_equal(content(s, r, "in/link"), "inside");
	assert_string_equal(content(s, r, "in/sub/up"), "inside");
	assert_string_equal(content(s, r, "in/folder/file"), "inside");
	roots_free(r);
}

static void links_that_leave_are_not(void **state)
{
	struct scene *s = *state;
	struct roots *r = follows() ? reading(s, "in/**") : NULL;

	if (r == NULL)
		skip();
	link_to(s, "../out/secret", "in/relative");
	link_to(s, at(s, "out/secret"), "in/absolute");
	link_to(s, at(s, "in/file"), "in/absolute-inside");
	link_to(s, "../out", "in/folder");
	link_to(s, "../in/file", "in/out-and-back");
	link_to(s, "/proc/self/root", "in/magic");
	link_to(s, "loop", "in/loop");
	refused(s, r, "in/relative", "OUTSIDE_ROOT");
	refused(s, r, "in/absolute", "OUTSIDE_ROOT");
	refused(s, r, "in/absolute-inside", "OUTSIDE_ROOT");
	refused(s, r, "in/folder/secret", "OUTSIDE_ROOT");
	refused(s, r, "in/out-and-back", "OUTSIDE_ROOT");
	refused(s, r, "in/magic/etc/passwd", "OUTSIDE_ROOT");
	refused(s, r, "in/loop", "LINK_LOOP");
	roots_free(r);
}

static void a_link_itself_can_be_had(void **state)
{
	struct scene *s = *state;
	struct roots *r = reading(s, "in/**");
	struct stat st;
	int fd;

	link_to(s, "/etc", "in/link");
	fd = roots_open(r, ROOTS_READ, at(s, "in/link"), O_PATH | O_NOFOLLOW, &s->status);
	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_true(S_ISLNK(st.st_mode));
	close(fd);
	roots_free(r);
}

static void the_root_of_everything_follows_all(void **state)
{
	static const char *const patterns[] = {"**", "/**"};
	struct scene *s = *state;

	if (!follows())
		skip();
	link_to(s, at(s, "out/secret"), "in/absolute");
	for (size_t i = 0; i < 2; i++) {
		struct roots *r = reading(s, patterns[i]);
		int fd;

		assert_string_equal(content(s, r, "in/absolute"), "outside");
		assert_string_equal(content(s, r, "out/secret"), "outside");
		fd = roots_open(r, ROOTS_READ, "/", O_RDONLY | O_DIRECTORY, &s->status);
		assert_true(fd >= 0);
		close(fd);
		/* Never by a magic link. */
		refused(s, r, "/proc/self/root/etc/passwd", "LINK_LOOP");
		roots_free(r);
	}
}

static void the_root_alone_is_no_more(void **state)
{
	struct scene *s = *state;
	struct roots *r = reading(s, "/");
	int fd = roots_open(r, ROOTS_READ, "/", O_RDONLY | O_DIRECTORY, &s->status);

	assert_true(fd >= 0);
	close(fd);
	refused(s, r, "/etc", "OUTSIDE_ROOT");
	roots_free(r);
}

static void one_file_is_itself(void **state)
{
	struct scene *s = *state;
	struct roots *r = reading(s, "in/file");

	assert_string_equal(content(s, r, "in/file"), "inside");
	refused(s, r, "in/sub/file", "OUTSIDE_ROOT");
	refused(s, r, "in", "OUTSIDE_ROOT");
	/* Replaced by a link to its neighbour, it is not itself any more. */
	assert_int_equal(unlink(at(s, "in/file")), 0);
	link_to(s, "sub/file", "in/file");
	refused(s, r, "in/file", "OUTSIDE_ROOT");
	assert_int_equal(unlink(at(s, "in/file")), 0);
	put(s, "in/file", "anew");
	assert_string_equal(content(s, r, "in/file"), "anew");
	roots_free(r);
}

static void a_wildcard_in_the_middle_is_looked_at_twice(void **state)
{
	struct scene *s = *state;
	struct roots *r = follows() ? reading(s, "home/*/pub/**") : NULL;

	if (r == NULL)
		skip();
	folder(s, "home");
	folder(s, "home/a");
	folder(s, "home/a/pub");
	folder(s, "home/b");
	folder(s, "home/b/pub");
	folder(s, "home/b/private");
	put(s, "home/a/pub/file", "inside");
	put(s, "home/b/pub/file", "b's");
	put(s, "home/b/private/file", "private");
	assert_string_equal(content(s, r, "home/a/pub/file"), "inside");
	/* Below the root, and of another that the pattern takes, too. */
	link_to(s, "../../b/pub/file", "home/a/pub/others");
	assert_string_equal(content(s, r, "home/a/pub/others"), "b's");
	/* Below the root, but not what the pattern says. */
	link_to(s, "../../b/private/file", "home/a/pub/sneaky");
	refused(s, r, "home/a/pub/sneaky", "OUTSIDE_ROOT");
	link_to(s, "../../b/private", "home/a/pub/folder");
	refused(s, r, "home/a/pub/folder/file", "OUTSIDE_ROOT");
	refused(s, r, "home/b/private/file", "OUTSIDE_ROOT");
	/* The whole folder is a link. */
	folder(s, "home/c");
	link_to(s, "../b/private", "home/c/pub");
	refused(s, r, "home/c/pub/file", "OUTSIDE_ROOT");
	roots_free(r);
}

static void the_roots_own_name_may_be_a_link(void **state)
{
	struct scene *s = *state;
	struct roots *r;

	link_to(s, "in", "alias");
	r = reading(s, "alias/**");
	assert_string_equal(content(s, r, "alias/file"), "inside");
	roots_free(r);
	/* Also where names are compared. */
	r = reading(s, "alias/*");
	assert_string_equal(content(s, r, "alias/file"), "inside");
	refused(s, r, "alias/sub/file", "OUTSIDE_ROOT");
	link_to(s, "sub/file", "in/deep");
	refused(s, r, "alias/deep", "OUTSIDE_ROOT");
	roots_free(r);
}

static void a_name_that_looks_deleted_is_no_way_in(void **state)
{
	struct scene *s = *state;
	struct roots *r = reading(s, "in/x*/file");

	folder(s, "in/x");
	folder(s, "in/y");
	put(s, "in/y/file (deleted)", "sneaky");
	link_to(s, "../y/file (deleted)", "in/x/file");
	refused(s, r, "in/x/file", "OUTSIDE_ROOT");
	roots_free(r);
}

static void another_root_may_hold_it(void **state)
{
	struct scene *s = *state;
	const char *list[] = {at(s, "in/**"), at(s, "in/mnt/**"), NULL};
	struct roots *r;

	if (!follows())
		skip();
	link_to(s, "../out", "in/mnt");
	assert_int_equal(roots_new(&r, list, NULL, NULL), 0);
	assert_string_equal(content(s, r, "in/mnt/secret"), "outside");
	roots_free(r);
}

static void accesses_are_apart(void **state)
{
	struct scene *s = *state;
	const char *read[] = {at(s, "in/**"), NULL}, *write[] = {at(s, "out/**"), NULL};
	const char *watch[] = {at(s, "in/sub/**"), NULL}, *name;
	struct roots *r;
	int fd;

	assert_int_equal(roots_new(&r, read, write, watch), 0);
	assert_true(roots_allow(r, ROOTS_READ, at(s, "in/file")));
	assert_false(roots_allow(r, ROOTS_WRITE, at(s, "in/file")));
	assert_true(roots_allow(r, ROOTS_WRITE, at(s, "out/secret")));
	assert_false(roots_allow(r, ROOTS_READ, at(s, "out/secret")));
	assert_true(roots_allow(r, ROOTS_WATCH, at(s, "in/sub")));
	assert_false(roots_allow(r, ROOTS_WATCH, at(s, "in")));
	assert_int_equal(roots_parent(r, ROOTS_WRITE, at(s, "in/new"), &name, &s->status), -1);
	fd = roots_parent(r, ROOTS_WRITE, at(s, "out/new"), &name, &s->status);
	assert_true(fd >= 0);
	close(fd);
	roots_free(r);
}

static void a_root_may_come_later(void **state)
{
	struct scene *s = *state;
	struct roots *r = reading(s, "later/**");
	const char *name;
	int fd;

	refused(s, r, "later/file", "NO_SUCH_FILE");
	/* It is made by way of its parent, of which nothing else can be had. */
	fd = roots_parent(r, ROOTS_WRITE, at(s, "later"), &name, &s->status);
	assert_true(fd >= 0);
	assert_string_equal(name, "later");
	assert_int_equal(mkdirat(fd, name, 0755), 0);
	close(fd);
	put(s, "later/file", "inside");
	assert_string_equal(content(s, r, "later/file"), "inside");
	assert_int_equal(roots_parent(r, ROOTS_WRITE, at(s, "other"), &name, &s->status), -1);
	assert_string_equal(s->status.reason, "OUTSIDE_ROOT");
	/* And be gone, and come again. */
	assert_int_equal(unlink(at(s, "later/file")), 0);
	assert_int_equal(rmdir(at(s, "later")), 0);
	refused(s, r, "later/file", "NO_SUCH_FILE");
	folder(s, "later");
	put(s, "later/file", "again");
	assert_string_equal(content(s, r, "later/file"), "again");
	roots_free(r);
}

static void a_parent_is_where_the_name_is(void **state)
{
	struct scene *s = *state;
	struct roots *r = reading(s, "in/**");
	const char *name;
	int fd = roots_parent(r, ROOTS_WRITE, at(s, "in/sub/new"), &name, &s->status);

	assert_true(fd >= 0);
	assert_string_equal(name, "new");
	assert_int_equal(faccessat(fd, "file", F_OK, 0), 0);
	close(fd);
	link_to(s, "../out", "in/folder");
	assert_int_equal(
	    roots_parent(r, ROOTS_WRITE, at(s, "in/folder/new"), &name, &s->status), -1);
	if (follows())
		assert_string_equal(s->status.reason, "OUTSIDE_ROOT");
	assert_int_equal(roots_parent(r, ROOTS_WRITE, at(s, "in/no/new"), &name, &s->status), -1);
	assert_string_equal(s->status.reason, "NO_SUCH_FILE");
	assert_int_equal(roots_parent(r, ROOTS_WRITE, at(s, "in/file/new"), &name, &s->status), -1);
	assert_string_equal(s->status.reason, "NOT_A_FOLDER");
	assert_int_equal(roots_parent(r, ROOTS_WRITE, "/", &name, &s->status), -1);
	assert_int_equal(s->status.code, RPC_INVALID_ARGUMENT);
	roots_free(r);
}

/* The name that is to be made must be one that the pattern takes, where it really is. */
static void a_parent_by_a_pattern(void **state)
{
	struct scene *s = *state;
	struct roots *r = reading(s, "in/*.txt");
	const char *name;
	int fd = roots_parent(r, ROOTS_WRITE, at(s, "in/new.txt"), &name, &s->status);

	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(roots_parent(r, ROOTS_WRITE, at(s, "in/new.sh"), &name, &s->status), -1);
	assert_int_equal(
	    roots_parent(r, ROOTS_WRITE, at(s, "in/sub/new.txt"), &name, &s->status), -1);
	roots_free(r);
	r = reading(s, "in/s*/*.txt");
	link_to(s, ".", "in/self");
	assert_int_equal(
	    roots_parent(r, ROOTS_WRITE, at(s, "in/self/new.txt"), &name, &s->status), -1);
	if (follows())
		assert_string_equal(s->status.reason, "OUTSIDE_ROOT");
	fd = roots_parent(r, ROOTS_WRITE, at(s, "in/sub/new.txt"), &name, &s->status);
	assert_true(fd >= 0);
	close(fd);
	roots_free(r);
}

static bool allows_tree(const struct scene *s, const char *pattern, const char *path)
{
	struct roots *r = reading(s, pattern);
	int fd = open(path[0] == '/' ? path : at(s, path), O_PATH | O_CLOEXEC);
	bool yes;

	assert_true(fd >= 0);
	yes = roots_allow_tree(r, ROOTS_READ, fd, NULL);
	close(fd);
	roots_free(r);
	return yes;
}

static void a_tree_is_more_than_its_top(void **state)
{
	struct scene *s = *state;
	struct roots *r = reading(s, "in/sub/**");
	int fd = open(at(s, "in"), O_PATH | O_CLOEXEC);

	assert_true(allows_tree(s, "in/**", "in"));
	assert_true(allows_tree(s, "in/**", "in/sub"));
	assert_false(allows_tree(s, "in/**", "out"));
	assert_false(allows_tree(s, "in/*", "in/sub"));
	assert_false(allows_tree(s, "in/sub", "in/sub"));
	assert_false(roots_allow_all(r, ROOTS_READ));
	assert_true(allows_tree(s, "**", "/"));
	assert_true(allows_tree(s, "**", "in"));
	assert_true(fd >= 0);
	assert_true(roots_allow_tree(r, ROOTS_READ, fd, "sub"));
	assert_false(roots_allow_tree(r, ROOTS_READ, fd, "file"));
	close(fd);
	roots_free(r);
}

static void what_is_open_can_be_opened_again(void **state)
{
	struct scene *s = *state;
	int fd = open(at(s, "in/file"), O_PATH | O_CLOEXEC), again;
	char text[7] = "";

	assert_true(fd >= 0);
	again = roots_reopen(fd, O_RDONLY);
	assert_true(again >= 0);
	assert_int_equal(read(again, text, sizeof(text) - 1), 6);
	assert_string_equal(text, "inside");
	close(again);
	close(fd);
}

static void escaped_wildcards_are_names(void **state)
{
	struct scene *s = *state;
	struct roots *r;

	folder(s, "in/*");
	put(s, "in/*/file", "star");
	r = reading(s, "in/\\*/**");
	assert_string_equal(content(s, r, "in/*/file"), "star");
	refused(s, r, "in/sub/file", "OUTSIDE_ROOT");
	roots_free(r);
}

static void paths_may_be_long_but_not_too_long(void **state)
{
	struct scene *s = *state;
	struct roots *r = reading(s, "**");
	char path[6000];

	memset(path, 'x', sizeof(path));
	for (size_t i = 0; i < sizeof(path); i += 200)
		path[i] = '/';
	path[4095] = '\0';
	refused(s, r, path, "NO_SUCH_FILE");
	path[4095] = 'x';
	path[5000] = '\0';
	refused(s, r, path, "NAME_TOO_LONG");
	memset(path + 1, 'x', 300);
	path[301] = '\0';
	refused(s, r, path, "NAME_TOO_LONG");
	roots_free(r);
}

static void opening_a_fifo_does_not_wait(void **state)
{
	struct scene *s = *state;
	struct roots *r = reading(s, "in/**");
	int fd;

	assert_int_equal(mkfifo(at(s, "in/fifo"), 0600), 0);
	fd = roots_open(r, ROOTS_READ, at(s, "in/fifo"), O_RDONLY, &s->status);
	assert_true(fd >= 0);
	close(fd);
	roots_free(r);
}

/* ---- for the sandbox ---- */

struct seen {
	unsigned n, writable, missing;
	struct stat last;
};

static int see(const struct roots_folder *f, void *arg)
{
	struct seen *seen = arg;

	seen->n++;
	seen->writable += f->writable;
	seen->missing += f->missing;
	return fstat(f->fd, &seen->last);
}

static void the_sandbox_gets_what_is_there(void **state)
{
	struct scene *s = *state;
	const char *read[] = {at(s, "in/**"), NULL}, *write[] = {at(s, "no/such/**"), NULL};
	struct seen seen = {0};
	struct roots *r;
	struct stat st;

	assert_int_equal(roots_new(&r, read, write, NULL), 0);
	assert_int_equal(roots_each(r, see, &seen), 0);
	assert_int_equal(seen.n, 2);
	assert_int_equal(seen.writable, 1);
	assert_int_equal(seen.missing, 1);
	assert_int_equal(stat(s->top, &st), 0);
	assert_int_equal(st.st_ino, seen.last.st_ino);
	roots_free(r);
}

/* ---- races ---- */

struct race {
	char a[512], b[512];
	atomic_bool over;
	atomic_ulong swaps;
};

static void *swap(void *arg)
{
	const struct timespec pause = {0, 1000000};
	struct race *race = arg;

	while (!atomic_load(&race->over)) {
		/* Under valgrind, one thread would have all the time. */
		if (getenv("TELEX_TEST_SLOW") != NULL)
			(void)nanosleep(&pause, NULL);
		if (renameat2(AT_FDCWD, race->a, AT_FDCWD, race->b, RENAME_EXCHANGE) == 0)
			atomic_fetch_add(&race->swaps, 1);
	}
	return NULL;
}

/* One who may rename inside the root changes a component, again and again. */
static void race(
    struct scene *s, const char *pattern, const char *a, const char *b, const char *path)
{
	struct roots *r = reading(s, pattern);
	struct race race = {.over = false};
	unsigned opens = getenv("TELEX_TEST_SLOW") != NULL ? 100 : 10000, inside = 0, refusals = 0;
	pthread_t thread;

	snprintf(race.a, sizeof(race.a), "%s", at(s, a));
	snprintf(race.b, sizeof(race.b), "%s", at(s, b));
	assert_int_equal(pthread_create(&thread, NULL, swap, &race), 0);
	for (unsigned i = 0; i < opens || inside == 0 || refusals == 0; i++) {
		const char *got = content(s, r, path);

		assert_true(strcmp(got, "inside") == 0 || got[0] == '\0');
		inside += got[0] != '\0';
		refusals += got[0] == '\0';
		if (i > opens * 20)
			break; /* no luck; but no escape either */
	}
	atomic_store(&race.over, true);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_true(atomic_load(&race.swaps) > 0);
	assert_true(inside > 0);
	roots_free(r);
}

static void swapped_folders_do_not_let_out(void **state)
{
	struct scene *s = *state;

	put(s, "out/file", "outside");
	link_to(s, "../out", "in/evil");
	race(s, "in/**", "in/sub", "in/evil", "in/sub/file");
}

static void swapped_files_do_not_let_out(void **state)
{
	struct scene *s = *state;

	link_to(s, "../out/secret", "in/evil");
	race(s, "in/**", "in/file", "in/evil", "in/file");
}

static void swapped_folders_do_not_dodge_a_pattern(void **state)
{
	struct scene *s = *state;

	folder(s, "in/private");
	put(s, "in/private/file", "outside");
	link_to(s, "private", "in/evil");
	race(s, "in/s*/file", "in/sub", "in/evil", "in/sub/file");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    TEST(what_is_below_a_root_is_open),
	    TEST(the_root_itself_is_open),
	    TEST(links_that_stay_are_followed),
	    TEST(links_that_leave_are_not),
	    TEST(a_link_itself_can_be_had),
	    TEST(the_root_of_everything_follows_all),
	    TEST(the_root_alone_is_no_more),
	    TEST(one_file_is_itself),
	    TEST(a_wildcard_in_the_middle_is_looked_at_twice),
	    TEST(the_roots_own_name_may_be_a_link),
	    TEST(a_name_that_looks_deleted_is_no_way_in),
	    TEST(another_root_may_hold_it),
	    TEST(accesses_are_apart),
	    TEST(a_root_may_come_later),
	    TEST(a_parent_is_where_the_name_is),
	    TEST(a_parent_by_a_pattern),
	    TEST(a_tree_is_more_than_its_top),
	    TEST(what_is_open_can_be_opened_again),
	    TEST(escaped_wildcards_are_names),
	    TEST(paths_may_be_long_but_not_too_long),
	    TEST(opening_a_fifo_does_not_wait),
	    TEST(the_sandbox_gets_what_is_there),
	    TEST(swapped_folders_do_not_let_out),
	    TEST(swapped_files_do_not_let_out),
	    TEST(swapped_folders_do_not_dodge_a_pattern),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
