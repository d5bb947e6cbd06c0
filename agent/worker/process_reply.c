/* SPDX-License-Identifier: Apache-2.0 */
/* See process_reply.h. The table of refusals is the only place where a km_why becomes a status. */
#include "agent/worker/process_reply.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/duration.h"
#include "common/escape.h"
#include "common/job_spec.h"
#include "common/mem.h"
#include "common/signame.h"

/* ---- refusals ---- */

static const struct {
	enum km_why why;
	enum rpc_code code;
	const char *reason;
	const char *text; /* when the keeper gave none */
} refusals[] = {
    {KM_WHY_EXISTS, RPC_ALREADY_EXISTS, "PROCESS_EXISTS",
        "the process_id is in use by another process"},
    {KM_WHY_NO_SUCH, RPC_NOT_FOUND, "NO_SUCH_PROCESS", "there is no such process"},
    {KM_WHY_ENDED, RPC_FAILED_PRECONDITION, "PROCESS_ENDED", "the process has ended"},
    {KM_WHY_STDIN_HELD, RPC_FAILED_PRECONDITION, "STDIN_HELD", "another client holds stdin"},
    {KM_WHY_LIMIT, RPC_RESOURCE_EXHAUSTED, "LIMIT", "the agent holds as many processes as it may"},
    {KM_WHY_SHUTTING_DOWN, RPC_UNAVAILABLE, "SHUTTING_DOWN", "the agent is shutting down"},
    {KM_WHY_DROPPED, RPC_OUT_OF_RANGE, "OFFSET_DROPPED", "the offset is no longer held"},
    {KM_WHY_AHEAD, RPC_OUT_OF_RANGE, "OFFSET_AHEAD", "the offset has not been reached"},
    {KM_WHY_RUNNING, RPC_FAILED_PRECONDITION, "PROCESS_RUNNING", "the process has not ended"},
    {KM_WHY_MAXIMUM, RPC_RESOURCE_EXHAUSTED, "LIMIT", "a size is above the agent's maximum"},
    {KM_WHY_AUDIT, RPC_UNAVAILABLE, "AUDIT_UNAVAILABLE",
        "the agent's record of executions cannot be written to"},
    {KM_WHY_NO_GROUP, RPC_NOT_FOUND, "NO_SUCH_GROUP", "there is no such group"},
    {KM_WHY_NO_TERMINAL, RPC_FAILED_PRECONDITION, "NO_TERMINAL", "the process has no terminal"},
    {KM_WHY_NO_CGROUP, RPC_FAILED_PRECONDITION, "NO_CONTROL_GROUP",
        "this host has no control groups for that"},
    {KM_WHY_REPLACED, RPC_ABORTED, "REPLACED",
        "another connection of this client has taken this one's place"},
    {KM_WHY_CEILING, RPC_PERMISSION_DENIED, "CEILING", "the agent's ceiling forbids it"},
    {KM_WHY_QUOTA, RPC_RESOURCE_EXHAUSTED, "QUOTA",
        "the identity runs as many processes as it may"},
    {KM_WHY_HELPERS, RPC_RESOURCE_EXHAUSTED, "LIMIT",
        "the agent runs as many processes for files as it may"},
    {KM_WHY_DIED, RPC_ABORTED, "HELPER_DIED", "the agent's process for files has ended; try again"},
    {KM_WHY_BAD_FIELD, RPC_INVALID_ARGUMENT, "BAD_REQUEST", "a field is out of its range"},
};

/* strerrorname_np is not everywhere; these are what starting a process can meet. */
static const struct {
	int number;
	const char *name;
} errno_names[] = {
    {EPERM, "EPERM"},
    {ENOENT, "ENOENT"},
    {ESRCH, "ESRCH"},
    {EINTR, "EINTR"},
    {EIO, "EIO"},
    {ENXIO, "ENXIO"},
    {E2BIG, "E2BIG"},
    {ENOEXEC, "ENOEXEC"},
    {EBADF, "EBADF"},
    {EAGAIN, "EAGAIN"},
    {ENOMEM, "ENOMEM"},
    {EACCES, "EACCES"},
    {EFAULT, "EFAULT"},
    {EBUSY, "EBUSY"},
    {EEXIST, "EEXIST"},
    {EXDEV, "EXDEV"},
    {ENODEV, "ENODEV"},
    {ENOTDIR, "ENOTDIR"},
    {EISDIR, "EISDIR"},
    {EINVAL, "EINVAL"},
    {ENFILE, "ENFILE"},
    {EMFILE, "EMFILE"},
    {ENOTTY, "ENOTTY"},
    {ETXTBSY, "ETXTBSY"},
    {EFBIG, "EFBIG"},
    {ENOSPC, "ENOSPC"},
    {EROFS, "EROFS"},
    {ERANGE, "ERANGE"},
    {ENAMETOOLONG, "ENAMETOOLONG"},
    {ENOSYS, "ENOSYS"},
    {ELOOP, "ELOOP"},
    {EOVERFLOW, "EOVERFLOW"},
    {ELIBBAD, "ELIBBAD"},
    {EOPNOTSUPP, "EOPNOTSUPP"},
    {EUSERS, "EUSERS"},
    {ETIMEDOUT, "ETIMEDOUT"},
    {ESTALE, "ESTALE"},
    {EDQUOT, "EDQUOT"},
};

