/* SPDX-License-Identifier: Apache-2.0 */
/* Remove. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "telex/v1/file.pb-c.h"
#include "tests/support/files_place.h"

struct how {
	bool recursive, force, across_mounts, directory_only;
};

#define remove_it(p, name, reason, removed, ...)                                                   \
	remove_as(p, name, (struct how){__VA_ARGS__}, reason, removed)

static void fill(Telex__V1__FileServiceRemoveRequest *r, struct how how)
{
	telex__v1__file_service_remove_request__init(r);
	r->recursive = how.recursive;
	r->force = how.force;
	r->across_mounts = how.across_mounts;
	r->directory_only = how.directory_only;
}

static void remove_as(
    struct place *p, const char *name, struct how how, const char *reason, uint64_t removed)
{
	Telex__V1__FileServiceRemoveRequest r;
	const Telex__V1__FileServiceRemoveResponse *response;

	fill(&r, how);
	r.path = place_bytes(p, name);
	place_expect(p, "Remove", &r.base, reason);
	if (reason != NULL)
		return;
	response = place_response(p, &telex__v1__file_service_remove_response__descriptor);
	assert_int_equal(response->removed, removed);
}

/* What the failure counted. */
static void expect_counts(struct place *p, const char *failed, const char *removed)
{
	const struct rpc_status *s = memory_call_status(p->call);

	assert_string_equal(rpc_status_get(s, "failed"), failed);
	assert_string_equal(rpc_status_get(s, "removed"), removed);
	assert_non_null(rpc_status_get(s, "path"));
}

static void files_and_empty_folders_are_removed(void **state)
{
	struct place *p = *state;

	place_put(p, "f", "");
	remove_it(p, "f", NULL, 1, 0);
	place_folder(p, "d");
	remove_it(p, "d", NULL, 1, 0);
	place_folder(p, "d");
	remove_it(p, "d", NULL, 1, .directory_only = true);
	place_folder(p, "d");
	place_put(p, "d/f", "");
	remove_it(p, "d", "NOT_EMPTY", 0, 0);
	expect_counts(p, "1", "0");
	remove_it(p, "d", "NOT_EMPTY", 0, .directory_only = true, .recursive = true);
	remove_it(p, "d/f", "NOT_A_FOLDER", 0, .directory_only = true);
	/* A link, and not what it leads to. */
	place_link(p, "d", "link");
	remove_it(p, "link", NULL, 1, .recursive = true);
	assert_true(place_has(p, "d/f"));
	assert_int_equal(mkfifoat(p->fd, "fifo", 0600), 0);
	remove_it(p, "fifo", NULL, 1, 0);
	assert_int_equal(place_count(p, ""), 1);
}

static void what_is_not_there_is_forgiven_where_told(void **state)
{
	struct place *p = *state;

	remove_it(p, "none", "NO_SUCH_FILE", 0, 0);
	remove_it(p, "none", NULL, 0, .force = true);
	remove_it(p, "none/none", "NO_SUCH_FILE", 0, .recursive = true);
	remove_it(p, "none/none", NULL, 0, .force = true, .recursive = true);
	place_put(p, "f", "");
	remove_it(p, "f/x", "NOT_A_FOLDER", 0, .force = true);
	remove_it(p, "../x", "BAD_REQUEST", 0, .force = true);
}

static void trees_are_removed(void **state)
{
	struct place *p = *state;
	char name[4] = "t/x";

	place_folder(p, "t");
	place_folder(p, "t/a");
	place_folder(p, "t/a/b");
	place_put(p, "t/a/b/f", "");
	place_folder(p, "out");
	place_put(p, "out/stays", "");
	place_link(p, "../../out", "t/a/link");
	for (int c = 1; c < 256; c++) {
		if (c == '/' || c == '.' || c == 'a')
			continue;
		name[2] = (char)c;
		place_put(p, name, "");
	}
	remove_it(p, "t", NULL, 5 + 252, .recursive = true);
	assert_false(place_has(p, "t"));
	assert_true(place_has(p, "out/stays"));
	assert_string_equal(memory_call_summary(p->call), "removed=257 failed=0");
}

static void wide_folders_are_removed(void **state)
{
	const int n = getenv("TELEX_TEST_SLOW") != NULL ? 500 : 5000;
	struct place *p = *state;
	char name[64];

	place_folder(p, "t");
	for (int i = 0; i < n; i++) {
		snprintf(name, sizeof(name), "t/a-name-of-some-length-%d", i);
		place_put(p, name, "");
	}
	remove_it(p, "t", NULL, (uint64_t)n + 1, .recursive = true);
	assert_false(place_has(p, "t"));
}

