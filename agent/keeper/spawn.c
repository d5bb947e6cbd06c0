/* SPDX-License-Identifier: Apache-2.0 */
/* The keeper's side of a start. What the child may do, and why, is in spawn_child.c. */
#include "agent/keeper/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/keeper/clone_into.h"
#include "agent/keeper/spawn_internal.h"
#include "common/keeper_msg.h"
#include "common/log.h"
#include "common/signals.h"

#define STACK_SIZE    ((size_t)64 * 1024) /* PATH_MAX buffer and change */
#define EXEC_LIMIT_MS 5000

#if !defined(SYS_pidfd_open)
#define SYS_pidfd_open 434
#endif

static int own_nice;
static bool own_oom_protected;
static bool low_is_lent;

void spawn_init(void)
{
	char text[16] = "";
	int fd = open("/proc/self/oom_score_adj", O_RDONLY | O_CLOEXEC);
	ssize_t n = -1;

	spawn_low_init();
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

static const char *find_path(const struct spawn_plan *p)
{
	for (size_t i = 0; p->envp[i] != NULL; i++)
		if (strncmp(p->envp[i], "PATH=", 5) == 0)
			return p->envp[i] + 5;
	return p->default_path;
}

char *spawn_stack_new(void)
{
	void *p = mmap(NULL, STACK_SIZE, PROT_READ | PROT_WRITE,
	    MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);

	return p != MAP_FAILED ? p : NULL;
}

void spawn_stack_free(char *stack)
{
	if (stack != NULL)
		(void)munmap(stack, STACK_SIZE);
}

/* The one stack of all children of the loop itself, one after the other. NULL: no memory. */
static char *child_stack(void)
{
	static char *stack;

	if (stack == NULL)
		stack = spawn_stack_new();
	return stack;
}

/* A plain fork where the system does not let us choose. */
static pid_t clone_child(struct spawn_child *c, const struct spawn_way *way, int *pidfd)
{
	char *stack = way->stack;
	int flags = CLONE_PIDFD | SIGCHLD;
	pid_t pid;

	if (stack == NULL)
		return -1;
	if (!c->plan->change_user)
		flags |= CLONE_VM | CLONE_VFORK;
	if ((flags & CLONE_VFORK) != 0 && way->low && spawn_low_take(c))
		flags |= CLONE_FILES;
	*pidfd = -1;
	if (c->plan->born_in)
		return clone_into(
		    spawn_child_main, stack, STACK_SIZE, flags, c, pidfd, c->plan->born_in_fd);
	pid = clone(spawn_child_main, stack + STACK_SIZE, flags, c, pidfd);
	if (pid >= 0 || (errno != EINVAL && errno != ENOSYS && errno != EPERM))
		return pid;
	pid = fork();
	if (pid == 0)
		_exit(spawn_child_main(c));
	if (pid > 0)
		*pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
	return pid;
}

/* Where it hangs in the kernel it is reaped later, as any child that is no job. */
static void reap_failed(pid_t pid, bool hangs)
{
	while (waitpid(pid, NULL, hangs ? WNOHANG : 0) < 0 && errno == EINTR)
		;
}

__attribute__((no_sanitize_address)) static int child_nothing(void *arg)
{
	(void)arg;
	return 0;
}

bool spawn_can_be_born_in(int cgroup_fd)
{
	char *stack = child_stack();
	int pidfd = -1;
	int status = -1;
	pid_t pid;

	if (stack == NULL)
		return false;
	pid = clone_into(child_nothing, stack, STACK_SIZE, CLONE_VM | CLONE_VFORK | SIGCHLD, NULL,
	    &pidfd, cgroup_fd);
	if (pid < 0)
		return false;
	if (pidfd >= 0)
		close(pidfd);
	while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
		;
	/* Some kernels kill it at once, where all in our own group were killed before we came. */
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/* 0: it runs; 1: *r says why not. Whoever does not come to execute in time is killed. */
static int await_report(int fd, pid_t pid, int limit_ms, struct spawn_report *r)
{
	struct pollfd pfd = {.fd = fd, .events = POLLIN};
	ssize_t n;

	do
		n = poll(&pfd, 1, limit_ms);
	while (n < 0 && errno == EINTR);
	if (n == 0) {
		(void)kill(pid, SIGKILL);
		*r = (struct spawn_report){KM_STAGE_EXEC, ETIMEDOUT, 0};
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

void spawn_attempt(
    const struct spawn_plan *plan, const struct spawn_way *way, struct spawn_got *got)
{
	struct spawn_child c = {.plan = plan,
	    .path = find_path(plan),
	    .own_nice = own_nice,
	    .file_fd = plan->file_fd,
	    .pid_at = way->pid};
	struct spawn_report r = {KM_STAGE_FORK, 0, 0};
	struct signals_held held;
	int status[2];

	*got = (struct spawn_got){.failed = true, .pidfd = -1, .r = r};
	if (pipe2(status, O_CLOEXEC) != 0) {
		got->r.sys_errno = errno;
		return;
	}
	c.status_fd = status[1];
	memcpy(c.fds, plan->fds, sizeof(c.fds));
	memcpy(c.cgroup_fds, plan->cgroup_fds, sizeof(c.cgroup_fds));
	signals_block(&held);
	got->pid = clone_child(&c, way, &got->pidfd);
	if (got->pid < 0)
		r.sys_errno = errno;
	else if (way->pid != NULL)
		atomic_store(way->pid, got->pid);
	if (way->low)
		spawn_low_release();
	signals_restore(&held);
	close(status[1]);
	if (got->pid > 0)
		got->failed = await_report(status[0], got->pid, way->limit_ms, &r) != 0;
	close(status[0]);
	got->r = r;
}

int spawn_conclude(const struct spawn_plan *plan, const struct spawn_got *got,
    struct spawn_result *out, struct spawn_failure *why)
{
	if (!got->failed) {
		if (plan->plain_priority && own_oom_protected)
			unprotect(got->pid);
		out->pid = got->pid;
		out->pidfd = got->pidfd;
		return 0;
	}
	if (got->pid > 0 && got->pidfd >= 0)
		close(got->pidfd);
	why->stage = got->r.stage;
	why->sys_errno = got->r.sys_errno;
	spawn_describe(plan, &got->r, why);
	return TX_ESYS;
}

void spawn_low_lend(bool lent)
{
	low_is_lent = lent;
}

int spawn_run(const struct spawn_plan *plan, struct spawn_result *out, struct spawn_failure *why)
{
	const struct spawn_way way = {
	    .stack = child_stack(), .low = !low_is_lent, .limit_ms = EXEC_LIMIT_MS};
	struct spawn_got got;

	spawn_attempt(plan, &way, &got);
	if (got.failed && got.pid > 0)
		reap_failed(got.pid, got.r.sys_errno == ETIMEDOUT);
	return spawn_conclude(plan, &got, out, why);
}
