/* SPDX-License-Identifier: Apache-2.0 */
/* A file of the agent's to standard output, in constant memory. */
#ifndef TX_CLI_FILE_OUT_H
#define TX_CLI_FILE_OUT_H

#include <stdbool.h>
#include <stdint.h>

#include "cli/progress.h"

struct session;

struct file_out_options {
	enum progress_kind progress; /* AUTO: not where standard output is a terminal, either */
	uint64_t rate;               /* bytes a second; 0: no limit */
	bool summary;                /* is said at the end */
};

/* 0: all of it is written. -1: s->error. 1: standard output takes no more, which was said; a pipe
 * that nobody reads ends the program as SIGPIPE does. s->data is used. */
int file_out(
    struct session *s, const char *user, const char *path, const struct file_out_options *options);

#endif
