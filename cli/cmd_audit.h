/* SPDX-License-Identifier: Apache-2.0 */
/* What the words of `telex audit` share. */
#ifndef TX_CLI_CMD_AUDIT_H
#define TX_CLI_CMD_AUDIT_H

#include <stddef.h>

#include "cli/options.h"
#include "common/err.h"

extern const struct cli_verb cmd_audit_verify, cmd_audit_show;

/* Says the error; CLI_TELEX. */
int cmd_audit_fail(const struct err *e);
/*
 * The logs to read: the operands, or the one of the agent of `telex dev`, or of this machine's. The
 * caller frees the array, not the texts of operands: free(files[0]) where there are none.
 */
int cmd_audit_files(const struct options *o, char ***files, size_t *n, struct err *e);
void cmd_audit_files_free(const struct options *o, char **files);

#endif