static const char *name_of_errno(int number)
{
	for (size_t i = 0; i < sizeof(errno_names) / sizeof(errno_names[0]); i++)
		if (errno_names[i].number == number)
			return errno_names[i].name;
	return NULL;
}

static void refused_start(struct rpc_status *out, const struct km_refused *why, const char *text)
{
	const char *name = name_of_errno(why->sys_errno);
	int code = rpc_code_from_errno(why->sys_errno);

	/* Only what is in the contract; an errno of another kind means that the machine would not.
	 */
	if (code != RPC_NOT_FOUND && code != RPC_PERMISSION_DENIED &&
	    code != RPC_INVALID_ARGUMENT && code != RPC_RESOURCE_EXHAUSTED)
		code = RPC_FAILED_PRECONDITION;
	rpc_status_set(out, code, "START_FAILED", "%s",
	    text[0] != '\0' ? text : "the process could not be started");
	rpc_status_meta(out, "stage", "%s", km_stage_name((int)why->stage));
	rpc_status_meta(out, "errno", "%" PRId32, why->sys_errno);
	if (name != NULL)
		rpc_status_meta(out, "errno_name", "%s", name);
	else
		rpc_status_meta(out, "errno_name", "errno %" PRId32, why->sys_errno);
}

static void refused_offset(struct rpc_status *out, const struct km_refused *why)
{
	rpc_status_meta(out, "stream", "%s", why->stream == KM_STDERR ? "stderr" : "stdout");
	rpc_status_meta(out, "oldest", "%" PRIu64, why->oldest);
	rpc_status_meta(out, "newest", "%" PRIu64, why->newest);
}

/* The keeper's text is the holder alone. */
static void refused_stdin(struct rpc_status *out, const char *holder)
{
	if (holder[0] == '\0')
		return;
	rpc_status_set(out, RPC_FAILED_PRECONDITION, "STDIN_HELD", "stdin is held by %s", holder);
	rpc_status_meta(out, "holder", "%s", holder);
}

void process_reply_refused(struct rpc_status *out, const struct km_refused *why)
{
	char text[sizeof(out->message)];

	escape_text(text, sizeof(text), why->text, strlen(why->text));
	if (why->why == KM_WHY_START) {
		refused_start(out, why, text);
		return;
	}
	for (size_t i = 0; i < sizeof(refusals) / sizeof(refusals[0]); i++) {
		if (refusals[i].why != why->why)
			continue;
		rpc_status_set(out, (int)refusals[i].code, refusals[i].reason, "%s",
		    text[0] != '\0' ? text : refusals[i].text);
		if (why->why == KM_WHY_STDIN_HELD)
			refused_stdin(out, text);
		else if (why->why == KM_WHY_ENDED)
			rpc_status_meta(out, "ending", "%s", text);
		else if (why->why == KM_WHY_DROPPED || why->why == KM_WHY_AHEAD)
			refused_offset(out, why);
		else if (why->why == KM_WHY_MAXIMUM)
			rpc_status_meta(out, "maximum", "%" PRIu64, why->newest);
		return;
	}
	rpc_status_set(out,
	    why->sys_errno != 0 ? rpc_code_from_errno(why->sys_errno) : RPC_INTERNAL, "SYSTEM",
	    "%s", text[0] != '\0' ? text : "the agent could not do that");
}

void process_reply_gone(struct rpc_status *out)
{
	rpc_status_set(
	    out, RPC_UNAVAILABLE, "KEEPER_GONE", "this worker has lost its agent; connect again");
}

void process_reply_link(struct rpc_status *out, int code)
{
	if (code == TX_ELIMIT)
		rpc_status_set(out, RPC_RESOURCE_EXHAUSTED, "LIMIT",
		    "too many requests wait for the agent; try again");
	else if (code == TX_ECLOSED)
		process_reply_gone(out);
	else
		rpc_status_set(out, RPC_INTERNAL, "SYSTEM", "the agent could not be asked: %s",
		    err_name(code));
}

