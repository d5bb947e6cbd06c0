/* SPDX-License-Identifier: Apache-2.0 */
/* What process_spec.c (the command, its user, how it ends) and process_settings.c (all else) share.
 */
#ifndef TX_AGENT_WORKER_PROCESS_SPEC_INTERNAL_H
#define TX_AGENT_WORKER_PROCESS_SPEC_INTERNAL_H

#include "agent/worker/process_spec.h"

/* The fields from `terminal` on, and their defaults. 0, or TX_EINVAL with *refuse filled. */
int process_settings_parse(
    struct job_spec *out, const Telex__V1__ProcessSpec *in, struct rpc_status *refuse);

#endif
