/* SPDX-License-Identifier: Apache-2.0 */
/* What a transfer came to, in a line or as JSON. */
#ifndef TX_CLI_TRANSFER_SUMMARY_H
#define TX_CLI_TRANSFER_SUMMARY_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/telex.h"

/* begun_ns: CLOCK_MONOTONIC. json: an object on standard output, else a note. */
void transfer_summary(
    const struct telex_transfer_summary *m, int64_t begun_ns, bool dry_run, bool json);

#endif
