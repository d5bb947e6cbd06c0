/* SPDX-License-Identifier: Apache-2.0 */
/* The second half of a ProcessSpec: its terminal, what the program begins with, limits, retention
 * and group. */
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "agent/worker/process_spec_internal.h"
#include "common/mem.h"
#include "common/ring.h"

#define DEFAULT_UMASK 022
#define SIGNAL_MAX    64

int process_size_check(
    const Telex__V1__TerminalSize *size, const char *prefix, struct rpc_status *refuse)
{
	const struct {
		const char *name;
		uint32_t value;
	} sides[] = {{"rows", size->rows}, {"columns", size->columns}};
	char field[48];

	for (size_t i = 0; i < 2; i++) {
		if (sides[i].value >= 1 && sides[i].value <= JOB_TERMINAL_MAX)
			continue;
		snprintf(field, sizeof(field), "%s.%s", prefix, sides[i].name);
		return process_bad_field(refuse, field, "must be 1 to %u", JOB_TERMINAL_MAX);
	}
	return 0;
}

static int parse_terminal(
    struct job_spec *out, const Telex__V1__ProcessSpec *in, struct rpc_status *refuse)
{
	if (in->terminal == NULL)
		return 0;
	if (process_size_check(in->terminal, "spec.terminal", refuse) < 0)
		return TX_EINVAL;
	out->terminal = out->stdin_pipe = true;
	out->rows = (uint16_t)in->terminal->rows;
	out->columns = (uint16_t)in->terminal->columns;
	return 0;
}

static int parse_signals(
    uint64_t *mask, const uint32_t *list, size_t n, const char *name, struct rpc_status *refuse)
{
	char field[48];

	*mask = 0;
	for (size_t i = 0; i < n; i++) {
		snprintf(field, sizeof(field), "%s[%zu]", name, i);
		if (list[i] < 1 || list[i] > SIGNAL_MAX)
			return process_bad_field(
			    refuse, field, "there is no signal %" PRIu32 "; 1 to 64", list[i]);
		if (list[i] == SIGKILL || list[i] == SIGSTOP)
			return process_bad_field(
			    refuse, field, "SIGKILL and SIGSTOP are taken in any case");
		*mask |= UINT64_C(1) << (list[i] - 1);
	}
	return 0;
}

static int parse_start(
    struct job_spec *out, const Telex__V1__ProcessSpec *in, struct rpc_status *refuse)
{
	uint32_t mask = in->umask != NULL ? in->umask->mask : DEFAULT_UMASK;
	int rc;

	if (mask > 0777)
		return process_bad_field(refuse, "spec.umask.mask", "must be 0 to 0777 (octal)");
	if (in->nice < -20 || in->nice > 19)
		return process_bad_field(refuse, "spec.nice", "must be -20 to 19");
	out->clean_env = in->clean_environment;
	out->umask = (uint16_t)mask;
	out->nice = (int8_t)in->nice;
	out->no_new_privs = in->no_new_privileges;
	rc = parse_signals(&out->blocked, in->blocked_signals, in->n_blocked_signals,
	    "spec.blocked_signals", refuse);
	if (rc == 0)
		rc = parse_signals(&out->ignored, in->ignored_signals, in->n_ignored_signals,
		    "spec.ignored_signals", refuse);
	return rc;
}

int process_control_check(
    const Telex__V1__ControlLimits *in, const char *prefix, struct rpc_status *refuse)
{
	char field[48];

	snprintf(field, sizeof(field), "%s.memory_bytes", prefix);
	if (in->memory_bytes != 0 && in->memory_bytes < JOB_MEMORY_MIN)
		return process_bad_field(
		    refuse, field, "must be at least 1 MiB, or 0 for no limit");
	snprintf(field, sizeof(field), "%s.cpu_millis", prefix);
	if (in->cpu_millis != 0 && in->cpu_millis < JOB_CPU_MILLIS_MIN)
		return process_bad_field(
		    refuse, field, "must be at least %u, or 0 for no limit", JOB_CPU_MILLIS_MIN);
	return 0;
}

static int parse_control(
    struct job_spec *out, const Telex__V1__ProcessSpec *in, struct rpc_status *refuse)
{
	const Telex__V1__ControlLimits *limits = in->control_limits;

	if (limits == NULL)
		return 0;
	if (process_control_check(limits, "spec.control_limits", refuse) < 0)
		return TX_EINVAL;
	out->memory = limits->memory_bytes;
	out->cpu_millis = limits->cpu_millis;
	out->pids = limits->pids;
	return 0;
}

static int parse_output(
    struct job_spec *out, const Telex__V1__ProcessSpec *in, struct rpc_status *refuse)
{
	const Telex__V1__OutputRetention *keep = in->output;

	out->output_policy = JOB_OUTPUT_BLOCK;
	if (keep == NULL)
		return 0;
	if (keep->buffer_bytes > RING_SIZE_MAX) {
		rpc_status_set(refuse, RPC_RESOURCE_EXHAUSTED, "LIMIT",
		    "spec.output.buffer_bytes: no buffer has more than %zu bytes", RING_SIZE_MAX);
		rpc_status_meta(refuse, "maximum", "%zu", RING_SIZE_MAX);
		return TX_EINVAL;
	}
	if (keep->policy == TELEX__V1__OUTPUT_POLICY__OUTPUT_POLICY_DROP_OLDEST)
		out->output_policy = JOB_OUTPUT_DROP_OLDEST;
	else if (keep->policy != TELEX__V1__OUTPUT_POLICY__OUTPUT_POLICY_UNSPECIFIED &&
	         keep->policy != TELEX__V1__OUTPUT_POLICY__OUTPUT_POLICY_BLOCK)
		return process_bad_field(
		    refuse, "spec.output.policy", "unknown value %d", (int)keep->policy);
	out->output_buffer = keep->buffer_bytes;
	out->spool = keep->spool_bytes;
	return 0;
}

static int parse_group(
    struct job_spec *out, const Telex__V1__ProcessSpec *in, struct rpc_status *refuse)
{
	size_t len = strlen(in->group);

	if (len == 0 && in->group_maximum != 0)
		return process_bad_field(
		    refuse, "spec.group_maximum", "is for a group, and none is named");
	if (len == 0)
		return 0;
	if (!job_id_valid(in->group, len))
		return process_bad_field(refuse, "spec.group",
		    "must be 1 to 64 of A-Z a-z 0-9 . _ -, not beginning with . or -");
	out->group = xstrdup(in->group);
	out->group_max = in->group_maximum;
	return 0;
}

static int parse_keep(
    struct job_spec *out, const Telex__V1__ProcessSpec *in, struct rpc_status *refuse)
{
	if (in->keep == NULL) {
		out->keep_ns = JOB_KEEP_DEFAULT_NS;
		return 0;
	}
	return process_duration_check(
	    in->keep, "spec.keep", JOB_KEEP_MIN_NS, JOB_KEEP_MAX_NS, false, &out->keep_ns, refuse);
}

int process_settings_parse(
    struct job_spec *out, const Telex__V1__ProcessSpec *in, struct rpc_status *refuse)
{
	int (*const parts[])(
	    struct job_spec *, const Telex__V1__ProcessSpec *, struct rpc_status *) = {
	    parse_terminal, parse_start, parse_control, parse_output, parse_group, parse_keep};
	int rc = 0;

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]) && rc == 0; i++)
		rc = parts[i](out, in, refuse);
	return rc;
}
