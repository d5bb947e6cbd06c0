/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A job over an upgrade of the agent. What a struct job is made of goes through here: a new field
 * goes to the end of the record in job_save and job_load, or is made anew in job_restore.
 *
 * Attachments do not go along: their workers end with the old image. Their clients count as having
 * lost their worker.
 */
#ifndef TX_KEEPER_JOB_SAVE_H
#define TX_KEEPER_JOB_SAVE_H

#include "common/err.h"

struct cgroups;
struct groups;
struct job;
struct jobs;
struct state_in;
struct state_out;

/* Where it goes. */
struct job_place {
	struct jobs *jobs;
	struct groups *groups;
	struct cgroups *cgroups;
	int spool_dir; /* -1: none */
};

/* One record. */
void job_save(struct state_out *o, const struct job *j);
/* Reads a record of STATE_JOB and checks it. TX_EPROTO, TX_ENOMEM. With `to` NULL that is all; else
 * the job is in the table afterwards, and not moving before jobs_resume. */
int job_restore(const struct job_place *to, struct state_in *in, struct err *e);
/* All are there: timers run, clients are waited for, endings that are due are published. */
void jobs_resume(struct jobs *js);

#endif
