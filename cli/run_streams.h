/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The three streams of a run: what comes from the agent goes to two sinks (or, as JSON, to one),
 * what is read from stdin goes to the agent. Credit goes back to the agent only for bytes that were
 * written.
 */
#ifndef TX_CLI_RUN_STREAMS_H
#define TX_CLI_RUN_STREAMS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#include "lib/telex.h"

struct event_base;
struct run_streams;

struct run_streams_ops {
	/* Standard output takes no more (errno); once. What comes is dropped from now on. May come
	 * from any call below. */
	void (*stdout_lost)(int sys_errno, void *arg);
	/* Everything that was given is written or dropped; said after run_streams_end. */
	void (*flushed)(void *arg);
};

struct run_streams *run_streams_new(
    struct event_base *base, bool json, const struct run_streams_ops *ops, void *arg);
void run_streams_free(struct run_streams *s);
/* The run whose streams these are. with_stdin: feed it from fd 0 from now on. */
void run_streams_attach(struct run_streams *s, struct telex_run *run, bool with_stdin);
/* From telex_run_ops of the same names. */
void run_streams_output(
    struct run_streams *s, enum telex_stream stream, const void *data, size_t len, bool eof);
void run_streams_stdin_room(struct run_streams *s);
void run_streams_stdin_closed(struct run_streams *s);
/* Standard input could not be read to its end. */
bool run_streams_stdin_failed(const struct run_streams *s);
/* A line on stdout; takes the reference. */
void run_streams_json(struct run_streams *s, json_t *object);
/* The run is no more: stdin is left alone, and `flushed` comes when the sinks are empty (perhaps
 * from inside this call). */
void run_streams_end(struct run_streams *s);

#endif
