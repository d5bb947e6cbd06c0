/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The child shares the keeper's memory until it executes (CLONE_VM | CLONE_VFORK), so that a start
 * costs the same however large the keeper is. Therefore: it runs on a stack of its own, all signals
 * are blocked while it has the keeper's handlers, it changes ids by raw system calls (glibc's would
 * change all threads of the keeper), it allocates nothing and writes to nothing but its stack. What
 * fails is told over a close-on-exec pipe.
 */
#include "agent/keeper/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/keeper/clone_into.h"
#include "common/job_spec.h"
#include "common/keeper_msg.h"
#include "common/log.h"

#define STACK_SIZE         ((size_t)64 * 1024) /* PATH_MAX buffer and change */
#define EXEC_LIMIT_MS      5000
#define KERNEL_NSIG        64
#define KERNEL_SIGSET_SIZE (KERNEL_NSIG / 8)

#if !defined(SYS_pidfd_open)
#define SYS_pidfd_open 434
#endif
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

struct report {
	int stage;
	int sys_errno;
	int resource; /* LIMITS: which */
};

struct child {
	const struct spawn_plan *plan;
	const char *path; /* of envp, for the search */
	int status_fd, file_fd;
	int resource; /* RLIMIT_… that is being set */
};

static int own_nice;
static bool own_oom_protected;

void spawn_init(void)
{
	char text[16] = "";
	int fd = open("/proc/self/oom_score_adj", O_RDONLY | O_CLOEXEC);
	ssize_t n = -1;

	if (fd >= 0) {
		n = read(fd, text, sizeof(text) - 1);
		close(fd);
	}
	own_oom_protected = n > 0 && text[0] == '-';
	errno = 0;
	own_nice = getpriority(PRIO_PROCESS, 0);
	if (errno != 0)
		own_nice = 0;
}

/* ---- in the child: async-signal-safe calls only ---- */

/* These never return from a stack that AddressSanitizer knows nothing of: it must not keep books of
 * it. */
#define IN_CHILD static __attribute__((no_sanitize_address))

IN_CHILD __attribute__((noreturn)) void child_fail(const struct child *c, int stage, int sys_errno)
{
	const struct report r = {stage, sys_errno, c->resource};

	while (write(c->status_fd, &r, sizeof(r)) < 0 && errno == EINTR)
		;
	_exit(127);
}

/* The kernel's own structure: all zero is SIG_DFL with no flags. */
IN_CHILD void child_signals(void)
{
	const unsigned long zeros[8] = {0};

	for (int s = 1; s <= KERNEL_NSIG; s++)
		if (s != SIGKILL && s != SIGSTOP)
			(void)syscall(SYS_rt_sigaction, s, zeros, NULL, KERNEL_SIGSET_SIZE);
	(void)syscall(SYS_rt_sigprocmask, SIG_SETMASK, zeros, NULL, KERNEL_SIGSET_SIZE);
}

#if !defined(CLOSE_RANGE_CLOEXEC)
#define CLOSE_RANGE_CLOEXEC (1u << 2)
#endif

/* Everything but 0..n-1 is closed at exec, if it was not to be already: the status pipe tells of
 * that moment. */
IN_CHILD void child_close_rest(const struct child *c)
{
	unsigned first = (unsigned)c->plan->n_fds;
	struct rlimit limit;

	if (syscall(SYS_close_range, first, ~0u, CLOSE_RANGE_CLOEXEC) == 0)
		return;
	if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur > 1u << 20)
		limit.rlim_cur = 1u << 20;
	for (unsigned fd = first; fd < limit.rlim_cur; fd++)
		(void)fcntl((int)fd, F_SETFD, FD_CLOEXEC);
}

/* `fd` out of the way of 0..n-1, so that no dup2 closes what another still needs. */
IN_CHILD int child_park(struct child *c, int fd)
{
	int parked;

	if (fd >= (int)c->plan->n_fds)
		return fd;
	parked = fcntl(fd, F_DUPFD_CLOEXEC, SPAWN_FDS_MAX);
	if (parked < 0)
		child_fail(c, KM_STAGE_FORK, errno);
	return parked;
}

