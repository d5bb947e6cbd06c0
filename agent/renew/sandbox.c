/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/renew/sandbox.h"

#include <netdb.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>

/* What libc calls on this architecture: the newer ones have no others. */
#if defined(SYS_unlink)
#define WAIT     "epoll_wait"
#define POLL     "poll"
#define ACCESS   "access"
#define READLINK "readlink"
#else
#define WAIT     "epoll_pwait"
#define POLL     "ppoll"
#define ACCESS   "faccessat"
#define READLINK "readlinkat"
#endif

const char *const renew_sandbox_calls[] = {
    /* what it is given, and its answer */
    "read", "write", "writev", "readv", "pread64", "lseek", "close", "fcntl", "fstat",
    /* the authority, and the name service before that (in a thread of libtelex's) */
    "socket", "connect", "bind", "getsockname", "getpeername", "getsockopt", "setsockopt",
    "shutdown", "sendto", "recvfrom", "sendmsg", "recvmsg", "sendmmsg", "recvmmsg", "ioctl", POLL,
    "openat", "newfstatat", "statx", ACCESS, READLINK, "getcwd", "uname", "sysinfo", "clone3",
    "clone", "set_robust_list", "rseq", "gettid", "exit", "prctl", "sched_getaffinity",
    /* the event loop */
    "epoll_create1", "epoll_ctl", WAIT, "eventfd2", "timerfd_create", "timerfd_settime", "pipe2",
    "clock_gettime", "clock_getres", "gettimeofday", "time", "clock_nanosleep", "futex",
    /* memory, the rest of a process's life */
    "mmap", "munmap", "mremap", "mprotect", "madvise", "brk", "getrandom", "getpid", "getuid",
    "geteuid", "getgid", "getegid", "prlimit64", "rt_sigprocmask", "rt_sigreturn", "tgkill",
    "exit_group", NULL};

int renew_sandbox_enter(struct confine_report *r, struct err *e)
{
	int rc = confine_give_up(r, e);

	if (rc == 0)
		rc = confine_capabilities(r, true, e);
	return rc < 0 ? err_wrap(e, "sandbox") : 0;
}

/* Whether it is found is told when it is asked. */
static void *look_up(void *arg)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
	const char *address = arg, *colon = strrchr(address, ':');
	struct addrinfo *found = NULL;
	char host[256];
	int n = snprintf(host, sizeof(host), "%.*s",
	    colon != NULL ? (int)(colon - address) : (int)strlen(address), address);

	if (n <= 0 || (size_t)n >= sizeof(host) || host[0] == '[')
		return NULL;
	if (getaddrinfo(host, NULL, &hints, &found) == 0)
		freeaddrinfo(found);
	return NULL;
}

/* In a thread, as libtelex does: the first one sets up handlers of signals, which cannot be done
 * afterwards. */
static int look_up_first(const char *address, struct err *e)
{
	pthread_t thread;
	int rc = pthread_create(&thread, NULL, look_up, (void *)(uintptr_t)address);

	if (rc != 0)
		return err_sys(e, rc, "a thread");
	(void)pthread_join(thread, NULL);
	return 0;
}

int renew_sandbox_close(struct confine_report *r, const char *address, struct err *e)
{
	int rc = address != NULL ? look_up_first(address, e) : 0;

	if (rc == 0)
		rc = confine_calls(r, "telex-renew", renew_sandbox_calls, e);
	return rc < 0 ? err_wrap(e, "sandbox") : 0;
}
