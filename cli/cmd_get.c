/* SPDX-License-Identifier: Apache-2.0 */
/* `telex get`: files and folders come from the agent. */
#include "cli/transfer.h"
#include "cli/verbs.h"

static const struct options_spec specs[] = {TRANSFER_SPECS, TRANSFER_SPECS_GET, {0}};

static int run(struct cli *cli, int argc, char **argv)
{
	return transfer_verb(cli, &cmd_get, false, argc, argv,
	    "what, and where to? telex get REMOTE… LOCAL; LOCAL may be .");
}

const struct cli_verb cmd_get = {
    .name = "get",
    .summary = "fetch files and folders from the agent",
    .specs = specs,
    .help =
        "Examples:\n"
        "  telex get /var/log/app.log .\n"
        "  telex get /etc/app /etc/hosts backup/    several, into a folder\n"
        "  telex get -z /srv/data data\n"
        "  telex get /srv/app.tar - | tar x\n"
        "\n"
        "Usage: telex get [OPTIONS] REMOTE… LOCAL\n"
        "       telex get [-u USER] [--limit-rate SIZE] [--progress WHAT] REMOTE -\n"
        "\n"
        "Where LOCAL is a folder, each REMOTE goes into it under its own name; else the one "
        "REMOTE\n"
        "becomes LOCAL. A REMOTE without a / in front is in the home folder there.\n"
        "\n"
        "Only names that were asked for are written, nothing outside of LOCAL, and every file is\n"
        "whole or not there. An interrupted get, typed again, goes on where it stopped.\n"
        "\n"
        "- is standard output, for one file.\n"
        "\n" TRANSFER_HELP TRANSFER_HELP_GET "\n"
        "Exit status: 1 when something could not be fetched (the rest was), 125 when the agent\n"
        "could not be asked, 128 + n after signal n.\n",
    .run = run,
};