IN_CHILD void child_fds(struct child *c)
{
	const struct spawn_plan *p = c->plan;
	int parked[SPAWN_FDS_MAX];

	c->status_fd = child_park(c, c->status_fd);
	if (p->file != NULL)
		c->file_fd = child_park(c, p->file_fd);
	for (size_t i = 0; i < p->n_fds; i++)
		parked[i] = child_park(c, p->fds[i]);
	for (size_t i = 0; i < p->n_fds; i++)
		if (dup2(parked[i], (int)i) < 0)
			child_fail(c, KM_STAGE_FORK, errno);
	child_close_rest(c);
}

/* As root still, and while its descriptors are those of the keeper. */
IN_CHILD void child_cgroups(const struct child *c)
{
	for (size_t i = 0; i < c->plan->n_cgroup_fds; i++)
		if (write(c->plan->cgroup_fds[i], "0", 1) != 1)
			child_fail(c, KM_STAGE_CGROUP, errno);
}

IN_CHILD void child_user(const struct child *c)
{
	const struct spawn_plan *p = c->plan;

	if (!p->change_user)
		return;
	if (syscall(RAW_SETGROUPS, p->n_groups, p->groups) != 0 ||
	    syscall(RAW_SETRESGID, p->gid, p->gid, p->gid) != 0 ||
	    syscall(RAW_SETRESUID, p->uid, p->uid, p->uid) != 0)
		child_fail(c, KM_STAGE_USER, errno);
}

IN_CHILD void child_chdir(const struct child *c)
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
IN_CHILD int child_search(const struct child *c, const char *name)
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

IN_CHILD int child_main(void *arg)
{
	struct child c = *(const struct child *)arg;
	const struct spawn_plan *p = c.plan;
	const char *file = p->argv[0];

	child_cgroups(&c);
	child_fds(&c);
	child_signals();
	(void)setsid();
	umask(022);
	if (p->plain_priority && own_nice != 0)
		(void)setpriority(PRIO_PROCESS, 0, 0);
	for (size_t i = 0; i < p->n_rlimits; i++) {
		c.resource = (int)p->rlimits[i].resource;
		if (setrlimit(p->rlimits[i].resource, &p->rlimits[i].value) != 0)
			child_fail(&c, KM_STAGE_LIMITS, errno);
	}
	child_user(&c);
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

/* ---- in the keeper ---- */

static const char *find_path(char *const *envp)
{
	for (size_t i = 0; envp[i] != NULL; i++)
		if (strncmp(envp[i], "PATH=", 5) == 0)
			return envp[i] + 5;
	return NULL;
}

/* The one stack of all children, one after the other. NULL: no memory. */
static char *child_stack(void)
{
	static char *stack;

	if (stack == NULL) {
		void *p = mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);

		if (p != MAP_FAILED)
			stack = p;
	}
	return stack;
}

/* A plain fork where the system does not let us choose. */
static pid_t clone_child(struct child *c, int *pidfd)
{
	char *stack = child_stack();
	int flags = CLONE_PIDFD | SIGCHLD;
	pid_t pid;

	if (stack == NULL)
		return -1;
	if (!c->plan->change_user)
		flags |= CLONE_VM | CLONE_VFORK;
	*pidfd = -1;
	if (c->plan->born_in)
		return clone_into(
		    child_main, stack, STACK_SIZE, flags, c, pidfd, c->plan->born_in_fd);
	pid = clone(child_main, stack + STACK_SIZE, flags, c, pidfd);
	if (pid >= 0 || (errno != EINVAL && errno != ENOSYS && errno != EPERM))
		return pid;
	pid = fork();
	if (pid == 0)
		_exit(child_main(c));
	if (pid > 0)
		*pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	return pid;
}

/* Where it hangs in the kernel it is reaped later, as any child that is no job. */
static void reap_failed(pid_t pid, int pidfd, bool hangs)
{
	while (waitpid(pid, NULL, hangs ? WNOHANG : 0) < 0 && errno == EINTR)
		;
	if (pidfd >= 0)
		close(pidfd);
}

IN_CHILD int child_nothing(void *arg)
{
	(void)arg;
	return 0;
}

