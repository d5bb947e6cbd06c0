/* SPDX-License-Identifier: Apache-2.0 */
/* Checks of a ProcessSpec, in the order of its fields; the first bad one is named. Values that are
 * not given get their defaults here. */
#include "agent/worker/process_spec.h"

#include <inttypes.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/worker/process_spec_internal.h"
#include "common/duration.h"
#include "common/keeper_msg.h"
#include "common/mem.h"

#define DEFAULT_STOP_GRACE_NS (10 * NS_PER_S)
#define DEFAULT_WAIT_NS       (60 * NS_PER_S)
#define USER_MAX              255

int process_bad_field(struct rpc_status *refuse, const char *field, const char *fmt, ...)
{
	char text[300];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	rpc_status_set(refuse, RPC_INVALID_ARGUMENT, "BAD_REQUEST", "%s: %s", field, text);
	rpc_status_meta(refuse, "field", "%s", field);
	return TX_EINVAL;
}

int process_id_check(const char *id, struct rpc_status *refuse)
{
	if (job_id_valid(id, strlen(id)))
		return 0;
	return process_bad_field(refuse, "process_id",
	    "must be 1 to 64 of A-Z a-z 0-9 . _ -, not beginning with . or -");
}

int process_group_check(const char *name, struct rpc_status *refuse)
{
	if (job_id_valid(name, strlen(name)))
		return 0;
	return process_bad_field(
	    refuse, "name", "must be 1 to 64 of A-Z a-z 0-9 . _ -, not beginning with . or -");
}

int process_signal_check(uint32_t signo, Telex__V1__SignalTarget target, struct rpc_status *refuse)
{
	if (signo < 1 || signo > 64)
		return process_bad_field(
		    refuse, "signal", "there is no signal %" PRIu32 "; 1 to 64", signo);
	if ((int)target < TELEX__V1__SIGNAL_TARGET__SIGNAL_TARGET_UNSPECIFIED ||
	    target > TELEX__V1__SIGNAL_TARGET__SIGNAL_TARGET_TREE)
		return process_bad_field(refuse, "target", "unknown value %d", (int)target);
	return 0;
}

int process_stop_check(uint32_t signo, Telex__V1__SignalTarget target,
    const Google__Protobuf__Duration *kill_after, int64_t *kill_after_ns, struct rpc_status *refuse)
{
	int rc = process_signal_check(signo != 0 ? signo : SIGTERM, target, refuse);

	*kill_after_ns = -1;
	if (rc == 0 && kill_after != NULL)
		rc = process_duration_check(kill_after, "kill_after", 0, JOB_STOP_GRACE_MAX_NS,
		    true, kill_after_ns, refuse);
	return rc;
}

int process_value_check(
    const Telex__V1__SignalValue *value, Telex__V1__SignalTarget target, struct rpc_status *refuse)
{
	if (value == NULL || target == TELEX__V1__SIGNAL_TARGET__SIGNAL_TARGET_PROCESS)
		return 0;
	return process_bad_field(
	    refuse, "value", "can be sent to one process only: target PROCESS");
}

uint32_t process_signal_target(Telex__V1__SignalTarget target)
{
	switch (target) {
	case TELEX__V1__SIGNAL_TARGET__SIGNAL_TARGET_PROCESS:
		return KM_TARGET_PROCESS;
	case TELEX__V1__SIGNAL_TARGET__SIGNAL_TARGET_TREE:
		return KM_TARGET_TREE;
	default:
		return KM_TARGET_GROUP;
	}
}

