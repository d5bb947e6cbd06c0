/* SPDX-License-Identifier: Apache-2.0 */
/* Verbs whose first operand is a verb of their own: `telex cert issue`, `telex fs ls`. */
#ifndef TX_CLI_SUBVERBS_H
#define TX_CLI_SUBVERBS_H

#include "cli/cli.h"

/* `verb`'s run. subverbs: those that verb->words name, in that order. Returns the exit status. */
int subverbs_run(struct cli *cli, const struct cli_verb *verb,
    const struct cli_verb *const *subverbs, int argc, char **argv);

#endif
