/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The filter traps what is not on the list (SECCOMP_RET_TRAP): the call is not made, SIGSYS comes
 * instead, and its handler says the name and ends the process. It ends by another call that the
 * filter traps: a SIGSYS that comes while SIGSYS is blocked kills, whatever anybody has set up.
 * rt_sigaction is on no list, so the handler stays what it is.
 */
#include <errno.h>
#include <linux/dqblk_xfs.h>
#include <seccomp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/quota.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/confine.h"
#include "common/confine_internal.h"

#define NUMBERS   512
#define NAME_SIZE 24

/* The names of all system calls: in the handler nothing can be looked up any more. */
static char (*names)[NAME_SIZE];
static char said_before[64];

static void say(const char *text)
{
	ssize_t n = write(STDERR_FILENO, text, strlen(text));

	(void)n;
}

static void on_sigsys(int signo, siginfo_t *info, void *context)
{
	int nr = info->si_syscall;

	(void)signo;
	(void)context;
	say(said_before);
	say(nr >= 0 && nr < NUMBERS && names[nr][0] != '\0' ? names[nr] : "of an unknown number");
	say("\n");
	(void)syscall(SYS_personality, 0xffffffff);
	/* Not reached. */
	for (;;)
		(void)syscall(SYS_exit_group, 128 + SIGSYS);
}

static int remember_names(const char *program, struct err *e)
{
	snprintf(said_before, sizeof(said_before), "%s: killed for the system call ", program);
	if (names == NULL)
		names = calloc(NUMBERS, NAME_SIZE);
	if (names == NULL)
		return err_set(e, TX_ENOMEM, "out of memory");
	for (int nr = 0; nr < NUMBERS; nr++) {
		char *name = seccomp_syscall_resolve_num_arch(SCMP_ARCH_NATIVE, nr);

		if (name != NULL)
			snprintf(names[nr], NAME_SIZE, "%s", name);
		free(name);
	}
	return 0;
}

/*
 * With any first argument but fd. The kernel looks at its lower half alone, which no one comparison
 * can say to be another: so one of its bits must be.
 */
static int allow_others(scmp_filter_ctx filter, int nr, unsigned fd)
{
	int rc = 0;

	for (unsigned bit = 0; rc == 0 && bit < 32; bit++) {
		uint64_t mask = UINT64_C(1) << bit;

		rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, nr, 1,
		    SCMP_A0(SCMP_CMP_MASKED_EQ, mask, ~(uint64_t)fd & mask));
	}
	return rc;
}

static bool reaches_beyond_writing(const char *name)
{
	return strcmp(name, "ftruncate") == 0 || strcmp(name, "fcntl") == 0 ||
	       strcmp(name, "ioctl") == 0;
}

/* By its name; __NR_SCMP_ERROR: this system has no such. What an older library does not know is
 * made all the same, and must not kill then. */
static int number_of(const char *name)
{
	const int nr = seccomp_syscall_resolve_name(name);

#ifdef SYS_quotactl_fd
	if (nr == __NR_SCMP_ERROR && strcmp(name, "quotactl_fd") == 0)
		return SYS_quotactl_fd;
#endif
	return nr;
}

/* Of quotas what there is may be asked: not all quotactl does. */
static int allow_asking(scmp_filter_ctx filter, int nr)
{
	static const unsigned commands[] = {QCMD((unsigned)Q_GETQUOTA, USRQUOTA),
	    QCMD((unsigned)Q_GETQUOTA, GRPQUOTA), QCMD((unsigned)Q_XGETQSTATV, USRQUOTA),
	    QCMD((unsigned)Q_XGETQSTATV, GRPQUOTA)};
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < sizeof(commands) / sizeof(commands[0]); i++)
		rc = seccomp_rule_add(filter, SCMP_ACT_ALLOW, nr, 1,
		    SCMP_A1(SCMP_CMP_MASKED_EQ, UINT32_MAX, commands[i]));
	return rc;
}

/* Memory is never made executable, nobody else is signalled, quotas are asked about alone, and what
 * is appended to is let be; what else has arguments is allowed as a whole. */
static int allow(scmp_filter_ctx filter, const char *name, int appended_fd)
{
	const int nr = number_of(name);

	if (nr == __NR_SCMP_ERROR)
		return 0;
	if (appended_fd >= 0 && reaches_beyond_writing(name))
		return allow_others(filter, nr, (unsigned)appended_fd);
	if (strcmp(name, "tgkill") == 0)
		return seccomp_rule_add(
		    filter, SCMP_ACT_ALLOW, nr, 1, SCMP_A0(SCMP_CMP_EQ, (uint64_t)getpid(), 0));
	if (strcmp(name, "quotactl_fd") == 0)
		return allow_asking(filter, nr);
	if (strcmp(name, "mmap") == 0 || strcmp(name, "mprotect") == 0)
		return seccomp_rule_add(
		    filter, SCMP_ACT_ALLOW, nr, 1, SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
	return seccomp_rule_add(filter, SCMP_ACT_ALLOW, nr, 0);
}

static int load(const char *const *calls, int appended_fd, size_t *n, struct err *e)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_TRAP);
	int rc = filter == NULL ? -ENOMEM : 0;

	for (*n = 0; rc == 0 && calls[*n] != NULL; ++*n)
		rc = allow(filter, calls[*n], appended_fd);
	if (rc == 0)
		rc = seccomp_load(filter);
	if (filter != NULL)
		seccomp_release(filter);
	return rc == 0 ? 0 : err_sys(e, -rc, "seccomp");
}

int confine_calls(
    struct confine_report *r, const char *program, const char *const *calls, struct err *e)
{
	return confine_calls_but(r, program, calls, -1, e);
}

int confine_calls_but(struct confine_report *r, const char *program, const char *const *calls,
    int appended_fd, struct err *e)
{
	struct sigaction sa = {.sa_sigaction = on_sigsys, .sa_flags = SA_SIGINFO};
	size_t n = 0;
	int rc;

	if (CONFINE_SANITIZED) {
		confine_note(r, "seccomp", false, "built with a sanitizer");
		return 0;
	}
	rc = remember_names(program, e);
	sigfillset(&sa.sa_mask);
	if (rc == 0 && sigaction(SIGSYS, &sa, NULL) != 0)
		rc = err_sys(e, errno, "SIGSYS");
	if (rc == 0)
		rc = load(calls, appended_fd, &n, e);
	if (rc == 0)
		confine_note(r, "seccomp", true, "%zu system calls", n);
	return rc;
}
