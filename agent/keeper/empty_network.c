/* SPDX-License-Identifier: Apache-2.0 */
/* A thread steps into a new namespace, opens it and ends: this process stays where it is. */
#include "agent/keeper/empty_network.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <unistd.h>

struct made {
	int fd;
	int sys_errno;
};

static void *make(void *arg)
{
	struct made *m = arg;

	if (unshare(CLONE_NEWNET) != 0) {
		m->sys_errno = errno;
		return NULL;
	}
	m->fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	if (m->fd < 0)
		m->sys_errno = errno;
	return NULL;
}

int empty_network_new(int *fd, struct err *e)
{
	struct made m = {.fd = -1};
	sigset_t all, before;
	pthread_t thread;
	int rc;

	/* Signals are for the loop's thread. */
	sigfillset(&all);
	pthread_sigmask(SIG_BLOCK, &all, &before);
	rc = pthread_create(&thread, NULL, make, &m);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (rc != 0)
		return err_sys(e, rc, "a network namespace");
	pthread_join(thread, NULL);
	if (m.fd < 0)
		return err_sys(e, m.sys_errno, "a network namespace");
	*fd = m.fd;
	return 0;
}
