/* SPDX-License-Identifier: Apache-2.0 */
/* The options of `telex run`. What can be checked here is checked here: a typing error should not
 * need a connection. */
#include "cli/run_options.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "cli/forward.h"
#include "cli/values.h"
#include "common/duration.h"
#include "common/job_spec.h"
#include "common/mem.h"
#include "common/signame.h"

/* 0 is libtelex's word for "the default". */
#define AT_ONCE (-1)

enum {
	OPT_TIMEOUT = 256,
	OPT_SIGNAL,
	OPT_GRACE,
	OPT_DISCONNECT,
	OPT_LIMIT,
	OPT_ID,
	OPT_CLEAN_ENV,
	OPT_UMASK,
	OPT_NICE,
	OPT_NO_NEW_PRIVS,
	OPT_BLOCK,
	OPT_IGNORE,
	OPT_BUFFER,
	OPT_POLICY,
	OPT_SPOOL,
	OPT_KEEP,
	OPT_FORWARD,
	OPT_NO_FORWARD,
	OPT_GROUP,
	OPT_GROUP_MAX
};

const struct options_spec run_options_specs[] = {
    {'i', 'i', "stdin", false},
    {'n', 'n', "no-stdin", false},
    {'t', 't', "tty", false},
    {'d', 'd', "detach", false},
    {'e', 'e', "env", true},
    {'C', 'C', "directory", true},
    {'u', 'u', "user", true},
    {OPT_TIMEOUT, '\0', "timeout", true},
    {OPT_SIGNAL, '\0', "signal", true},
    {OPT_GRACE, '\0', "grace", true},
    {OPT_DISCONNECT, '\0', "on-disconnect", true},
    {OPT_LIMIT, '\0', "limit", true},
    {OPT_ID, '\0', "id", true},
    {OPT_CLEAN_ENV, '\0', "clean-env", false},
    {OPT_UMASK, '\0', "umask", true},
    {OPT_NICE, '\0', "nice", true},
    {OPT_NO_NEW_PRIVS, '\0', "no-new-privs", false},
    {OPT_BLOCK, '\0', "block-signal", true},
    {OPT_IGNORE, '\0', "ignore-signal", true},
    {OPT_BUFFER, '\0', "output-buffer", true},
    {OPT_POLICY, '\0', "output-policy", true},
    {OPT_SPOOL, '\0', "spool", true},
    {OPT_KEEP, '\0', "keep", true},
    {OPT_FORWARD, '\0', "forward", true},
    {OPT_NO_FORWARD, '\0', "no-forward", false},
    {OPT_GROUP, '\0', "group", true},
    {OPT_GROUP_MAX, '\0', "group-max", true},
    {0},
};

int run_options_disconnect(
    const char *text, enum telex_disconnect *action, int64_t *wait_ms, struct err *e)
{
	*wait_ms = 0;
	if (strcmp(text, "keep") == 0)
		*action = TELEX_DISCONNECT_KEEP;
	else if (strcmp(text, "kill") == 0)
		*action = TELEX_DISCONNECT_KILL;
	else if (strcmp(text, "hangup") == 0)
		*action = TELEX_DISCONNECT_HANGUP;
	else if (strncmp(text, "hangup:", 7) == 0) {
		int r = values_duration(text + 7, wait_ms, e);

		*action = TELEX_DISCONNECT_HANGUP;
		if (r == 0 && *wait_ms == 0)
			*wait_ms = AT_ONCE;
		return r;
	} else
		return err_set(e, TX_EINVAL,
		    "'%s' is not a disconnect policy: keep, kill, hangup or hangup:TIME", text);
	return 0;
}

static int add_env(struct run_options *o, const char *text, struct err *e)
{
	const char *equals = strchr(text, '='), *value;

	if (!text[0] || equals == text)
		return err_set(e, TX_EINVAL,
		    "'%s' names no variable; write NAME=VALUE, or NAME to "
		    "take it from here",
		    text);
	value = equals ? NULL : getenv(text);
	if (!equals && !value)
		return err_set(
		    e, TX_EINVAL, "variable '%s' is not set here; write %s=VALUE", text, text);
	o->env = xreallocarray(o->env, o->n_env + 2, sizeof(*o->env));
	o->env[o->n_env++] = equals ? xstrdup(text) : xasprintf("%s=%s", text, value);
	o->env[o->n_env] = NULL;
	o->command.env = (const char *const *)o->env;
	return 0;
}

