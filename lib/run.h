/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of a run, shared by run.c (its life), run_receive.c (what comes in), run_send.c (what
 * goes out) and run_resume.c (coming back after a lost connection).
 *
 * All that a connection that takes over needs is kept: the packed first message, the offset of the
 * next byte wanted of each output, and the stdin bytes that the agent has not yet written. A run
 * has one call after another: `here` says whether the agent has said `started` in the present one.
 * A callback may detach the run: whoever calls one holds `busy`, and the last run_leave frees a run
 * that was detached.
 */
#ifndef TX_LIB_RUN_H
#define TX_LIB_RUN_H

#include <event2/util.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/duration.h"
#include "lib/client.h"
#include "lib/credit.h"
#include "lib/run_request.h"
#include "lib/telex.h"

struct event;
struct run_exit;
struct stdin_queue;

#define RUN_SIGNALS_MAX  16
#define RUN_ACK_AGAIN_NS (3 * NS_PER_S) /* for an exit whose connection was lost */

struct run_output {
	uint64_t next;        /* offset of the next byte wanted */
	uint64_t acked;       /* the agent knows that everything before is dealt with */
	struct credit credit; /* in bytes: what is held are the last ones before next */
	bool eof;
	bool begun;       /* false: an attachment that does not know yet where it begins */
	bool from_oldest; /* the next call begins with the oldest byte held: what we want is not */
	bool skipping;    /* [skip_from, next) is lost, and the caller is still to be told */
	uint64_t skip_from;
};

struct telex_run {
	struct call call;
	struct telex_run_ops ops;
	void *arg;
	char id[RUN_ID_SIZE];
	uint64_t key;   /* of the attachment */
	uint8_t *first; /* packed RunRequest: what the next call begins with */
	size_t first_len;

	struct run_output out[2]; /* by telex_stream - 1 */
	struct event *acks;       /* acknowledges what little was consumed */

	struct stdin_queue *in;
	uint64_t in_base;    /* where our stdin begins in the process's */
	uint64_t in_written; /* what the agent says it has written */
	bool eof_wanted, eof_sent, room_wanted;
	bool in_ready;       /* the present call knows where stdin goes on */
	struct event *flush; /* sends what little was written */

	struct {
		int signo;
		enum telex_target target;
	} signals[RUN_SIGNALS_MAX]; /* until it has started */
	size_t n_signals;
	int unsure[RUN_SIGNALS_MAX]; /* sent, and the agent has said nothing since */
	size_t n_unsure;

	uint16_t rows, columns; /* the last that was wanted */
	bool resize_wanted;     /* as soon as it can be sent */

	int64_t heartbeat_ns, heard_ns, due_ns;
	struct event *watchdog;
	bool excused; /* the watchdog was late once */

	bool started;            /* once, in any call */
	bool here;               /* in this call */
	bool attaching;          /* it began with telex_attach */
	bool named;              /* the caller chose its id: others may have fed it before */
	bool from_newest, lossy; /* as that said */
	bool queued, terminal;   /* once started */
	bool interrupted;        /* the caller was told so */
	int64_t lost_ns;         /* since when; 0: it is not lost */
	struct run_exit *exit;   /* waits until all output is consumed */
	bool acking;             /* comes back for nothing but to acknowledge it */
	bool detached;
	unsigned busy;
};

void run_enter(struct telex_run *run);
/* False: the run is detached, and perhaps freed. */
bool run_leave(struct telex_run *run);
/* The end: tells the caller, who cannot be told anything after it. The run is freed by run_leave.
 */
void run_done(
    struct telex_run *run, const struct telex_exit *exit, const struct telex_error *error);
/* Now or once all output is consumed: acknowledges the exit, then run_done. */
void run_exited(struct telex_run *run, const struct telex_exit *exit);
/* Output was consumed; run_done may come from here. */
void run_settled(struct telex_run *run);
/* Ends the call; run_done follows from the event loop. */
void run_fail(struct telex_run *run, const struct telex_error *error);

/* ---- run_send.c ---- */

/* The agent has spoken: what was sent before has, as far as one can see, arrived. */
void run_signals_arrived(struct telex_run *run);
/* Tells of those that may not have. */
void run_tell_unsure(struct telex_run *run);
/* Sends the signals and the size that waited for the start. */
void run_started(struct telex_run *run);
/* The present call's stdin goes on at this offset of the process's. 0, or TX_EPROTO: not with what
 * is held. */
int run_stdin_from(struct telex_run *run, uint64_t offset);
/* The agent has written stdin up to run->in_written, or closed it. */
void run_stdin_written(struct telex_run *run, bool closed);
/* Sends what is worth a message; `all`: everything that is there, and the end. */
void run_send_stdin(struct telex_run *run, bool all);
/* A send's result: out of memory fails the run; a call that is ending says so by itself. */
void run_send_check(struct telex_run *run, int rc);
/* Where the caller is: what it was given before is dealt with. */
uint64_t run_consumed(const struct run_output *o);
/* The caller holds so much that the agent may be unable to send even a heartbeat. */
bool run_holds_back(const struct telex_run *run);
/* For run->flush and run->acks. */
void run_send_on_flush(evutil_socket_t fd, short what, void *arg);
void run_send_on_acks(evutil_socket_t fd, short what, void *arg);

/* ---- run_resume.c ---- */

/* The call has ended with this error. True: the run goes on with another one, or was detached.
 * False: *error, which may have been changed, is final. */
bool run_come_back(struct telex_run *run, struct telex_error *error);
/* Begins a call that is to acknowledge the exit. False: that cannot be. */
bool run_acknowledge_again(struct telex_run *run);
/* `started` has come: the run is where it was. Tells the caller so, and what was skipped. */
void run_came_back(struct telex_run *run);
/* [next, to) of an output is lost. False: that is an error, which *error says. */
bool run_skip(
    struct telex_run *run, enum telex_stream stream, uint64_t to, struct telex_error *error);
/* Tells the caller what was skipped. */
void run_tell_skips(struct telex_run *run);

/* ---- run_receive.c ---- */

/* Where an output is taken up. */
void run_output_begin(struct run_output *o, uint64_t offset);
/* One message of the agent's. */
void run_receive(struct telex_run *run, const uint8_t *msg, size_t len);

#endif
