/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The child shares the keeper's memory until it executes (CLONE_VM | CLONE_VFORK), so that a start
 * costs the same however large the keeper is. Therefore: it runs on a stack of its own, all signals
 * are blocked while it has the keeper's handlers, it changes ids by raw system calls (glibc's would
 * change all threads of the keeper), it calls only what is async-signal-safe, allocates nothing and
 * writes to nothing but its stack (and its pid where that is wanted). What fails is told over a
 * close-on-exec pipe.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent/keeper/spawn_internal.h"
#include "common/keeper_msg.h"

#define KERNEL_NSIG        64
#define KERNEL_SIGSET_SIZE (KERNEL_NSIG / 8)

#if !defined(SYS_close_range)
#define SYS_close_range 436
#endif
#if defined(SYS_setresuid32)
#define RAW_SETRESUID SYS_setresuid32
#define RAW_SETRESGID SYS_setresgid32
#define RAW_SETGROUPS SYS_setgroups32
#else
#define RAW_SETRESUID SYS_setresuid
#define RAW_SETRESGID SYS_setresgid
#define RAW_SETGROUPS SYS_setgroups
#endif

/* These never return from a stack that AddressSanitizer knows nothing of: it must not keep books of
 * it. */
#define IN_CHILD static __attribute__((no_sanitize_address))

IN_CHILD __attribute__((noreturn)) void child_fail(
    const struct spawn_child *c, int stage, int sys_errno)
{
	const struct spawn_report r = {stage, sys_errno, c->what};

	while (write(c->status_fd, &r, sizeof(r)) < 0 && errno == EINTR)
		;
	_exit(127);
}

/* The kernel's own structure, its handler first: all zero is SIG_DFL with no flags. */
IN_CHILD void child_signals(const struct spawn_child *c)
{
	const unsigned long by_default[8] = {0}, ignore[8] = {1};
	uint64_t blocked = c->plan->blocked;

	for (int s = 1; s <= KERNEL_NSIG; s++) {
		bool ignored = (c->plan->ignored >> (s - 1) & 1) != 0;

		if (s != SIGKILL && s != SIGSTOP)
			(void)syscall(SYS_rt_sigaction, s, ignored ? ignore : by_default, NULL,
			    KERNEL_SIGSET_SIZE);
	}
	(void)syscall(SYS_rt_sigprocmask, SIG_SETMASK, &blocked, NULL, KERNEL_SIGSET_SIZE);
}

/* A session of its own, on its own terminal where it has one. */
IN_CHILD void child_session(struct spawn_child *c)
{
	(void)setsid();
	c->what = SPAWN_TERMINAL;
	if (c->plan->terminal && ioctl(STDIN_FILENO, TIOCSCTTY, 0) != 0)
		child_fail(c, KM_STAGE_FORK, errno);
	c->what = 0;
}

/* What was not asked for may fail: an agent with a nice value of its own may not be able to leave
 * it. */
IN_CHILD void child_nice(struct spawn_child *c)
{
	const struct spawn_plan *p = c->plan;

	if (p->nice == 0 && (!p->plain_priority || c->own_nice == 0))
		return;
	c->what = SPAWN_NICE;
	if (setpriority(PRIO_PROCESS, 0, p->nice) != 0 && p->nice != 0)
		child_fail(c, KM_STAGE_LIMITS, errno);
}

/* Where it is lower, what there is. */
IN_CHILD void lower(const struct spawn_rlimit *l, struct rlimit *value)
{
	struct rlimit now;

	if (!l->at_most || getrlimit(l->resource, &now) != 0)
		return;
	if (now.rlim_max < value->rlim_max)
		value->rlim_max = now.rlim_max;
	if (now.rlim_cur < value->rlim_cur)
		value->rlim_cur = now.rlim_cur;
}

IN_CHILD void child_limits(struct spawn_child *c)
{
	const struct spawn_plan *p = c->plan;

	for (size_t i = 0; i < p->n_rlimits; i++) {
		struct rlimit value = p->rlimits[i].value;

		c->what = (int)p->rlimits[i].resource;
		lower(&p->rlimits[i], &value);
		if (setrlimit(p->rlimits[i].resource, &value) != 0)
			child_fail(c, KM_STAGE_LIMITS, errno);
	}
}

#if !defined(CLOSE_RANGE_CLOEXEC)
#define CLOSE_RANGE_CLOEXEC (1u << 2)
#endif
#if !defined(CLOSE_RANGE_UNSHARE)
#define CLOSE_RANGE_UNSHARE (1u << 1)
#endif

/* A table of its own, of the low descriptors alone. */
IN_CHILD void child_own_table(const struct spawn_child *c)
{
	if (c->keep_below > 0 &&
	    syscall(SYS_close_range, c->keep_below, ~0u, CLOSE_RANGE_UNSHARE) != 0)
		child_fail(c, KM_STAGE_FORK, errno);
}

/*
 * Everything but 0..n-1 is closed: at exec the status pipe, that tells of that moment, and the
 * program; the others now. Where the table is a copy of the keeper's a start that hangs would keep
 * others' pipes open.
 */
IN_CHILD void child_close_rest(const struct spawn_child *c)
{
	unsigned first = (unsigned)c->plan->n_fds;
	unsigned low = (unsigned)c->status_fd, high = low;
	struct rlimit limit;

	if (c->plan->file != NULL && (unsigned)c->file_fd < low)
		low = (unsigned)c->file_fd;
	else if (c->plan->file != NULL)
		high = (unsigned)c->file_fd;
	if (syscall(SYS_close_range, first, ~0u, CLOSE_RANGE_CLOEXEC) == 0) {
		if (low > first)
			(void)syscall(SYS_close_range, first, low - 1, 0);
		if (high > low + 1)
			(void)syscall(SYS_close_range, low + 1, high - 1, 0);
		(void)syscall(SYS_close_range, high + 1, ~0u, 0);
		return;
	}
	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur > 1u << 20)
		limit.rlim_cur = 1u << 20;
	for (unsigned fd = first; fd < limit.rlim_cur; fd++)
		(void)fcntl((int)fd, F_SETFD, FD_CLOEXEC);
}