bool spawn_can_be_born_in(int cgroup_fd)
{
	char *stack = child_stack();
	int pidfd = -1;
	pid_t pid;

	if (stack == NULL)
		return false;
	pid = clone_into(child_nothing, stack, STACK_SIZE, CLONE_VM | CLONE_VFORK | SIGCHLD, NULL,
	    &pidfd, cgroup_fd);
	if (pid < 0)
		return false;
	reap_failed(pid, pidfd, false);
	return true;
}

/* 0: it runs; 1: *r says why not. Whoever does not come to execute in time is killed. */
static int await_report(int fd, pid_t pid, struct report *r)
{
	struct pollfd pfd = {.fd = fd, .events = POLLIN};
	ssize_t n;

	do
		n = poll(&pfd, 1, EXEC_LIMIT_MS);
	while (n < 0 && errno == EINTR);
	if (n == 0) {
		(void)kill(pid, SIGKILL);
		*r = (struct report){KM_STAGE_EXEC, ETIMEDOUT, 0};
		return 1;
	}
	do
		n = read(fd, r, sizeof(*r));
	while (n < 0 && errno == EINTR);
	return n == (ssize_t)sizeof(*r);
}

/* From here, not in the child: where memory is shared this would be the keeper's own. */
static void unprotect(pid_t pid)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/%d/oom_score_adj", (int)pid);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return;
	if (write(fd, "0", 1) < 0)
		log_warn("cannot set %s: %s", path, strerror(errno));
	close(fd);
}

static void describe(const struct spawn_plan *p, const struct report *r, struct spawn_failure *why)
{
	const char *error = strerror(why->sys_errno);
	const char *name;

	switch (why->stage) {
	case KM_STAGE_CHDIR:
		snprintf(why->text, sizeof(why->text), "working folder %s: %s",
		    p->cwd != NULL ? p->cwd : "/", error);
		break;
	case KM_STAGE_EXEC:
		snprintf(why->text, sizeof(why->text), "%s: %s",
		    p->file != NULL ? p->file : p->argv[0],
		    why->sys_errno == ENOENT && strchr(p->argv[0], '/') == NULL
		        ? "command not found"
		        : error);
		break;
	case KM_STAGE_USER:
		snprintf(why->text, sizeof(why->text), "cannot become user %u: %s",
		    (unsigned)p->uid, error);
		break;
	case KM_STAGE_CGROUP:
		snprintf(why->text, sizeof(why->text), "cannot join its control group: %s", error);
		break;
	case KM_STAGE_LIMITS:
		name = job_rlimit_name(r->resource);
		snprintf(why->text, sizeof(why->text), "cannot set the limit %s: %s",
		    name != NULL ? name : "asked for", error);
		break;
	default:
		snprintf(why->text, sizeof(why->text), "cannot make a process: %s", error);
		break;
	}
}

int spawn_run(const struct spawn_plan *plan, struct spawn_result *out, struct spawn_failure *why)
{
	struct child c = {.plan = plan, .path = find_path(plan->envp)};
	struct report r = {KM_STAGE_FORK, 0, 0};
	sigset_t all, before;
	int status[2];
	int failed = 1;
	int pidfd = -1;
	pid_t pid;

	if (pipe2(status, O_CLOEXEC) != 0) {
		r.sys_errno = errno;
		goto out;
	}
	c.status_fd = status[1];
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	pid = clone_child(&c, &pidfd);
	if (pid < 0)
		r.sys_errno = errno;
	sigprocmask(SIG_SETMASK, &before, NULL);
	close(status[1]);
	if (pid > 0) {
		failed = await_report(status[0], pid, &r);
		if (failed)
			reap_failed(pid, pidfd, r.sys_errno == ETIMEDOUT);
	}
	close(status[0]);
out:
	if (!failed) {
		if (plan->plain_priority && own_oom_protected)
			unprotect(pid);
		out->pid = pid;
		out->pidfd = pidfd;
		return 0;
	}
	why->stage = r.stage;
	why->sys_errno = r.sys_errno;
	describe(plan, &r, why);
	return TX_ESYS;
}
