/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fuzz/processes.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/keeper/ending.h"
#include "agent/keeper/job.h"
#include "agent/keeper/start.h"
#include "agent/keeper/start_internal.h"
#include "agent/keeper/tree.h"
#include "common/duration.h"

#define PROCESSES_MAX 8
#define FIRST_PID     0x7fff0000 /* beyond the highest (PID_MAX_LIMIT) */

int __wrap_start_later_run(struct starter *st, struct launch *l, struct km_refused *why);
int __real_kill(pid_t pid, int signo);
int __wrap_kill(pid_t pid, int signo);
int __real_waitid(idtype_t type, id_t id, siginfo_t *si, int options);
int __wrap_waitid(idtype_t type, id_t id, siginfo_t *si, int options);
int __wrap_tree_signal(const struct job *j, int signo, int *sys_errno);
bool __wrap_tree_kill(const struct job *j);
enum job_usage __wrap_tree_usage(const struct job *j, uint64_t *cpu_us, uint64_t *memory);

struct process {
	pid_t pid; /* 0: none */
	int fds[3];
	bool dead;
};

static struct process all[PROCESSES_MAX];

static struct process *find(pid_t pid)
{
	for (size_t i = 0; i < PROCESSES_MAX; i++)
		if (all[i].pid != 0 && (all[i].pid == pid || all[i].pid == -pid))
			return &all[i];
	return NULL;
}

static void end(struct process *p)
{
	for (int i = 0; i < 3; i++)
		if (p->fds[i] >= 0)
			close(p->fds[i]);
	memset(p, 0, sizeof(*p));
}

void processes_end(void)
{
	for (size_t i = 0; i < PROCESSES_MAX; i++)
		if (all[i].pid != 0)
			end(&all[i]);
}

/* ---- in front of the keeper's ---- */

int __wrap_start_later_run(struct starter *st, struct launch *l, struct km_refused *why)
{
	struct spawn_result got = {.pid = 0, .pidfd = -1};

	for (size_t i = 0; i < PROCESSES_MAX && got.pid == 0; i++) {
		if (all[i].pid != 0)
			continue;
		got.pid = all[i].pid = FIRST_PID + (pid_t)i;
		for (int k = 0; k < 3; k++) {
			all[i].fds[k] = fcntl(l->ends.fds[k], F_DUPFD_CLOEXEC, 0);
			fuzz_require(all[i].fds[k] >= 0);
			(void)fcntl(all[i].fds[k], F_SETFL, O_NONBLOCK);
		}
	}
	if (got.pid == 0) {
		start_fail(st, l);
		return start_refuse_system(why, EAGAIN, "cannot start a process");
	}
	start_succeed(st, l, &got);
	return 0;
}

int __wrap_kill(pid_t pid, int signo)
{
	struct process *p = find(pid);

	/* Nobody else is meant. */
	fuzz_require(p != NULL && signo >= 0 && signo <= 64);
	if (signo == SIGKILL)
		p->dead = true;
	return 0;
}

int __wrap_waitid(idtype_t type, id_t id, siginfo_t *si, int options)
{
	const struct process *p = type == P_PID ? find((pid_t)id) : NULL;

	(void)options;
	fuzz_require(p != NULL);
	si->si_pid = p->dead ? p->pid : 0;
	return 0;
}

int __wrap_tree_signal(const struct job *j, int signo, int *sys_errno)
{
	(void)sys_errno;
	return j->pid > 0 && !j->reaped ? kill(j->pid, signo) : TX_ESTATE;
}

bool __wrap_tree_kill(const struct job *j)
{
	if (j->pid > 0 && !j->reaped)
		kill(j->pid, SIGKILL);
	return true;
}

enum job_usage __wrap_tree_usage(const struct job *j, uint64_t *cpu_us, uint64_t *memory)
{
	(void)j;
	*cpu_us = 5;
	*memory = 4096;
	return JOB_USAGE_TREE;
}

/* ---- what they do ---- */

static void close_one(struct process *p, int i)
{
	if (p->fds[i] >= 0)
		close(p->fds[i]);
	p->fds[i] = -1;
}

/* As the keeper's reaper says it. */
static void reap(struct jobs *js, struct process *p, uint8_t how)
{
	struct job *j = jobs_find_pid(js, p->pid);

	if (j != NULL) {
		j->exit.kind = (how & 1) != 0 ? KM_END_CODE : KM_END_SIGNAL;
		j->exit.value = how >> 1 & 63;
		j->exit.end_ns = clock_realtime_ns();
		ending_explain(j);
		job_reaped(j);
	}
	end(p);
}

void processes_act(struct jobs *js, struct fuzz_input *in)
{
	uint8_t how = fuzz_byte(in), n = fuzz_byte(in);
	struct process *p = &all[how & 7];
	char bytes[4096];

	if (p->pid == 0)
		return;
	memset(bytes, how, sizeof(bytes));
	switch (how >> 3 & 7) {
	case 0:
	case 1:
	case 2:
		if (p->fds[1 + n % 2] >= 0)
			(void)!write(p->fds[1 + n % 2], bytes, (size_t)n * 16);
		break;
	case 3:
		if (p->fds[0] >= 0)
			(void)!read(p->fds[0], bytes, n);
		break;
	case 4:
		close_one(p, n % 3);
		break;
	default:
		reap(js, p, n);
	}
}
