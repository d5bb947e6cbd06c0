/* SPDX-License-Identifier: Apache-2.0 */
/* `telex audit`: which word it is, and where the logs are. They are local files: no agent is asked.
 */
#include "cli/cmd_audit.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/paths.h"
#include "cli/say.h"
#include "cli/subverbs.h"
#include "cli/verbs.h"
#include "common/mem.h"

int cmd_audit_fail(const struct err *e)
{
	say_error("audit: %s", e->message);
	return CLI_TELEX;
}

static int default_file(char **out, struct err *e)
{
	char *state = NULL, *dev;
	int rc = paths_state(&state, e);

	if (rc != 0)
		return rc;
	dev = xasprintf("%s/dev/agent/audit.log", state);
	free(state);
	if (access(dev, F_OK) == 0) {
		*out = dev;
		return 0;
	}
	if (access(LOCALSTATEDIR "/lib/telexd/audit.log", F_OK) == 0) {
		free(dev);
		*out = xstrdup(LOCALSTATEDIR "/lib/telexd/audit.log");
		return 0;
	}
	err_set(e, TX_ENOENT,
	    "there is no audit log at %s and none at %s that you may see; say which file", dev,
	    LOCALSTATEDIR "/lib/telexd/audit.log");
	free(dev);
	return TX_ENOENT;
}

int cmd_audit_files(const struct options *o, char ***files, size_t *n, struct err *e)
{
	char **list = xcalloc(o->n_operands + 1, sizeof(*list));
	int rc = 0;

	for (size_t i = 0; i < o->n_operands; i++)
		list[i] = (char *)(uintptr_t)o->operands[i];
	*n = o->n_operands;
	if (*n == 0) {
		rc = default_file(&list[0], e);
		*n = 1;
	}
	if (rc != 0)
		free(list);
	else
		*files = list;
	return rc;
}

void cmd_audit_files_free(const struct options *o, char **files)
{
	if (files != NULL && o->n_operands == 0)
		free(files[0]);
	free(files);
}

static const struct cli_verb *const words[] = {&cmd_audit_show, &cmd_audit_verify};
static const char *const names[] = {"show", "verify", NULL};

static int run(struct cli *cli, int argc, char **argv)
{
	return subverbs_run(cli, &cmd_audit, words, argc, argv);
}

const struct cli_verb cmd_audit = {
    .name = "audit",
    .summary = "read an agent's audit log, and check that nobody changed it",
    .words = names,
    .help = "Examples:\n"
            "  telex audit show --since 1h\n"
            "  telex audit show -f --identity 'spiffe://lab.example/user/*' --event start\n"
            "  telex audit verify\n"
            "  telex audit verify /var/log/telex/audit.log.1 /var/log/telex/audit.log\n"
            "\n"
            "Usage: telex audit WORD …, and telex audit WORD --help says more\n"
            "\n"
            "  show    what was done, a line each\n"
            "  verify  whether records were cut off, changed, left out or put in\n"
            "\n"
            "The logs are files on this machine: no agent is asked. Without FILE it is the one of\n"
            "the agent of `telex dev`, or else of this machine's agent.\n",
    .run = run,
};