int process_duration_check(const Google__Protobuf__Duration *in, const char *field, int64_t min,
    int64_t max, bool zero_too, int64_t *out, struct rpc_status *refuse)
{
	int64_t ns;

	if (in == NULL) {
		*out = 0;
		return 0;
	}
	if (in->nanos < 0 || in->nanos >= NS_PER_S || in->seconds < 0)
		return process_bad_field(refuse, field, "not a duration from 0 on");
	if (__builtin_mul_overflow(in->seconds, NS_PER_S, &ns) ||
	    __builtin_add_overflow(ns, (int64_t)in->nanos, &ns))
		ns = INT64_MAX;
	if ((ns < min || ns > max) && !(ns == 0 && zero_too)) {
		char low[48], high[48];

		return process_bad_field(refuse, field, "must be %s to %s",
		    duration_format(low, sizeof(low), min),
		    duration_format(high, sizeof(high), max));
	}
	*out = ns;
	return 0;
}

static bool has_nul(const ProtobufCBinaryData *b)
{
	return b->len > 0 && memchr(b->data, '\0', b->len) != NULL;
}

static int parse_argv(
    struct job_spec *out, const Telex__V1__ProcessSpec *in, struct rpc_status *refuse)
{
	char field[48];

	if (in->n_argv == 0 || in->argv[0].len == 0)
		return process_bad_field(refuse, "spec.argv", "names no program");
	out->argv = xcalloc(in->n_argv + 1, sizeof(*out->argv));
	for (size_t i = 0; i < in->n_argv; i++) {
		if (has_nul(&in->argv[i])) {
			snprintf(field, sizeof(field), "spec.argv[%zu]", i);
			return process_bad_field(refuse, field, "holds a NUL byte");
		}
		out->argv[i] = xmemdup0(in->argv[i].data, in->argv[i].len);
		out->argc++;
	}
	return 0;
}

static int parse_variable(char **out, const Telex__V1__EnvironmentVariable *v, const char *field,
    struct rpc_status *refuse)
{
	size_t name = v->name.len, value = v->value.len;
	char *text;

	if (name == 0)
		return process_bad_field(refuse, field, "has an empty name");
	if (has_nul(&v->name) || has_nul(&v->value))
		return process_bad_field(refuse, field, "holds a NUL byte");
	if (memchr(v->name.data, '=', name) != NULL)
		return process_bad_field(refuse, field, "has a name with = in it");
	text = xmalloc(name + value + 2);
	memcpy(text, v->name.data, name);
	text[name] = '=';
	if (value > 0)
		memcpy(text + name + 1, v->value.data, value);
	text[name + 1 + value] = '\0';
	*out = text;
	return 0;
}

static int parse_environment(
    struct job_spec *out, const Telex__V1__ProcessSpec *in, struct rpc_status *refuse)
{
	char field[48];

	out->env = xcalloc(in->n_environment + 1, sizeof(*out->env));
	for (size_t i = 0; i < in->n_environment; i++) {
		int rc;

		snprintf(field, sizeof(field), "spec.environment[%zu]", i);
		rc = parse_variable(&out->env[i], in->environment[i], field, refuse);
		if (rc < 0)
			return rc;
		out->envc++;
	}
	return 0;
}

static int parse_directory(
    struct job_spec *out, const Telex__V1__ProcessSpec *in, struct rpc_status *refuse)
{
	const ProtobufCBinaryData *dir = &in->working_directory;

	if (dir->len == 0)
		return 0;
	if (has_nul(dir))
		return process_bad_field(refuse, "spec.working_directory", "holds a NUL byte");
	if (dir->data[0] != '/')
		return process_bad_field(refuse, "spec.working_directory", "must be absolute");
	out->cwd = xmemdup0(dir->data, dir->len);
	return 0;
}

/* "NAME" or "NAME:GROUP": printable, neither part empty. Which users there are, the keeper knows.
 */
static int parse_user(
    struct job_spec *out, const Telex__V1__ProcessSpec *in, struct rpc_status *refuse)
{
	const char *user = in->user, *colon = strchr(user, ':');

	if (user[0] == '\0')
		return 0;
	if (strlen(user) > USER_MAX)
		return process_bad_field(refuse, "spec.user", "is longer than %d", USER_MAX);
	for (const char *p = user; *p != '\0'; p++)
		if (*p <= ' ' || *p > '~' || *p == '/')
			return process_bad_field(
			    refuse, "spec.user", "holds a character that is in no user's name");
	if (colon == user ||
	    (colon != NULL && (colon[1] == '\0' || strchr(colon + 1, ':') != NULL)))
		return process_bad_field(refuse, "spec.user", "must be NAME or NAME:GROUP");
	out->user = xstrdup(user);
	return 0;
}

