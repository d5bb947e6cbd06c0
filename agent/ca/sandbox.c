/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/ca/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <sys/syscall.h>
#include <unistd.h>

/* What libc calls on this architecture: the newer ones have no others. */
#if defined(SYS_unlink)
#define WAIT     "epoll_wait"
#define ACCESS   "access"
#define READLINK "readlink"
#define UNLINK   "unlink"
#else
#define WAIT     "epoll_pwait"
#define ACCESS   "faccessat"
#define READLINK "readlinkat"
#define UNLINK   "unlinkat"
#endif

const char *const ca_sandbox_calls[] = {
    /* the keeper's link, the workers' sockets, the audit log */
    "read", "write", "recvmsg", "sendmsg", "sendto", "close", "fcntl", WAIT, "epoll_ctl",
    "clock_gettime", "futex",
    /* the ledger: SQLite's own files in its folder */
    "openat", "fstat", "newfstatat", ACCESS, "getcwd", READLINK, "lseek", "pread64", "pwrite64",
    "fsync", "fdatasync", "ftruncate", UNLINK, "fchown", "geteuid", "clock_nanosleep",
    /* long answers, memory (libc's sorting asks how much there is), the rest of a process's life */
    "memfd_create", "sysinfo", "mmap", "munmap", "mremap", "mprotect", "madvise", "brk",
    "getrandom", "getpid", "rt_sigprocmask", "rt_sigreturn", "tgkill", "exit_group", NULL};

int ca_sandbox_enter(struct confine_report *r, struct err *e)
{
	int rc = confine_give_up(r, e);

	if (rc == 0)
		rc = confine_capabilities(r, true, e);
	return rc < 0 ? err_wrap(e, "sandbox") : 0;
}

int ca_sandbox_close(struct confine_report *r, struct err *e)
{
	struct confine_folder here = {.fd = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC)};
	int rc;

	if (here.fd < 0)
		return err_sys(e, errno, "sandbox: the authority's folder");
	rc = confine_paths(r, &here, 1, e);
	close(here.fd);
	if (rc == 0)
		rc = confine_calls(r, "telex-ca", ca_sandbox_calls, e);
	return rc < 0 ? err_wrap(e, "sandbox") : 0;
}
