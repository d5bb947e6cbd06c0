/* SPDX-License-Identifier: Apache-2.0 */
/* The words after `telex run` as a command for the agent. */
#ifndef TX_CLI_RUN_OPTIONS_H
#define TX_CLI_RUN_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "cli/cli.h"
#include "cli/limits.h"
#include "cli/options.h"
#include "common/err.h"
#include "lib/telex.h"

enum run_stdin { RUN_STDIN_AUTO, RUN_STDIN_ALWAYS, RUN_STDIN_NEVER };

/* command's strings point into argv, the environment or what is owned here. Its terminal's size is
 * not set: that is the caller's to look up. */
struct run_options {
	struct options options;
	struct telex_command command;
	enum run_stdin stdin_mode;
	bool terminal, detach;
	uint64_t forward; /* signals that go to the remote group, bit n-1 for signal n */
	/* Owned. */
	char **env;
	size_t n_env;
	struct limits limits;
};

extern const struct options_spec run_options_specs[];

/* 0, or -1: answer *status (it was said what is wrong, or --help was given). Free it in either
 * case. */
int run_options_parse(struct run_options *o, struct cli *cli, const struct cli_verb *verb, int argc,
    char **argv, int *status);
void run_options_free(struct run_options *o);

/* "keep", "kill", "hangup", "hangup:DURATION" -> action and wait (negative: at once). */
int run_options_disconnect(
    const char *text, enum telex_disconnect *action, int64_t *wait_ms, struct err *e);

#endif
