/* SPDX-License-Identifier: Apache-2.0 */
/* Starting telexd. The child reports a failure before or at exec over a close-on-exec pipe. */
#include "cli/dev_spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/close_range.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "common/mem.h"
#include "common/signals.h"

int dev_spawn_find(char **path, struct err *e)
{
	static const char *const beside[] = {"telexd", "../sbin/telexd"};
	char self[4096], *slash, *candidate;
	ssize_t n = readlink("/proc/self/exe", self, sizeof(self) - 1);

	if (n < 0)
		return err_sys(e, errno, "/proc/self/exe");
	self[n] = '\0';
	slash = strrchr(self, '/');
	if (slash)
		*slash = '\0';
	for (size_t i = 0; i < sizeof(beside) / sizeof(beside[0]); i++) {
		candidate = xasprintf("%s/%s", self, beside[i]);
		if (access(candidate, X_OK) == 0) {
			*path = candidate;
			return 0;
		}
		free(candidate);
	}
	if (access(SBINDIR "/telexd", X_OK) == 0) {
		*path = xstrdup(SBINDIR "/telexd");
		return 0;
	}
	return err_set(e, TX_ENOENT,
	    "the agent's program telexd is neither in %s, nor in %s/../sbin, nor in " SBINDIR
	    "; install it",
	    self, self);
}

/* What our own parent left open is not the agent's: it would keep pipes open for as long as it
 * lives. */
static void close_on_exec(void)
{
	if (syscall(SYS_close_range, 3, ~0U, CLOSE_RANGE_CLOEXEC) == 0)
		return;
	for (int fd = 3; fd < 1024; fd++) /* Linux before 5.11 */
		fcntl(fd, F_SETFD, FD_CLOEXEC);
}

static int redirect(int from, int to)
{
	return from < 0 || dup2(from, to) < 0 ? -1 : 0;
}

/* In the child. Returns only on failure, with errno. */
static void become_telexd(const char *program, const char *config, const char *log, pid_t parent)
{
	char *const argv[] = {(char *)program, (char *)"--config", (char *)config, NULL};
	int null = open("/dev/null", O_RDONLY | O_CLOEXEC), out;

	signals_reset();
	close_on_exec();
	if (redirect(null, STDIN_FILENO) < 0)
		return;
	if (log) {
		setsid();
		if (chdir("/") < 0)
			return;
		out = open(log, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
		if (redirect(out, STDOUT_FILENO) < 0 || redirect(out, STDERR_FILENO) < 0)
			return;
	} else {
		setpgid(0, 0); /* the terminal's Ctrl-C comes by way of us */
		prctl(PR_SET_PDEATHSIG, SIGTERM);
		if (getppid() != parent)
			_exit(0);
	}
	execv(program, argv);
}

int dev_spawn(const char *config, const char *log, pid_t *pid, struct err *e)
{
	int failure[2] = {-1, -1}, child_errno = 0, r = 0;
	char *program = NULL;
	pid_t parent = getpid(), child = -1;

	if ((r = dev_spawn_find(&program, e)) < 0)
		return r;
	if (pipe2(failure, O_CLOEXEC) < 0 || (child = fork()) < 0) {
		r = err_sys(e, errno, "cannot start %s", program);
		goto out;
	}
	if (child == 0) {
		ssize_t n;

		become_telexd(program, config, log, parent);
		child_errno = errno;
		n = write(failure[1], &child_errno, sizeof(child_errno));
		_exit(n < 0 ? 2 : 1);
	}
	close(failure[1]);
	failure[1] = -1;
	if (read(failure[0], &child_errno, sizeof(child_errno)) == (ssize_t)sizeof(child_errno)) {
		waitpid(child, NULL, 0);
		r = err_sys(e, child_errno, "cannot start %s", program);
	} else {
		*pid = child;
	}
out:
	if (failure[0] >= 0)
		close(failure[0]);
	if (failure[1] >= 0)
		close(failure[1]);
	free(program);
	return r;
}
