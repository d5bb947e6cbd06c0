/* SPDX-License-Identifier: Apache-2.0 */
/* The words after `telex run` as a command for the agent. */
#ifndef TX_CLI_RUN_OPTIONS_H
#define TX_CLI_RUN_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "cli/cli.h"
#include "cli/options.h"
#include "common/err.h"
#include "lib/telex.h"

enum run_stdin { RUN_STDIN_AUTO, RUN_STDIN_ALWAYS, RUN_STDIN_NEVER };

/* command's strings point into argv, the environment or what is owned here. */
struct run_options {
	struct options options;
	struct telex_command command;
	enum run_stdin stdin_mode;
	/* Owned. */
	char **env;
	size_t n_env;
	struct telex_limit *limits;
};

/* 0, or -1: answer *status (it was said what is wrong, or --help was given). Free it in either
 * case. */
int run_options_parse(struct run_options *o, struct cli *cli, const struct cli_verb *verb, int argc,
    char **argv, int *status);
void run_options_free(struct run_options *o);

/* "nofile=1024:4096", "as=2G", "core=unlimited". limit->name is a static string. 0 or TX_EINVAL,
 * TX_EUNSUPPORTED with a sentence. */
int run_options_limit(const char *text, struct telex_limit *limit, struct err *e);
/* "keep", "kill", "hangup", "hangup:DURATION" -> action and wait (negative: the default). */
int run_options_disconnect(
    const char *text, enum telex_disconnect *action, int64_t *wait_ms, struct err *e);
/* A duration in milliseconds, rounded up. */
int run_options_duration(const char *text, int64_t *ms, struct err *e);

#endif
