/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How far a transfer is: on a terminal a line that is drawn again, at most ten times a second; as
 * JSON a line on stderr, as often; else nothing. Lines that are said meanwhile do not mix with it.
 */
#ifndef TX_CLI_PROGRESS_H
#define TX_CLI_PROGRESS_H

#include <stddef.h>
#include <stdint.h>

#include "cli/cli.h"
#include "lib/telex.h"

enum progress_kind { PROGRESS_AUTO = 0, PROGRESS_NONE, PROGRESS_BAR, PROGRESS_JSON };

struct event_base;
struct progress;

/* AUTO: a bar when stderr is a terminal that can. */
struct progress *progress_new(
    struct event_base *base, enum progress_kind kind, uint64_t total_files, uint64_t total_bytes);
void progress_note(struct progress *p, const struct telex_transfer_note *note);
/* Takes the line away. NULL is allowed. */
void progress_free(struct progress *p);

/* One line, without its end: what is shown for a file `done` of `size` bytes (0: it is not known),
 * with `rate` bytes a second, in `columns` of a terminal. For the tests, too. */
struct progress_state {
	const char *path;
	uint64_t done, size;             /* of the file */
	uint64_t files, all_files;       /* 0: not known */
	uint64_t bytes, all_bytes, rate; /* in all */
};
void progress_line(char *out, size_t size, const struct progress_state *s, unsigned columns);

#endif
