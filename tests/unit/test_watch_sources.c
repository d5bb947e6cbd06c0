/* SPDX-License-Identifier: Apache-2.0 */
/* Two watchers of one folder, by inotify and by fanotify, tell the same of all that happens. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/inotify.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/watch/watch_handles.h"
#include "agent/watch/watch_map.h"
#include "agent/watch/watch_queue.h"
#include "common/mem.h"
#include "tests/unit/watch_rig.h"

#define ROOT_GONE (1u << 7)
#define ROOT_BACK (1u << 8)
#define BACK      TELEX__V1__WATCH_RESCAN__REASON__REASON_ROOT_BACK
#define OVERFLOW  TELEX__V1__WATCH_RESCAN__REASON__REASON_OVERFLOW

/* The rig of rig_make is by inotify; the other one is in its folder, too. */
struct both {
	struct rig *a, *b;
};

static int make(void **state)
{
	struct both *both = xcalloc(1, sizeof(*both));
	void *rig;

	if (rig_make(&rig) != 0)
		return -1;
	both->a = rig;
	*state = both;
	return rig_make_beside(&both->b, both->a, &rig_wide);
}

static int end(void **state)
{
	struct both *both = *state;
	void *rig = both->a;

	rig_free_beside(both->b);
	free(both);
	return rig_free(&rig);
}

static void need_fanotify(void)
{
	const char *why;

	if (rig_has_fanotify(&why) == 0)
		return;
	print_message("# skipped: %s\n", why);
	skip();
}

static void begin(struct both *both, const char *name)
{
	const char *const names[] = {name, NULL};

	for (int i = 0; i < 2; i++) {
		struct rig *r = i == 0 ? both->a : both->b;
		Telex__V1__WatchBegin b = rig_begin(r, names);

		b.state = true;
		rig_watch(r, &r->clients[0], &b);
		rig_check_root(r, &r->clients[0], 0, name, "at first");
		rig_clear(&r->clients[0]);
		assert_int_equal(r->w->trees->cover.number != 0, i == 1);
	}
}

/* ---- what was told, as text ---- */

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Sorted lines: the order of independent paths is nobody's promise. */
static char *told(const struct rig_client *c)
{
	char **lines = xcalloc(c->n_changes + 1, sizeof(*lines));
	char *all = xstrdup("");

	for (size_t i = 0; i < c->n_changes; i++) {
		const struct rig_change *ch = &c->changes[i];

		lines[i] = xasprintf("%u '%s' kinds %#x%s from '%s' to '%s'\n", ch->root, ch->path,
		    ch->kinds, ch->exists ? ", is there," : "",
		    ch->moved_from != NULL ? ch->moved_from : "",
		    ch->moved_to != NULL ? ch->moved_to : "");
	}
	qsort(lines, c->n_changes, sizeof(*lines), by_text);
	for (size_t i = 0; i < c->n_changes; i++) {
		char *longer = xasprintf("%s%s", all, lines[i]);

		free(lines[i]);
		free(all);
		all = longer;
	}
	free(lines);
	return all;
}

/* Both are told all, and the same. */
static void compare(struct both *both, const char *name, const char *what)
{
	struct rig_client *a = &both->a->clients[0], *b = &both->b->clients[0];
	char *of_a, *of_b;

	rig_check_root(both->a, a, 0, name, what);
	rig_check_root(both->b, b, 0, name, what);
	of_a = told(a);
	of_b = told(b);
	if (strcmp(of_a, of_b) != 0)
		fail_msg("%s: by inotify\n%sby fanotify\n%s", what, of_a, of_b);
	assert_string_not_equal(of_a, "");
	free(of_a);
	free(of_b);
	rig_clear(a);
	rig_clear(b);
}

/* ---- a script ---- */

