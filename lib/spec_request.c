/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/spec_request.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "lib/error.h"

#define KEEP_MIN_MS 1000

static size_t count(const char *const *list)
{
	size_t n = 0;

	while (list != NULL && list[n] != NULL)
		n++;
	return n;
}

static int set_argv(
    struct spec_request *r, const struct telex_command *c, struct telex_error *error)
{
	size_t n = count(c->argv);

	if (n == 0)
		return error_set(error, TELEX_ERROR_USAGE, "no command was given");
	r->argv = calloc(n, sizeof(*r->argv));
	if (r->argv == NULL)
		return error_no_memory(error);
	for (size_t i = 0; i < n; i++)
		r->argv[i] = request_bytes(c->argv[i], strlen(c->argv[i]));
	r->spec.n_argv = n;
	r->spec.argv = r->argv;
	return 0;
}

static int set_env(struct spec_request *r, const struct telex_command *c, struct telex_error *error)
{
	size_t n = count(c->env);

	if (n == 0)
		return 0;
	r->env = calloc(n, sizeof(*r->env));
	r->env_list = calloc(n, sizeof(*r->env_list));
	if (r->env == NULL || r->env_list == NULL)
		return error_no_memory(error);
	for (size_t i = 0; i < n; i++) {
		const char *name = c->env[i], *equals = strchr(name, '=');

		if (equals == NULL || equals == name)
			return error_set(error, TELEX_ERROR_USAGE,
			    "\"%.200s\" in the environment is not NAME=VALUE", name);
		telex__v1__environment_variable__init(&r->env[i]);
		r->env[i].name = request_bytes(name, (size_t)(equals - name));
		r->env[i].value = request_bytes(equals + 1, strlen(equals + 1));
		r->env_list[i] = &r->env[i];
	}
	r->spec.n_environment = n;
	r->spec.environment = r->env_list;
	return 0;
}

static int set_limits(
    struct spec_request *r, const struct telex_command *c, struct telex_error *error)
{
	Telex__V1__ControlLimits *control = &r->control;

	if (request_limits(&r->limits, c->limits, c->n_limits, error) < 0 ||
	    request_check_control(c->memory_bytes, c->cpu_millis, error) < 0)
		return -1;
	r->spec.n_limits = r->limits.n;
	r->spec.limits = r->limits.list;
	telex__v1__control_limits__init(control);
	control->memory_bytes = c->memory_bytes;
	control->pids = c->max_pids;
	control->cpu_millis = c->cpu_millis;
	if (c->memory_bytes != 0 || c->max_pids != 0 || c->cpu_millis != 0)
		r->spec.control_limits = control;
	return 0;
}

static int set_terminal(
    struct spec_request *r, const struct telex_command *c, struct telex_error *error)
{
	r->spec.stdin = c->stdin_pipe ? TELEX__V1__STDIN_MODE__STDIN_MODE_PIPE
	                              : TELEX__V1__STDIN_MODE__STDIN_MODE_NULL;
	if (c->rows == 0 && c->columns == 0)
		return 0;
	if (c->rows < 1 || c->rows > REQUEST_TERMINAL_MAX || c->columns < 1 ||
	    c->columns > REQUEST_TERMINAL_MAX)
		return error_set(error, TELEX_ERROR_USAGE,
		    "a terminal must have 1 to %d rows and columns", REQUEST_TERMINAL_MAX);
	telex__v1__terminal_size__init(&r->terminal);
	r->terminal.rows = c->rows;
	r->terminal.columns = c->columns;
	r->spec.terminal = &r->terminal;
	r->spec.stdin = TELEX__V1__STDIN_MODE__STDIN_MODE_PIPE;
	return 0;
}

/* ---- its life ---- */

static int check_times(const struct telex_command *c, struct telex_error *error)
{
	if (c->run_timeout_ms < 0)
		return error_set(error, TELEX_ERROR_USAGE, "run_timeout_ms cannot be negative");
	if (c->stop_grace_ms > REQUEST_GRACE_MAX_MS)
		return error_set(error, TELEX_ERROR_USAGE, "stop_grace_ms is more than an hour");
	if (c->disconnect_wait_ms > REQUEST_WAIT_MAX_MS)
		return error_set(
		    error, TELEX_ERROR_USAGE, "disconnect_wait_ms is more than 30 days");
	if (c->keep_ms != 0 && (c->keep_ms < KEEP_MIN_MS || c->keep_ms > REQUEST_WAIT_MAX_MS))
		return error_set(
		    error, TELEX_ERROR_USAGE, "keep_ms must be between a second and 30 days");
	return 0;
}