static void deep_trees_are_removed(void **state)
{
	const int n = getenv("TELEX_TEST_SLOW") != NULL ? 500 : 10000;
	struct place *p = *state;
	/* In memory, where that can be had: disks are slow at this, and busy. */
	const char *top = place_mount(p, "size=200m") ? "mount/t" : "t";
	int fd, next;

	place_folder(p, top);
	fd = openat(p->fd, top, O_PATH | O_DIRECTORY | O_CLOEXEC);
	for (int i = 0; i < n; i++) {
		assert_int_equal(mkdirat(fd, "d", 0755), 0);
		next = openat(fd, "d", O_PATH | O_DIRECTORY | O_CLOEXEC);
		assert_true(next >= 0);
		close(fd);
		fd = next;
	}
	close(fd);
	remove_it(p, top, NULL, (uint64_t)n + 1, .recursive = true);
	assert_false(place_has(p, top));
}

static void mounts_below_stay(void **state)
{
	struct place *p = *state;

	if (!place_mount(p, "size=64k"))
		skip();
	place_put(p, "mount/precious", "");
	place_put(p, "f", "");
	place_folder(p, "d");
	remove_it(p, "mount", "BUSY", 0, .recursive = true);
	assert_true(place_has(p, "mount/precious"));
	/* One below: the others go. */
	place_folder(p, "t");
	place_folder(p, "t/m");
	place_put(p, "t/f", "");
	assert_int_equal(mount(place_path(p, "mount"), place_path(p, "t/m"), "", MS_BIND, NULL), 0);
	remove_it(p, "t", "BUSY", 0, .recursive = true);
	expect_counts(p, "1", "1");
	assert_true(place_has(p, "mount/precious"));
	assert_false(place_has(p, "t/f"));
	/* Asked for: what is in it goes, and where it is mounted stays. */
	remove_it(p, "t", "BUSY", 0, .recursive = true, .across_mounts = true);
	assert_false(place_has(p, "mount/precious"));
	assert_int_equal(umount2(place_path(p, "t/m"), MNT_DETACH), 0);
	remove_it(p, "t", NULL, 2, .recursive = true);
}

static int nobody_removes(struct place *p)
{
	Telex__V1__FileServiceRemoveRequest r;
	const struct rpc_status *s = memory_call_status(p->call);

	fill(&r, (struct how){.recursive = true});
	r.path = place_bytes(p, "t");
	if (memory_call_run(p->call, "Remove", &r.base) != RPC_PERMISSION_DENIED)
		return 1;
	if (strcmp(rpc_status_get(s, "failed"), "3") != 0)
		return 2;
	return strcmp(rpc_status_get(s, "removed"), "3") == 0 ? 0 : 3;
}

static void what_fails_does_not_stop_the_others(void **state)
{
	struct place *p = *state;

	if (!place_root("be another user"))
		skip();
	assert_int_equal(fchmodat(p->fd, ".", 0777, 0), 0);
	place_folder(p, "t");
	place_folder(p, "t/theirs");
	place_put(p, "t/theirs/f", "");
	place_put(p, "t/theirs/g", "");
	place_put(p, "t/mine", "");
	place_folder(p, "t/empty");
	place_folder(p, "t/dark");
	place_put(p, "t/dark/f", "");
	place_put(p, "t/also-mine", "");
	assert_int_equal(fchmodat(p->fd, "t", 0777, 0), 0);
	assert_int_equal(fchmodat(p->fd, "t/dark", 0700, 0), 0);
	assert_int_equal(place_as_nobody(p, nobody_removes), 0);
	assert_false(place_has(p, "t/mine"));
	assert_false(place_has(p, "t/also-mine"));
	assert_false(place_has(p, "t/empty"));
	assert_true(place_has(p, "t/theirs/g"));
	assert_true(place_has(p, "t/dark/f"));
}

static void a_worker_that_is_gone_ends_it(void **state)
{
	struct place *p = *state;
	Telex__V1__FileServiceRemoveRequest r;
	char name[32];

	place_folder(p, "t");
	for (int i = 0; i < 300; i++) {
		snprintf(name, sizeof(name), "t/%d", i);
		place_put(p, name, "");
	}
	fill(&r, (struct how){.recursive = true});
	r.path = place_bytes(p, "t");
	memory_call_gone_at(p->call, 3);
	(void)memory_call_run(p->call, "Remove", &r.base);
	assert_int_equal(memory_call_count(p->call), 0);
	assert_int_equal(place_count(p, "t"), 300 - 128);
}

