/* SPDX-License-Identifier: Apache-2.0 */
/* The table of verbs, in the order in which `telex help` shows them. */
#include "cli/verbs.h"

#include <string.h>

#include "cli/options.h"

const struct cli_verb *const cli_verbs[] = {&cmd_dev, &cmd_run, &cmd_attach, &cmd_logs, &cmd_wait,
    &cmd_ps, &cmd_inspect, &cmd_kill, &cmd_rm, &cmd_update, &cmd_put, &cmd_get, &cmd_sync, &cmd_fs,
    &cmd_watch, &cmd_info, &cmd_health, &cmd_context, &cmd_cert, &cmd_policy, &cmd_audit,
    &cmd_completion, &cmd_help, &cmd_version, NULL};

const struct cli_verb *verbs_find(const char *name)
{
	for (const struct cli_verb *const *v = cli_verbs; *v; v++)
		if (strcmp((*v)->name, name) == 0)
			return *v;
	return NULL;
}

const char *verbs_nearest(const char *name)
{
	const char *words[sizeof(cli_verbs) / sizeof(cli_verbs[0])];
	size_t n = 0;

	for (const struct cli_verb *const *v = cli_verbs; *v; v++)
		words[n++] = (*v)->name;
	return options_nearest(name, words, n);
}

void verbs_usage(FILE *to)
{
	fputs("Usage: telex [-w HOST] [--context NAME] [--json] [-q] [-v] VERB [OPTIONS] [ARGS]\n"
	      "\n"
	      "  telex dev --detach        start an agent on this machine\n"
	      "  telex run -- uname -a     run a command on it\n"
	      "  telex help                all verbs\n",
	    to);
}

void verbs_list(FILE *to)
{
	for (const struct cli_verb *const *v = cli_verbs; *v; v++)
		fprintf(to, "  %-10s %s\n", (*v)->name, (*v)->summary);
}
