/* SPDX-License-Identifier: Apache-2.0 */
/* What job_spec.c (the packed form) and job_spec_check.c (its values) share. */
#ifndef TX_COMMON_JOB_SPEC_INTERNAL_H
#define TX_COMMON_JOB_SPEC_INTERNAL_H

#include <stdint.h>

#include "common/err.h"
#include "common/job_spec.h"

/* What a packed spec begins with. */
struct job_spec_head {
	uint32_t magic, version;
	uint32_t argc, envc, n_rlimits, flags;
	int32_t stop_signal;
	uint32_t disconnect;
	int64_t run_timeout_ns, stop_grace_ns, disconnect_wait_ns;
	uint64_t output_buffer, spool;
	int64_t keep_ns;
	uint64_t blocked, ignored;
	uint64_t memory, pids;
	uint32_t cpu_millis, group_max;
	uint32_t output_policy;
	int32_t nice;
	uint16_t rows, columns, umask, pad;
	uint64_t strings; /* bytes */
};

/* 0, or TX_EINVAL for a value that is not allowed, TX_EPROTO for what nobody writes. Of the head
 * only what the spec has no room for is looked at: a value as it was, before it became an enum. */
int job_spec_check(const struct job_spec *s, const struct job_spec_head *h, struct err *e);

#endif
