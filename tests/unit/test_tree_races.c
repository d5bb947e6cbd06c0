/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Trees that are sent, made and cleaned up, while somebody keeps swapping what is in them for links
 * that lead out, for folders, files and FIFOs: in the source, in the target, and of the parts in
 * the making. Nothing outside is read or changed. TELEX_SWAPS: how many swaps (`make swaps`).
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/beneath.h"
#include "tests/support/folder.h"
#include "tests/support/tree_pump.h"

#define LARGE  (200u << 10) /* bytes: its content does not come with its entry */
#define FOLDER (O_RDONLY | O_DIRECTORY)

static const struct timespec then[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};

/* FOLDER/source/t and FOLDER/target/t hold a/secret, a/sub/f, f and large; FOLDER/out has the like,
 * with "outside" in each of them. What is swapped comes from, and goes to, FOLDER/stash. */
struct race {
	int top, stash;
	char out[600], secret[600], source[600], target[600]; /* paths */
	atomic_bool end;
	atomic_ulong swaps;
	unsigned long transfers, finished, files, removed, failed;
};

struct attacker {
	struct race *race;
	const char *tree; /* below the top */
	char item[8];     /* in the stash */
	uint64_t random;
	bool parts;    /* there are some */
	char part[64]; /* the name of one that was seen: it is the same the next time */
};

/* ---- what there is ---- */

/* The text, repeated up to `size` bytes; 0: once. */
static void put(int fd, const char *name, const char *text, size_t size)
{
	const int flags = O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_NONBLOCK;
	int file = open_beneath_make(fd, name, flags, 0644);
	const size_t len = strlen(text);
	char page[4096];
	size_t n = 0;

	if (file < 0)
		return;
	for (; n + len <= sizeof(page) && (n == 0 || n < size); n += len)
		memcpy(page + n, text, len);
	for (size_t at = 0; at == 0 || at < size; at += n)
		if (write(file, page, n) != (ssize_t)n)
			break;
	close(file);
}

/* A file of the tree, where it is missing by now. By size and time it is what is outside, too. */
static void put_missing(int t, const char *name, size_t size)
{
	int fd = open_beneath(t, name, O_RDONLY | O_NONBLOCK);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) || st.st_size == 0) {
		put(t, name, "insider", size);
		if (fd >= 0)
			close(fd);
		fd = open_beneath(t, name, O_RDONLY | O_NONBLOCK);
	}
	if (fd >= 0) {
		(void)futimens(fd, then);
		close(fd);
	}
}

/* What is missing of a tree. Whatever is swapped meanwhile, it is made inside. */
static void fill(const struct race *r, const char *tree)
{
	int t = open_beneath(r->top, tree, FOLDER), a;

	assert_true(t >= 0);
	(void)mkdirat(t, "a", 0755);
	a = open_beneath(t, "a", FOLDER);
	if (a >= 0) {
		(void)mkdirat(a, "sub", 0755);
		close(a);
	}
	put_missing(t, "a/secret", 0);
	put_missing(t, "a/sub/f", 0);
	put_missing(t, "f", 0);
	put_missing(t, "large", LARGE);
	close(t);
}

/* For the receiver to remove. */
static void add_extra(const struct race *r)
{
	int t = open_beneath(r->top, "target/t", FOLDER);

	assert_true(t >= 0);
	(void)mkdirat(t, "extra", 0755);
	put(t, "extra/secret", "insider", 0);
	put(t, "a/extra", "insider", 0);
	close(t);
}

static struct stat stat_of(const struct race *r, const char *name)
{
	struct stat st;

	assert_int_equal(fstatat(r->top, name, &st, AT_SYMLINK_NOFOLLOW), 0);
	return st;
}

/* ---- the swaps ---- */

static unsigned draw(struct attacker *a, unsigned n)
{
	a->random ^= a->random << 13;
	a->random ^= a->random >> 7;
	a->random ^= a->random << 17;
	return (unsigned)(a->random >> 20) % n;
}

static void pause_up_to(struct attacker *a, unsigned most)
{
	for (volatile unsigned i = draw(a, most); i > 0; i--)
		;
}

static bool make_item(struct attacker *a)
{
	struct race *r = a->race;
	int stash = r->stash;

	switch (draw(a, 10)) {
	case 0:
	case 1:
		return symlinkat(r->out, stash, a->item) == 0;
	case 2:
		return symlinkat("../../out", stash, a->item) == 0;
	case 3:
		return symlinkat("../../../out", stash, a->item) == 0;
	case 4:
		return mkdirat(stash, a->item, 0755) == 0;
	case 5:
		return mkfifoat(stash, a->item, 0644) == 0;
	case 6:
		put(stash, a->item, "insider", 0);
		return true;
	default:
		return symlinkat(r->secret, stash, a->item) == 0;
	}
}

