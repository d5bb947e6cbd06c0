/* SPDX-License-Identifier: Apache-2.0 */
/* `telex put`: files and folders go to the agent. */
#include "cli/transfer.h"
#include "cli/verbs.h"

static const struct options_spec specs[] = {TRANSFER_SPECS, {0}};

static int run(struct cli *cli, int argc, char **argv)
{
	return transfer_verb(
	    cli, &cmd_put, true, argc, argv, "what, and where to? telex put LOCAL… REMOTE");
}

const struct cli_verb cmd_put = {
    .name = "put",
    .summary = "send files and folders to the agent",
    .specs = specs,
    .help =
        "Examples:\n"
        "  telex put app.conf /etc/app/          into a folder\n"
        "  telex put build/ release              a folder, below the home folder there\n"
        "  telex put -u deploy a b c /srv/in/    several, as another user\n"
        "  pg_dump app | telex put - /srv/app.sql\n"
        "\n"
        "Usage: telex put [OPTIONS] LOCAL… REMOTE\n"
        "       telex put [-u USER] [--parents] [--limit-rate SIZE] [--progress WHAT] - REMOTE\n"
        "\n"
        "Where REMOTE is a folder, each LOCAL goes into it under its own name; else the one LOCAL\n"
        "becomes REMOTE. A REMOTE that ends with / must be a folder. Modes, times, links, holes,\n"
        "extended attributes and, as root, owners are kept.\n"
        "\n"
        "Every file is whole or not there, and durable before it counts. What is there already, "
        "of\n"
        "the same size and time, is not sent. An interrupted put, typed again, goes on where it\n"
        "stopped, in large files at the byte.\n"
        "\n"
        "- is standard input, to its end: REMOTE is the file's name, and changes when all of it "
        "is\n"
        "there. When that is interrupted, REMOTE is as it was.\n"
        "\n" TRANSFER_HELP "\n"
        "Exit status: 1 when something could not be sent (the rest was), 125 when the agent could\n"
        "not be asked, 128 + n after signal n.\n",
    .run = run,
};
