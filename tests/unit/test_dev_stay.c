/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/dev_stay.h"

/* What dev_agent.c does, without a folder. */
int dev_agent_signal(const struct dev_agent *a, int signo, struct err *e)
{
	(void)e;
	return kill(a->pid, signo);
}

void dev_agent_forget(struct dev_agent *a)
{
	close(a->pidfd);
	a->pid = 0;
}

/* An agent that ends well by SIGTERM, and by nothing else. */
static void begin_agent(struct dev_agent *a)
{
	sigset_t term;
	int signo, ends[2];

	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	assert_int_equal(pipe(ends), 0);
	a->pid = fork();
	assert_true(a->pid >= 0);
	if (a->pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		sigprocmask(SIG_BLOCK, &term, NULL);
		sigwait(&term, &signo);
		_exit(0);
	}
	/* It can be read when the agent has ended, as a pidfd can; valgrind knows none of these. */
	close(ends[1]);
	a->pidfd = ends[0];
}

static void send_term(void *arg)
{
	int *told = arg;

	(*told)++;
	kill(getpid(), SIGTERM);
}

/* Whoever reads that it is ready may end it in that instant. */
static void test_a_signal_is_heard_once_it_is_told(void **state)
{
	struct dev_agent a = {.lock = -1};
	sigset_t term, before;
	int told = 0, status;

	(void)state;
	/* The agent has it blocked before it is sent. */
	sigemptyset(&term);
	sigaddset(&term, SIGTERM);
	sigprocmask(SIG_BLOCK, &term, &before);
	begin_agent(&a);
	sigprocmask(SIG_SETMASK, &before, NULL);
	status = dev_stay(&a, send_term, &told);
	assert_int_equal(status, CLI_OK);
	assert_int_equal(told, 1);
	assert_int_equal(a.pid, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(test_a_signal_is_heard_once_it_is_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
