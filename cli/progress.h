/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How far a transfer is: on a terminal a line that is drawn again, at most ten times a second; as
 * JSON a line on stderr, as often; else nothing. Lines that are said meanwhile do not mix with it.
 */
#ifndef TX_CLI_PROGRESS_H
#define TX_CLI_PROGRESS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cli/cli.h"
#include "lib/telex.h"

enum progress_kind { PROGRESS_AUTO = 0, PROGRESS_NONE, PROGRESS_BAR, PROGRESS_JSON };

struct event_base;
struct progress;

/* Whether that kind shows anything, here. */
bool progress_shows(enum progress_kind kind);
/* AUTO: a bar when stderr is a terminal that can. */
struct progress *progress_new(
    struct event_base *base, enum progress_kind kind, uint64_t total_files, uint64_t total_bytes);
void progress_note(struct progress *p, const struct telex_transfer_note *note);
/* Takes the line away. NULL is allowed. */
void progress_free(struct progress *p);

/*
 * One line, without its end, in `columns` of a terminal: the file with its bar, and all files with
 * theirs, the rate and the time left. A bar is of what is known: without a size there is none, and
 * totals that are still counted are said with a "+". Where all do not fit, the file's bar goes.
 */
struct progress_state {
	const char *path;
	uint64_t done, size;             /* of the file; 0: not known */
	uint64_t files, all_files;       /* 0: not known */
	uint64_t bytes, all_bytes, rate; /* in all; rate: a second */
	bool counting;                   /* there are more than all_files, and all_bytes */
};
void progress_line(char *out, size_t size, const struct progress_state *s, unsigned columns);

#endif
