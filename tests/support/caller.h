/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A client that calls Run of a worker, over an in-memory connection, and the fake keeper's side of
 * what the call is about.
 */
#ifndef TX_TESTS_CALLER_H
#define TX_TESTS_CALLER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/ring.h"
#include "common/rpc.h"
#include "telex/v1/process.pb-c.h"
#include "tests/support/worker_rig.h"

/* What the client saw: `log` in short words, the bytes of the outputs, the end. */
struct caller {
	struct worker_rig rig;
	struct fake_keeper *keeper; /* the rig's */
	struct rpc_call *call;
	uint32_t att;
	char log[4096];
	uint8_t *bytes[2];
	uint64_t length[2], begin[2];
	size_t largest; /* output message */
	bool silent;    /* output is not logged */
	bool hold;      /* gives no credit */
	size_t owed;
	bool beat, done;
	struct rpc_status status;
	uint32_t exit_code;
	uint64_t key; /* attachment_key of the starts */
};

/* Of cmocka: *state is a `struct caller` with an open call. */
int caller_set_up(void **state);
int caller_tear_down(void **state);
/* Until nothing is under way. */
void caller_settle(struct caller *f);
/* A call anew. */
void caller_open(struct caller *f);

/* Requests. */
void caller_send(struct caller *f, Telex__V1__RunRequest *q);
void caller_send_start_with(struct caller *f, const char *id, bool with_stdin,
    Telex__V1__Resume *resume, Google__Protobuf__Duration *beat);
void caller_send_start(struct caller *f, bool with_stdin);
void caller_send_stdin(struct caller *f, uint64_t offset, const void *data, size_t len, bool eof);
void caller_send_ack(struct caller *f, int stream, uint64_t offset);

/* What the keeper says of the process. */
struct km_job caller_job(const struct caller *f, bool created);
/* Answers KM_START with `job` (its att is filled in). */
void caller_answer_start(struct caller *f, struct km_job *job);
/* A process that was just started. */
void caller_start(struct caller *f, bool with_stdin);
/* The keeper gives out a ring, is told of news, and tells. */
struct ring *caller_ring(struct caller *f, enum km_stream stream, enum ring_kind kind, size_t size);
void caller_wake(struct caller *f, uint32_t eof);
void caller_input_done(struct caller *f, uint64_t written, bool closed);
void caller_end(struct caller *f, int code);

/* What was seen since the last time, and how the call was refused; field may be NULL. */
void caller_saw(struct caller *f, const char *log);
void caller_refused(struct caller *f, int code, const char *reason, const char *field);

#endif
