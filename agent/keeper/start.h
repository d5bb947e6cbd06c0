/* SPDX-License-Identifier: Apache-2.0 */
/* Starts jobs: from a spec to a running process with its pipes. */
#ifndef TX_KEEPER_START_H
#define TX_KEEPER_START_H

#include <stdint.h>
#include <sys/resource.h>

#include "common/err.h"
#include "common/job_spec.h"
#include "common/keeper_msg.h"

struct job;
struct jobs;
struct starter;

/* output_buffer: bytes a stream where the spec does not say. nofile: the limit that the agent
 * itself was started with. */
int starter_new(struct starter **out, struct jobs *js, uint64_t output_buffer,
    const struct rlimit *nofile, struct err *e);
/* From a new configuration; for the starts to come. */
void starter_set_output_buffer(struct starter *st, uint64_t bytes);
void starter_free(struct starter *st);

/*
 * 0: *out is in the table and has taken spec. Else negative, and *why is filled (why, stage,
 * sys_errno, text); spec stays the caller's. Whether the id is free is for the caller to know.
 */
int start_job(struct starter *st, const char *id, const char *owner, struct job_spec *spec,
    struct job **out, struct km_refused *why);

#endif
