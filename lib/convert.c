/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/convert.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"

/* Saturates: the numbers are a peer's. */
static int64_t scaled(int64_t seconds, int64_t per_second, int64_t rest)
{
	int64_t out;

	if (__builtin_mul_overflow(seconds, per_second, &out) ||
	    __builtin_add_overflow(out, rest, &out))
		return seconds < 0 ? INT64_MIN : INT64_MAX;
	return out;
}

static int64_t timestamp_ns(const Google__Protobuf__Timestamp *t)
{
	return t == NULL ? 0 : scaled(t->seconds, 1000000000, t->nanos);
}

static int64_t duration_us(const Google__Protobuf__Duration *d)
{
	return d == NULL ? 0 : scaled(d->seconds, 1000000, d->nanos / 1000);
}

static int to_int(uint32_t n)
{
	return n > INT_MAX ? INT_MAX : (int)n;
}

static void convert_status(struct telex_exit *out, const Telex__V1__Exit *in)
{
	switch (in->status_case) {
	case TELEX__V1__EXIT__STATUS_CODE:
		out->end = TELEX_END_CODE;
		out->value = to_int(in->code);
		return;
	case TELEX__V1__EXIT__STATUS_SIGNAL:
		out->end = TELEX_END_SIGNAL;
		out->value = to_int(in->signal->number);
		out->signal_name = in->signal->name;
		out->core_dumped = in->signal->core_dumped;
		return;
	case TELEX__V1__EXIT__STATUS_UNKNOWN:
		out->end = TELEX_END_UNKNOWN;
		out->unknown_why = in->unknown->why;
		return;
	case TELEX__V1__EXIT__STATUS_NOT_STARTED:
		out->end = TELEX_END_NOT_STARTED;
		out->unknown_why = in->not_started->why;
		if (in->not_started->stage[0] != '\0')
			out->stage = in->not_started->stage;
		out->start_errno = in->not_started->error_number;
		return;
	default:
		out->end = TELEX_END_UNKNOWN;
		out->unknown_why = "the agent did not say how the process ended";
		return;
	}
}

void convert_exit(struct telex_exit *out, const Telex__V1__Exit *in)
{
	memset(out, 0, sizeof(*out));
	convert_status(out, in);
	out->reason = (enum telex_reason)in->reason;
	out->ended_by = in->ended_by;
	out->start_ns = timestamp_ns(in->start_time);
	out->end_ns = timestamp_ns(in->end_time);
	if (in->usage != NULL) {
		out->user_us = duration_us(in->usage->user_time);
		out->system_us = duration_us(in->usage->system_time);
		out->max_resident_kib = in->usage->max_resident_kib;
	}
	for (size_t i = 0; i < in->n_streams_open; i++) {
		if (in->streams_open[i] == TELEX__V1__OUTPUT_STREAM__OUTPUT_STREAM_STDOUT)
			out->stdout_open = true;
		if (in->streams_open[i] == TELEX__V1__OUTPUT_STREAM__OUTPUT_STREAM_STDERR)
			out->stderr_open = true;
	}
	out->stdout_length = in->stdout_length;
	out->stderr_length = in->stderr_length;
}

/* argv's bytes, each with a NUL after it. */
static int convert_argv(struct convert_process *out, const Telex__V1__Process *in)
{
	size_t size = 1;
	char *to;

	for (size_t i = 0; i < in->n_argv; i++)
		size += in->argv[i].len + 1;
	out->argv = calloc(in->n_argv + 1, sizeof(*out->argv));
	out->text = malloc(size);
	if (out->argv == NULL || out->text == NULL)
		return TX_ENOMEM;
	to = out->text;
	for (size_t i = 0; i < in->n_argv; i++) {
		out->argv[i] = to;
		if (in->argv[i].len > 0)
			memcpy(to, in->argv[i].data, in->argv[i].len);
		to += in->argv[i].len;
		*to++ = '\0';
	}
	out->process.argc = in->n_argv;
	out->process.argv = out->argv;
	return 0;
}

static void convert_ranges(struct telex_process *out, const Telex__V1__Process *in)
{
	if (in->stdout_range != NULL) {
		out->stdout_oldest = in->stdout_range->oldest;
		out->stdout_newest = in->stdout_range->newest;
	}
	if (in->stderr_range != NULL) {
		out->stderr_oldest = in->stderr_range->oldest;
		out->stderr_newest = in->stderr_range->newest;
	}
}

static void convert_usage(struct telex_process *out, const Telex__V1__LiveUsage *in)
{
	if (in == NULL)
		return;
	out->has_usage = true;
	out->usage_tree = in->tree;
	out->cpu_us = duration_us(in->cpu_time);
	out->memory_bytes = in->memory_bytes;
}

enum telex_disconnect convert_disconnect(const Telex__V1__Process *in, int64_t *wait_ms)
{
	const Telex__V1__DisconnectPolicy *p = in->on_disconnect;