static int parse_stdin(
    struct job_spec *out, const Telex__V1__ProcessSpec *in, struct rpc_status *refuse)
{
	switch (in->stdin) {
	case TELEX__V1__STDIN_MODE__STDIN_MODE_UNSPECIFIED:
	case TELEX__V1__STDIN_MODE__STDIN_MODE_NULL:
		return 0;
	case TELEX__V1__STDIN_MODE__STDIN_MODE_PIPE:
		out->stdin_pipe = true;
		return 0;
	default:
		return process_bad_field(refuse, "spec.stdin", "unknown value %d", (int)in->stdin);
	}
}

static int parse_stop(
    struct job_spec *out, const Telex__V1__ProcessSpec *in, struct rpc_status *refuse)
{
	int rc;

	if (in->stop_signal > 64)
		return process_bad_field(
		    refuse, "spec.stop_signal", "there is no signal %" PRIu32, in->stop_signal);
	out->stop_signal = in->stop_signal == 0 ? SIGTERM : (int)in->stop_signal;
	rc = process_duration_check(in->stop_grace, "spec.stop_grace", 0, JOB_STOP_GRACE_MAX_NS,
	    true, &out->stop_grace_ns, refuse);
	if (in->stop_grace == NULL)
		out->stop_grace_ns = DEFAULT_STOP_GRACE_NS;
	return rc;
}

static int parse_run_timeout(
    struct job_spec *out, const Telex__V1__ProcessSpec *in, struct rpc_status *refuse)
{
	return process_duration_check(in->run_timeout, "spec.run_timeout", 0,
	    JOB_RUN_TIMEOUT_MAX_NS, true, &out->run_timeout_ns, refuse);
}

static int parse_disconnect(struct job_spec *out, const Telex__V1__ProcessSpec *in, bool attached,
    struct rpc_status *refuse)
{
	static const Telex__V1__DisconnectPolicy none = TELEX__V1__DISCONNECT_POLICY__INIT;
	const Telex__V1__DisconnectPolicy *policy =
	    in->on_disconnect != NULL ? in->on_disconnect : &none;
	int64_t wait = 0;
	int rc;

	switch (policy->action) {
	case TELEX__V1__DISCONNECT_ACTION__DISCONNECT_ACTION_UNSPECIFIED:
		out->disconnect = attached ? JOB_DISCONNECT_HANGUP : JOB_DISCONNECT_KEEP;
		break;
	case TELEX__V1__DISCONNECT_ACTION__DISCONNECT_ACTION_HANGUP:
		out->disconnect = JOB_DISCONNECT_HANGUP;
		break;
	case TELEX__V1__DISCONNECT_ACTION__DISCONNECT_ACTION_KEEP:
		out->disconnect = JOB_DISCONNECT_KEEP;
		break;
	case TELEX__V1__DISCONNECT_ACTION__DISCONNECT_ACTION_KILL:
		out->disconnect = JOB_DISCONNECT_KILL;
		break;
	default:
		return process_bad_field(
		    refuse, "spec.on_disconnect.action", "unknown value %d", (int)policy->action);
	}
	rc = process_duration_check(
	    policy->wait, "spec.on_disconnect.wait", 0, JOB_WAIT_MAX_NS, true, &wait, refuse);
	if (rc == 0 && out->disconnect == JOB_DISCONNECT_HANGUP)
		out->disconnect_wait_ns = policy->wait != NULL ? wait : DEFAULT_WAIT_NS;
	return rc;
}