/* A folder that the others come out of, where it could not go back, is emptied first. */
static void drop_item(struct attacker *a)
{
	const int stash = a->race->stash;
	int fd;

	if (unlinkat(stash, a->item, 0) == 0 || unlinkat(stash, a->item, AT_REMOVEDIR) == 0)
		return;
	fd = open_beneath(stash, a->item, FOLDER);
	if (fd < 0)
		return;
	(void)unlinkat(fd, "sub/f", 0);
	(void)unlinkat(fd, "sub", 0);
	(void)unlinkat(fd, "sub", AT_REMOVEDIR);
	(void)unlinkat(fd, "secret", 0);
	(void)unlinkat(fd, "secret", AT_REMOVEDIR);
	(void)unlinkat(fd, "extra", 0);
	(void)unlinkat(fd, "extra", AT_REMOVEDIR);
	close(fd);
	(void)unlinkat(stash, a->item, AT_REMOVEDIR);
}

static void count(struct attacker *a, int rc)
{
	if (rc == 0)
		atomic_fetch_add(&a->race->swaps, 1);
}

/* There and back, some times: at once, for who looks twice, and slowly, for who takes long. */
static void swap_name(struct attacker *a, int fd, const char *name)
{
	const int stash = a->race->stash;
	const bool slow = draw(a, 2) == 0;

	if (make_item(a))
		for (unsigned i = slow ? 2 : 2 * draw(a, 12); i > 0; i--) {
			count(a, renameat2(stash, a->item, fd, name, RENAME_EXCHANGE));
			pause_up_to(a, slow ? 30000 : 300);
		}
	drop_item(a);
}

static bool make_bait(struct attacker *a)
{
	const struct race *r = a->race;

	switch (draw(a, 3)) {
	case 0:
		return symlinkat(r->secret, r->stash, a->item) == 0;
	case 1:
		return linkat(r->top, "out/bait", r->stash, a->item, 0) == 0;
	default:
		return mkfifoat(r->stash, a->item, 0644) == 0;
	}
}

/* A part in the making becomes a link to what is outside; or there is one before it is made. */
static void swap_part(struct attacker *a, int fd)
{
	int own = openat(fd, ".", FOLDER | O_CLOEXEC);
	DIR *dir = own >= 0 ? fdopendir(own) : NULL;
	const struct dirent *d;

	while (dir != NULL && (d = readdir(dir)) != NULL) {
		if (strncmp(d->d_name, ".telex-", 7) != 0)
			continue;
		snprintf(a->part, sizeof(a->part), "%.63s", d->d_name);
		if (make_bait(a))
			count(a, renameat2(a->race->stash, a->item, fd, a->part, RENAME_EXCHANGE));
		drop_item(a);
	}
	if (dir != NULL)
		closedir(dir);
	if (a->part[0] == '\0' || !make_bait(a))
		return;
	count(a, renameat2(a->race->stash, a->item, fd, a->part, RENAME_NOREPLACE));
	drop_item(a);
}

static void *attack(void *arg)
{
	static const char *const names[] = {"a", "f", "large", "extra", "secret", "sub", "extra"};
	struct attacker *a = arg;
	struct race *r = a->race;

	while (!atomic_load(&r->end)) {
		const unsigned which = draw(a, 8);
		int t = open_beneath(r->top, a->tree, FOLDER);
		int fd = t >= 0 && which >= 4 && which < 7 ? open_beneath(t, "a", FOLDER) : t;

		if (fd >= 0 && which < 7)
			swap_name(a, fd, names[which]);
		else if (fd >= 0 && a->parts)
			swap_part(a, fd);
		if (fd >= 0 && fd != t)
			close(fd);
		if (t >= 0)
			close(t);
	}
	return NULL;
}

/* ---- what came of it ---- */

static void check_content(const struct race *r, const char *name, const char *wanted)
{
	char text[16] = "";
	int fd = openat(r->top, name, O_RDONLY);

	assert_true(fd >= 0 && read(fd, text, sizeof(text) - 1) == 7);
	close(fd);
	assert_string_equal(text, wanted);
}

static void check_file(const struct race *r, const char *name)
{
	struct stat st = stat_of(r, name);

	check_content(r, name, "outside");
	assert_int_equal(st.st_mode, S_IFREG | 0600);
	assert_int_equal(st.st_nlink, 1);
	assert_int_equal(st.st_mtim.tv_sec, 1000);
}

/* Nothing was added, taken or changed. */
static void check_outside(const struct race *r)
{
	check_file(r, "out/secret");
	check_file(r, "out/sub/f");
	/* It has names inside, too, and by these it may be given a mode and times. */
	check_content(r, "out/bait", "baiting");
	assert_int_equal(folder_count(r->out), 4);
	assert_int_equal(stat_of(r, "out/sub").st_mode, S_IFDIR | 0700);
	assert_int_equal(stat_of(r, "out/sub").st_nlink, 2);
	assert_int_equal(stat_of(r, "out").st_mode, S_IFDIR | 0700);
}

