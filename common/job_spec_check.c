/* SPDX-License-Identifier: Apache-2.0 */
/* Whether the values of a spec whose structure is sound are allowed. */
#include <limits.h>
#include <signal.h>
#include <string.h>

#include "common/job_spec_internal.h"
#include "common/ring.h"

static int check_rlimits(const struct job_spec *s, struct err *e)
{
	uint32_t seen = 0;

	for (size_t i = 0; i < s->n_rlimits; i++) {
		const struct job_rlimit *l = &s->rlimits[i];
		const char *name = l->resource < 32 ? job_rlimit_name((int)l->resource) : NULL;

		if (l->at_most > 1)
			return err_set(e, TX_EPROTO, "a limit with unknown bits");
		if (name == NULL)
			return err_set(e, TX_EINVAL, "limit %u is unknown", l->resource);
		if ((seen & 1u << l->resource) != 0)
			return err_set(e, TX_EINVAL, "limit %s is given twice", name);
		if (l->soft > l->hard)
			return err_set(
			    e, TX_EINVAL, "limit %s: the soft limit is above the hard one", name);
		seen |= 1u << l->resource;
	}
	return 0;
}

/* "NAME" or "NAME:GROUP", nothing empty. An empty name must never come to mean root. */
static bool user_valid(const char *user)
{
	const char *colon = strchr(user, ':');

	if (colon == NULL)
		return user[0] != '\0';
	return colon != user && colon[1] != '\0' && strchr(colon + 1, ':') == NULL;
}

static int check_strings(const struct job_spec *s, struct err *e)
{
	if (s->argc + s->envc > JOB_STRINGS_MAX)
		return err_set(
		    e, TX_EINVAL, "more than %zu arguments and variables", JOB_STRINGS_MAX);
	if (s->argc == 0 || s->argv[0][0] == '\0')
		return err_set(e, TX_EINVAL, "no command");
	for (size_t i = 0; i < s->envc; i++) {
		if (s->env[i][0] == '=' || strchr(s->env[i], '=') == NULL)
			return err_set(e, TX_EINVAL,
			    "variable %zu of the environment is not NAME=VALUE", i + 1);
	}
	if (s->cwd != NULL && s->cwd[0] != '/')
		return err_set(e, TX_EINVAL, "the working folder is not an absolute path");
	if (s->cwd != NULL && strlen(s->cwd) >= PATH_MAX)
		return err_set(
		    e, TX_EINVAL, "the working folder is longer than %d bytes", PATH_MAX - 1);
	if (s->user != NULL && !user_valid(s->user))
		return err_set(e, TX_EINVAL, "the user is not NAME or NAME:GROUP");
	if (s->group != NULL && !job_id_valid(s->group, strlen(s->group)))
		return err_set(e, TX_EINVAL, "the group's name is not valid");
	return 0;
}

static int check_terminal(const struct job_spec *s, const struct job_spec_head *h, struct err *e)
{
	if (h->pad != 0)
		return err_set(e, TX_EPROTO, "a spec with unknown bits");
	if (s->terminal ? s->rows < 1 || s->rows > JOB_TERMINAL_MAX || s->columns < 1 ||
	                      s->columns > JOB_TERMINAL_MAX
	                : s->rows != 0 || s->columns != 0)
		return err_set(
		    e, TX_EINVAL, "a terminal of %u rows and %u columns", s->rows, s->columns);
	if (s->terminal && !s->stdin_pipe)
		return err_set(e, TX_EINVAL, "a terminal without stdin");
	return 0;
}

static int check_control(const struct job_spec *s, struct err *e)
{
	if (s->memory != 0 && s->memory < JOB_MEMORY_MIN)
		return err_set(e, TX_EINVAL, "a memory limit of less than 1 MiB");
	if (s->cpu_millis != 0 && s->cpu_millis < JOB_CPU_MILLIS_MIN)
		return err_set(
		    e, TX_EINVAL, "a cpu limit of less than %u/1000", JOB_CPU_MILLIS_MIN);
	if (s->group_max != 0 && s->group == NULL)
		return err_set(e, TX_EINVAL, "a group's maximum without a group");
	return 0;
}

static int check_start(const struct job_spec *s, const struct job_spec_head *h, struct err *e)
{
	const uint64_t never = UINT64_C(1) << (SIGKILL - 1) | UINT64_C(1) << (SIGSTOP - 1);

	if (s->umask > 0777)
		return err_set(e, TX_EINVAL, "umask %o is not in 0..0777", s->umask);
	if (h->nice < -20 || h->nice > 19)
		return err_set(e, TX_EINVAL, "nice %d is not in -20..19", h->nice);
	if (((s->blocked | s->ignored) & never) != 0)
		return err_set(
		    e, TX_EINVAL, "SIGKILL and SIGSTOP can be neither blocked nor ignored");
	if (h->output_policy != JOB_OUTPUT_BLOCK && h->output_policy != JOB_OUTPUT_DROP_OLDEST)
		return err_set(e, TX_EINVAL, "output policy %u is unknown", h->output_policy);
	if (s->keep_ns < JOB_KEEP_MIN_NS || s->keep_ns > JOB_KEEP_MAX_NS)
		return err_set(e, TX_EINVAL, "the time to keep is not between 1s and 30d");
	return 0;
}

static int check_numbers(const struct job_spec *s, const struct job_spec_head *h, struct err *e)
{
	if (s->run_timeout_ns < 0 || s->run_timeout_ns > JOB_RUN_TIMEOUT_MAX_NS)
		return err_set(e, TX_EINVAL, "the run timeout is not between 0 and 3650d");
	if (s->stop_signal < 1 || s->stop_signal > 64)
		return err_set(e, TX_EINVAL, "stop signal %d is not in 1..64", s->stop_signal);
	if (s->stop_grace_ns < 0 || s->stop_grace_ns > JOB_STOP_GRACE_MAX_NS)
		return err_set(e, TX_EINVAL, "the stop grace is not between 0 and 1h");
	if (h->disconnect < JOB_DISCONNECT_HANGUP || h->disconnect > JOB_DISCONNECT_KILL)
		return err_set(e, TX_EINVAL, "disconnect policy %u is unknown", h->disconnect);
	if (s->disconnect_wait_ns < 0 || s->disconnect_wait_ns > JOB_WAIT_MAX_NS)
		return err_set(e, TX_EINVAL, "the disconnect wait is not between 0 and 30d");
	if (s->output_buffer > RING_SIZE_MAX)
		return err_set(
		    e, TX_EINVAL, "an output buffer of more than %zu bytes", RING_SIZE_MAX);
	return 0;
}

int job_spec_check(const struct job_spec *s, const struct job_spec_head *h, struct err *e)
{
	int r = check_strings(s, e);

	if (r == 0)
		r = check_numbers(s, h, e);
	if (r == 0)
		r = check_terminal(s, h, e);
	if (r == 0)
		r = check_start(s, h, e);
	if (r == 0)
		r = check_control(s, e);
	if (r == 0)
		r = check_rlimits(s, e);
	return r;
}