/* `fd` out of the way of 0..n-1, so that no dup2 closes what another still needs. */
IN_CHILD int child_park(struct spawn_child *c, int fd)
{
	int parked;

	if (fd >= (int)c->plan->n_fds)
		return fd;
	parked = fcntl(fd, F_DUPFD_CLOEXEC, SPAWN_FDS_MAX);
	if (parked < 0)
		child_fail(c, KM_STAGE_FORK, errno);
	return parked;
}

IN_CHILD void child_fds(struct spawn_child *c)
{
	const struct spawn_plan *p = c->plan;
	int parked[SPAWN_FDS_MAX];

	c->status_fd = child_park(c, c->status_fd);
	if (p->file != NULL)
		c->file_fd = child_park(c, c->file_fd);
	for (size_t i = 0; i < p->n_fds; i++)
		parked[i] = child_park(c, c->fds[i]);
	for (size_t i = 0; i < p->n_fds; i++)
		if (dup2(parked[i], (int)i) < 0)
			child_fail(c, KM_STAGE_FORK, errno);
	child_close_rest(c);
}

/* As root still, and while its descriptors are those of the keeper. */
IN_CHILD void child_cgroups(const struct spawn_child *c)
{
	for (size_t i = 0; i < c->plan->n_cgroup_fds; i++)
		if (write(c->cgroup_fds[i], "0", 1) != 1)
			child_fail(c, KM_STAGE_CGROUP, errno);
}

/* As root still. */
IN_CHILD void child_network(const struct spawn_child *c)
{
	if (c->plan->network && syscall(SYS_setns, c->plan->network_fd, CLONE_NEWNET) != 0)
		child_fail(c, KM_STAGE_USER, errno);
}

IN_CHILD void child_capabilities(const struct spawn_child *c)
{
	for (int cap = 0; c->plan->no_capabilities && cap < 64; cap++)
		(void)prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
}

IN_CHILD void child_user(const struct spawn_child *c)
{
	const struct spawn_plan *p = c->plan;

	if (!p->change_user)
		return;
	if (syscall(RAW_SETGROUPS, p->n_groups, p->groups) != 0 ||
	    syscall(RAW_SETRESGID, p->gid, p->gid, p->gid) != 0 ||
	    syscall(RAW_SETRESUID, p->uid, p->uid, p->uid) != 0)
		child_fail(c, KM_STAGE_USER, errno);
}

IN_CHILD void child_chdir(const struct spawn_child *c)
{
	const struct spawn_plan *p = c->plan;

	if (p->cwd != NULL) {
		if (chdir(p->cwd) != 0)
			child_fail(c, KM_STAGE_CHDIR, errno);
		return;
	}
	if ((p->home == NULL || chdir(p->home) != 0) && chdir("/") != 0)
		child_fail(c, KM_STAGE_CHDIR, errno);
}

/* As execvp, but with the PATH of the new environment and without a shell for what has no known
 * format. */
IN_CHILD int child_search(const struct spawn_child *c, const char *name)
{
	const struct spawn_plan *p = c->plan;
	size_t name_len = strlen(name);
	const char *at = c->path;
	int result = ENOENT;
	char full[PATH_MAX];

	while (at != NULL) {
		const char *end = strchrnul(at, ':');
		size_t len = (size_t)(end - at);

		if (len + name_len + 2 <= sizeof(full)) {
			memcpy(full, at, len);
			if (len > 0)
				full[len++] = '/';
			memcpy(full + len, name, name_len + 1);
			execve(full, p->argv, p->envp);
			if (errno == EACCES)
				result = EACCES;
			else if (errno != ENOENT && errno != ENOTDIR)
				return errno;
		}
		at = *end == ':' ? end + 1 : NULL;
	}
	return result;
}

IN_CHILD void child_privileges(struct spawn_child *c)
{
	c->what = SPAWN_PRIVILEGES;
	if (c->plan->no_new_privs && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		child_fail(c, KM_STAGE_USER, errno);
	c->what = 0;
}

/* What needs privilege comes before the user is changed. */
__attribute__((no_sanitize_address)) int spawn_child_main(void *arg)
{
	struct spawn_child c = *(const struct spawn_child *)arg;
	const struct spawn_plan *p = c.plan;
	const char *file = p->argv[0];

	if (c.pid_at != NULL)
		atomic_store(c.pid_at, (int)getpid());
	child_own_table(&c);
	child_cgroups(&c);
	child_network(&c);
	child_fds(&c);
	child_signals(&c);
	child_session(&c);
	umask(p->umask);
	child_nice(&c);
	child_limits(&c);
	child_capabilities(&c);
	child_user(&c);
	child_privileges(&c);
	child_chdir(&c);
	if (p->file != NULL) {
		(void)syscall(SYS_execveat, c.file_fd, "", p->argv, p->envp, AT_EMPTY_PATH);
		child_fail(&c, KM_STAGE_EXEC, errno);
	}
	if (strchr(file, '/') != NULL) {
		execve(file, p->argv, p->envp);
		child_fail(&c, KM_STAGE_EXEC, errno);
	}
	child_fail(&c, KM_STAGE_EXEC, file[0] != '\0' ? child_search(&c, file) : ENOENT);
}
