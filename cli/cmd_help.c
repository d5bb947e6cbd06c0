/* SPDX-License-Identifier: Apache-2.0 */
/* `telex help [VERB]`: all verbs, or one verb's --help. */
#include <stdio.h>

#include "cli/options.h"
#include "cli/say.h"
#include "cli/verbs.h"

static const char before[] =
    "telex runs commands on other machines, over mutual TLS.\n"
    "\n"
    "Examples:\n"
    "  telex dev --detach                 an agent on this machine, to try it out\n"
    "  telex run -- uname -a              run a command\n"
    "  telex -w build7 run -- make        run it on another machine\n"
    "  tar c . | telex run -- tar x -C /srv/app\n"
    "  telex run -it -- bash              a terminal\n"
    "  telex run -d -- ./nightly          leave it running: attach, logs, wait, ps, kill, rm\n"
    "\n"
    "Usage: telex [GLOBAL OPTIONS] VERB [OPTIONS] [ARGS]\n"
    "\n"
    "Verbs (`telex help VERB` says more):\n";

static const char after[] =
    "\n"
    "Global options, before or after the verb:\n"
    "  -w, --on HOST[:PORT]  the agent; else the context's host\n"
    "      --context NAME    certificates and host; else TELEX_CONTEXT, else the current context\n"
    "      --json            one JSON object, or one a line\n"
    "      --reconnect TIME  how long a lost connection is tried again: 60s; 0 not at all\n"
    "  -q, --quiet           less on stderr\n"
    "  -v, --verbose         more on stderr\n"
    "  -h, --help            this, or the verb's help\n"
    "  -V, --version         which version this is\n"
    "\n"
    "Exit status: run, attach and wait answer the program's own, 128+n after signal n,\n"
    "124 when --timeout ended it, 126 and 127 when it could not be executed or found; 125 is\n"
    "telex's own failure.\n";

static int run(struct cli *cli, int argc, char **argv)
{
	const struct cli_verb *verb;
	struct options o;
	const char *value;

	options_start(&o, cli, &cmd_help, NULL, argc, argv);
	if (options_next(&o, &value) < 0)
		return options_end(&o);
	if (o.n_operands == 0) {
		fputs(before, stdout);
		verbs_list(stdout);
		fputs(after, stdout);
		return options_end(&o);
	}
	verb = verbs_find(o.operands[0]);
	if (o.n_operands > 1)
		options_usage(&o, "takes one verb, but was given '%s' too", o.operands[1]);
	else if (!verb)
		options_usage(
		    &o, "unknown verb '%s'%s", o.operands[0], verbs_nearest(o.operands[0]));
	else
		fputs(verb->help, stdout);
	return options_end(&o);
}

const struct cli_verb cmd_help = {
    .name = "help",
    .summary = "all verbs, or one of them",
    .help = "Examples:\n"
            "  telex help\n"
            "  telex help run\n"
            "\n"
            "Usage: telex help [VERB]\n",
    .run = run,
};
