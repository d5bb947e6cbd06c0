/* SPDX-License-Identifier: Apache-2.0 */
/* What put, get and sync share: a transfer from its begin to its summary. */
#ifndef TX_CLI_TRANSFER_H
#define TX_CLI_TRANSFER_H

#include <stdbool.h>

#include "cli/cli.h"
#include "cli/transfer_options.h"

/* All of put and get: SOURCE… TARGET. usage: what is said when there are not two operands. */
int transfer_verb(struct cli *cli, const struct cli_verb *verb, bool put, int argc, char **argv,
    const char *usage);

/* Runs it: CLI_OK, CLI_FAILED when something could not be moved, CLI_TELEX. verb: "put". */
int transfer_run(
    struct cli *cli, const char *verb, const struct transfer_options *options, bool put);

#endif