static bool has_env(const struct run_options *o, const char *name)
{
	const size_t len = strlen(name);

	for (size_t i = 0; i < o->n_env; i++)
		if (strncmp(o->env[i], name, len) == 0 && o->env[i][len] == '=')
			return true;
	return false;
}

/* A program on a terminal asks what kind it is: the one here. */
static void add_terminal_env(struct run_options *o)
{
	static const char *const names[] = {"TERM", "COLORTERM"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		const char *value = getenv(names[i]);

		if (value && value[0] && !has_env(o, names[i]))
			add_env(o, names[i], NULL);
	}
}

static int set_time(struct run_options *o, int id, const char *value, struct err *e)
{
	struct telex_command *c = &o->command;
	int64_t ms;
	int r;

	if ((r = values_duration(value, &ms, e)) < 0)
		return r;
	if (id == OPT_TIMEOUT && ms == 0)
		return err_set(e, TX_EINVAL, "it must be more than 0");
	if (id == OPT_KEEP &&
	    (ms < JOB_KEEP_MIN_NS / NS_PER_MS || ms > JOB_KEEP_MAX_NS / NS_PER_MS))
		return err_set(e, TX_EINVAL, "it must be 1s to 30d");
	if (id == OPT_TIMEOUT)
		c->run_timeout_ms = ms;
	else if (id == OPT_KEEP)
		c->keep_ms = ms;
	else
		c->stop_grace_ms = ms ? ms : AT_ONCE;
	return 0;
}

static int set_policy(struct telex_command *c, const char *value, struct err *e)
{
	if (strcmp(value, "block") == 0)
		c->output_policy = TELEX_OUTPUT_BLOCK;
	else if (strcmp(value, "drop-oldest") == 0)
		c->output_policy = TELEX_OUTPUT_DROP_OLDEST;
	else
		return err_set(
		    e, TX_EINVAL, "'%s' is not an output policy: block or drop-oldest", value);
	return 0;
}

static int set_mask(uint64_t *mask, const char *value, struct err *e)
{
	uint64_t more;
	int r = values_signals(value, &more, e);

	if (r < 0)
		return r;
	if (more & (VALUES_SIGNAL_BIT(SIGKILL) | VALUES_SIGNAL_BIT(SIGSTOP)))
		return err_set(e, TX_EINVAL, "nobody can block or ignore SIGKILL and SIGSTOP");
	*mask |= more;
	return 0;
}

static int set_forward(struct run_options *o, const char *value, struct err *e)
{
	uint64_t mask;
	int r = values_signals(value, &mask, e);
	char name[24];

	if (r < 0)
		return r;
	for (int signo = 1; signo <= 64; signo++)
		if (mask & ~FORWARD_POSSIBLE & VALUES_SIGNAL_BIT(signo))
			return err_set(e, TX_EINVAL, "%s cannot be forwarded",
			    signame_format(name, sizeof(name), signo));
	o->forward = mask;
	return 0;
}

/* What the process is. */
static int apply_process(struct run_options *o, int id, const char *value, struct err *e)
{
	struct telex_command *c = &o->command;
	int64_t n;
	int r;

	switch (id) {
	case 'e':
		return add_env(o, value, e);
	case 'C':
		c->directory = value;
		return value[0] == '/'
		           ? 0
		           : err_set(e, TX_EINVAL,
		                 "'%s': the folder is the agent's and must begin with '/'", value);
	case 'u':
		c->user = value;
		return value[0] ? 0 : err_set(e, TX_EINVAL, "the name is empty");
	case OPT_CLEAN_ENV:
		c->clean_env = true;
		return 0;
	case OPT_NO_NEW_PRIVS:
		c->no_new_privs = true;
		return 0;
	case OPT_UMASK:
		c->set_umask = true;
		return values_umask(value, &c->umask, e);
	case OPT_NICE:
		if ((r = values_number(value, -20, 19, &n, e)) == 0)
			c->nice = (int)n;
		return r;
	case OPT_BLOCK:
		return set_mask(&c->blocked_signals, value, e);
	case OPT_IGNORE:
		return set_mask(&c->ignored_signals, value, e);
	case OPT_LIMIT:
		return limits_add(&o->limits, value, e);
	}
	return TX_ENOENT;
}