static void each_step_is_told_alike(void **state)
{
	/* A step is told before the next one is done. */
	static const char *const steps[] = {
	    "echo 1 > f",
	    "echo 2 >> f",
	    ": > f",
	    "chmod 600 f",
	    "touch -d 2001-01-01 f",
	    "truncate -s 77 f",
	    "mkdir d",
	    "chmod 700 d",
	    "touch -d 2001-01-01 d",
	    "touch d/g",
	    "mv f g",
	    "mv g d/f",
	    "mv d/f d/g",
	    "mkdir e; mkdir e/sub; echo > e/sub/x",
	    "mv d e/d",
	    "chmod 750 e/d",
	    "echo >> e/d/g",
	    "mv e h",
	    "chmod 711 h/d",
	    "mkdir empty1",
	    "mkdir empty2",
	    "mv -T empty1 empty2",
	    "rmdir empty2",
	    "mkdir -p deep/1/2/3/4/5/6",
	    "touch deep/1/2/3/4/5/6/f",
	    "chmod 711 deep/1/2/3",
	    "ln -s nowhere l",
	    "mv l deep/l",
	    "ln h/d/g hard",
	    "rm hard",
	    "mkfifo p",
	    "rm p",
	    "mv deep/1/2 top",
	    "chmod 700 top/3/4",
	    "rm -r top",
	    "mkdir out; mv out ../out",
	    "mv h ../out/h",
	    "mv ../out/h back",
	    "chmod 700 back/d",
	    "mv back/d/g ../out/g",
	    "mv ../out/g in",
	    "rm in",
	    "chmod 711 .",
	    "find . -mindepth 1 -delete",
	};
	struct both *both = *state;

	need_fanotify();
	rig_sh(both->a, "mkdir root");
	begin(both, "root");
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++) {
		rig_sh(both->a, "cd root; %s", steps[i]);
		compare(both, "root", steps[i]);
	}
}

/* Of a folder that was seen and is not watched yet, nobody tells the attributes. */
static void a_new_folder_may_change_at_once(void **state)
{
	struct both *both = *state;
	struct watcher *w = both->b->w;
	struct watch_event e;

	need_fanotify();
	rig_sh(both->a, "mkdir root");
	begin(both, "root");
	rig_sh(both->a, "mkdir -m 755 root/d");
	(void)watch_source_fill(w->source);
	for (; watch_source_first(w->source, &e); watch_source_next(w->source))
		assert_true(event_work(w, &e));
	rig_sh(both->a, "chmod 700 root/d");
	(void)watch_source_fill(w->source);
	rig_check_root(both->b, &both->b->clients[0], 0, "root", "a new folder");
}

/* This process's child of that name; 0: it has none, not even a dead one. */
static pid_t marker_of_ours(void)
{
	pid_t found = 0;
	DIR *d = opendir("/proc");
	const struct dirent *e;

	assert_non_null(d);
	while (found == 0 && (e = readdir(d)) != NULL) {
		char path[300], comm[64];
		int pid, parent;
		FILE *f;

		snprintf(path, sizeof(path), "/proc/%s/stat", e->d_name);
		f = fopen(path, "re");
		if (f == NULL)
			continue;
		if (fscanf(f, "%d (%63[^)]) %*c %d", &pid, comm, &parent) == 3 &&
		    parent == getpid() && strcmp(comm, "telex-marks") == 0)
			found = pid;
		fclose(f);
	}
	closedir(d);
	return found;
}

