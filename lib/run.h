/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of a run, shared by run.c (its life, and what it sends) and run_receive.c (what comes
 * in).
 *
 * All that a connection that takes over needs is kept: the packed start, the offset of the next
 * byte wanted of each output, and the stdin bytes that the agent has not yet written. A callback
 * may detach the run: whoever calls one holds `busy`, and the last run_leave frees a run that was
 * detached.
 */
#ifndef TX_LIB_RUN_H
#define TX_LIB_RUN_H

#include <event2/util.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/client.h"
#include "lib/run_request.h"
#include "lib/telex.h"

struct event;
struct stdin_queue;

#define RUN_SIGNALS_MAX 16

struct run_output {
	uint64_t next;     /* offset of the next byte wanted */
	uint64_t consumed; /* everything before is dealt with */
	uint64_t acked;    /* the agent knows that much */
	size_t held;       /* bytes delivered and not consumed: next - consumed */
	size_t owed;       /* the window credit that they hold */
	bool eof;
	bool begun; /* false: an attachment that does not know yet where it begins */
};

struct telex_run {
	struct call call;
	struct telex_run_ops ops;
	void *arg;
	char id[RUN_ID_SIZE];
	uint64_t key;   /* of the attachment */
	uint8_t *start; /* packed RunRequest */
	size_t start_len;

	struct run_output out[2]; /* by telex_stream - 1 */
	struct event *acks;       /* acknowledges what little was consumed */

	struct stdin_queue *in;
	uint64_t in_base;    /* where our stdin begins in the process's */
	uint64_t in_written; /* what the agent says it has written */
	bool eof_wanted, eof_sent, room_wanted;
	struct event *flush; /* sends what little was written */

	struct {
		int signo;
		enum telex_target target;
	} signals[RUN_SIGNALS_MAX]; /* until it has started */
	size_t n_signals;

	uint16_t rows, columns; /* the last that was wanted */
	bool resize_wanted;     /* as soon as it can be sent */

	int64_t heartbeat_ns, heard_ns, due_ns;
	struct event *watchdog;
	bool excused; /* the watchdog was late once */

	bool started, detached;
	bool attaching;        /* it began with telex_attach */
	bool queued, terminal; /* once started */
	unsigned busy;
};

void run_enter(struct telex_run *run);
/* False: the run is detached, and perhaps freed. */
bool run_leave(struct telex_run *run);
/* The end: tells the caller, who cannot be told anything after it. The run is freed by run_leave.
 */
void run_done(
    struct telex_run *run, const struct telex_exit *exit, const struct telex_error *error);
/* Ends the call; run_done follows from the event loop. */
void run_fail(struct telex_run *run, const struct telex_error *error);

/* ---- run_send.c ---- */

/* Sends the signals and the size that waited for the start. */
void run_started(struct telex_run *run);
/* The agent has written stdin up to run->in_written, or closed it. */
void run_stdin_written(struct telex_run *run, bool closed);
/* Sends what is worth a message; `all`: everything that is there, and the end. */
void run_send_stdin(struct telex_run *run, bool all);
/* A send's result: out of memory fails the run; a call that is ending says so by itself. */
void run_send_check(struct telex_run *run, int rc);
/* The caller holds so much that the agent may be unable to send even a heartbeat. */
bool run_holds_back(const struct telex_run *run);
/* For run->flush and run->acks. */
void run_send_on_flush(evutil_socket_t fd, short what, void *arg);
void run_send_on_acks(evutil_socket_t fd, short what, void *arg);

/* run_receive.c: one message of the agent's. */
void run_receive(struct telex_run *run, const uint8_t *msg, size_t len);

#endif
