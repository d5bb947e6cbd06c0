/* SPDX-License-Identifier: Apache-2.0 */
/* `telex sync`: one tree is made like another. */
#include "cli/transfer.h"
#include "cli/verbs.h"

static const struct options_spec specs[] = {TRANSFER_SPECS, TRANSFER_SPECS_GET,
    {TRANSFER_DELETE, '\0', "delete", false}, {TRANSFER_PULL, '\0', "pull", false},
    {TRANSFER_WHOLE, 'W', "whole-file", false}, {0}};

static int run(struct cli *cli, int argc, char **argv)
{
	const char *value, *sources[2] = {NULL, NULL};
	struct transfer_options t;
	struct options o;
	int id, status;

	transfer_options_init(&t);
	t.o.delta = true;
	options_start(&o, cli, &cmd_sync, specs, argc, argv);
	while ((id = options_next(&o, &value)) > 0) {
		int rc = transfer_option(&t, &o, id, value);

		if (rc < 0) {
			id = -1;
			break;
		}
		if (rc == 0)
			continue;
		t.o.delete_extraneous |= id == TRANSFER_DELETE;
		t.pull |= id == TRANSFER_PULL;
		t.o.delta &= id != TRANSFER_WHOLE;
	}
	if (id == 0 && o.n_operands != 2)
		id = options_usage(&o, "one source and one target are needed");
	if (id != 0) {
		transfer_options_clear(&t);
		return options_end(&o);
	}
	sources[0] = o.operands[0];
	t.o.sources = sources;
	t.o.target = o.operands[1];
	t.o.contents = t.o.lazy = true;
	status = transfer_run(cli, "sync", &t, !t.pull);
	transfer_options_clear(&t);
	options_end(&o);
	return status;
}

const struct cli_verb cmd_sync = {
    .name = "sync",
    .summary = "make a tree on the agent like one here, or the other way",
    .specs = specs,
    .help =
        "Examples:\n"
        "  telex sync site/ /srv/www/\n"
        "  telex sync --delete -n site/ /srv/www/    what would be changed and removed\n"
        "  telex sync --pull /srv/www/ site/         from there to here\n"
        "\n"
        "Usage: telex sync [OPTIONS] LOCAL/ REMOTE/\n"
        "       telex sync --pull [OPTIONS] REMOTE/ LOCAL/\n"
        "\n"
        "The contents of the first become the contents of the second, with or without a / at the\n"
        "end. What is the same by size and time is not sent, and of large files that changed only\n"
        "the difference.\n"
        "\n"
        "      --delete          remove what the source does not have, at the end; not what the\n"
        "                        filters leave out, and nothing if the source could not be read\n"
        "      --pull            from the agent to here\n"
        "  -W, --whole-file      no differences\n" TRANSFER_HELP TRANSFER_HELP_GET "\n"
        "Exit status: as of put.\n",
    .run = run,
};
