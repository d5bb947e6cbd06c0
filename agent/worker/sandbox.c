/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/worker/sandbox.h"

const char *const sandbox_calls[] = {
    /* connections, the keeper's link, the audit log */
    "read", "write", "readv", "writev", "recvmsg", "sendmsg", "recvfrom", "sendto", "accept4",
    "close", "shutdown", "setsockopt", "getsockopt", "getpeername", "getsockname", "fcntl", "ioctl",
    "fdatasync",
    /* the loop */
    "epoll_wait", "epoll_pwait", "epoll_ctl", "clock_gettime", "futex",
    /* rings, spools, specs; memory */
    "memfd_create", "ftruncate", "fstat", "newfstatat", "pread64", "mmap", "munmap", "mremap",
    "mprotect", "madvise", "brk",
    /* the rest of a process's life */
    "getrandom", "getpid", "rt_sigprocmask", "rt_sigreturn", "tgkill", "exit_group", NULL};

int sandbox_enter(struct confine_report *r, bool drop, uint32_t uid, uint32_t gid, struct err *e)
{
	int rc = confine_give_up(r, e);

	if (rc == 0 && drop && (uid == 0 || gid == 0))
		rc = err_set(e, TX_EPERM, "a worker may not be root");
	if (rc == 0 && drop)
		rc = confine_ids(r, uid, gid, e);
	if (rc == 0 && drop)
		rc = confine_capabilities(r, false, e);
	if (rc == 0 && !drop) {
		confine_note(r, "own-user", false, "the agent does not run as root");
		confine_note(r, "no-capabilities", false, "the agent does not run as root");
	}
	return rc < 0 ? err_wrap(e, "sandbox") : 0;
}

int sandbox_close(struct confine_report *r, bool network_is_empty, int audit_fd, struct err *e)
{
	int rc;

	confine_note(r, "empty-network", network_is_empty, "%s",
	    network_is_empty ? "" : "the agent may not make network namespaces");
	rc = confine_paths(r, NULL, 0, e);
	if (rc == 0)
		rc = confine_calls_but(r, "telex-worker", sandbox_calls, audit_fd, e);
	return rc < 0 ? err_wrap(e, "sandbox") : 0;
}
