/* SPDX-License-Identifier: Apache-2.0 */
/*
 * glibc has no wrapper for clone3(2), and one in C is not possible: where memory is shared the
 * child begins on another stack, on which no return address lies. So the few instructions between
 * the call and fn are written down for each machine.
 */
#include "agent/keeper/clone_into.h"

#include <errno.h>
#include <sched.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>

#if !defined(SYS_clone3)
#define SYS_clone3 435
#endif
#define FLAG_INTO_CGROUP UINT64_C(0x200000000)

/* struct clone_args of the kernel, as of version 2 (Linux 5.7). */
struct args {
	uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid,
	    set_tid_size, cgroup;
};

#if defined(__x86_64__) && !defined(__ILP32__)
static long call_clone3(struct args *a, int (*fn)(void *), void *arg)
{
	register int (*fn_reg)(void *) __asm__("r12") = fn;
	register void *arg_reg __asm__("r13") = arg;
	long rc = SYS_clone3;

	__asm__ volatile(
	    "syscall\n\t"
	    "testq %%rax, %%rax\n\t"
	    "jnz 1f\n\t"
	    "xorl %%ebp, %%ebp\n\t"
	    "movq %[arg], %%rdi\n\t"
	    "callq *%[fn]\n\t"
	    "movl %%eax, %%edi\n\t"
	    "movl %[nr_exit], %%eax\n\t"
	    "syscall\n\t"
	    "hlt\n"
	    "1:"
	    : "+a"(rc)
	    : "D"(a), "S"(sizeof(*a)), [fn] "r"(fn_reg), [arg] "r"(arg_reg), [nr_exit] "i"(SYS_exit)
	    : "rcx", "r11", "memory", "cc");
	return rc;
}
#define HAVE_CALL 1
#elif defined(__aarch64__)
static long call_clone3(struct args *a, int (*fn)(void *), void *arg)
{
	register long x0 __asm__("x0") = (long)(uintptr_t)a;
	register long x1 __asm__("x1") = (long)sizeof(*a);
	register long x8 __asm__("x8") = SYS_clone3;
	register int (*fn_reg)(void *) __asm__("x10") = fn;
	register void *arg_reg __asm__("x11") = arg;

	__asm__ volatile(
	    "svc #0\n\t"
	    "cbnz x0, 1f\n\t"
	    "mov x29, #0\n\t"
	    "mov x0, %[arg]\n\t"
	    "blr %[fn]\n\t"
	    "mov x8, %[nr_exit]\n\t"
	    "svc #0\n"
	    "1:"
	    : "+r"(x0)
	    : "r"(x1), "r"(x8), [fn] "r"(fn_reg), [arg] "r"(arg_reg), [nr_exit] "i"(SYS_exit)
	    : "memory", "cc");
	return x0;
}
#define HAVE_CALL 1
#endif

pid_t clone_into(int (*fn)(void *), void *stack, size_t stack_size, int flags, void *arg,
    int *pidfd, int cgroup_fd)
{
#if defined(HAVE_CALL)
	struct args a = {
	    .flags = (uint64_t)(uint32_t)(flags & ~CSIGNAL) | CLONE_PIDFD | FLAG_INTO_CGROUP,
	    .pidfd = (uint64_t)(uintptr_t)pidfd,
	    .exit_signal = (uint64_t)(flags & CSIGNAL),
	    .stack = (uint64_t)(uintptr_t)stack,
	    .stack_size = stack_size,
	    .cgroup = (uint64_t)cgroup_fd,
	};
	long rc = call_clone3(&a, fn, arg);

	if (rc >= 0)
		return (pid_t)rc;
	errno = (int)-rc;
#else
	(void)fn;
	(void)stack;
	(void)stack_size;
	(void)flags;
	(void)arg;
	(void)pidfd;
	(void)cgroup_fd;
	errno = ENOSYS;
#endif
	return -1;
}