/* What is watched as a whole stays so; what comes is watched by inotify, and nothing is missed. */
static void the_process_that_marks_may_end(void **state)
{
	struct both *both = *state;
	struct rig *r = both->b;
	struct pollfd fds[WATCHER_FDS];
	size_t n;
	pid_t marker;

	need_fanotify();
	rig_sh(r, "mkdir root other");
	begin(both, "root");
	/* That it has its name is its first step. */
	do
		marker = marker_of_ours();
	while (marker == 0);
	assert_int_equal(kill(marker, SIGKILL), 0);
	while (marker_of_ours() != 0) {
		n = watcher_poll(r->w, fds);
		assert_true(poll(fds, n, 60000) > 0);
		rig_turn(r);
	}
	rig_sh(r, "mkdir -p root/a/b; touch root/a/b/f");
	compare(both, "root", "as before");
	rig_begin_at(r, &r->clients[1], "other", true, false);
	rig_sh(r, "mkdir -p other/a/b; touch other/a/b/f; mv other/a root/c");
	rig_check_root(r, &r->clients[1], 0, "other", "by inotify");
	compare(both, "root", "moved in");
	/* A root that is gone loses its cover, and with the last one the rest goes. */
	rig_sh(r, "rm -r root");
	compare(both, "root", "gone");
	rig_sh(r, "mkdir -p root/d; touch root/d/f");
	compare(both, "root", "back");
	for (const struct watch_tree *t = r->w->trees; t != NULL; t = t->next)
		assert_int_equal(t->cover.number, 0);
	assert_int_equal(watch_source_poll(r->w->source, fds), 1);
}

/* Who writes without an end keeps nobody else from being served. */
static void the_queue_is_taken_over_in_pieces(void **state)
{
	struct both *both = *state;
	struct watch_source *s = both->b->w->source;
	int pieces = 1;

	need_fanotify();
	rig_sh(both->a, "mkdir root");
	begin(both, "root");
	/* Some 4 MiB, and no more comes. */
	rig_sh(both->a, "cd root; seq -f '%%0200.0f' 16000 | xargs touch");
	while (!watch_source_fill(s))
		pieces++;
	assert_true(pieces > 1);
	rig_check_root(both->b, &both->b->clients[0], 0, "root", "all of the pieces");
}

/* An event as the kernel writes it, with one record of a folder and a name. */
struct written {
	struct fanotify_event_metadata m;
	struct fanotify_event_info_header h;
	__kernel_fsid_t fsid;
	uint32_t handle_bytes;
	int32_t handle_type;
	uint8_t rest[20]; /* the handle, and the name */
};

static struct written event_in(uint32_t handle_bytes, int handle_type)
{
	struct written e = {.m = {.event_len = sizeof(e),
	                        .vers = FANOTIFY_METADATA_VERSION,
	                        .metadata_len = FAN_EVENT_METADATA_LEN,
	                        .mask = FAN_CREATE,
	                        .fd = FAN_NOFD},
	    .h = {.info_type = FAN_EVENT_INFO_TYPE_DFID_NAME, .len = sizeof(e) - sizeof(e.m)},
	    .handle_bytes = handle_bytes,
	    .handle_type = handle_type};

	memcpy(e.rest + 8, "name", sizeof("name"));
	return e;
}

/* Whether the events that one read(2) gave are taken for a loss. */
static bool is_lost(struct watch_source *s, int to, const void *events, size_t len)
{
	struct watch_event e;
	bool lost = false;

	assert_int_equal(write(to, events, len), (ssize_t)len);
	(void)watch_source_fill(s);
	for (; watch_source_first(s, &e); watch_source_next(s))
		lost = lost || (e.mask & IN_Q_OVERFLOW) != 0;
	return lost;
}

/* Where the kernel had no memory for a folder's handle, it says that something happened. */
static void an_event_of_nowhere_is_a_loss(void **state)
{
	struct both *both = *state;
	struct watch_source *s = both->b->w->source;
	struct pollfd fds[WATCH_SOURCE_FDS];
	struct written e = event_in(8, 1);
	int ends[2];

	need_fanotify();
	/* In the place of the kernel's queue. */
	assert_int_equal(watch_source_poll(s, fds), 3);
	assert_int_equal(pipe(ends), 0);
	assert_true(dup2(ends[0], fds[1].fd) >= 0);
	close(ends[0]);
	/* A folder that is not watched. */
	assert_false(is_lost(s, ends[1], &e, sizeof(e)));
	e.m.event_len = e.m.metadata_len;
	assert_true(is_lost(s, ends[1], &e, e.m.event_len));
	e.m.event_len = sizeof(e) + 1;
	assert_true(is_lost(s, ends[1], &e, sizeof(e)));
	e = event_in(0, 0xff);
	assert_true(is_lost(s, ends[1], &e, sizeof(e)));
	e = event_in(8, 0xff);
	assert_true(is_lost(s, ends[1], &e, sizeof(e)));
	e = event_in(64, 1);
	assert_true(is_lost(s, ends[1], &e, sizeof(e)));
	e = event_in(8, 1);
	memset(e.rest, 1, sizeof(e.rest));
	assert_true(is_lost(s, ends[1], &e, sizeof(e)));
	e = event_in(8, 1);
	e.h.len = 2;
	assert_true(is_lost(s, ends[1], &e, sizeof(e)));
	close(ends[1]);
}

