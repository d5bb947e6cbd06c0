/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The worker's end of its link to the keeper: requests and their answers, attachments and what they
 * report.
 *
 * Many sessions share the link, so nothing here waits for one: what a session tells about its
 * attachment (released output, new input, the end) is kept as the newest state of that attachment
 * and sent when the link has room, merged. A request that finds the link's queue full fails at once
 * with TX_ELIMIT.
 *
 * No callback comes from inside a call into this module.
 */
#ifndef TX_AGENT_WORKER_KEEPER_CLIENT_H
#define TX_AGENT_WORKER_KEEPER_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "common/keeper_msg.h"

struct event_base;
struct keeper_client;
struct keeper_call;
struct keeper_attachment;

struct keeper_client_ops {
	/*
	 * KM_CONFIG, KM_LISTEN, KM_GO or KM_DRAIN. fds[0..n) are the callee's to close. Negative
	 * ends the link. The callee answers with keeper_client_ready or keeper_client_failed.
	 */
	int (*control)(const union km_any *msg, int *fds, size_t n_fds, void *arg);
	/* What a KM_PONG is to say. May be NULL. */
	void (*pong)(struct km_pong *m, void *arg);
	/* The keeper is gone. Last, after every attachment's and call's own news of it. */
	void (*lost)(const struct err *why, void *arg);
};

/* Takes fd. Aborts on out of memory. */
int keeper_client_new(struct keeper_client **out, struct event_base *base, int fd,
    const struct keeper_client_ops *ops, void *arg, struct err *e);
/* After all attachments are detached; calls still under way are forgotten. Not from a callback but
 * `lost`. */
void keeper_client_free(struct keeper_client *k);

/* With the dates of the agent's certificate, seconds since the epoch. */
void keeper_client_ready(struct keeper_client *k);
/* This worker is being replaced: who is detached from now on has not left, but may come back to
 * another. */
void keeper_client_moving(struct keeper_client *k);
/* Lets go of the keeper, as if it had gone: every attachment and call is told so, then `lost`. Not
 * from a callback. */
void keeper_client_leave(struct keeper_client *k);
/* A KM_PONG that was not asked for: the last one. */
void keeper_client_pong(struct keeper_client *k);
void keeper_client_failed(struct keeper_client *k, const char *text);

/* ---- requests: what has one answer; KM_START with att 0 ---- */

/* msg: the answer, of any type; NULL: the keeper is gone. fd: the answer's descriptor, for the time
 * of the call, or -1. */
typedef void keeper_answer(const union km_any *msg, int fd, void *arg);

/*
 * Sends a request. `fd` goes with it, and stays the caller's; -1: none. *out (may be NULL) is valid
 * until the answer or keeper_call_forget. TX_ELIMIT: too many wait; TX_ECLOSED: the keeper is gone.
 */
int keeper_call(struct keeper_client *k, uint16_t type, void *msg, int fd, keeper_answer *answer,
    void *arg, struct keeper_call **out);
/* The answer is not wanted any more. NULL is allowed. */
void keeper_call_forget(struct keeper_call *c);

/* ---- attachments ---- */

struct keeper_attachment_ops {
	void (*job)(const struct km_job *job, void *arg);
	/* Also later, when another takes its place. Nothing follows. */
	void (*refused)(const struct km_refused *why, void *arg);
	void (*ring)(
	    const struct km_ring *ring, int fd, void *arg); /* fd: for the time of the call */
	void (*spool)(const struct km_spool *spool, int fd, void *arg); /* the same; may be NULL */
	void (*wake)(uint32_t eof, void *arg);
	void (*input_done)(const struct km_input_done *done, void *arg);
	void (*running)(const struct km_running *running, void *arg); /* may be NULL */
	void (*ended)(const struct km_exit *how, void *arg);
	void (*lost)(void *arg); /* the keeper is gone; nothing follows */
};

/* Fill msg but for `att`. The attachment lives until keeper_detach. Errors as keeper_call. */
int keeper_start(struct keeper_attachment **out, struct keeper_client *k, struct km_start *msg,
    int spec_fd, const struct keeper_attachment_ops *ops, void *arg);
int keeper_attach(struct keeper_attachment **out, struct keeper_client *k, struct km_attach *msg,
    const struct keeper_attachment_ops *ops, void *arg);

/* As KM_RELEASE and KM_INPUT. */
void keeper_release(
    struct keeper_attachment *a, enum km_stream stream, uint64_t acked, uint64_t seen);
/* What keeper_input said goes now, before what is asked after it, and not at the end of this turn.
 * 0, or as km_send: then it is still due. */
int keeper_input_now(struct keeper_attachment *a);
void keeper_input(struct keeper_attachment *a, uint64_t head, bool eof);
/* Ends it, in whatever state it is, and frees it; no callback follows. NULL is allowed. */
void keeper_detach(struct keeper_attachment *a, enum km_delivered delivered);

#endif
