/* SPDX-License-Identifier: Apache-2.0 */
/* What becomes of work on many files: what fails does not stop the others, the first failure is
 * what the call ends with, and both are counted. */
#ifndef TX_FILES_TALLY_H
#define TX_FILES_TALLY_H

#include <stdbool.h>
#include <stdint.h>

#include "common/rpc_status.h"

struct tally {
	const char *top; /* the path that the work began with; the caller's */
	uint64_t done, failed;
	struct rpc_status first; /* valid where failed > 0 */
};

void tally_init(struct tally *t, const char *top);
/* "cannot WHAT TOP/BELOW: …"; below: "" for the top itself. */
void tally_errno(struct tally *t, int sys_errno, const char *what, const char *below);
/* The same for what has its status already. */
void tally_status(struct tally *t, const struct rpc_status *status);
/* TOP/BELOW; false: it was cut to what fits. */
bool tally_path(const struct tally *t, const char *below, char *out, unsigned size);
/* The status of the call: OK, or the first failure, with the metadata "failed" and `done_key`. */
void tally_end(const struct tally *t, const char *done_key, struct rpc_status *status);

#endif
