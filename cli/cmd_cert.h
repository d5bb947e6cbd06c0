/* SPDX-License-Identifier: Apache-2.0 */
/* `telex cert`: one file a word, cmd_cert_<word>.c. */
#ifndef TX_CLI_CMD_CERT_H
#define TX_CLI_CMD_CERT_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "certs/key.h"
#include "cli/cli.h"
#include "cli/options.h"
#include "common/err.h"

/* argv[0] is the word. */
int cmd_cert_init(struct cli *cli, int argc, char **argv);
int cmd_cert_issue(struct cli *cli, int argc, char **argv);
int cmd_cert_show(struct cli *cli, int argc, char **argv);

/* Says it; CLI_TELEX. */
int cmd_cert_fail(const struct err *e);
/* The folder of the authority: `given`, or the one that init makes by default. The caller's to
 * free. */
int cmd_cert_folder(const char *given, char **out, struct err *e);
/* False after it said what is wrong. */
bool cmd_cert_key_type(struct options *o, const char *value, enum key_type *out);
/* Seconds since the epoch as RFC 3339. */
json_t *cmd_cert_time(int64_t epoch);

#endif
