/* SPDX-License-Identifier: Apache-2.0 */
/* Limits, as they are written on the command line. */
#include "cli/limits.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "cli/values.h"
#include "common/job_spec.h"
#include "common/mem.h"
#include "common/nearest.h"

/* The first three are of the control group. */
static const char *const names[] = {"memory", "cpu", "pids", "as", "core", "cputime", "data",
    "fsize", "locks", "memlock", "msgqueue", "nice", "nofile", "nproc", "rss", "rtprio", "rttime",
    "sigpending", "stack"};
enum { MEMORY, CPU, PIDS, CONTROL, NAMES = sizeof(names) / sizeof(names[0]) };

/* The first name that begins so; or NULL. */
static const char *begun_name(const char *word)
{
	for (size_t i = 0; i < NAMES && strlen(word) > 1; i++)
		if (strncmp(names[i], word, strlen(word)) == 0)
			return names[i];
	return NULL;
}

static int find_name(const char *word, size_t *name, struct err *e)
{
	const char *near;

	for (*name = 0; *name < NAMES; ++*name)
		if (strcmp(word, names[*name]) == 0)
			return 0;
	near = begun_name(word);
	if (!near)
		near = nearest_word(word, names, NAMES);
	if (near)
		return err_set(e, TX_EINVAL, "unknown limit '%s'; did you mean '%s'?", word, near);
	return err_set(e, TX_EINVAL,
	    "unknown limit '%s'; the limits are memory, cpu, pids and those of prlimit(1), as "
	    "nofile",
	    word);
}

/* A resource limit may be 0, and unlimited. */
static int rlimit_value(const char *text, uint64_t *value, struct err *e)
{
	if (strcmp(text, "unlimited") == 0)
		*value = UINT64_MAX;
	else if (text[0] && strspn(text, "0") == strlen(text))
		*value = 0;
	else if (values_size(text, value, e) < 0)
		return err_set(e, TX_EINVAL,
		    "'%s' is not a limit's value: a number with K, M, G or T after it, or "
		    "unlimited",
		    text);
	return 0;
}

static int add_rlimit(struct limits *l, const char *name, char *value, struct err *e)
{
	struct telex_limit limit = {.name = strcmp(name, "cputime") == 0 ? "cpu" : name};
	char *colon = strchr(value, ':');
	int r;

	for (size_t i = 0; i < l->n_rlimits; i++)
		if (strcmp(l->rlimits[i].name, limit.name) == 0)
			return err_set(e, TX_EINVAL, "limit '%s' is given twice", name);
	if (colon)
		*colon = '\0';
	if ((r = rlimit_value(value, &limit.soft, e)) < 0)
		return r;
	limit.hard = limit.soft;
	if (colon && (r = rlimit_value(colon + 1, &limit.hard, e)) < 0)
		return r;
	if (limit.soft > limit.hard)
		return err_set(
		    e, TX_EINVAL, "limit '%s': the first value must not be above the second", name);
	l->rlimits = xreallocarray(l->rlimits, l->n_rlimits + 1, sizeof(*l->rlimits));
	l->rlimits[l->n_rlimits++] = limit;
	return 0;
}

/* "1.5" -> 1500; at most three decimals. */
static int cpu_millis(const char *text, uint32_t *millis, struct err *e)
{
	const size_t whole = strspn(text, "0123456789");
	const char *point = text[whole] == '.' ? text + whole + 1 : NULL;
	const size_t decimals = point ? strspn(point, "0123456789") : 0;
	char digits[12] = "";

	if (whole == 0 || whole > 6 || (point ? point[decimals] || decimals == 0 : text[whole]) ||
	    decimals > 3)
		return err_set(
		    e, TX_EINVAL, "'%s' is not a number of processors; write 2, 1.5 or 0.25", text);
	memcpy(digits, text, whole);
	memcpy(digits + whole, "000", 3);
	if (point)
		memcpy(digits + whole, point, decimals);
	*millis = (uint32_t)strtoul(digits, NULL, 10);
	return *millis >= JOB_CPU_MILLIS_MIN
	           ? 0
	           : err_set(e, TX_EINVAL, "limit 'cpu' must be 0.01 or more");
}

static int add_control(struct limits *l, size_t name, const char *value, struct err *e)
{
	const bool twice[] = {l->memory_bytes != 0, l->cpu_millis != 0, l->max_pids != 0};
	int64_t pids;

	if (twice[name])
		return err_set(e, TX_EINVAL, "limit '%s' is given twice", names[name]);
	if (name == CPU)
		return cpu_millis(value, &l->cpu_millis, e);
	if (name == PIDS) {
		if (values_number(value, 1, INT32_MAX, &pids, e) < 0)
			return err_wrap(e, "limit 'pids'");
		l->max_pids = (uint64_t)pids;
		return 0;
	}
	if (values_size(value, &l->memory_bytes, e) < 0)
		return err_wrap(e, "limit 'memory'");
	if (l->memory_bytes < JOB_MEMORY_MIN)
		return err_set(e, TX_EINVAL, "limit 'memory' must be 1M or more");
	return 0;
}

int limits_add(struct limits *l, const char *text, struct err *e)
{
	char *word = xstrdup(text), *value = strchr(word, '=');
	size_t name = 0;
	int r;

	if (!value) {
		r = err_set(e, TX_EINVAL,
		    "'%s' is not a limit; write NAME=VALUE or NAME=SOFT:HARD, as nofile=1024",
		    text);
	} else {
		*value++ = '\0';
		r = find_name(word, &name, e);
	}
	if (r == 0 && name < CONTROL)
		r = add_control(l, name, value, e);
	else if (r == 0)
		r = add_rlimit(l, names[name], value, e);
	free(word);
	return r;
}

void limits_clear(struct limits *l)
{
	free(l->rlimits);
	*l = (struct limits){0};
}
