/* SPDX-License-Identifier: Apache-2.0 */
/* The store of what is watched, where its writer is killed at any instruction. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <dirent.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/unit/watch_world.h"

/* Valgrind's processes do not run by the instruction; and a sanitizer's have too many. */
static bool can_step(void)
{
#ifdef __SANITIZE_ADDRESS__
	return false;
#else
	return getenv("TELEX_TEST_SLOW") == NULL;
#endif
}

struct progress {
	_Atomic uint32_t done; /* operations on the truth that are in the store, or about to be */
};

/* Some operations, and then one that the parent goes through instruction by instruction. */
static void write_on(struct world *w, struct progress *p, uint32_t n)
{
	for (p->done = 0; p->done < n; p->done++)
		world_happen(w, true);
	ptrace(PTRACE_TRACEME, 0, NULL, NULL);
	w->stop = true;
	for (;;)
		world_happen(w, true);
}

/* Until that many instructions, or the next operation. */
static void step(pid_t pid, uint32_t n)
{
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
	do {
		assert_int_equal(ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL), 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_true(WIFSTOPPED(status));
	} while (n-- > 0 && WSTOPSIG(status) == SIGTRAP);
}

/* Kills a writer in the midst of an operation. */
static void run_killed(struct world *w, struct progress *p)
{
	uint32_t before = world_chance(w, 10), more = world_chance(w, 20),
	         steps = world_chance(w, 400);
	bool undone = world_chance(w, 2) == 0;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0)
		write_on(w, p, before);
	step(pid, steps);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	/* The truth is what the writer's was, with the last operation, or as if that had been
	 * undone; and goes on while nobody looks. */
	for (uint32_t i = p->done + !undone + more; i > 0; i--)
		world_happen(w, false);
}

static void a_writer_may_be_killed_anywhere(void **state)
{
	struct progress *p =
	    mmap(NULL, sizeof(*p), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct world w;

	(void)state;
	assert_true(p != MAP_FAILED);
	if (!can_step())
		skip();
	world_begin(&w, 4711);
	for (int i = 0; i < 100; i++) {
		run_killed(&w, p);
		world_reopen(&w);
		world_rescan(&w);
		world_check_store(&w);
		world_some_client(&w);
	}
	for (int i = 0; i < CLIENTS; i++)
		world_catch_up(&w, &w.clients[i]);
	world_end(&w);
	munmap(p, sizeof(*p));
}

static void delete_folder(struct world *w)
{
	watch_store_delete(w->store, world_id(w, "f"));
}

static void rename_folder(struct world *w)
{
	watch_id old;

	watch_store_rename(
	    w->store, world_id(w, "f"), watch_store_root(w->store, w->tree), "to", 2, &old);
}

static void renew_folder(struct world *w)
{
	watch_store_renew(w->store, world_id(w, "f"));
}

static void make(struct world *w, const char *path, int type)
{
	char folder[PATH];
	const char *name = world_split(path, folder);
	struct model_entry e = world_fresh_entry(w, type);
	struct watch_state st = world_state_of(&e);
	watch_id id;

	model_put(&w->truth, path, &e);
	assert_int_equal(
	    watch_store_put(w->store, world_id(w, folder), name, strlen(name), &st, 0, &id), 0);
}

/* False: it had ended before. */
static bool kill_within(struct world *w, void (*op)(struct world *w), uint32_t steps)
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		ptrace(PTRACE_TRACEME, 0, NULL, NULL);
		raise(SIGSTOP);
		op(w);
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	while (steps-- > 0 && WIFSTOPPED(status)) {
		assert_int_equal(ptrace(PTRACE_SINGLESTEP, pid, NULL, NULL), 0);
		assert_int_equal(waitpid(pid, &status, 0), pid);
	}
	if (!WIFSTOPPED(status))
		return false;
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return true;
}

/* A folder was being changed; and then only one of its files is left, whatever its name is. */
static bool run_folder(void (*op)(struct world *w), uint32_t steps, const char *name)
{
	struct world w;
	bool killed;

	world_begin(&w, steps);
	make(&w, "f", DT_DIR);
	make(&w, "f/1", DT_REG);
	make(&w, "f/2", DT_REG);
	make(&w, "f/3", DT_DIR);
	make(&w, "f/3/4", DT_REG);
	world_catch_up(&w, &w.clients[0]);
	killed = kill_within(&w, op, steps);
	world_reopen(&w);
	model_drop(&w.truth, "f/2");
	model_drop(&w.truth, "f/3");
	if (strcmp(name, "f") != 0)
		model_rename(&w.truth, "f", name);
	world_rescan(&w);
	world_check_store(&w);
	for (int i = 0; i < 2; i++)
		world_catch_up(&w, &w.clients[i]);
	world_end(&w);
	return killed;
}

static void a_writer_may_be_killed_within_a_folder(void **state)
{
	static void (*const folder_ops[])(struct world * w) = {
	    delete_folder, rename_folder, renew_folder};

	(void)state;
	if (!can_step())
		skip();
	for (size_t i = 0; i < sizeof(folder_ops) / sizeof(folder_ops[0]); i++) {
		uint32_t steps = 1;

		while (run_folder(folder_ops[i], steps, steps % 2 == 0 ? "f" : "to"))
			steps += 67;
		assert_true(steps > 100);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(a_writer_may_be_killed_anywhere),
	    cmocka_unit_test(a_writer_may_be_killed_within_a_folder),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