static void places_that_cannot_be_written_are_said(void **state)
{
	struct place *p = *state;

	place_link(p, "/etc", "out");
	place_link(p, "loop", "loop");
	remove_it(p, "out/passwd", "OUTSIDE_ROOT", 0, .force = true);
	remove_it(p, "loop/x", "LINK_LOOP", 0, 0);
	if (!place_mount(p, "size=64k"))
		skip();
	place_folder(p, "mount/t");
	place_put(p, "mount/t/f", "");
	place_put(p, "mount/t/g", "");
	assert_int_equal(
	    mount("none", place_path(p, "mount"), "", MS_REMOUNT | MS_RDONLY, NULL), 0);
	remove_it(p, "mount/t", "READ_ONLY", 0, .recursive = true);
	assert_true(place_has(p, "mount/t/f"));
}

/* A role that may remove names in a folder, and not what is below them. */
static void what_roots_do_not_allow_stays(void **state)
{
	struct place *p = *state;
	char one[700], two[700];
	const char *write[] = {one, two, NULL};

	place_folder(p, "t");
	place_put(p, "t/a.tmp", "");
	place_put(p, "t/b.txt", "");
	snprintf(one, sizeof(one), "%s/*", p->folder);
	snprintf(two, sizeof(two), "%s/t/*.tmp", p->folder);
	memory_call_free(p->call);
	p->call = memory_call_new(NULL, write);
	remove_it(p, "t", "OUTSIDE_ROOT", 0, .recursive = true);
	expect_counts(p, "1", "1");
	assert_true(place_has(p, "t/b.txt"));
	assert_false(place_has(p, "t/a.tmp"));
}

/* ---- somebody swaps folders for links to other places meanwhile ---- */

struct swapper {
	struct place *p;
	atomic_bool end;
	unsigned long swaps;
};

static void *swap(void *arg)
{
	struct swapper *s = arg;

	while (!atomic_load(&s->end)) {
		(void)renameat(s->p->fd, "t/a", s->p->fd, "t/b");
		s->swaps += symlinkat("../victim", s->p->fd, "t/a") == 0;
		(void)unlinkat(s->p->fd, "t/a", 0);
		(void)renameat(s->p->fd, "t/b", s->p->fd, "t/a");
	}
	return NULL;
}

static void swapped_links_lead_nowhere(void **state)
{
	const int rounds = getenv("TELEX_TEST_SLOW") != NULL ? 10 : 300;
	struct place *p = *state;
	struct swapper s = {.p = p};
	Telex__V1__FileServiceRemoveRequest r;
	pthread_t thread;
	int made = 0;

	place_folder(p, "victim");
	for (int i = 0; i < 8; i++) {
		char name[] = "victim/a";

		name[7] = (char)('a' + i);
		place_put(p, name, "");
	}
	place_folder(p, "t");
	fill(&r, (struct how){.recursive = true});
	assert_int_equal(pthread_create(&thread, NULL, swap, &s), 0);
	for (int i = 0; i < rounds; i++) {
		(void)mkdirat(p->fd, "t", 0755);
		(void)mkdirat(p->fd, "t/a", 0755);
		/* By the link they lead to names that are there already. */
		for (int k = 0; k < 8; k++) {
			char name[] = "t/a/a";

			name[4] = (char)('a' + k);
			made += symlinkat("x", p->fd, name) == 0;
		}
		r.path = place_bytes(p, "t/a");
		(void)memory_call_run(p->call, "Remove", &r.base);
		r.path = place_bytes(p, "t");
		(void)memory_call_run(p->call, "Remove", &r.base);
		assert_int_equal(place_count(p, "victim"), 8);
	}
	atomic_store(&s.end, true);
	assert_int_equal(pthread_join(thread, NULL), 0);
	assert_true(s.swaps > 0 && made > 0);
	assert_int_equal(place_count(p, "victim"), 8);
}

#define in_place(f) cmocka_unit_test_setup_teardown(f, place_make, place_remove)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    in_place(files_and_empty_folders_are_removed),
	    in_place(what_is_not_there_is_forgiven_where_told),
	    in_place(trees_are_removed),
	    in_place(wide_folders_are_removed),
	    in_place(deep_trees_are_removed),
	    in_place(mounts_below_stay),
	    in_place(what_fails_does_not_stop_the_others),
	    in_place(a_worker_that_is_gone_ends_it),
	    in_place(places_that_cannot_be_written_are_said),
	    in_place(what_roots_do_not_allow_stays),
	    in_place(swapped_links_lead_nowhere),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