/* How the agent deals with it. */
static int apply_care(struct run_options *o, int id, const char *value, struct err *e)
{
	struct telex_command *c = &o->command;
	int64_t n;
	int r;

	switch (id) {
	case OPT_TIMEOUT:
	case OPT_GRACE:
	case OPT_KEEP:
		return set_time(o, id, value, e);
	case OPT_SIGNAL:
		return values_signal(value, &c->stop_signal, e);
	case OPT_DISCONNECT:
		return run_options_disconnect(value, &c->on_disconnect, &c->disconnect_wait_ms, e);
	case OPT_BUFFER:
		return values_size(value, &c->output_buffer, e);
	case OPT_SPOOL:
		return values_size(value, &c->spool_bytes, e);
	case OPT_POLICY:
		return set_policy(c, value, e);
	case OPT_ID:
		c->process_id = value;
		return options_check_id(value, e);
	case OPT_GROUP:
		c->group = value;
		return options_check_id(value, e);
	case OPT_GROUP_MAX:
		if ((r = values_number(value, 1, UINT32_MAX, &n, e)) == 0)
			c->group_max = (uint32_t)n;
		return r;
	}
	return TX_ENOENT;
}

static int apply(struct run_options *o, int id, const char *value, struct err *e)
{
	int r;

	switch (id) {
	case 'i':
		o->stdin_mode = RUN_STDIN_ALWAYS;
		return 0;
	case 'n':
		o->stdin_mode = RUN_STDIN_NEVER;
		return 0;
	case 't':
		o->terminal = true;
		return 0;
	case 'd':
		o->detach = true;
		return 0;
	case OPT_NO_FORWARD:
		o->forward = 0;
		return 0;
	case OPT_FORWARD:
		return set_forward(o, value, e);
	}
	r = apply_process(o, id, value, e);
	return r == TX_ENOENT ? apply_care(o, id, value, e) : r;
}

/* What only all of them together tell. 0, or -1 and it was said. */
static int check_whole(struct run_options *o)
{
	struct options *p = &o->options;

	if (p->n_operands == 0)
		options_usage(p, "no command was given; write `telex run -- COMMAND`");
	else if (!p->operands[0][0])
		options_usage(p, "the command's name is empty");
	else if (o->command.group_max && !o->command.group)
		options_usage(p, "--group-max needs --group NAME");
	else
		return 0;
	return -1;
}

static void complete(struct run_options *o)
{
	struct telex_command *c = &o->command;

	c->argv = o->options.operands;
	c->limits = o->limits.rlimits;
	c->n_limits = o->limits.n_rlimits;
	c->memory_bytes = o->limits.memory_bytes;
	c->max_pids = o->limits.max_pids;
	c->cpu_millis = o->limits.cpu_millis;
	if (o->terminal)
		add_terminal_env(o);
}

int run_options_parse(struct run_options *o, struct cli *cli, const struct cli_verb *verb, int argc,
    char **argv, int *status)
{
	struct err e;
	const char *value;
	int id;

	*o = (struct run_options){.forward = FORWARD_DEFAULT};
	options_start(&o->options, cli, verb, run_options_specs, argc, argv);
	o->options.stop_at_operand = true;
	while ((id = options_next(&o->options, &value)) > 0)
		if (apply(o, id, value, &e) < 0) {
			*status = options_wrong(&o->options, id, &e);
			return -1;
		}
	if (id == 0 && check_whole(o) < 0)
		id = -1;
	*status = o->options.status;
	if (id < 0)
		return -1;
	complete(o);
	return 0;
}

void run_options_free(struct run_options *o)
{
	options_end(&o->options);
	for (size_t i = 0; i < o->n_env; i++)
		free(o->env[i]);
	free(o->env);
	limits_clear(&o->limits);
}
