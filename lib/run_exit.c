/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/run_exit.h"

#include <stdlib.h>
#include <string.h>

static size_t size_of(const char *s)
{
	return s != NULL ? strlen(s) + 1 : 0;
}

static const char *put(char **to, const char *s)
{
	char *at = *to;

	if (s == NULL)
		return NULL;
	*to += strlen(s) + 1;
	return memcpy(at, s, strlen(s) + 1);
}

struct run_exit *run_exit_copy(const struct telex_exit *exit)
{
	struct run_exit *out =
	    malloc(sizeof(*out) + size_of(exit->signal_name) + size_of(exit->ended_by) +
	           size_of(exit->unknown_why) + size_of(exit->stage));
	char *to;

	if (out == NULL)
		return NULL;
	out->exit = *exit;
	to = out->text;
	out->exit.signal_name = put(&to, exit->signal_name);
	out->exit.ended_by = put(&to, exit->ended_by);
	out->exit.unknown_why = put(&to, exit->unknown_why);
	out->exit.stage = put(&to, exit->stage);
	return out;
}
