/* SPDX-License-Identifier: Apache-2.0 */
/* The options of `telex run`. What can be checked here is checked here: a typing error should not
 * need a connection. */
#include "cli/run_options.h"

#include <stdlib.h>
#include <string.h>

#include "common/duration.h"
#include "common/job_spec.h"
#include "common/mem.h"
#include "common/nearest.h"
#include "common/signame.h"

/* 0 is libtelex's word for "the default". */
#define AT_ONCE (-1)

enum { OPT_TIMEOUT = 256, OPT_SIGNAL, OPT_GRACE, OPT_DISCONNECT, OPT_LIMIT, OPT_ID };

static const struct options_spec specs[] = {
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
    {0},
};

/* As prlimit(1) has them; "cpu" is kept for the share of processors that a control group gives. */
static const char *const limit_names[] = {"as", "core", "data", "fsize", "locks", "memlock",
    "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio", "rttime", "sigpending", "stack"};
#define LIMIT_NAMES (sizeof(limit_names) / sizeof(limit_names[0]))

int run_options_duration(const char *text, int64_t *ms, struct err *e)
{
	int64_t ns;
	int r = duration_parse(text, &ns);

	if (r == TX_ETOOBIG)
		return err_set(e, r, "'%s' is too long a time", text);
	if (r < 0)
		return err_set(
		    e, TX_EINVAL, "'%s' is not a time; write 90, 1.5s, 250ms, 5m or 1h30m", text);
	*ms = ns / NS_PER_MS + (ns % NS_PER_MS != 0);
	return 0;
}

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
		int r = run_options_duration(text + 7, wait_ms, e);

		*action = TELEX_DISCONNECT_HANGUP;
		if (r == 0 && *wait_ms == 0)
			*wait_ms = AT_ONCE;
		return r;
	} else
		return err_set(e, TX_EINVAL,
		    "'%s' is not a disconnect policy: keep, kill, hangup or hangup:TIME", text);
	return 0;
}

/* "1024", "64K", "2G", "unlimited". */
static int limit_value(const char *text, size_t len, uint64_t *value, struct err *e)
{
	static const char suffixes[] = "KMGT";
	const char *suffix;
	uint64_t v = 0;
	size_t i;

	if (len == 9 && memcmp(text, "unlimited", 9) == 0) {
		*value = UINT64_MAX;
		return 0;
	}
	for (i = 0; i < len && text[i] >= '0' && text[i] <= '9'; i++)
		if (__builtin_mul_overflow(v, 10u, &v) ||
		    __builtin_add_overflow(v, (uint64_t)(text[i] - '0'), &v))
			goto too_big;
	suffix = i + 1 == len ? strchr(suffixes, text[i]) : NULL;
	if (i == 0 || (i < len && (!suffix || !*suffix)))
		return err_set(e, TX_EINVAL,
		    "'%.*s' is not a limit's value: a number with K, M, G or T after it, or "
		    "unlimited",
		    (int)len, text);
	for (ptrdiff_t times = suffix ? suffix - suffixes + 1 : 0; times > 0; times--)
		if (__builtin_mul_overflow(v, 1024u, &v))
			goto too_big;
	if (v == UINT64_MAX)
		goto too_big;
	*value = v;
	return 0;
too_big:
	return err_set(
	    e, TX_EINVAL, "'%.*s' is too large for a limit; write unlimited", (int)len, text);
}

static int limit_name(const char *text, size_t len, const char **name, struct err *e)
{
	static const char *const cgroup[] = {"memory", "cpu", "pids"};
	char *word = xmemdup0(text, len);
	const char *near;
	int r = 0;

	for (size_t i = 0; i < sizeof(cgroup) / sizeof(cgroup[0]); i++)
		if (strcmp(word, cgroup[i]) == 0)
			r = err_set(e, TX_EUNSUPPORTED,
			    "limit '%s' needs control group support, which this version does not "
			    "have",
			    word);
	*name = NULL;
	for (size_t i = 0; r == 0 && i < LIMIT_NAMES; i++)
		if (strcmp(word, limit_names[i]) == 0)
			*name = limit_names[i];
	if (r == 0 && !*name) {
		near = nearest_word(word, limit_names, LIMIT_NAMES);
		if (near)
			r = err_set(
			    e, TX_EINVAL, "unknown limit '%s'; did you mean '%s'?", word, near);
		else
			r = err_set(e, TX_EINVAL,
			    "unknown limit '%s'; the limits are those of prlimit(1), as nofile or "
			    "as",
			    word);
	}
	free(word);
	return r;
}