static int set_policy(
    struct spec_request *r, const struct telex_command *c, struct telex_error *error)
{
	if (check_times(c, error) < 0 ||
	    request_check_signal("stop_signal", c->stop_signal, error) < 0)
		return -1;
	if (c->on_disconnect > TELEX_DISCONNECT_KILL)
		return error_set(error, TELEX_ERROR_USAGE, "on_disconnect is none of its values");
	if (c->run_timeout_ms > 0)
		r->spec.run_timeout = request_duration(&r->run, c->run_timeout_ms);
	r->spec.stop_signal = (uint32_t)c->stop_signal;
	if (c->stop_grace_ms != 0)
		r->spec.stop_grace = request_duration(&r->grace, c->stop_grace_ms);
	if (c->keep_ms != 0)
		r->spec.keep = request_duration(&r->keep, c->keep_ms);
	if (c->on_disconnect == TELEX_DISCONNECT_DEFAULT && c->disconnect_wait_ms == 0)
		return 0;
	telex__v1__disconnect_policy__init(&r->disconnect);
	r->disconnect.action = (Telex__V1__DisconnectAction)c->on_disconnect;
	if (c->disconnect_wait_ms != 0)
		r->disconnect.wait = request_duration(&r->wait, c->disconnect_wait_ms);
	r->spec.on_disconnect = &r->disconnect;
	return 0;
}

static int set_output(
    struct spec_request *r, const struct telex_command *c, struct telex_error *error)
{
	if (c->output_policy > TELEX_OUTPUT_DROP_OLDEST)
		return error_set(error, TELEX_ERROR_USAGE, "output_policy is none of its values");
	telex__v1__output_retention__init(&r->output);
	r->output.buffer_bytes = c->output_buffer;
	r->output.spool_bytes = c->spool_bytes;
	r->output.policy = (Telex__V1__OutputPolicy)c->output_policy;
	if (c->output_buffer != 0 || c->spool_bytes != 0 ||
	    c->output_policy != TELEX_OUTPUT_DEFAULT)
		r->spec.output = &r->output;
	return 0;
}

static int set_group(
    struct spec_request *r, const struct telex_command *c, struct telex_error *error)
{
	if (c->group == NULL)
		return c->group_max == 0 ? 0
		                         : error_set(error, TELEX_ERROR_USAGE,
		                               "group_max was given without a group");
	if (request_check_id("group's name", c->group, error) < 0)
		return -1;
	r->spec.group = request_text(c->group);
	r->spec.group_maximum = c->group_max;
	return 0;
}

/* ---- what it inherits ---- */

static size_t signal_list(uint32_t list[64], uint64_t set)
{
	size_t n = 0;

	for (uint32_t signo = 1; signo <= 64; signo++)
		if ((set >> (signo - 1) & 1) != 0)
			list[n++] = signo;
	return n;
}

static int set_inherited(
    struct spec_request *r, const struct telex_command *c, struct telex_error *error)
{
	const uint64_t never = UINT64_C(1) << (SIGKILL - 1) | UINT64_C(1) << (SIGSTOP - 1);

	if (((c->blocked_signals | c->ignored_signals) & never) != 0)
		return error_set(error, TELEX_ERROR_USAGE,
		    "SIGKILL and SIGSTOP can be neither blocked nor ignored");
	if (c->set_umask && c->umask > 0777)
		return error_set(error, TELEX_ERROR_USAGE, "umask must be between 0 and 0777");
	if (request_check_nice(c->nice, error) < 0)
		return -1;
	r->spec.n_blocked_signals = signal_list(r->blocked, c->blocked_signals);
	r->spec.blocked_signals = r->blocked;
	r->spec.n_ignored_signals = signal_list(r->ignored, c->ignored_signals);
	r->spec.ignored_signals = r->ignored;
	r->spec.nice = c->nice;
	r->spec.clean_environment = c->clean_env;
	r->spec.no_new_privileges = c->no_new_privs;
	telex__v1__umask__init(&r->mask);
	r->mask.mask = c->umask;
	if (c->set_umask)
		r->spec.umask = &r->mask;
	return 0;
}

int spec_request(struct spec_request *r, const struct telex_command *c, struct telex_error *error)
{
	memset(r, 0, sizeof(*r));
	telex__v1__process_spec__init(&r->spec);
	if (set_argv(r, c, error) < 0 || set_env(r, c, error) < 0 || set_limits(r, c, error) < 0 ||
	    set_terminal(r, c, error) < 0 || set_policy(r, c, error) < 0 ||
	    set_output(r, c, error) < 0 || set_group(r, c, error) < 0 ||
	    set_inherited(r, c, error) < 0)
		return -1;
	if (c->directory != NULL)
		r->spec.working_directory = request_bytes(c->directory, strlen(c->directory));
	if (c->user != NULL)
		r->spec.user = request_text(c->user);
	return 0;
}

void spec_request_free(struct spec_request *r)
{
	free(r->argv);
	free(r->env);
	free(r->env_list);
	request_limits_free(&r->limits);
}
