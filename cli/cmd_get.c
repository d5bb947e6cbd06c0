/* SPDX-License-Identifier: Apache-2.0 */
/* `telex get`: files and folders come from the agent. */
#include <stdlib.h>

#include "cli/transfer.h"
#include "cli/verbs.h"
#include "common/mem.h"

static const struct options_spec specs[] = {TRANSFER_SPECS, TRANSFER_SPECS_GET, {0}};

static int run(struct cli *cli, int argc, char **argv)
{
	struct transfer_options t;
	const char *value, **sources;
	struct options o;
	int id, status;

	transfer_options_init(&t);
	options_start(&o, cli, &cmd_get, specs, argc, argv);
	while ((id = options_next(&o, &value)) > 0)
		if (transfer_option(&t, &o, id, value) < 0) {
			id = -1;
			break;
		}
	if (id == 0 && o.n_operands < 2)
		id = options_usage(
		    &o, "what, and where to? telex get REMOTE… LOCAL; LOCAL may be .");
	if (id != 0) {
		transfer_options_clear(&t);
		return options_end(&o);
	}
	sources = xcalloc(o.n_operands, sizeof(*sources));
	for (size_t i = 0; i + 1 < o.n_operands; i++)
		sources[i] = o.operands[i];
	t.o.sources = sources;
	t.o.target = o.operands[o.n_operands - 1];
	status = transfer_run(cli, "get", &t, false);
	free(sources);
	transfer_options_clear(&t);
	options_end(&o);
	return status;
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
        "\n"
        "Usage: telex get [OPTIONS] REMOTE… LOCAL\n"
        "\n"
        "Where LOCAL is a folder, each REMOTE goes into it under its own name; else the one "
        "REMOTE\n"
        "becomes LOCAL. A REMOTE without a / in front is in the home folder there.\n"
        "\n"
        "Only names that were asked for are written, nothing outside of LOCAL, and every file is\n"
        "whole or not there. An interrupted get, typed again, goes on where it stopped.\n"
        "\n" TRANSFER_HELP TRANSFER_HELP_GET "\n"
        "Exit status: 1 when something could not be fetched (the rest was), 125 when the agent\n"
        "could not be asked, 128 + n after signal n.\n",
    .run = run,
};