int run_options_limit(const char *text, struct telex_limit *limit, struct err *e)
{
	const char *equals = strchr(text, '='), *colon;
	struct telex_limit l;
	int r;

	if (!equals)
		return err_set(e, TX_EINVAL,
		    "'%s' is not a limit; write NAME=VALUE or "
		    "NAME=SOFT:HARD, as nofile=1024",
		    text);
	if ((r = limit_name(text, (size_t)(equals - text), &l.name, e)) < 0)
		return r;
	colon = strchr(equals, ':');
	r = limit_value(
	    equals + 1, colon ? (size_t)(colon - equals - 1) : strlen(equals + 1), &l.soft, e);
	l.hard = l.soft;
	if (r == 0 && colon)
		r = limit_value(colon + 1, strlen(colon + 1), &l.hard, e);
	if (r == 0 && l.soft > l.hard)
		r = err_set(
		    e, TX_EINVAL, "'%s': the first value must not be above the second", text);
	if (r == 0)
		*limit = l;
	return r;
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

static int add_limit(struct run_options *o, const char *text, struct err *e)
{
	size_t n = o->command.n_limits;

	o->limits = xreallocarray(o->limits, n + 1, sizeof(*o->limits));
	o->command.limits = o->limits;
	if (run_options_limit(text, &o->limits[n], e) < 0)
		return -1;
	for (size_t i = 0; i < n; i++)
		if (strcmp(o->limits[i].name, o->limits[n].name) == 0)
			return err_set(
			    e, TX_EINVAL, "limit '%s' is given twice", o->limits[n].name);
	o->command.n_limits++;
	return 0;
}

static int set_signal(struct run_options *o, const char *text, struct err *e)
{
	int signo = signame_parse(text);

	if (signo < 0)
		return err_set(
		    e, TX_EINVAL, "'%s' is not a signal; write TERM, SIGINT or 15", text);
	o->command.stop_signal = signo;
	return 0;
}

static int apply_time(struct run_options *o, int id, const char *value, struct err *e)
{
	int64_t ms;

	if (run_options_duration(value, &ms, e) < 0)
		return err_wrap(e, id == OPT_TIMEOUT ? "--timeout" : "--grace");
	if (id == OPT_TIMEOUT && ms == 0)
		return err_set(e, TX_EINVAL, "--timeout: it must be more than 0");
	if (id == OPT_TIMEOUT)
		o->command.run_timeout_ms = ms;
	else
		o->command.stop_grace_ms = ms ? ms : AT_ONCE;
	return 0;
}

static int apply(struct run_options *o, int id, const char *value, struct err *e)
{
	struct telex_command *c = &o->command;

	switch (id) {
	case 'i':
		o->stdin_mode = RUN_STDIN_ALWAYS;
		return 0;
	case 'n':
		o->stdin_mode = RUN_STDIN_NEVER;
		return 0;
	case 't':
		return err_set(e, TX_EUNSUPPORTED, "-t (a terminal) comes with the next version");
	case 'd':
		return err_set(e, TX_EUNSUPPORTED, "-d (detach) comes with the next version");
	case 'e':
		return add_env(o, value, e);
	case 'C':
		c->directory = value;
		return value[0] == '/'
		           ? 0
		           : err_set(e, TX_EINVAL,
		                 "-C '%s': the folder is the agent's and must begin with '/'",
		                 value);
	case 'u':
		c->user = value;
		return value[0] ? 0 : err_set(e, TX_EINVAL, "--user: the name is empty");
	case OPT_TIMEOUT:
	case OPT_GRACE:
		return apply_time(o, id, value, e);
	case OPT_SIGNAL:
		return set_signal(o, value, e);
	case OPT_DISCONNECT:
		return run_options_disconnect(value, &c->on_disconnect, &c->disconnect_wait_ms, e);
	case OPT_LIMIT:
		return add_limit(o, value, e);
	case OPT_ID:
		c->process_id = value;
		return job_id_valid(value, strlen(value))
		           ? 0
		           : err_set(e, TX_EINVAL,
		                 "--id '%s': 1 to 64 letters, digits, '.', '_' or '-', not "
		                 "beginning with '.' or "
		                 "'-'",
		                 value);
	}
	return err_set(e, TX_EINVAL, "option %d", id);
}

int run_options_parse(struct run_options *o, struct cli *cli, const struct cli_verb *verb, int argc,
    char **argv, int *status)
{
	struct err e;
	const char *value;
	int id;

	*o = (struct run_options){0};
	options_start(&o->options, cli, verb, specs, argc, argv);
	o->options.stop_at_operand = true;
	while ((id = options_next(&o->options, &value)) > 0)
		if (apply(o, id, value, &e) < 0) {
			*status = options_usage(&o->options, "%s", e.message);
			return -1;
		}
	*status = o->options.status;
	if (id < 0)
		return -1;
	if (o->options.n_operands == 0) {
		*status = options_usage(
		    &o->options, "no command was given; write `telex run -- COMMAND`");
		return -1;
	}
	if (!o->options.operands[0][0]) {
		*status = options_usage(&o->options, "the command's name is empty");
		return -1;
	}
	o->command.argv = o->options.operands;
	return 0;
}

void run_options_free(struct run_options *o)
{
	options_end(&o->options);
	for (size_t i = 0; i < o->n_env; i++)
		free(o->env[i]);
	free(o->env);
	free(o->limits);
}