	*wait_ms = p != NULL ? duration_us(p->wait) / 1000 : 0;
	if (p == NULL || p->action < TELEX__V1__DISCONNECT_ACTION__DISCONNECT_ACTION_HANGUP ||
	    p->action > TELEX__V1__DISCONNECT_ACTION__DISCONNECT_ACTION_KILL)
		return TELEX_DISCONNECT_DEFAULT;
	return (enum telex_disconnect)p->action;
}

int convert_process(struct convert_process *out, const Telex__V1__Process *in)
{
	memset(out, 0, sizeof(*out));
	if (convert_argv(out, in) < 0) {
		convert_process_free(out);
		return TX_ENOMEM;
	}
	out->process.process_id = in->process_id;
	out->process.owner = in->owner;
	out->process.user = in->user;
	out->process.group = in->group;
	out->process.terminal = in->terminal;
	out->process.state = (enum telex_state)in->state;
	out->process.pid = in->pid;
	out->process.attached = in->attached;
	out->process.start_ns = timestamp_ns(in->start_time);
	out->process.expire_ns = timestamp_ns(in->expire_time);
	out->process.on_disconnect = convert_disconnect(in, &out->process.disconnect_wait_ms);
	convert_ranges(&out->process, in);
	convert_usage(&out->process, in->usage);
	if (in->exit != NULL) {
		convert_exit(&out->exit, in->exit);
		out->process.exit = &out->exit;
	}
	return 0;
}

void convert_process_free(struct convert_process *p)
{
	free(p->text);
	free(p->argv);
	p->text = NULL;
	p->argv = NULL;
}

static void convert_machine(struct telex_info *out, const Telex__V1__Machine *in)
{
	static const Telex__V1__Machine none = TELEX__V1__MACHINE__INIT;

	if (in == NULL)
		in = &none;
	out->hostname = in->hostname;
	out->system = in->system;
	out->kernel = in->kernel;
	out->architecture = in->architecture;
	out->processors = in->processors;
	out->memory_bytes = in->memory_bytes;
}

static void convert_tls(struct telex_info *out, const Telex__V1__TlsInfo *in)
{
	static const Telex__V1__TlsInfo none = TELEX__V1__TLS_INFO__INIT;

	if (in == NULL)
		in = &none;
	out->tls_version = in->version;
	out->tls_cipher = in->cipher;
	out->tls_group = in->group;
}

void convert_group(struct telex_group *out, const Telex__V1__ProcessGroup *in)
{
	out->name = in->name;
	out->maximum = in->maximum;
	out->queued = in->queued;
	out->running = in->running;
	out->ended = in->ended;
}

static void convert_security(struct telex_info *out, const Telex__V1__SecurityInfo *in)
{
	const size_t most = sizeof(out->confinements) / sizeof(out->confinements[0]);

	out->revocations_when_stale = "";
	if (in == NULL)
		return;
	for (size_t i = 0; i < in->n_confinements && i < most; i++) {
		out->confinements[i] = (struct telex_confinement){in->confinements[i]->name,
		    in->confinements[i]->in_force != 0, in->confinements[i]->note};
		out->n_confinements = i + 1;
	}
	out->n_groups = in->n_groups;
	out->groups = (const char *const *)in->groups;
	out->certificate_not_after_ns = timestamp_ns(in->certificate_not_after);
	out->revocations_number = in->revocations_number;
	out->revocations_time_ns = timestamp_ns(in->revocations_time);
	out->revocations_count = in->revocations_count;
	out->revocations_stale = in->revocations_stale != 0;
	out->revocations_when_stale = in->revocations_when_stale;
	out->audit_dropped = in->audit_dropped;
}

void convert_info(struct telex_info *out, const Telex__V1__GetInfoResponse *in)
{
	memset(out, 0, sizeof(*out));
	out->version = in->version;
	out->agent_identity = in->agent_identity;
	out->client_identity = in->client_identity;
	out->default_user = in->default_user;
	out->start_ns = timestamp_ns(in->start_time);
	out->workers = in->workers;
	out->processes = in->processes;
	convert_machine(out, in->machine);
	convert_tls(out, in->tls);
	if (in->limits != NULL) {
		out->max_message_bytes = in->limits->max_message_bytes;
		out->max_streams = in->limits->max_concurrent_streams;
		out->max_processes = in->limits->max_processes;
		out->output_buffer_bytes = in->limits->output_buffer_bytes;
		out->max_output_buffer_bytes = in->limits->max_output_buffer_bytes;
		out->max_spool_bytes = in->limits->max_spool_bytes;
		out->max_ended_processes = in->limits->max_ended_processes;
	}
	out->n_capabilities = in->n_capabilities;
	out->capabilities = (const char *const *)in->capabilities;
	convert_security(out, in->security);
}
