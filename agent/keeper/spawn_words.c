/* SPDX-License-Identifier: Apache-2.0 */
/* What went wrong with a start, in a sentence for the one who asked for it. */
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/keeper/spawn_internal.h"
#include "common/job_spec.h"
#include "common/keeper_msg.h"

/* The kernel's: for all strings and pointers a quarter of the stack, within these; and for one
 * string 32 pages. */
#define STRINGS_MIN  ((size_t)128 * 1024)
#define STRINGS_MAX  ((size_t)6 * 1024 * 1024)
#define STRING_PAGES 32

static size_t strings_limit(const struct spawn_plan *p)
{
	struct rlimit stack = {RLIM_INFINITY, RLIM_INFINITY};
	size_t limit;

	(void)getrlimit(RLIMIT_STACK, &stack);
	for (size_t i = 0; i < p->n_rlimits; i++)
		if (p->rlimits[i].resource == RLIMIT_STACK)
			stack = p->rlimits[i].value;
	limit = stack.rlim_cur / 4 > STRINGS_MAX ? STRINGS_MAX : (size_t)(stack.rlim_cur / 4);
	return limit < STRINGS_MIN ? STRINGS_MIN : limit;
}

/* Their bytes as the kernel counts them, and the index of the longest. */
static size_t measure(char *const *strings, size_t *longest, size_t *longest_len)
{
	size_t total = sizeof(char *);

	*longest = *longest_len = 0;
	for (size_t i = 0; strings[i] != NULL; i++) {
		size_t len = strlen(strings[i]) + 1;

		if (len > *longest_len) {
			*longest = i;
			*longest_len = len;
		}
		total += len + sizeof(char *);
	}
	return total;
}

/* E2BIG: which of the two it is, and how far over. */
static void describe_too_big(const struct spawn_plan *p, char *text, size_t size)
{
	const size_t one = (size_t)sysconf(_SC_PAGESIZE) * STRING_PAGES;
	size_t arg, arg_len, var, var_len;
	size_t args = measure(p->argv, &arg, &arg_len);
	size_t env = measure(p->envp, &var, &var_len);

	if (arg_len > one)
		snprintf(text, size,
		    "argument %zu has %zu bytes; the kernel takes %zu at most in one", arg,
		    arg_len - 1, one - 1);
	else if (var_len > one)
		snprintf(text, size,
		    "the environment's variable %.*s has %zu bytes; the kernel takes %zu at most "
		    "in one",
		    (int)strcspn(p->envp[var], "=") < 64 ? (int)strcspn(p->envp[var], "=") : 64,
		    p->envp[var], var_len - 1, one - 1);
	else
		snprintf(text, size,
		    "the %s too long: %zu bytes of arguments and %zu of environment; the kernel "
		    "takes %zu in all",
		    args > env ? "arguments are" : "environment is", args, env, strings_limit(p));
}

static void describe_exec(const struct spawn_plan *p, const char *error, struct spawn_failure *why)
{
	if (why->sys_errno == E2BIG) {
		describe_too_big(p, why->text, sizeof(why->text));
		return;
	}
	snprintf(why->text, sizeof(why->text), "%s: %s", p->file != NULL ? p->file : p->argv[0],
	    why->sys_errno == ENOENT && strchr(p->argv[0], '/') == NULL ? "command not found"
	                                                                : error);
}

static const char *limit_text(char *out, size_t size, rlim_t value)
{
	if (value == RLIM_INFINITY)
		snprintf(out, size, "unlimited");
	else
		snprintf(out, size, "%llu", (unsigned long long)value);
	return out;
}

/* " to 100000: Operation not permitted; the agent itself has 1024". */
static void describe_value(
    const struct spawn_plan *p, int resource, const char *error, char *out, size_t size)
{
	char wanted[24] = "", most[24];
	struct rlimit own;
	bool above = false;

	for (size_t i = 0; i < p->n_rlimits; i++) {
		if (p->rlimits[i].resource != (unsigned)resource)
			continue;
		limit_text(wanted, sizeof(wanted), p->rlimits[i].value.rlim_max);
		above = getrlimit((__rlimit_resource_t)resource, &own) == 0 &&
		        p->rlimits[i].value.rlim_max > own.rlim_max;
	}
	if (above)
		snprintf(out, size, "%s%s: %s; the agent itself has %s%s", wanted[0] ? " to " : "",
		    wanted, error, limit_text(most, sizeof(most), own.rlim_max),
		    resource == RLIMIT_NOFILE ? ", and the kernel allows fs.nr_open at most" : "");
	else
		snprintf(out, size, "%s%s: %s", wanted[0] ? " to " : "", wanted, error);
}

static void describe_limit(
    const struct spawn_plan *p, int what, const char *error, struct spawn_failure *why)
{
	const char *name = what >= 0 ? job_rlimit_name(what) : NULL;
	char value[160];

	if (what == SPAWN_NICE) {
		snprintf(why->text, sizeof(why->text), "cannot set the nice value %d: %s", p->nice,
		    why->sys_errno == EACCES || why->sys_errno == EPERM
		        ? "the agent lacks the privilege (CAP_SYS_NICE)"
		        : error);
		return;
	}
	describe_value(p, what, error, value, sizeof(value));
	snprintf(why->text, sizeof(why->text), "cannot set the limit %s%s",
	    name != NULL ? name : "asked for", value);
}

void spawn_describe(
    const struct spawn_plan *p, const struct spawn_report *r, struct spawn_failure *why)
{
	const char *error = strerror(why->sys_errno);

	switch (why->stage) {
	case KM_STAGE_CHDIR:
		snprintf(why->text, sizeof(why->text), "working folder %s: %s",
		    p->cwd != NULL ? p->cwd : "/", error);
		break;
	case KM_STAGE_EXEC:
		describe_exec(p, error, why);
		break;
	case KM_STAGE_USER:
		if (r->what == SPAWN_PRIVILEGES)
			snprintf(why->text, sizeof(why->text), "cannot forbid new privileges: %s",
			    error);
		else
			snprintf(why->text, sizeof(why->text), "cannot become user %u: %s",
			    (unsigned)p->uid, error);
		break;
	case KM_STAGE_CGROUP:
		snprintf(why->text, sizeof(why->text), "cannot join its control group: %s", error);
		break;
	case KM_STAGE_LIMITS:
		describe_limit(p, r->what, error, why);
		break;
	default:
		snprintf(why->text, sizeof(why->text), "cannot %s: %s",
		    r->what == SPAWN_TERMINAL ? "take its terminal" : "make a process", error);
		break;
	}
}