/* ---- messages ---- */

void process_reply_time(Google__Protobuf__Timestamp *out, int64_t ns)
{
	google__protobuf__timestamp__init(out);
	out->seconds = ns / NS_PER_S;
	out->nanos = (int32_t)(ns % NS_PER_S);
	if (out->nanos < 0) {
		out->nanos += (int32_t)NS_PER_S;
		out->seconds--;
	}
}

static void fill_microseconds(Google__Protobuf__Duration *out, int64_t us)
{
	google__protobuf__duration__init(out);
	out->seconds = us / 1000000;
	out->nanos = (int32_t)(us % 1000000) * 1000;
}

static void fill_usage(struct process_exit *out, const struct km_exit *how)
{
	Telex__V1__ResourceUsage *u = &out->usage;

	telex__v1__resource_usage__init(u);
	fill_microseconds(&out->user, how->utime_us);
	fill_microseconds(&out->system, how->stime_us);
	u->user_time = &out->user;
	u->system_time = &out->system;
	u->max_resident_kib = how->maxrss_kib;
	u->minor_faults = how->minflt;
	u->major_faults = how->majflt;
	u->blocks_in = how->inblock;
	u->blocks_out = how->oublock;
	u->voluntary_switches = how->nvcsw;
	u->involuntary_switches = how->nivcsw;
	out->exit.usage = u;
}

static void fill_status(struct process_exit *out, const struct km_exit *how)
{
	Telex__V1__Exit *e = &out->exit;

	switch (how->kind) {
	case KM_END_CODE:
		e->status_case = TELEX__V1__EXIT__STATUS_CODE;
		e->code = (uint32_t)how->value;
		break;
	case KM_END_SIGNAL:
		telex__v1__signal_death__init(&out->signal);
		out->signal.number = (uint32_t)how->value;
		out->signal.name = signame_format(out->name, sizeof(out->name), how->value);
		out->signal.core_dumped = how->core != 0;
		e->status_case = TELEX__V1__EXIT__STATUS_SIGNAL;
		e->signal = &out->signal;
		break;
	case KM_END_NOT_STARTED:
		telex__v1__not_started__init(&out->not_started);
		out->not_started.why = (char *)how->text;
		if (how->stage != KM_STAGE_NONE)
			out->not_started.stage = (char *)km_stage_name((int)how->stage);
		out->not_started.error_number = how->value;
		e->status_case = TELEX__V1__EXIT__STATUS_NOT_STARTED;
		e->not_started = &out->not_started;
		break;
	default: /* an ending of a kind that we do not know is unknown, too */
		telex__v1__unknown_ending__init(&out->unknown);
		out->unknown.why = how->kind == KM_END_UNKNOWN && how->text[0] != '\0'
		                       ? (char *)how->text
		                       : (char *)"nobody saw how it ended";
		e->status_case = TELEX__V1__EXIT__STATUS_UNKNOWN;
		e->unknown = &out->unknown;
	}
}

static Telex__V1__EndReason reason_of(uint8_t reason)
{
	switch (reason) {
	case KM_REASON_EXITED:
		return TELEX__V1__END_REASON__END_REASON_EXITED;
	case KM_REASON_SIGNALLED:
		return TELEX__V1__END_REASON__END_REASON_SIGNALLED;
	case KM_REASON_RUN_TIMEOUT:
		return TELEX__V1__END_REASON__END_REASON_RUN_TIMEOUT;
	case KM_REASON_DISCONNECT:
		return TELEX__V1__END_REASON__END_REASON_DISCONNECT;
	case KM_REASON_SHUTDOWN:
		return TELEX__V1__END_REASON__END_REASON_SHUTDOWN;
	case KM_REASON_OUT_OF_MEMORY:
		return TELEX__V1__END_REASON__END_REASON_OUT_OF_MEMORY;
	default:
		return TELEX__V1__END_REASON__END_REASON_UNSPECIFIED;
	}
}

void process_reply_exit(struct process_exit *out, const struct km_exit *how)
{
	Telex__V1__Exit *e = &out->exit;

	telex__v1__exit__init(e);
	fill_status(out, how);
	e->reason = reason_of(how->reason);
	e->ended_by = (char *)how->by;
	process_reply_time(&out->start, how->start_ns);
	process_reply_time(&out->end, how->end_ns);
	e->start_time = how->start_ns != 0 ? &out->start : NULL;
	e->end_time = &out->end;
	fill_usage(out, how);
	e->streams_open = out->open;
	if ((how->streams_open & KM_BIT(KM_STDOUT)) != 0)
		out->open[e->n_streams_open++] = TELEX__V1__OUTPUT_STREAM__OUTPUT_STREAM_STDOUT;
	if ((how->streams_open & KM_BIT(KM_STDERR)) != 0)
		out->open[e->n_streams_open++] = TELEX__V1__OUTPUT_STREAM__OUTPUT_STREAM_STDERR;
	e->stdout_length = how->stdout_length;
	e->stderr_length = how->stderr_length;
}

