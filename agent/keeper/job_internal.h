/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What job.c and retain.c share; nobody else includes it.
 *
 * Retention (retain.c): the jobs that have ended and are still held, so that whoever asks again
 * finds them. Held are at most JOB_KEEP_COUNT, each for its spec's keep_ns (job.c). Of those that
 * nobody reads, the outputs take at most JOB_KEEP_BYTES (the newest one's excepted) and the specs
 * no more: when it gets too much the oldest lose their output first; what happened to them stays
 * known.
 */
#ifndef TX_KEEPER_JOB_INTERNAL_H
#define TX_KEEPER_JOB_INTERNAL_H

#include <stddef.h>
#include <stdint.h>

struct event_base;
struct job;
struct retain;

struct retain *retain_new(struct event_base *base); /* NULL: no memory */
void retain_free(struct retain *r);                 /* holds no job any more */

/* The job has just ended. */
void retain_add(struct retain *r, struct job *j);
/* It is forgotten. */
void retain_remove(struct retain *r, struct job *j);
/* Somebody attached to it, or the last one left. May drop outputs, but frees no job. */
void retain_look(struct retain *r, struct job *j);

uint32_t retain_count(const struct retain *r);

/* job.c: forgets an ended job that nobody is attached to, because of its age or number. */
void job_drop(struct job *j);

#endif
