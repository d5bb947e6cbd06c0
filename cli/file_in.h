/* SPDX-License-Identifier: Apache-2.0 */
/* Standard input into a file of the agent's, in constant memory. */
#ifndef TX_CLI_FILE_IN_H
#define TX_CLI_FILE_IN_H

#include <stdbool.h>
#include <stdint.h>

#include "cli/progress.h"
#include "lib/telex.h"

struct session;

struct file_in {
	const char *verb; /* for the words: "put" */
	struct telex_file_write write;
	enum progress_kind progress;
	uint64_t rate; /* bytes a second; 0: no limit */
	bool summary;  /* is said at the end */
	/* The way out where the target's folder is not there. */
	const char *if_missing;
};

/* All of standard input, until its end: CLI_OK; CLI_FAILED or CLI_TELEX, and it was said why; 128 +
 * n after signal n. */
int file_in(struct session *s, const struct file_in *in);

#endif
