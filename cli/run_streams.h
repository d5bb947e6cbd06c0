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
#include <stdint.h>

#include "cli/keys.h"
#include "lib/telex.h"

struct event_base;
struct run_streams;

struct run_streams_ops {
	/* Standard output takes no more (errno); once. What comes is dropped from now on. May come
	 * from any call below. */
	void (*stdout_lost)(int sys_errno, void *arg);
	/* n bytes of that stream are where they belong. NULL: the run is told. */
	void (*consumed)(enum telex_stream stream, size_t n, void *arg);
	/* An escape among the keys. May be NULL without with_keys. */
	void (*escape)(enum keys_event event, void *arg);
	/* Keys came. As escape. */
	void (*keys)(void *arg);
	/* Everything that was given is written or dropped; said after run_streams_end. */
	void (*flushed)(void *arg);
};

struct run_streams *run_streams_new(
    struct event_base *base, bool json, const struct run_streams_ops *ops, void *arg);
void run_streams_free(struct run_streams *s);
enum run_streams_in {
	RUN_STREAMS_NO_STDIN,
	RUN_STREAMS_STDIN, /* fd 0, as it is */
	RUN_STREAMS_KEYS   /* fd 0 is a terminal: with escapes */
};
/* The run whose streams these are, fed from now on. */
void run_streams_attach(struct run_streams *s, struct telex_run *run, enum run_streams_in in);
/* The outputs begin at these offsets, not at 0 (for JSON). */
void run_streams_begin(struct run_streams *s, uint64_t stdout_offset, uint64_t stderr_offset);
/* stdout up to this offset was written before we came. A terminal that is asked something in it
 * answers as if it were typed: with KEYS, what comes while it is shown is dropped, escapes apart.
 */
void run_streams_replay(struct run_streams *s, uint64_t until);
/* From telex_run_ops of the same names. */
void run_streams_skipped(struct run_streams *s, enum telex_stream stream, uint64_t to);
void run_streams_output(
    struct run_streams *s, enum telex_stream stream, const void *data, size_t len, bool eof);
void run_streams_stdin_room(struct run_streams *s);
void run_streams_stdin_closed(struct run_streams *s);
/* Standard input could not be read to its end. */
bool run_streams_stdin_failed(const struct run_streams *s);
/* A line on stdout; takes the reference. */
void run_streams_json(struct run_streams *s, json_t *object);
/* Whether that was said. */
bool run_streams_flushed(const struct run_streams *s);
/* The run is no more: stdin is left alone, and `flushed` comes when the sinks are empty (perhaps
 * from inside this call). */
void run_streams_end(struct run_streams *s);

#endif
