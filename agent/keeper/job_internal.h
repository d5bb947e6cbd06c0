/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What job.c (the table, and one job), job_end.c (its end) and retain.c share; nobody else includes
 * it.
 *
 * Retention (retain.c): the jobs that have ended and are still held, so that whoever asks again
 * finds them. Held are at most JOB_KEEP_COUNT, each for its spec's keep_ns (job_end.c). Of those
 * that nobody reads, the outputs take at most JOB_KEEP_BYTES (the newest one's excepted) and the
 * specs no more: when it gets too much the oldest lose their output first; what happened to them
 * stays known.
 */
#ifndef TX_KEEPER_JOB_INTERNAL_H
#define TX_KEEPER_JOB_INTERNAL_H

#include <event2/util.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

struct event_base;
struct job;
struct job_ops;
struct retain;

LIST_HEAD(job_bucket, job);

struct jobs {
	struct event_base *base;
	const struct job_ops *ops;
	void *ops_arg;
	void (*at_free)(const struct job *j); /* may be NULL */
	struct job_bucket *by_id, *by_pid;
	uint32_t mask, seed;
	TAILQ_HEAD(job_order, job) order; /* oldest first */
	uint32_t max, running, queued;
	uint64_t dropped;
	int dead_fd;           /* an epoll of the pidfds of those that run */
	struct retain *retain; /* the ENDED ones */
	int64_t keep_ns;       /* JOB_KEEP_NS */
	int64_t patience[2];   /* JOB_PATIENCE_OTHER_NS, JOB_PATIENCE_OWNER_NS */
};

struct retain *retain_new(struct event_base *base); /* NULL: no memory */
void retain_free(struct retain *r);                 /* holds no job any more */

/* The job has just ended. */
void retain_add(struct retain *r, struct job *j);
/* It is forgotten. */
void retain_remove(struct retain *r, struct job *j);
/* Somebody attached to it, or the last one left. May drop outputs, but frees no job. */
void retain_look(struct retain *r, struct job *j);

uint32_t retain_count(const struct retain *r);

/* job.c: closes the pidfd, where there is one. */
void job_close_pidfd(struct job *j);
/* job_end.c: of close_timer. */
void job_on_close_timer(evutil_socket_t fd, short what, void *arg);

/* job.c: the keeper's hold on a pty. */
void job_close_terminal(struct job *j);
/* job.c: forgets an ended job that nobody is attached to, because of its age or number. */
void job_drop(struct job *j);

#endif
