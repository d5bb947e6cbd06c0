/* SPDX-License-Identifier: Apache-2.0 */
/* Policy files that telex writes: common/policy.h's example. */
#ifndef TX_CLI_POLICY_FILE_H
#define TX_CLI_POLICY_FILE_H

#include <stdbool.h>

#include "common/err.h"
#include "common/identity.h"

/* Whose a certificate is, from its file. TX_ECERT, TX_ESYS, … with *e filled. */
int policy_file_identity(const char *certificate, char out[IDENTITY_SIZE], struct err *e);
/* Writes the example, which grants `identity` the role operator. TX_EEXIST: there is one, and
 * `force` was not given. */
int policy_file_write(const char *path, const char *identity, bool force, struct err *e);

#endif
