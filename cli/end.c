/* SPDX-License-Identifier: Apache-2.0 */
/* How a process ended. What is not known is said to be unknown; a code is never made up for it. */
#include "cli/end.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"
#include "cli/output.h"

static int not_executed(const char *stage, int sys_errno)
{
	if (strcmp(stage, "exec") != 0)
		return CLI_TELEX;
	return sys_errno == ENOENT ? CLI_NOT_FOUND : CLI_NOT_EXEC;
}

int end_status(const struct telex_exit *exit)
{
	if (exit->reason == TELEX_REASON_RUN_TIMEOUT)
		return CLI_TIMEOUT;
	switch (exit->end) {
	case TELEX_END_CODE:
		return exit->value & 0xff;
	case TELEX_END_SIGNAL:
		return 128 + exit->value;
	case TELEX_END_NOT_STARTED:
		return not_executed(exit->stage ? exit->stage : "", exit->start_errno);
	default:
		return CLI_TELEX;
	}
}

int end_status_after(const struct telex_exit *exit, int signo)
{
	if (signo > 0 && exit->end == TELEX_END_NOT_STARTED && (!exit->stage || !exit->stage[0]))
		return 128 + signo;
	return end_status(exit);
}

int end_error_status(const struct telex_error *error)
{
	return not_executed(error->stage, error->sys_errno);
}

char *end_text(char *out, size_t size, const struct telex_exit *exit)
{
	switch (exit->end) {
	case TELEX_END_CODE:
		snprintf(out, size, "exit %d", exit->value);
		break;
	case TELEX_END_SIGNAL:
		if (exit->signal_name)
			snprintf(out, size, "%s", exit->signal_name);
		else
			snprintf(out, size, "signal %d", exit->value);
		break;
	case TELEX_END_NOT_STARTED:
		snprintf(out, size, "not started");
		break;
	default:
		snprintf(out, size, "unknown");
		break;
	}
	return out;
}

const char *end_reason(enum telex_reason reason)
{
	static const char *const names[] = {"unspecified", "exited", "signalled", "run_timeout",
	    "disconnect", "shutdown", "out_of_memory"};
	size_t i = (size_t)reason;

	return names[i < sizeof(names) / sizeof(names[0]) ? i : 0];
}

static void set(json_t *object, const char *name, json_t *value)
{
	json_object_set_new(object, name, value);
}

static void set_number(json_t *object, const char *name, uint64_t value)
{
	set(object, name, json_integer((json_int_t)value));
}

static void set_time(json_t *object, const char *name, int64_t ns)
{
	char text[40];

	if (ns > 0)
		set(object, name, json_string(output_time(text, sizeof(text), ns)));
}

static void set_end(json_t *o, const struct telex_exit *exit)
{
	switch (exit->end) {
	case TELEX_END_CODE:
		set(o, "code", json_integer(exit->value));
		break;
	case TELEX_END_SIGNAL:
		set(o, "signal", json_integer(exit->value));
		if (exit->signal_name)
			set(o, "signal_name", json_string(exit->signal_name));
		set(o, "core_dumped", json_boolean(exit->core_dumped));
		break;
	case TELEX_END_NOT_STARTED:
		set(o, "not_started", output_json_text(exit->unknown_why ? exit->unknown_why : ""));
		if (exit->stage && exit->stage[0])
			set(o, "stage", output_json_text(exit->stage));
		if (exit->start_errno)
			set(o, "errno", json_integer(exit->start_errno));
		break;
	default:
		set(o, "unknown", output_json_text(exit->unknown_why ? exit->unknown_why : ""));
		break;
	}
}

json_t *end_json(const struct telex_exit *exit)
{
	json_t *o = json_object(), *open = json_array();

	set_end(o, exit);
	set(o, "reason", json_string(end_reason(exit->reason)));
	if (exit->ended_by && exit->ended_by[0])
		set(o, "ended_by", output_json_text(exit->ended_by));
	set_time(o, "start_time", exit->start_ns);
	set_time(o, "end_time", exit->end_ns);
	set(o, "user_us", json_integer(exit->user_us));
	set(o, "system_us", json_integer(exit->system_us));
	set_number(o, "max_resident_kib", exit->max_resident_kib);
	set_number(o, "stdout_length", exit->stdout_length);
	set_number(o, "stderr_length", exit->stderr_length);
	if (exit->stdout_open)
		json_array_append_new(open, json_string("stdout"));
	if (exit->stderr_open)
		json_array_append_new(open, json_string("stderr"));
	set(o, "streams_open", open);
	return o;
}

json_t *end_error_json(const struct telex_error *error)
{
	static const char *const kinds[] = {"ok", "usage", "no_memory", "system", "resolve",
	    "connect", "not_tls", "certificate", "lost", "status", "cancelled"};
	size_t kind = (size_t)error->kind;
	json_t *o = json_object();

	set(o, "kind",
	    json_string(kind < sizeof(kinds) / sizeof(kinds[0]) ? kinds[kind] : "other"));
	if (error->kind == TELEX_ERROR_STATUS)
		set(o, "code", json_integer(error->code));
	if (error->reason[0])
		set(o, "reason", output_json_text(error->reason));
	if (error->stage[0])
		set(o, "stage", output_json_text(error->stage));
	if (error->sys_errno)
		set(o, "errno", json_integer(error->sys_errno));
	set(o, "message", output_json_text(error->message));
	return o;
}
