/* SPDX-License-Identifier: Apache-2.0 */
/* What start.c and start_streams.c (a job's pipes, or its terminal) share. */
#ifndef TX_KEEPER_START_INTERNAL_H
#define TX_KEEPER_START_INTERNAL_H

#include <sys/types.h>

#include "agent/keeper/start.h"
#include "common/keeper_msg.h"

struct job;
struct user;

struct starter {
	struct jobs *jobs;
	struct starter_config c;
	struct user *own;
	gid_t tty; /* terminal_group */
	int null_fd;
	/* No start uses descriptors from here on: rings and messages need them. A process that
	 * writes much has a ring for each output, most have one or none; an output that finds no
	 * room waits. */
	int fd_ceiling;
};

/* The child's ends; the keeper's are with the job's pumps. */
struct start_ends {
	int fds[3]; /* -1: none; the starter's null_fd and the job's terminal stay */
};

/*
 * Makes the job's pumps (and its terminal, which is user's), and what the child gets of them. When
 * it fails what was made is in the job or in ends, *why is filled, and the answer is negative.
 */
int start_streams(struct starter *st, struct job *j, const struct user *user,
    struct start_ends *ends, struct km_refused *why);
/* Pumps without a process: as if there had been none. */
void start_drop_pumps(struct job *j);
void start_close_ends(const struct starter *st, const struct job *j, struct start_ends *ends);

/* Fill *why; return TX_ESYS. */
int start_refuse(struct km_refused *why, int reason, int stage, int sys_errno, const char *text);
int start_refuse_system(struct km_refused *why, int sys_errno, const char *what);

#endif
