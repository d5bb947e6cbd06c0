/* SPDX-License-Identifier: Apache-2.0 */
/*
 * idle -> asked (the thread is at it) -> done -> idle. The thread has all signals blocked, and
 * touches nothing of the keeper's but the plan. It reaps nobody: who has died is the loop's to see.
 *
 * They wake each other by pipes: the kernel then takes it that who writes is about to sleep, and
 * need not wake another processor. A start has to wait for two wake-ups more than without a thread.
 */
#include "agent/keeper/spawner.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "agent/keeper/spawn_internal.h"
#include "common/duration.h"
#include "common/signals.h"

#define THREAD_STACK ((size_t)256 * 1024)
/* SIGKILL was sent: a thread whose child is there after this is left behind. */
#define GIVE_UP_NS (2 * NS_PER_S)

enum phase { IDLE, ASKED, DONE };

struct spawner {
	pthread_t thread;
	atomic_int phase; /* whose the next three are: in ASKED the thread's */
	const struct spawn_plan *plan;
	struct spawn_got got;
	char *stack;
	atomic_int pid;
	int ask[2], done[2]; /* pipes: a byte is a start; closed: no more */
};

static void *run(void *arg)
{
	struct spawner *sp = arg;
	const struct spawn_way way = {
	    .stack = sp->stack, .low = true, .limit_ms = -1, .pid = &sp->pid};
	char byte;
	ssize_t n;

	for (;;) {
		do
			n = read(sp->ask[0], &byte, 1);
		while (n < 0 && errno == EINTR);
		if (n != 1)
			break;
		spawn_attempt(sp->plan, &way, &sp->got);
		atomic_store(&sp->phase, DONE);
		while (write(sp->done[1], &byte, 1) < 0 && errno == EINTR)
			;
	}
	return NULL;
}

/* 0 or an errno. */
static int start_thread(struct spawner *sp)
{
	struct signals_held held;
	pthread_attr_t attr;
	int error = pthread_attr_init(&attr);

	if (error != 0)
		return error;
	(void)pthread_attr_setstacksize(&attr, THREAD_STACK);
	signals_block(&held);
	error = pthread_create(&sp->thread, &attr, run, sp);
	signals_restore(&held);
	(void)pthread_attr_destroy(&attr);
	return error;
}

static void close_pair(int pair[2])
{
	for (int i = 0; i < 2; i++)
		if (pair[i] >= 0)
			close(pair[i]);
}

static void release(struct spawner *sp)
{
	close_pair(sp->ask);
	close_pair(sp->done);
	spawn_stack_free(sp->stack);
	free(sp);
}

int spawner_new(struct spawner **out, struct err *e)
{
	struct spawner *sp = calloc(1, sizeof(*sp));
	int error = 0;

	if (sp == NULL)
		return err_set(e, TX_ENOMEM, "out of memory");
	sp->ask[0] = sp->ask[1] = sp->done[0] = sp->done[1] = -1;
	sp->stack = spawn_stack_new();
	if (sp->stack == NULL)
		error = ENOMEM;
	else if (pipe2(sp->ask, O_CLOEXEC) != 0 || pipe2(sp->done, O_CLOEXEC) != 0)
		error = errno;
	else
		error = start_thread(sp);
	if (error == 0) {
		spawn_low_lend(true);
		*out = sp;
		return 0;
	}
	release(sp);
	return err_sys(e, error, "cannot make a thread for starts");
}

void spawner_free(struct spawner *sp)
{
	if (sp == NULL)
		return;
	if (spawner_pid(sp) > 0)
		(void)kill(spawner_pid(sp), SIGKILL);
	if (!spawner_wait(sp, GIVE_UP_NS)) {
		/* It goes with the process. */
		(void)pthread_detach(sp->thread);
		return;
	}
	close(sp->ask[1]);
	sp->ask[1] = -1;
	(void)pthread_join(sp->thread, NULL);
	spawn_low_lend(false);
	release(sp);
}

void spawner_begin(struct spawner *sp, const struct spawn_plan *plan)
{
	assert(atomic_load(&sp->phase) == IDLE);
	sp->plan = plan;
	atomic_store(&sp->pid, 0);
	atomic_store(&sp->phase, ASKED);
	while (write(sp->ask[1], "", 1) < 0 && errno == EINTR)
		;
}

bool spawner_wait(struct spawner *sp, int64_t limit_ns)
{
	struct pollfd pfd = {.fd = sp->done[0], .events = POLLIN};
	int n;

	if (atomic_load(&sp->phase) == IDLE)
		return true;
	do
		n = poll(&pfd, 1, (int)(limit_ns / NS_PER_MS));
	while (n < 0 && errno == EINTR);
	return n == 1;
}

int spawner_fd(const struct spawner *sp)
{
	return sp->done[0];
}

pid_t spawner_pid(struct spawner *sp)
{
	return atomic_load(&sp->phase) == ASKED ? (pid_t)atomic_load(&sp->pid) : 0;
}

int spawner_take(
    struct spawner *sp, struct spawn_result *out, struct spawn_failure *why, pid_t *failed)
{
	char byte;

	while (read(sp->done[0], &byte, 1) < 0 && errno == EINTR)
		;
	assert(atomic_load(&sp->phase) == DONE);
	atomic_store(&sp->phase, IDLE);
	*failed = sp->got.failed && sp->got.pid > 0 ? sp->got.pid : 0;
	return spawn_conclude(sp->plan, &sp->got, out, why);
}
