/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One process on this terminal, until it ends or is left: what `run` and `attach` share. Streams,
 * signals, the terminal, lost connections, and what is said about all of them.
 */
#ifndef TX_CLI_FOLLOW_H
#define TX_CLI_FOLLOW_H

#include <stdbool.h>
#include <stdint.h>

#include "cli/run_streams.h"
#include "cli/session.h"
#include "lib/telex.h"

struct follow_how {
	enum run_streams_in in; /* KEYS: the terminal is raw, and its signals are keys */
	bool terminal;          /* the process is on a terminal: sizes go there */
	bool only_watch;        /* it is never signalled: what would be forwarded leaves */
	bool only_output;       /* how it ends is not told, nor that it is left; its end is CLI_OK,
	                           and CLI_FAILED when some of it is missing */
	bool quiet_streams[3];  /* by enum telex_stream: not written */
	uint64_t forward;       /* signals for the remote group, bit n-1 */
	/* The command of a run, for the words about its policy and timeout; NULL: not ours. */
	const struct telex_command *command;
	uint64_t begin[3];  /* the offsets at which the outputs begin, as far as it is known */
	uint64_t wanted[3]; /* at which they should: what lies between is told to be missing */
	/* KEYS: so much of stdout is a replay; what a terminal answers to it is not passed on. */
	uint64_t replay;
};

/* The exit status for telex. Exactly one of command and attach is given. */
int follow(struct session *session, const struct follow_how *how,
    const struct telex_command *command, const struct telex_attach *attach);

#endif