static Telex__V1__ProcessState state_of(uint8_t state)
{
	switch (state) {
	case KM_STATE_QUEUED:
		return TELEX__V1__PROCESS_STATE__PROCESS_STATE_QUEUED;
	case KM_STATE_RUNNING:
		return TELEX__V1__PROCESS_STATE__PROCESS_STATE_RUNNING;
	case KM_STATE_ENDING:
		return TELEX__V1__PROCESS_STATE__PROCESS_STATE_ENDING;
	case KM_STATE_ENDED:
		return TELEX__V1__PROCESS_STATE__PROCESS_STATE_ENDED;
	default:
		return TELEX__V1__PROCESS_STATE__PROCESS_STATE_UNSPECIFIED;
	}
}

static Telex__V1__OutputRange *fill_range(
    Telex__V1__OutputRange *out, const struct job_record *r, enum km_stream stream)
{
	telex__v1__output_range__init(out);
	out->oldest = r->oldest[stream];
	out->newest = r->newest[stream];
	return out;
}

static void fill_live_usage(struct process_message *out, const struct job_record *r)
{
	telex__v1__live_usage__init(&out->usage);
	fill_microseconds(&out->cpu, (int64_t)r->cpu_us);
	out->usage.cpu_time = &out->cpu;
	out->usage.memory_bytes = r->memory;
	out->usage.tree = r->usage == JOB_USAGE_TREE;
	out->process.usage = &out->usage;
}

static void fill_disconnect(struct process_message *out, const struct job_record *r)
{
	Telex__V1__DisconnectPolicy *p = &out->disconnect;

	telex__v1__disconnect_policy__init(p);
	if (r->disconnect == JOB_DISCONNECT_KEEP)
		p->action = TELEX__V1__DISCONNECT_ACTION__DISCONNECT_ACTION_KEEP;
	else if (r->disconnect == JOB_DISCONNECT_KILL)
		p->action = TELEX__V1__DISCONNECT_ACTION__DISCONNECT_ACTION_KILL;
	else if (r->disconnect == JOB_DISCONNECT_HANGUP)
		p->action = TELEX__V1__DISCONNECT_ACTION__DISCONNECT_ACTION_HANGUP;
	else
		return; /* not known */
	if (r->disconnect == JOB_DISCONNECT_HANGUP) {
		google__protobuf__duration__init(&out->disconnect_wait);
		out->disconnect_wait.seconds = r->disconnect_wait_ns / NS_PER_S;
		out->disconnect_wait.nanos = (int32_t)(r->disconnect_wait_ns % NS_PER_S);
		p->wait = &out->disconnect_wait;
	}
	out->process.on_disconnect = p;
}

void process_reply_process(struct process_message *out, const struct job_record *r)
{
	Telex__V1__Process *p = &out->process;

	telex__v1__process__init(p);
	p->process_id = (char *)r->id;
	p->owner = (char *)r->owner;
	p->user = (char *)r->user;
	p->group = (char *)r->group;
	p->state = state_of(r->state);
	p->pid = r->pid;
	p->attached = r->attached;
	p->n_argv = r->argc;
	p->argv = r->argc > 0 ? xcalloc(r->argc, sizeof(*p->argv)) : NULL;
	for (size_t i = 0; i < r->argc; i++) {
		p->argv[i].data = (uint8_t *)r->argv[i];
		p->argv[i].len = strlen(r->argv[i]);
	}
	p->argv_truncated = r->argv_cut != 0;
	p->terminal = r->terminal != 0;
	if (r->start_ns != 0) {
		process_reply_time(&out->start, r->start_ns);
		p->start_time = &out->start;
	}
	fill_disconnect(out, r);
	p->stdout_range = fill_range(&out->ranges[0], r, KM_STDOUT);
	p->stderr_range = fill_range(&out->ranges[1], r, KM_STDERR);
	if (r->usage != JOB_USAGE_NONE)
		fill_live_usage(out, r);
	if (r->state == KM_STATE_ENDED) {
		process_reply_exit(&out->exit, &r->exit);
		p->exit = &out->exit.exit;
	}
	if (r->expire_ns != 0) {
		process_reply_time(&out->expire, r->expire_ns);
		p->expire_time = &out->expire;
	}
}

void process_reply_process_clear(struct process_message *m)
{
	free(m->process.argv);
	m->process.argv = NULL;
}
