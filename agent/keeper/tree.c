/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/keeper/tree.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "agent/keeper/cgroup.h"
#include "agent/keeper/job.h"
#include "agent/keeper/reserve.h"
#include "agent/keeper/tree_walk.h"
#include "common/duration.h"
#include "common/log.h"

#if !defined(SYS_pidfd_send_signal)
#define SYS_pidfd_send_signal 424
#endif
#if !defined(SYS_pidfd_open)
#define SYS_pidfd_open 434
#endif

#define ORPHANS_NS (10 * NS_PER_MS)
#define QUIET_NS   (10 * NS_PER_S)

/* ---- pidfds ---- */

int tree_pidfd_open(pid_t pid, int *pidfd)
{
	*pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	return *pidfd >= 0 ? 0 : errno;
}

int tree_pidfd_signal(int pidfd, int signo)
{
	return syscall(SYS_pidfd_send_signal, pidfd, signo, NULL, 0) == 0 ? 0 : errno;
}

int tree_pidfd_queue(int pidfd, int signo, int value)
{
	siginfo_t si;

	memset(&si, 0, sizeof(si));
	si.si_signo = signo;
	si.si_code = SI_QUEUE;
	si.si_pid = getpid();
	si.si_uid = getuid();
	si.si_value.sival_int = value;
	return syscall(SYS_pidfd_send_signal, pidfd, signo, &si, 0) == 0 ? 0 : errno;
}

int64_t tree_now_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (int64_t)ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

/* ---- orphans, without a control group ---- */

/* The kernel tells of a process's birth in ticks, rounded down. */
static bool is_born_after(pid_t pid, const struct job *j)
{
	struct tree_stat st;
	int64_t tick = NS_PER_S / sysconf(_SC_CLK_TCK);

	return tree_stat_read(pid, &st) && ((int64_t)st.start + 1) * tick >= j->born_ns;
}

struct job *tree_owner(struct jobs *js, pid_t orphan)
{
	char id[KM_ID_SIZE];
	struct job *j = jobs_find_pid(js, getpgid(orphan));

	if (j == NULL)
		j = jobs_find_pid(js, getsid(orphan));
	if (j == NULL && tree_mark_read(orphan, id, sizeof(id))) {
		j = jobs_find(js, id);
		if (j != NULL && !is_born_after(orphan, j))
			j = NULL;
	}
	return j != NULL && j->pid != orphan ? j : NULL;
}

/*
 * The keeper's children that are no job's leader. With thousands of jobs it takes milliseconds to
 * list them, so a list is good for all that are ended in the same moment; whose each one is is
 * always looked up anew.
 */
static struct {
	struct jobs *js;
	struct tree_pids list;
	int64_t until;
} orphans;

static const struct tree_pids *list_orphans(struct jobs *js)
{
	int64_t now = clock_monotonic_ns();

	if (orphans.js != js || now >= orphans.until) {
		struct tree_pids *list = &orphans.list;
		size_t n = 0;

		list->n = 0;
		list->shortage = 0;
		tree_add_children(list, getpid());
		for (size_t i = 0; i < list->n; i++)
			if (jobs_find_pid(js, list->list[i]) == NULL)
				list->list[n++] = list->list[i];
		list->n = n;
		orphans.js = js;
		orphans.until = list->shortage == 0 ? now + ORPHANS_NS : now;
	}
	return &orphans.list;
}

void tree_forget(void)
{
	tree_strike_forget();
	tree_pids_free(&orphans.list);
	orphans.js = NULL;
}

/* ---- members ---- */

static bool note_member(pid_t pid, void *arg)
{
	tree_pids_add(arg, pid);
	return true;
}

void tree_members(const struct job *j, struct tree_pids *out)
{
	const struct tree_pids *others;

	out->n = 0;
	out->shortage = 0;
	if (j->cgroup != NULL) {
		int error = cgroup_members(j->cgroup, note_member, out);

		if (reserve_is_shortage(error))
			out->shortage = error;
		return;
	}
	if (!j->reaped && j->pid > 0)
		tree_pids_add(out, j->pid);
	others = list_orphans(j->jobs);
	out->shortage = others->shortage;
	for (size_t i = 0; i < others->n; i++) {
		errno = 0;
		if (tree_owner(j->jobs, others->list[i]) == j)
			tree_pids_add(out, others->list[i]);
		else if (reserve_is_shortage(errno))
			out->shortage = errno;
	}
}

void tree_orphans_moved(void)
{
	orphans.until = 0;
}

/* ---- a signal to all ---- */

static int signal_all(const struct job *j, int signo, int *sys_errno)
{
	if (signo == SIGKILL && j->cgroup != NULL) {
		if (!cgroup_populated(j->cgroup))
			return TX_ESTATE;
		if (cgroup_kill(j->cgroup) == 0)
			return 0;
	}
	return tree_strike(j, signo, sys_errno);
}

int tree_signal(const struct job *j, int signo, int *sys_errno)
{
	int rc;

	reserve_give_up();
	rc = signal_all(j, signo, sys_errno);
	reserve_take_back();
	return rc;
}

bool tree_kill(const struct job *j)
{
	static int64_t quiet_until; /* it is tried again and again */
	int64_t now = clock_monotonic_ns();
	int sys_errno = 0;
	bool again;

	if (tree_signal(j, SIGKILL, &sys_errno) != TX_ESYS)
		return true;
	again = reserve_is_shortage(sys_errno);
	if (!again || now >= quiet_until)
		log_warn("job %s: cannot be killed: %s", j->id, strerror(sys_errno));
	if (again && now >= quiet_until)
		quiet_until = now + QUIET_NS;
	return !again;
}

bool tree_lives(const struct job *j)
{
	return j->cgroup != NULL && cgroup_populated(j->cgroup);
}

/* ---- usage ---- */

enum job_usage tree_usage(const struct job *j, uint64_t *cpu_us, uint64_t *memory)
{
	uint64_t per_tick = 1000000u / (uint64_t)sysconf(_SC_CLK_TCK);
	struct tree_pids ps = {0};
	bool cpu_known, memory_known;
	struct tree_stat st;

	*cpu_us = *memory = 0;
	if (j->reaped || j->pid <= 0)
		return JOB_USAGE_NONE;
	if (j->cgroup == NULL) {
		if (!tree_stat_read(j->pid, &st))
			return JOB_USAGE_NONE;
		*cpu_us = st.cpu_ticks * per_tick;
		*memory = st.rss;
		return JOB_USAGE_PROCESS;
	}
	cpu_known = cgroup_cpu_us(j->cgroup, cpu_us);
	memory_known = cgroup_memory(j->cgroup, memory);
	if (cpu_known && memory_known)
		return JOB_USAGE_TREE;
	(void)cgroup_members(j->cgroup, note_member, &ps);
	for (size_t i = 0; i < ps.n; i++) {
		if (!tree_stat_read(ps.list[i], &st))
			continue;
		*cpu_us += cpu_known ? 0 : st.cpu_ticks * per_tick;
		*memory += memory_known ? 0 : st.rss;
	}
	tree_pids_free(&ps);
	return JOB_USAGE_TREE;
}
