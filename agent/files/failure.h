/* SPDX-License-Identifier: Apache-2.0 */
/* From an errno to what a client is told: code, reason, sentence, metadata (file.proto's begin). */
#ifndef TX_FILES_FAILURE_H
#define TX_FILES_FAILURE_H

#include "common/rpc_status.h"
#include "telex/v1/file.pb-c.h"

/* "cannot WHAT PATH: Is a directory", and for some errnos the way out. what: "remove". path is
 * escaped. Returns a negative TX_E…, so that `return failure_errno(…)` reads well. */
int failure_errno(struct rpc_status *status, int sys_errno, const char *what, const char *path);
/* "PATH why": PERMISSION_DENIED (OUTSIDE_ROOT). Returns TX_EPERM. */
int failure_outside(struct rpc_status *status, const char *path, const char *why);
/* The reason of an errno: "NO_SUCH_FILE". "SYSTEM" for others. */
const char *failure_reason(int sys_errno);

/* The same for one of many files, from a status of those. The strings are malloc'd;
 * failure_entry_clear frees them, and leaves *e as after its init. TX_ENOMEM. */
int failure_entry(Telex__V1__FileError *out, const struct rpc_status *status);
void failure_entry_clear(Telex__V1__FileError *e);

#endif