static bool is_gone(const struct rig_client *c)
{
	const struct rig_change *change = rig_change(c, "");

	return change != NULL && (change->kinds & ROOT_GONE) != 0;
}

static bool is_back(const struct rig_client *c)
{
	const struct rig_change *change = rig_change(c, "");

	return change != NULL && (change->kinds & ROOT_BACK) != 0 &&
	       c->rescanned[BACK] == c->rescans[BACK];
}

static void until_both(struct both *both, bool (*done)(const struct rig_client *c))
{
	rig_until(both->a, done, &both->a->clients[0]);
	rig_until(both->b, done, &both->b->clients[0]);
}

static void a_root_goes_and_comes_back_alike(void **state)
{
	struct both *both = *state;

	need_fanotify();
	rig_sh(both->a, "mkdir -p p/root/d");
	begin(both, "p/root");
	for (int i = 0; i < 3; i++) {
		rig_sh(both->a, i == 1 ? "mv p away" : "rm -r p/root");
		until_both(both, is_gone);
		compare(both, "p/root", "gone");
		rig_sh(both->a, i == 1 ? "mv away p" : "mkdir -p p/root/d/e");
		until_both(both, is_back);
		compare(both, "p/root", "back");
		rig_sh(both->a, "chmod 70%d p/root/d; touch p/root/d/f%d", i, i);
		compare(both, "p/root", "and what changes in it");
	}
}

/* ---- a storm ---- */

static pid_t start_storm(const struct rig *r, int round)
{
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid != 0)
		return pid;
	(void)rig_leaks_are_no_matter();
	rig_sh(r,
	    "cd root; for d in 1 2 3 4 5 6 7 8; do ("
	    "mkdir -p w$d/a/b/c; for f in 1 2 3 4 5 6 7 8 9; do echo $f > w$d/a/b/f$f; "
	    "mv w$d/a/b/f$f w$d/a/g$f; mkdir -p w$d/x$f/y; chmod 7$f1 w$d/x$f; "
	    "echo > w$d/x$f/y/z; done; "
	    "mv w$d/a w$d/x1/a%d; rm -rf w$d/x2 w$d/x3/y; mv w$d/x4 w$d/x5/; "
	    "mv w$d/x5 w$(((d %% 8) + 1))/v%d; chmod -R go-w w$d "
	    ") 2> /dev/null & done; wait; true",
	    round, round);
	_exit(0);
}

/* How many folders inotify watches for it. */
static size_t kernel_watches(const struct rig *r)
{
	struct pollfd fds[WATCH_SOURCE_FDS];
	char line[256];
	size_t n = 0;
	FILE *f;

	(void)watch_source_poll(r->w->source, fds);
	snprintf(line, sizeof(line), "/proc/self/fdinfo/%d", fds[0].fd);
	f = fopen(line, "re");
	assert_non_null(f);
	while (fgets(line, sizeof(line), f) != NULL)
		n += strncmp(line, "inotify wd:", 11) == 0;
	fclose(f);
	return n;
}

