/* SPDX-License-Identifier: Apache-2.0 */
/* What start.c and start_streams.c (a job's pipes, or its terminal) share. */
#ifndef TX_KEEPER_START_INTERNAL_H
#define TX_KEEPER_START_INTERNAL_H

#include <sys/queue.h>
#include <sys/types.h>

#include "agent/keeper/spawn.h"
#include "agent/keeper/start.h"
#include "common/keeper_msg.h"

struct event;
struct job;
struct pump_in;
struct pump_out;
struct spawner;
struct user;

/* The child's ends; the keeper's are with the job's pumps. */
struct start_ends {
	int fds[3]; /* -1: none; the starter's null_fd and the job's terminal stay */
};

#define START_RLIMITS_MAX 17 /* of a spec, and nofile */

/* What a start is made of, and holds until it is over. */
struct launch {
	struct job *job;       /* NULL: it is not wanted any more */
	struct job_spec *spec; /* held, when the loop goes on meanwhile */
	struct user *found;    /* NULL: the agent's own */
	char **env;
	struct spawn_rlimit limits[START_RLIMITS_MAX];
	struct start_ends ends;
	struct spawn_plan plan;
	int64_t start_ns, born_ns;
	/* The job's, while the loop goes on. */
	struct cgroup *cgroup;
	int terminal;
	struct pump_in *in;
	struct pump_out *out[3];
	uint16_t rows, columns;
};

struct starter {
	struct jobs *jobs;
	const struct ceiling *ceiling; /* borrowed */
	struct starter_config c;
	struct user *own;
	gid_t tty; /* terminal_group */
	int null_fd;
	/* No start uses descriptors from here on: rings and messages need them. A process that
	 * writes much has a ring for each output, most have one or none; an output that finds no
	 * room waits. */
	int fd_ceiling;

	/* start_later.c */
	struct spawner *spawner; /* NULL: none yet, or not to be had */
	bool no_spawner;
	struct launch *flight;     /* it takes long; NULL: none */
	TAILQ_HEAD(, job) waiting; /* for that one */
	size_t waiting_bytes;      /* of their specs */
	struct event *done, *tick, *next;
};

/*
 * Makes the job's pumps (and its terminal, which is user's), and what the child gets of them. When
 * it fails what was made is in the job or in ends, *why is filled, and the answer is negative.
 */
int start_streams(struct starter *st, struct job *j, const struct user *user,
    struct start_ends *ends, struct km_refused *why);
/* Pumps without a process: as if there had been none. */
void start_drop_pumps(struct job *j);
/* terminal: the job's. */
void start_close_ends(const struct starter *st, int terminal, struct start_ends *ends);

/* ---- start.c ---- */

/* All but the program: pumps, plan and control group, in l and l->job. Else as start_launch. */
int start_prepare(struct starter *st, struct launch **out, struct job *j, struct km_refused *why);
/* The program runs: in the table. Frees l. */
void start_succeed(struct starter *st, struct launch *l, const struct spawn_result *got);
/* It does not: the job is as it was. Frees l. */
void start_fail(struct starter *st, struct launch *l);

/* ---- start_later.c ---- */

int start_later_init(struct starter *st, struct err *e);
void start_later_free(struct starter *st);
/* Whether a start has to wait for others; it does, then, or *rc is negative. */
bool start_later_waits(struct starter *st, struct job *j, struct km_refused *why, int *rc);
/* Starts what is prepared; see start_launch. Frees l, sooner or later. */
int start_later_run(struct starter *st, struct launch *l, struct km_refused *why);

/* Fill *why; return TX_ESYS. */
int start_refuse(struct km_refused *why, int reason, int stage, int sys_errno, const char *text);
int start_refuse_system(struct km_refused *why, int sys_errno, const char *what);

#endif
