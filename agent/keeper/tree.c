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

#define ROUNDS_MAX 64
#define BATCH      64
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
	tree_pids_free(&orphans.list);
	orphans.js = NULL;
}

/* ---- members ---- */

static bool note_member(pid_t pid, void *arg)
{
	tree_pids_add(arg, pid);
	return true;
}

/* Everyone who belongs to it now. A pid in it may be another's a moment later. */
static void gather(const struct job *j, struct tree_pids *out)
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
	tree_add_descendants(out, 0);
}

/* ---- a signal to all ---- */

struct blow {
	const struct job *j;
	int signo;
	struct tree_pids all;  /* as of the last look */
	struct tree_pids done; /* dealt with */
	unsigned reached;
	int sys_errno;
	int shortage; /* an errno: not all could be dealt with */
};

/* So many new ones at once: opened first, then looked for again, then signalled. 0, or an errno:
 * there were not the descriptors for so many, and nobody was signalled. */
static int strike_together(struct blow *b, const pid_t *pids, size_t n)
{
	struct tree_pids now = {0};
	int fds[BATCH];
	int shortage = 0;

	for (size_t i = 0; i < n; i++) {
		int error = shortage != 0 ? shortage : tree_pidfd_open(pids[i], &fds[i]);

		if (error != 0)
			fds[i] = -1;
		if (reserve_is_shortage(error))
			shortage = error;
	}
	if (shortage == 0) {
		gather(b->j, &now);
		shortage = now.shortage;
	}
	for (size_t i = 0; i < n; i++) {
		int error;

		if (fds[i] < 0)
			continue;
		/* Here still, and what we hold lives: so it is the same. */
		error = shortage == 0 && tree_pids_has(&now, pids[i])
		            ? tree_pidfd_signal(fds[i], b->signo)
		            : ESRCH;
		if (error == 0)
			b->reached++;
		else if (error != ESRCH)
			b->sys_errno = error;
		close(fds[i]);
	}
	tree_pids_free(&now);
	return shortage;
}

/* As many together as there are descriptors for. */
static void strike(struct blow *b, const pid_t *pids, size_t n)
{
	int shortage = strike_together(b, pids, n);

	if (shortage == 0)
		return;
	if (n == 1) {
		b->shortage = shortage;
		return;
	}
	strike(b, pids, n / 2);
	strike(b, pids + n / 2, n - n / 2);
}

/* Whether there was anyone new. */
static bool strike_new(struct blow *b)
{
	pid_t batch[BATCH];
	bool any = false;
	size_t n = 0;

	gather(b->j, &b->all);
	if (b->all.shortage != 0)
		b->shortage = b->all.shortage;
	for (size_t i = 0; i < b->all.n; i++) {
		if (tree_pids_has(&b->done, b->all.list[i]))
			continue;
		any = true;
		tree_pids_add(&b->done, b->all.list[i]);
		batch[n++] = b->all.list[i];
		if (n == BATCH) {
			strike(b, batch, n);
			n = 0;
		}
	}
	if (n > 0)
		strike(b, batch, n);
	/* More than the leader: their children come to us as they die. */
	if (b->done.n > 1)
		orphans.until = 0;
	return any;
}

/* While they are frozen nobody forks; without a freezer whoever is killed does not either, and the
 * rest is found in the next round. */
static void strike_all(struct blow *b)
{
	int rounds = 0;

	if (b->j->cgroup != NULL)
		cgroup_freeze(b->j->cgroup, true);
	while (strike_new(b) && ++rounds < ROUNDS_MAX)
		;
	if (b->j->cgroup != NULL)
		cgroup_freeze(b->j->cgroup, false);
	if (rounds == ROUNDS_MAX)
		log_warn(
		    "job %s: its descendants multiply faster than they can be signalled", b->j->id);
	tree_pids_free(&b->all);
	tree_pids_free(&b->done);
}

static int signal_all(const struct job *j, int signo, int *sys_errno)
{
	struct blow b = {.j = j, .signo = signo};

	if (signo == SIGKILL && j->cgroup != NULL) {
		if (!cgroup_populated(j->cgroup))
			return TX_ESTATE;
		if (cgroup_kill(j->cgroup) == 0)
			return 0;
	}
	strike_all(&b);
	if (b.shortage == 0 && b.reached > 0)
		return 0;
	*sys_errno = b.shortage != 0 ? b.shortage : b.sys_errno;
	return *sys_errno != 0 ? TX_ESYS : TX_ESTATE;
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
