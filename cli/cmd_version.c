/* SPDX-License-Identifier: Apache-2.0 */
/* `telex version`. */
#include <jansson.h>
#include <stdio.h>

#include "cli/options.h"
#include "cli/output.h"
#include "cli/verbs.h"
#include "lib/telex.h"

static int run(struct cli *cli, int argc, char **argv)
{
	bool go;
	int status = options_none(cli, &cmd_version, argc, argv, &go);

	if (!go)
		return status;
	if (cli->json)
		output_json(json_pack("{s:s}", "version", telex_version()));
	else
		printf("telex %s\n", telex_version());
	return CLI_OK;
}

const struct cli_verb cmd_version = {
    .name = "version",
    .summary = "which version this is",
    .help = "Example:\n"
            "  telex version\n"
            "\n"
            "Usage: telex version\n"
            "\n"
            "The version of this program; `telex info` says the agent's.\n",
    .run = run,
};