/* No content of what is outside is in there. */
static void check_inside(int fd, unsigned deep)
{
	DIR *dir = fdopendir(fd);
	const struct dirent *d;

	assert_non_null(dir);
	while ((d = readdir(dir)) != NULL) {
		char text[64] = "";
		struct stat st;
		int own;

		if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0)
			continue;
		own = open_beneath(dirfd(dir), d->d_name, O_RDONLY | O_NONBLOCK);
		if (own < 0 || fstat(own, &st) != 0)
			continue; /* a link, or it has just gone */
		if (S_ISDIR(st.st_mode) && deep < 16) {
			check_inside(own, deep + 1);
			continue;
		}
		if (S_ISREG(st.st_mode) && read(own, text, sizeof(text) - 1) > 0 &&
		    strstr(text, "outside") != NULL)
			fail_msg("%s has come from outside", d->d_name);
		close(own);
	}
	closedir(dir);
}

static void transfer(struct race *r)
{
	static const Telex__V1__TreeCheck checks[] = {TELEX__V1__TREE_CHECK__TREE_CHECK_NONE,
	    TELEX__V1__TREE_CHECK__TREE_CHECK_QUICK, TELEX__V1__TREE_CHECK__TREE_CHECK_CHECKSUM};
	const unsigned long i = r->transfers++;
	struct tree_pump_result result;
	struct tree_pump p;

	tree_pump_init(&p, r->source, r->target);
	p.options.check = checks[i % 3];
	p.options.delete_extraneous = i % 2 != 0;
	p.options.eager = i % 4 < 2;
	p.options.delta = i % 5 < 2;
	p.options.compress = i % 7 == 0;
	/* As a client that gets it. */
	p.receiver.links_stay = i % 8 >= 4;
	if (p.receiver.links_stay)
		p.receiver.special = 0;
	result = tree_pump_run(&p);
	assert_true(result.rc >= 0);
	r->finished += result.finished;
	r->files += result.files;
	r->removed += result.removed;
	r->failed += result.failed;
}

static void make_outside(struct race *r)
{
	static const char *const files[] = {"out/secret", "out/sub/f", "out/bait", "out/large"};
	assert_int_equal(mkdirat(r->top, "out", 0700), 0);
	assert_int_equal(mkdirat(r->top, "out/sub", 0700), 0);
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++) {
		put(r->top, files[i], i == 2 ? "baiting" : "outside", i == 3 ? LARGE : 0);
		assert_int_equal(fchmodat(r->top, files[i], 0600, 0), 0);
		assert_int_equal(utimensat(r->top, files[i], then, 0), 0);
	}
}

static void begin(struct race *r, const char *folder)
{
	static const char *const folders[] = {"source", "source/t", "target", "target/t", "stash"};

	r->top = open(folder, FOLDER);
	assert_true(r->top >= 0);
	for (size_t i = 0; i < sizeof(folders) / sizeof(folders[0]); i++)
		assert_int_equal(mkdirat(r->top, folders[i], 0755), 0);
	r->stash = openat(r->top, "stash", FOLDER);
	assert_true(r->stash >= 0);
	snprintf(r->out, sizeof(r->out), "%s/out", folder);
	snprintf(r->secret, sizeof(r->secret), "%s/out/secret", folder);
	snprintf(r->source, sizeof(r->source), "%s/source/t", folder);
	snprintf(r->target, sizeof(r->target), "%s/target/t", folder);
	make_outside(r);
}

static void nothing_leads_out(void **state)
{
	const char *wanted = getenv("TELEX_SWAPS");
	unsigned long swaps = wanted != NULL ? strtoul(wanted, NULL, 10) : 20000;
	struct race r = {0};
	struct attacker attackers[] = {
	    {.race = &r, .tree = "source/t", .item = "source", .random = 88172645463325252u},
	    {.race = &r,
	        .tree = "target/t",
	        .item = "target",
	        .random = 1181783497276652981u,
	        .parts = true},
	};
	pthread_t threads[2];

	/* Valgrind has neither the kernel's openat2 nor threads at once. */
	if (getenv("TELEX_TEST_SLOW") != NULL) {
		print_message("# there is no openat2 under valgrind, and no race\n");
		skip();
	}
	begin(&r, *state);
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, attack, &attackers[i]), 0);
	while (atomic_load(&r.swaps) < swaps || r.files == 0 || r.removed == 0) {
		int fd;

		fill(&r, "source/t");
		add_extra(&r);
		transfer(&r);
		check_outside(&r);
		fd = open_beneath(r.top, "target/t", FOLDER);
		assert_true(fd >= 0);
		check_inside(fd, 0);
	}
	atomic_store(&r.end, true);
	for (size_t i = 0; i < 2; i++)
		assert_int_equal(pthread_join(threads[i], NULL), 0);
	print_message(
	    "# %lu swaps, %lu transfers, %lu of them to their end: %lu files came, %lu were "
	    "removed, %lu failed; 0 escapes\n",
	    atomic_load(&r.swaps), r.transfers, r.finished, r.files, r.removed, r.failed);
	assert_true(r.finished > 0);
	close(r.stash);
	close(r.top);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test_setup_teardown(nothing_leads_out, folder_make, folder_remove),
	};

	/* Where nothing has to be made durable there are more transfers to a swap. */
	if (access("/dev/shm", W_OK) == 0)
		(void)setenv("TMPDIR", "/dev/shm", 1);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