static void a_storm_ends_alike(void **state)
{
	struct both *both = *state;
	struct rig *a = both->a, *b = both->b;
	const int rounds = getenv("TELEX_TEST_SLOW") != NULL ? 4 : 6;

	need_fanotify();
	rig_sh(a, "mkdir root");
	begin(both, "root");
	for (int round = 0; round < rounds; round++) {
		pid_t pid = start_storm(a, round);

		do {
			rig_turn(a);
			rig_turn(b);
		} while (waitpid(pid, NULL, WNOHANG) == 0);
		rig_check_root(a, &a->clients[0], 0, "root", "by inotify");
		rig_check_root(b, &b->clients[0], 0, "root", "by fanotify");
		assert_true(
		    model_equal(&a->clients[0].models[0], &b->clients[0].models[0], "both"));
	}
	assert_int_equal(b->clients[0].rescans[OVERFLOW], 0);
	/* The kernel has a watch for each folder, or for the one above the root. */
	assert_true(kernel_watches(a) > 100);
	assert_int_equal(kernel_watches(b), 1);
}

/* ---- folders by their handles ---- */

static void numbers_are_found_again(void **state)
{
	enum { N = 20000 };
	struct watch_handles h = {0};
	uint32_t *numbers = xcalloc(N, sizeof(*numbers));

	(void)state;
	assert_int_equal(watch_handles_find(&h, 1), 0);
	/* Hashes that share their low bits. */
	for (uint64_t i = 0; i < N; i++)
		numbers[i] = watch_handles_add(&h, i * 64, 1);
	for (uint64_t i = 0; i < N; i += 3)
		watch_handles_remove(&h, numbers[i]);
	for (uint64_t i = 0; i < N; i++)
		assert_int_equal(watch_handles_find(&h, i * 64), i % 3 == 0 ? 0 : numbers[i]);
	assert_int_equal(watch_handles_add(&h, 64, 2), numbers[1]);
	assert_int_equal(watch_handles_mask(&h, numbers[1]), 3);
	/* An event with its old number may be waiting. */
	assert_true(watch_handles_add(&h, 1, 1) > N);
	watch_handles_settle(&h);
	assert_true(watch_handles_add(&h, 3, 1) <= N);
	watch_handles_clear(&h);
	free(numbers);
}

/* ---- watches by their numbers ---- */

static void put_watches(struct watch_map *m, uint32_t n, uint32_t step)
{
	/* As inotify counts them, and as fanotify's are. */
	for (uint32_t i = step; i <= n; i += step) {
		watch_map_set(m, i, i);
		watch_map_set(m, i | WATCH_WIDE, 2 * n + i);
	}
}

static void watches_are_found_while_others_go(void **state)
{
	enum { N = 20000 };
	struct watch_map m = {0};

	(void)state;
	put_watches(&m, N, 1);
	for (uint32_t i = 3; i <= N; i += 3) {
		watch_map_set(&m, i, 0);
		watch_map_set(&m, i | WATCH_WIDE, 0);
	}
	for (uint32_t i = 1; i <= N; i++) {
		assert_int_equal(watch_map_get(&m, i), i % 3 == 0 ? 0 : i);
		assert_int_equal(watch_map_get(&m, i | WATCH_WIDE), i % 3 == 0 ? 0 : 2 * N + i);
	}
	put_watches(&m, N, 3);
	assert_int_equal(m.n, 2 * N);
	for (uint32_t i = 1; i <= N; i++)
		assert_int_equal(watch_map_get(&m, i), i);
	watch_map_clear(&m);
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, make, end)
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(numbers_are_found_again),
	    cmocka_unit_test(watches_are_found_while_others_go),
	    TEST(each_step_is_told_alike),
	    TEST(a_new_folder_may_change_at_once),
	    TEST(the_queue_is_taken_over_in_pieces),
	    TEST(the_process_that_marks_may_end),
	    TEST(an_event_of_nowhere_is_a_loss),
	    TEST(a_root_goes_and_comes_back_alike),
	    TEST(a_storm_ends_alike),
	};

	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