static int check_limit(struct job_rlimit *out, size_t i, const Telex__V1__ResourceLimit *in,
    const char *prefix, struct rpc_status *refuse)
{
	int resource = job_rlimit_by_name(in->name);
	char field[64];

	snprintf(field, sizeof(field), "%s[%zu].name", prefix, i);
	if (resource < 0)
		return process_bad_field(refuse, field, "no such limit");
	for (size_t j = 0; j < i; j++)
		if (out[j].resource == (uint32_t)resource)
			return process_bad_field(refuse, field, "%s is given twice", in->name);
	snprintf(field, sizeof(field), "%s[%zu].soft", prefix, i);
	if (in->soft > in->hard)
		return process_bad_field(refuse, field, "is above the hard limit");
	out[i].resource = (uint32_t)resource;
	out[i].soft = in->soft;
	out[i].hard = in->hard;
	return 0;
}

int process_limits_check(struct job_rlimit *out, Telex__V1__ResourceLimit *const *in, size_t n,
    const char *prefix, struct rpc_status *refuse)
{
	int rc = 0;

	if (n > JOB_RLIMITS_MAX)
		return process_bad_field(refuse, prefix, "there are more than %d", JOB_RLIMITS_MAX);
	for (size_t i = 0; i < n && rc == 0; i++)
		rc = check_limit(out, i, in[i], prefix, refuse);
	return rc;
}

static int parse_limits(
    struct job_spec *out, const Telex__V1__ProcessSpec *in, struct rpc_status *refuse)
{
	struct job_rlimit limits[JOB_RLIMITS_MAX] = {{0}};
	int rc = process_limits_check(limits, in->limits, in->n_limits, "spec.limits", refuse);

	if (rc < 0 || in->n_limits == 0)
		return rc;
	out->rlimits = xcalloc(in->n_limits, sizeof(*out->rlimits));
	memcpy(out->rlimits, limits, in->n_limits * sizeof(limits[0]));
	out->n_rlimits = in->n_limits;
	return 0;
}

int process_spec_parse(struct job_spec **out, const Telex__V1__ProcessSpec *in, bool attached,
    struct rpc_status *refuse)
{
	struct job_spec *spec;
	int rc;

	if (in == NULL)
		return process_bad_field(refuse, "spec", "is missing");
	spec = xcalloc(1, sizeof(*spec));
	if ((rc = parse_argv(spec, in, refuse)) == 0 &&
	    (rc = parse_environment(spec, in, refuse)) == 0 &&
	    (rc = parse_directory(spec, in, refuse)) == 0 &&
	    (rc = parse_user(spec, in, refuse)) == 0 && (rc = parse_stdin(spec, in, refuse)) == 0 &&
	    (rc = parse_run_timeout(spec, in, refuse)) == 0 &&
	    (rc = parse_stop(spec, in, refuse)) == 0 &&
	    (rc = parse_disconnect(spec, in, attached, refuse)) == 0 &&
	    (rc = parse_limits(spec, in, refuse)) == 0 &&
	    (rc = process_settings_parse(spec, in, refuse)) == 0)
		*out = spec;
	else
		process_spec_free(spec);
	return rc;
}

int process_spec_seal(const struct job_spec *spec, int *memfd, struct rpc_status *refuse)
{
	struct err e;
	int rc = job_spec_seal(spec, memfd, &e);

	if (rc == TX_ETOOBIG)
		rpc_status_set(refuse, RPC_RESOURCE_EXHAUSTED, "TOO_LARGE", "spec: %s", e.message);
	else if (rc < 0)
		rpc_status_set(refuse, RPC_RESOURCE_EXHAUSTED, "LIMIT", "spec: %s", e.message);
	return rc;
}

void process_spec_free(struct job_spec *spec)
{
	if (spec == NULL)
		return;
	for (size_t i = 0; i < spec->argc; i++)
		free(spec->argv[i]);
	for (size_t i = 0; i < spec->envc; i++)
		free(spec->env[i]);
	free(spec->argv);
	free(spec->env);
	free(spec->cwd);
	free(spec->user);
	free(spec->group);
	free(spec->rlimits);
	free(spec);
}
