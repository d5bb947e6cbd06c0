/* SPDX-License-Identifier: Apache-2.0 */
/*
 * clone(2) straight into a v2 control group. To be born in it costs microseconds; to move there
 * costs the kernel a grace period, up to 15 ms for a process that is started alone.
 */
#ifndef TX_KEEPER_CLONE_INTO_H
#define TX_KEEPER_CLONE_INTO_H

#include <stddef.h>
#include <sys/types.h>

/*
 * As clone(2) with its flags (the exit signal among them) and CLONE_PIDFD: fn(arg) runs on the
 * stack given from its lowest address on, and what it returns is the exit status. -1 with errno;
 * ENOSYS: neither kernel nor this build can. EINVAL, E2BIG or EPERM: this kernel cannot.
 */
pid_t clone_into(int (*fn)(void *), void *stack, size_t stack_size, int flags, void *arg,
    int *pidfd, int cgroup_fd);

#endif
