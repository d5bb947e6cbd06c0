/* SPDX-License-Identifier: Apache-2.0 */
/*
 * telex: the global options, then the verb's row in the table of verbs, which does the rest.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/say.h"
#include "cli/verbs.h"
#include "common/mem.h"
#include "common/signals.h"

#define KEPT_FREE                                                                                  \
	((size_t)16 << 20) /* what a transfer has on its way comes and goes with each turn */

/* A descriptor that was closed at start must not become a socket of ours: what is written to
 * "stdout" would go there. */
static void hold_standard_fds(void)
{
	for (int fd = 0; fd <= 2; fd++)
		while (fcntl(fd, F_GETFD) < 0 && errno == EBADF)
			if (open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY) < 0)
				_exit(CLI_TELEX);
}

static int run_verb(struct cli *cli, const char *name, int argc, char **argv)
{
	const struct cli_verb *verb = verbs_find(name);

	if (!verb) {
		say_error(
		    "unknown verb '%s'%s (`telex help` lists them)", name, verbs_nearest(name));
		return CLI_TELEX;
	}
	return verb->run(cli, argc, argv);
}

int main(int argc, char **argv)
{
	struct cli cli = {0};
	struct options o;
	const char *value, *context = getenv("TELEX_CONTEXT");
	int id, status;

	mem_keep_freed(KEPT_FREE);
	hold_standard_fds();
	signals_ignore(SIGPIPE);
	if (context && context[0])
		cli.context = context;
	options_start(&o, &cli, NULL, NULL, argc, argv);
	o.stop_at_operand = true;
	id = options_next(&o, &value);
	if (id < 0)
		return options_end(&o);
	if (id == 'h') {
		status = run_verb(&cli, "help", 1, (char *[]){(char *)"help", NULL});
	} else if (id == 'V') {
		status = run_verb(&cli, "version", 1, (char *[]){(char *)"version", NULL});
	} else if (o.n_operands == 0) {
		verbs_usage(stderr);
		status = CLI_TELEX;
	} else {
		/* The operands are the end of argv, the verb first. */
		int at = argc - (int)o.n_operands;

		status = run_verb(&cli, argv[at], argc - at, argv + at);
	}
	options_end(&o);
	return output_finish(status);
}
