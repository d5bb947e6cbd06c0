/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/mem.h"

static void no_bytes_give_a_pointer(void **state)
{
	void *p = xmalloc(0), *q = xcalloc(0, 8), *r = xreallocarray(NULL, 8, 0);

	(void)state;
	assert_non_null(p);
	assert_non_null(q);
	assert_non_null(r);
	free(p);
	free(q);
	free(r);
}

static void copies_are_whole_and_terminated(void **state)
{
	char *a = xstrdup("abc");
	char *b = xmemdup0("a\0b", 3);
	char *c = xmemdup0(NULL, 0);
	char *d = xasprintf("%s-%d", "x", 7);

	(void)state;
	assert_string_equal(a, "abc");
	assert_memory_equal(b, "a\0b\0", 4);
	assert_string_equal(c, "");
	assert_string_equal(d, "x-7");
	free(a);
	free(b);
	free(c);
	free(d);
}

static void calloc_clears_and_realloc_keeps(void **state)
{
	uint8_t *p = xcalloc(3, 5);

	(void)state;
	for (size_t i = 0; i < 15; i++)
		assert_int_equal(p[i], 0);
	memset(p, 'x', 15);
	p = xreallocarray(p, 1000, 5);
	for (size_t i = 0; i < 15; i++)
		assert_int_equal(p[i], 'x');
	free(p);
}

/* Runs `ask` in a child that leaves no core and no text; returns its wait status. */
static int run_child(void (*ask)(void))
{
	const struct rlimit none = {0, 0};
	int status = 0;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		setrlimit(RLIMIT_CORE, &none);
		signal(SIGABRT, SIG_DFL);
		close(STDERR_FILENO);
		ask();
		_exit(0);
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static volatile size_t huge = SIZE_MAX;

static void ask_overflow(void)
{
	free(xreallocarray(NULL, huge / 2, 3));
}

static void ask_copy(void)
{
	free(xmemdup0("", huge));
}

static void what_overflows_aborts(void **state)
{
	int status = run_child(ask_overflow);

	(void)state;
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
	status = run_child(ask_copy);
	assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(no_bytes_give_a_pointer),
	    cmocka_unit_test(copies_are_whole_and_terminated),
	    cmocka_unit_test(calloc_clears_and_realloc_keeps),
	    cmocka_unit_test(what_overflows_aborts),
	};

	return cmocka_run_group_tests_name("mem", tests, NULL, NULL);
}
