/* SPDX-License-Identifier: Apache-2.0 */
/* What run.c (the stream, and the keeper's side of it), run_request.c (what the client asks for)
 * and run_exit.c (its end) share. */
#ifndef TX_AGENT_WORKER_RUN_INTERNAL_H
#define TX_AGENT_WORKER_RUN_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/worker/keeper_client.h"
#include "agent/worker/run_output.h"
#include "agent/worker/run_stdin.h"
#include "agent/worker/worker.h"
#include "common/job_spec.h"
#include "common/keeper_msg.h"
#include "common/rpc.h"

struct event;

#define RUN_VALUED_MAX 32

enum run_state {
	RUN_NEW,      /* no message yet */
	RUN_ASKED,    /* the keeper is starting or attaching */
	RUN_LOOKING,  /* attached; the keeper is asked for the job's record */
	RUN_OPEN,     /* `started` was sent */
	RUN_EXITED,   /* `exited` was sent; the client's ExitAck is waited for */
	RUN_FINISHED, /* `exited` was sent and the call finished */
	RUN_FAILED,   /* the call was finished with a status */
};

struct run {
	struct run *next, **link; /* of the worker's runs */
	struct rpc_call *call;
	struct worker *worker;
	enum run_state state;
	struct keeper_attachment *att;
	struct keeper_call *lookup, *signal, *resize; /* under way, or NULL */
	struct run_output *output;
	struct run_stdin *input;
	struct job_spec *spec; /* from the request until `started` */
	struct km_job job;
	struct km_exit exit;
	bool attaches; /* its first request is attach */
	/* Whether it may be another identity's: the process, and one that a signal is for. */
	uint8_t any, signal_any;
	bool feeds;         /* the client may feed stdin */
	uint8_t from;       /* enum km_from */
	uint64_t resume[3]; /* then, from OFFSET: where; KM_OFFSET_OLDEST */
	bool ended;         /* `exit` is filled */
	bool acknowledges;  /* the client promised an ExitAck */
	bool running_due;   /* `running` is to be sent: it was queued */
	struct km_running running;
	bool deaf;           /* the client had ended its half before `exited` was sent */
	uint64_t signals[4]; /* that wait to be sent: a bit each, by enum km_target */
	struct {
		uint32_t signo;
		int32_t value;
	} valued[RUN_VALUED_MAX]; /* those with a value, in order */
	size_t n_valued;
	bool resize_due; /* to rows x columns */
	uint16_t rows, columns;
	struct event *turn, *beat;
	struct event *ack_timer; /* NULL: none yet */
	int64_t beat_ns;         /* 0: no heartbeat */
	int64_t last_sent_ns;
	uint64_t key; /* of the attachment; 0: none */
	char id[KM_ID_SIZE];
};

/* Forwards only (asserted), and logged. */
void run_set_state(struct run *r, enum run_state state);
bool run_is_over(const struct run *r);
/* Ends the call with an error and lets go of the job, which is left to its disconnect policy. */
void run_fail(struct run *r, const struct rpc_status *status);
/* The same for a request to the keeper that could not be sent. */
void run_fail_link(struct run *r, int code);

/* `exited`, after everything else; ends the call, or waits for the ack. */
void run_exit_send(struct run *r);
int run_exit_ack(struct run *r, struct rpc_status *status);
/* The client, or the keeper, is gone: no ack will come. */
void run_exit_no_more(struct run *r);
/* What to tell the keeper at the call's end. */
enum km_delivered run_exit_delivered(const struct run *r);

/* What an attachment brings, for run_request's requests. */
extern const struct keeper_attachment_ops run_attachment_ops;

/* The client's messages. Negative: *status is filled. `wire`: as rpc_credit wants it. */
int run_request_first(struct run *r, const Telex__V1__RunRequest *q, struct rpc_status *status);
int run_request_later(
    struct run *r, const Telex__V1__RunRequest *q, size_t wire, struct rpc_status *status);
/* Sends the next signal that waits, once the keeper has the job and has answered the last one. */
void run_request_signals(struct run *r);

/* run_resize.c: the client's message, as run_request_later; and what waits, as
 * run_request_signals. */
int run_resize_take(struct run *r, const Telex__V1__Resize *q, struct rpc_status *status);
void run_resize_send(struct run *r);

#endif
