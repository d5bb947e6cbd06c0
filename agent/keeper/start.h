/* SPDX-License-Identifier: Apache-2.0 */
/* Starts jobs: from a spec to a running process with its pipes. */
#ifndef TX_KEEPER_START_H
#define TX_KEEPER_START_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#include "common/err.h"
#include "common/job_spec.h"
#include "common/keeper_msg.h"

struct job;
struct ceiling;
struct cgroups;
struct exec_log;
struct jobs;
struct starter;

struct starter_config {
	uint64_t output_buffer; /* bytes a stream where the spec does not say */
	uint64_t max_output_buffer, max_spool;
	int spool_folder;          /* stays the caller's; -1: none */
	struct rlimit nofile;      /* the limit that the agent itself was started with */
	struct cgroups *cgroups;   /* the caller's, too */
	struct exec_log *exec_log; /* the same; NULL: none */
	/* One that start_launch left QUEUED is RUNNING. From the loop, or start_later_died. */
	void (*started)(struct job *j, void *arg);
	void *arg;
};

int starter_new(
    struct starter **out, struct jobs *js, const struct starter_config *config, struct err *e);
/* From a new configuration; for the starts to come. */
void starter_set_sizes(
    struct starter *st, uint64_t output_buffer, uint64_t max_output_buffer, uint64_t max_spool);
/* Borrowed, for the starts to come. */
void starter_set_ceiling(struct starter *st, const struct ceiling *ceiling);
/* The user of a process whose spec names none. */
const char *starter_own_name(const struct starter *st);
void starter_free(struct starter *st);

/*
 * A job of this spec that is not in the table yet, if one more is allowed. 0: *out has taken spec.
 * Else as start_job.
 */
int start_admit(struct starter *st, const char *id, const char *owner, struct job_spec *spec,
    struct job **out, struct km_refused *why);
/* One that was admitted is not wanted after all; its spec is the caller's again. */
void start_withdraw(struct job *j);
/*
 * Runs a job that was admitted, or is queued: it is RUNNING in the table; or QUEUED, where it does
 * not come to execute at once, or another one does not (start_later.c). Else negative, *why is
 * filled, and the job is as it was.
 */
int start_launch(struct starter *st, struct job *j, struct km_refused *why);
/* Whether its user can be found, for a job that is to wait; else as start_launch. */
int start_check(struct starter *st, struct job *j, struct km_refused *why);

/* Whether there are such that are QUEUED because of their start. */
bool start_later_busy(const struct starter *st);
/* A child that is no job is dead. If it is one's whose start is on its way, that is over now. */
void start_later_died(struct starter *st, pid_t pid);
/* The job has ended without having run, or is forgotten. */
void start_later_drop(struct starter *st, struct job *j);

/*
 * Both. 0: *out is in the table and has taken spec. Else negative, and *why is filled (why, stage,
 * sys_errno, text); spec stays the caller's. Whether the id is free is for the caller to know.
 */
int start_job(struct starter *st, const char *id, const char *owner, struct job_spec *spec,
    struct job **out, struct km_refused *why);

#endif
