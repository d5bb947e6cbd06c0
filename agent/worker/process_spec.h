/* SPDX-License-Identifier: Apache-2.0 */
/* A client's request to start a process, checked field by field and made into what the keeper
 * takes. */
#ifndef TX_AGENT_WORKER_PROCESS_SPEC_H
#define TX_AGENT_WORKER_PROCESS_SPEC_H

#include <stdbool.h>
#include <stdint.h>

#include "common/job_spec.h"
#include "common/rpc_status.h"
#include "google/protobuf/duration.pb-c.h"
#include "telex/v1/process.pb-c.h"

/*
 * Makes *out, the caller's to free with process_spec_free, from what came on the wire. `attached`:
 * the disconnect policy that is not given is HANGUP (Run), else KEEP (Start). Returns 0; or
 * TX_EINVAL with *refuse filled: INVALID_ARGUMENT (BAD_REQUEST) and the metadata key "field",
 * "spec.limits[1].name".
 */
int process_spec_parse(struct job_spec **out, const Telex__V1__ProcessSpec *in, bool attached,
    struct rpc_status *refuse);
/* job_spec_seal, with its failure as a status (RESOURCE_EXHAUSTED, TOO_LARGE). */
int process_spec_seal(const struct job_spec *spec, int *memfd, struct rpc_status *refuse);
void process_spec_free(struct job_spec *spec); /* of process_spec_parse only; NULL is allowed */

/* The other fields that requests share. 0, or TX_EINVAL with *refuse filled. */
int process_id_check(const char *id, struct rpc_status *refuse);
int process_signal_check(uint32_t signo, Telex__V1__SignalTarget target, struct rpc_status *refuse);
/* The same, or 0: the process's own stop signal. kill_after: NULL is -1. */
int process_stop_check(uint32_t signo, Telex__V1__SignalTarget target,
    const Google__Protobuf__Duration *kill_after, int64_t *kill_after_ns,
    struct rpc_status *refuse);
/* value: NULL is allowed; only for the target PROCESS. */
int process_value_check(
    const Telex__V1__SignalValue *value, Telex__V1__SignalTarget target, struct rpc_status *refuse);
int process_limits_check(struct job_rlimit *out, Telex__V1__ResourceLimit *const *in, size_t n,
    const char *prefix, struct rpc_status *refuse); /* at most JOB_RLIMITS_MAX */
int process_group_check(const char *name, struct rpc_status *refuse);
/* 1 to JOB_TERMINAL_MAX each; `prefix`: of the field, "spec.terminal". */
int process_size_check(
    const Telex__V1__TerminalSize *size, const char *prefix, struct rpc_status *refuse);
int process_control_check(
    const Telex__V1__ControlLimits *in, const char *prefix, struct rpc_status *refuse);
/* Unset: 0. Else min..max, in nanoseconds, or 0 where `zero_too`. */
int process_duration_check(const Google__Protobuf__Duration *in, const char *field, int64_t min,
    int64_t max, bool zero_too, int64_t *out, struct rpc_status *refuse);

/* INVALID_ARGUMENT (BAD_REQUEST) with the metadata key "field". Returns TX_EINVAL. */
int process_bad_field(struct rpc_status *refuse, const char *field, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* A KM_SIGNAL's target. */
uint32_t process_signal_target(Telex__V1__SignalTarget target);

#endif
