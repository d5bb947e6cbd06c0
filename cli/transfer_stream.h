/* SPDX-License-Identifier: Apache-2.0 */
/* put and get with `-`: standard input becomes a file, or a file goes to standard output. */
#ifndef TX_CLI_TRANSFER_STREAM_H
#define TX_CLI_TRANSFER_STREAM_H

#include <stdbool.h>

#include "cli/cli.h"
#include "cli/transfer_options.h"

/* Whether the operands, two at least, ask for that. */
bool transfer_stream_wanted(bool put, const struct options *o);
/* Does it: an exit status. */
int transfer_stream(struct cli *cli, const struct transfer_options *t, bool put, struct options *o);

#endif
