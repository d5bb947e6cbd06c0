/* SPDX-License-Identifier: Apache-2.0 */
/* Nothing of the agent's own environment gets into a process's. */
#include "agent/keeper/environment.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/keeper/user.h"

static const char root_path[] = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
static const char user_path[] = "/usr/local/bin:/usr/bin:/bin";

static size_t name_length(const char *variable)
{
	return strcspn(variable, "=");
}

static int compare_names(const char *a, const char *b)
{
	size_t la = name_length(a), lb = name_length(b);
	int diff = memcmp(a, b, la < lb ? la : lb);

	return diff != 0 ? diff : la < lb ? -1 : la > lb;
}

/* Of pointers into the list: by name, and of one name in the list's order. */
static int compare_entries(const void *a, const void *b)
{
	char *const *x = *(char *const *const *)a;
	char *const *y = *(char *const *const *)b;
	int diff = compare_names(*x, *y);

	return diff != 0 ? diff : x < y ? -1 : x > y;
}

static bool is_named(const char *variable, const char *name)
{
	return name_length(variable) == strlen(name) && memcmp(variable, name, strlen(name)) == 0;
}

static bool named_in(const char *variable, char *const *list, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (compare_names(variable, list[i]) == 0)
			return true;
	return false;
}

/*
 * Appends to env[] what no later entry of the list overrides, in the list's order. By sorting: the
 * list is a peer's and may be long. 0 or TX_ENOMEM.
 */
static int put_extra(char **env, size_t *count, char *const *extra, size_t n)
{
	char *const **sorted = n > 0 ? reallocarray(NULL, n, sizeof(*sorted)) : NULL;
	bool *drop = n > 0 ? calloc(n, sizeof(*drop)) : NULL;
	int rc = n > 0 && (sorted == NULL || drop == NULL) ? TX_ENOMEM : 0;

	if (n == 0 || rc != 0)
		goto out;
	for (size_t i = 0; i < n; i++)
		sorted[i] = &extra[i];
	qsort(sorted, n, sizeof(*sorted), compare_entries);
	for (size_t i = 0; i + 1 < n; i++)
		drop[sorted[i] - extra] = compare_names(*sorted[i], *sorted[i + 1]) == 0;
	for (size_t i = 0; i < n; i++)
		if (!drop[i] && !is_named(extra[i], ENVIRONMENT_ID))
			env[(*count)++] = extra[i];
out:
	free(sorted);
	free(drop);
	return rc;
}

/* Appends "NAME=VALUE" at *text; returns the variable. */
static char *put_basic(char **text, const char *name, const char *value)
{
	char *variable = *text;
	size_t n = strlen(name), v = strlen(value);

	memcpy(variable, name, n);
	variable[n] = '=';
	memcpy(variable + n + 1, value, v + 1);
	*text = variable + n + v + 2;
	return variable;
}

const char *environment_path(const struct user *u)
{
	return u->uid == 0 ? root_path : user_path;
}

#define BASICS 6

char **environment_new(const struct environment_plan *plan)
{
	const struct user *u = plan->user;
	const char *const basic[BASICS][2] = {
	    {ENVIRONMENT_ID, plan->process_id},
	    {"HOME", u->home},
	    {"USER", u->name},
	    {"LOGNAME", u->name},
	    {"SHELL", u->shell},
	    {"PATH", environment_path(u)},
	};
	const size_t basics = plan->clean ? 1 : BASICS;
	size_t pointers = (plan->n_extra + BASICS + 1) * sizeof(char *);
	size_t texts = 0;
	size_t count = 0;
	char **env;
	char *text;

	for (size_t i = 0; i < basics; i++)
		texts += strlen(basic[i][0]) + strlen(basic[i][1]) + 2;
	env = malloc(pointers + texts);
	if (env == NULL)
		return NULL;
	text = (char *)env + pointers;
	for (size_t i = 0; i < basics; i++) {
		char *variable = put_basic(&text, basic[i][0], basic[i][1]);

		if (i == 0 || !named_in(variable, plan->extra, plan->n_extra))
			env[count++] = variable;
	}
	if (put_extra(env, &count, plan->extra, plan->n_extra) != 0) {
		free(env);
		return NULL;
	}
	env[count] = NULL;
	return env;
}
