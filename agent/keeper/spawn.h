/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The only fork site of the agent: starts a program and tells, when it could not be started, at
 * which stage and why. Blocks until the program runs or has failed to.
 */
#ifndef TX_KEEPER_SPAWN_H
#define TX_KEEPER_SPAWN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "common/err.h"

struct spawn_rlimit {
	unsigned resource; /* RLIMIT_… */
	struct rlimit value;
	bool at_most; /* what is inherited stays where it is lower */
};

#define SPAWN_FDS_MAX     7
#define SPAWN_CGROUPS_MAX 4

/* All pointers are the caller's and are only read. */
struct spawn_plan {
	/* What to execute, by descriptor (fexecve(3): no search permission is needed on the folders
	 * above it); file is then its name for errors alone. NULL: argv[0], looked for in the PATH
	 * of envp, or default_path where that has none, when it has no '/'. */
	const char *file;
	int file_fd; /* only with file */
	char *const *argv;
	char *const *envp;
	const char *default_path; /* NULL: nothing is found then */
	int fds[SPAWN_FDS_MAX];   /* become 0, 1, 2, 3, …; everything else is closed */
	size_t n_fds;
	bool terminal;    /* fds[0] is one: it becomes the session's controlling terminal */
	const char *cwd;  /* NULL: home, else "/" */
	const char *home; /* for a cwd of NULL; may be NULL */
	int network_fd;   /* with network: a network namespace (setns(2)) to be in */
	bool network;
	bool no_capabilities; /* the bounding set is emptied, as far as that is allowed */
	bool change_user;
	uid_t uid;
	gid_t gid;
	const gid_t *groups;
	size_t n_groups;
	const struct spawn_rlimit *rlimits;
	size_t n_rlimits;
	/* Control groups that it joins before anything else: files (cgroup.procs, tasks) into which
	 * it writes "0"; and the folder of a v2 one to be born in, when born_in is set. */
	int cgroup_fds[SPAWN_CGROUPS_MAX];
	size_t n_cgroup_fds;
	bool born_in;
	int born_in_fd;
	mode_t umask;
	int nice;          /* not 0: to be set, or the start fails; and see plain_priority */
	bool no_new_privs; /* PR_SET_NO_NEW_PRIVS */
	uint64_t blocked, ignored; /* signals, bit n-1 for n */
	bool plain_priority; /* nice 0 and oom_score_adj 0, where the agent's own differ and it may
	                      */
};

struct spawn_result {
	pid_t pid;
	int pidfd; /* the caller's; -1: the kernel has none */
};

struct spawn_failure {
	int stage; /* enum km_stage */
	int sys_errno;
	char text[256]; /* "working folder /x: No such file or directory" */
};

/*
 * 0; or TX_ESYS with *why filled (the process is gone then, and reaped). The process leads a
 * session of its own, with default signals and an empty mask but for what the plan says.
 */
int spawn_run(const struct spawn_plan *plan, struct spawn_result *out, struct spawn_failure *why);

/* Whether a child can be born in the v2 control group (its folder): tries it. */
bool spawn_can_be_born_in(int cgroup_fd);

/* Remembers what is to be undone in children (nice, oom_score_adj). Once, before the first
 * spawn_run. */
void spawn_init(void);

#endif
