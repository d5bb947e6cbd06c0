/* SPDX-License-Identifier: Apache-2.0 */
/* `telex policy`: one verb a word. */
#ifndef TX_CLI_CMD_POLICY_H
#define TX_CLI_CMD_POLICY_H

#include "cli/cli.h"
#include "common/err.h"

struct policy;

extern const struct cli_verb cmd_policy_check, cmd_policy_explain, cmd_policy_init;

/* Says it; CLI_TELEX. */
int cmd_policy_fail(const struct err *e);
/* The policy of the agent here, for when none is named: that of `telex dev` where there is one,
 * else the installed one. The caller's to free. */
char *cmd_policy_default(void);
/* Reads one. 0; else *status: CLI_FAILED (its problems were said), CLI_TELEX (unreadable). */
int cmd_policy_read(const char *file, struct policy **out, int *status);

#endif
