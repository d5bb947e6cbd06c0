/* SPDX-License-Identifier: Apache-2.0 */
/* The table of verbs and what is said about all of them. */
#ifndef TX_CLI_VERBS_H
#define TX_CLI_VERBS_H

#include <stdio.h>

#include "cli/cli.h"

/* NULL: no such verb. */
const struct cli_verb *verbs_find(const char *name);
/* "; did you mean 'run'?" or "". */
const char *verbs_nearest(const char *name);
/* What plain `telex` says. */
void verbs_usage(FILE *to);
/* All verbs with their summaries. */
void verbs_list(FILE *to);

extern const struct cli_verb cmd_attach, cmd_audit, cmd_cert, cmd_completion, cmd_context, cmd_dev,
    cmd_fs, cmd_get, cmd_health, cmd_help, cmd_info, cmd_inspect, cmd_kill, cmd_logs, cmd_policy,
    cmd_ps, cmd_put, cmd_rm, cmd_run, cmd_sync, cmd_update, cmd_version, cmd_wait, cmd_watch;

#endif
