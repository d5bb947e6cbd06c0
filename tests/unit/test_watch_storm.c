/* SPDX-License-Identifier: Apache-2.0 */
/* Storms by several writers, while clients are slow, calls are cut, the watcher's process ends and
 * the kernel's queue overflows: in the end each client has what is on the disk. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/watch_rig.h"

#define WRITERS 4

/* How many operations, and how often: TELEX_TEST_STORMS times as many runs. */
static int runs(void)
{
	const char *times = getenv("TELEX_TEST_STORMS");

	return times != NULL ? atoi(times) : 1;
}

static int operations(void)
{
	return getenv("TELEX_TEST_SLOW") != NULL ? 150 : 1500;
}

static uint32_t chance(uint32_t *seed, uint32_t below)
{
	*seed = *seed * 1664525u + 1013904223u;
	return (*seed >> 8) % below;
}

/* ---- writers ---- */

static void any_path(uint32_t *seed, char out[256])
{
	size_t len = 0;

	for (uint32_t depth = 1 + chance(seed, 4); depth > 0; depth--) {
		out[len++] = (char)('a' + chance(seed, 4));
		out[len++] = depth > 1 ? '/' : '\0';
	}
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st, (void)at;
	(void)(type == FTW_DP ? rmdir(path) : unlink(path));
	return 0;
}

static void write_file(const char *path, int flags)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC | flags, 0644);

	if (fd < 0)
		return;
	(void)!write(fd, "some text", 9);
	close(fd);
}

static void make_deep(char *path)
{
	for (char *at = path; (at = strchr(at, '/')) != NULL; *at++ = '/') {
		*at = '\0';
		(void)mkdir(path, 0755);
	}
	(void)mkdir(path, 0755);
	strcat(path, "/f");
	write_file(path, O_CREAT);
}

static void operate(uint32_t *seed)
{
	char path[300], other[300];

	any_path(seed, path);
	any_path(seed, other);
	switch (chance(seed, 16)) {
	case 0:
	case 1:
	case 2:
		(void)mkdir(path, 0755);
		break;
	case 3:
	case 4:
		make_deep(path);
		break;
	case 5:
	case 6:
	case 7:
		write_file(path, O_CREAT | O_TRUNC);
		break;
	case 8:
		write_file(path, O_APPEND);
		break;
	case 9:
	case 10:
	case 11:
		(void)!rename(path, other);
		break;
	case 12:
		(void)unlink(path);
		break;
	case 13:
		(void)chmod(path, (mode_t)(0700 + chance(seed, 64)));
		break;
	case 14:
		if (chance(seed, 4) == 0)
			(void)nftw(path, remove_one, 8, FTW_DEPTH | FTW_PHYS);
		else
			(void)rmdir(path);
		break;
	default:
		(void)!symlink("nowhere", path);
	}
}

static void start(struct rig *r, pid_t pids[WRITERS], uint32_t seed)
{
	for (int i = 0; i < WRITERS; i++) {
		uint32_t mine = seed * 31 + (uint32_t)i;

		pids[i] = fork();
		assert_true(pids[i] >= 0);
		if (pids[i] != 0)
			continue;
		(void)rig_leaks_are_no_matter();
		if (chdir(r->folder) != 0)
			_exit(1);
		for (int n = operations(); n > 0; n--)
			operate(&mine);
		_exit(0);
	}
}

static bool are_done(pid_t pids[WRITERS])
{
	bool done = true;

	for (int i = 0; i < WRITERS; i++) {
		if (pids[i] != 0 && waitpid(pids[i], NULL, WNOHANG) == pids[i])
			pids[i] = 0;
		done = done && pids[i] == 0;
	}
	return done;
}

/* ---- the watching side ---- */

static void go_on(struct rig *r, struct rig_client *c)
{
	Telex__V1__WatchBegin b = rig_begin(r, NULL);

	if (c->call != NULL)
		return;
	b.state = c->clock[0] == '\0';
	b.since = c->clock;
	if (!rig_call(r, c, &b))
		fail_msg("%s", c->status.message);
}

static void trouble(struct rig *r, uint32_t *seed, unsigned which)
{
	struct rig_client *c = &r->clients[chance(seed, RIG_CLIENTS)];

	if ((which & 1) != 0 && chance(seed, 30) == 0)
		rig_hang_up(c);
	if ((which & 2) != 0 && chance(seed, 60) == 0)
		rig_restart(r);
	if ((which & 4) != 0 && chance(seed, 60) == 0)
		watch_source_overflow(r->w->source);
	if ((which & 8) != 0 && chance(seed, 20) == 0)
		r->w->watch_limit = chance(seed, 2) == 0 ? 3 : UINT32_MAX;
	if ((which & 16) != 0 && c->call != NULL)
		c->room = 1 + chance(seed, 3);
	for (size_t i = 0; i < RIG_CLIENTS; i++)
		go_on(r, &r->clients[i]);
}

static bool is_calm(const struct rig_client *c)
{
	return c->armed > 0 && c->rig->w->rescan.state == RESCAN_NONE;
}

/* What is not watched is looked through: it was, when that has been done twice. */
static bool is_looked_through(const struct rig_client *c)
{
	const struct watch_tree *t = c->rig->w->trees;

	return t->n_unwatched == 0;
}

static void storm(struct rig *r, uint32_t seed, unsigned which)
{
	pid_t pids[WRITERS];
	char what[40];

	rig_sh(r, "find . -mindepth 1 -delete");
	for (size_t i = 0; i < RIG_CLIENTS; i++)
		go_on(r, &r->clients[i]);
	start(r, pids, seed);
	do {
		trouble(r, &seed, which);
		rig_turn(r);
	} while (!are_done(pids));
	r->w->watch_limit = UINT32_MAX;
	rig_until(r, is_calm, &r->clients[0]);
	rig_until(r, is_looked_through, &r->clients[0]);
	for (size_t i = 0; i < RIG_CLIENTS; i++) {
		snprintf(what, sizeof(what), "client %zu, trouble %u", i, which);
		rig_until(r, is_calm, &r->clients[i]);
		rig_check(r, &r->clients[i], what);
		rig_clear(&r->clients[i]);
		r->clients[i].n_warned = 0;
	}
}

static void storms(void **state, unsigned which)
{
	for (uint32_t i = 0; i < (uint32_t)runs(); i++)
		storm(*state, 77 * i + which, which);
}

static void a_storm(void **state)
{
	storms(state, 0);
}

static void while_calls_are_cut(void **state)
{
	storms(state, 1);
}

static void while_the_watcher_ends(void **state)
{
	storms(state, 2);
}

static void while_the_queue_overflows(void **state)
{
	storms(state, 4);
}

static void while_watches_are_few(void **state)
{
	storms(state, 8);
}

static void while_clients_are_slow(void **state)
{
	storms(state, 16);
}

static void with_all_of_it(void **state)
{
	storms(state, 31);
}

int main(int argc, char **argv)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_make, rig_free)
	const struct CMUnitTest tests[] = {
	    TEST(a_storm),
	    TEST(while_calls_are_cut),
	    TEST(while_the_watcher_ends),
	    TEST(while_the_queue_overflows),
	    TEST(while_watches_are_few),
	    TEST(while_clients_are_slow),
	    TEST(with_all_of_it),
	};

	/* One alone, for whoever looks for a fault. */
	if (argc > 1)
		cmocka_set_test_filter(argv[1]);
	return rig_run("watch_storm", tests, sizeof(tests) / sizeof(tests[0]));
}
