/* SPDX-License-Identifier: Apache-2.0 */
/* `telex rm`: ended processes are forgotten. */
#include <jansson.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "cli/each_id.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/session.h"
#include "cli/verbs.h"

enum { OPT_GROUP = 256 };

static const struct options_spec specs[] = {
    {'f', 'f', "force", false},
    {OPT_GROUP, '\0', "group", true},
    {0},
};

static const struct telex_signal_options killed = {.signo = SIGKILL, .target = TELEX_TARGET_TREE};

static int ask(struct session *s, const char *id, const void *arg)
{
	(void)arg;
	return telex_remove(s->client, id, 0, session_done, s, &s->error);
}

/* What runs is killed first, with its descendants. */
static int ask_forced(struct session *s, const char *id, const void *arg)
{
	int r =
	    session_wait(s, telex_signal(s->client, id, &killed, 0, session_done, s, &s->error));

	if (r < 0 && strcmp(s->error.reason, "PROCESS_ENDED") != 0)
		return r;
	if (r == 0 && session_wait(s, telex_wait(s->client, id, false, 0, NULL, session_done, s,
	                                  &s->error)) < 0)
		return -1;
	return ask(s, id, arg);
}

static void on_group(uint32_t removed, void *arg)
{
	const struct session *s = arg;

	if (s->json)
		output_json(json_pack("{s:I}", "removed", (json_int_t)removed));
	else
		printf("%u removed\n", removed);
}

/* CLI_OK, or it was said. */
static int end_group(struct session *s, const char *group)
{
	int status = session_answer_of(s, "rm --group", group,
	    telex_group_signal(s->client, group, &killed, 0, NULL, session_done, s, &s->error));

	if (status == CLI_OK)
		status = session_answer_of(s, "rm --group", group,
		    telex_group_wait(s->client, group, 0, NULL, session_done, s, &s->error));
	return status;
}

static int remove_group(struct cli *cli, const char *group, bool force)
{
	struct session s;
	int status = session_open(&s, cli);

	if (status != CLI_OK)
		return status;
	if (force)
		status = end_group(&s, group);
	if (status == CLI_OK)
		status = session_answer_of(&s, "rm --group", group,
		    telex_group_remove(s.client, group, 0, on_group, session_done, &s, &s.error));
	session_close(&s);
	return status;
}

static int run(struct cli *cli, int argc, char **argv)
{
	struct each_id what = {.verb = "rm", .did = "removed", .ask = ask};
	const char *value, *group = NULL;
	struct options o;
	struct err e;
	int id, status;

	options_start(&o, cli, &cmd_rm, specs, argc, argv);
	while ((id = options_next(&o, &value)) > 0) {
		if (id == 'f') {
			what.ask = ask_forced;
			continue;
		}
		group = value;
		if (options_check_id(value, &e) < 0) {
			options_wrong(&o, id, &e);
			return options_end(&o);
		}
	}
	if (id == 0 && group && o.n_operands > 0)
		id = options_usage(&o, "either --group or ids, not both");
	else if (id == 0 && !group && o.n_operands == 0)
		id = options_usage(&o, "no process was named; `telex ps -a` shows their ids");
	if (id != 0)
		return options_end(&o);
	status = group ? remove_group(cli, group, what.ask == ask_forced) : each_id(cli, &o, &what);
	options_end(&o);
	return status;
}

const struct cli_verb cmd_rm = {
    .name = "rm",
    .summary = "forget processes that have ended",
    .specs = specs,
    .takes_id = true,
    .help =
        "Examples:\n"
        "  telex rm 5f2cqa\n"
        "  telex rm -f 5f2cqa         also when it runs: it is killed\n"
        "  telex rm --group tests     all of a group that have ended\n"
        "\n"
        "Usage: telex rm [-f] ID…\n"
        "       telex rm [-f] --group NAME\n"
        "\n"
        "Their output goes, too. One that runs is not touched: `telex kill` ends it.\n"
        "\n"
        "  -f, --force       kill what runs, with its descendants, and wait for its end\n"
        "      --group NAME  the members of the group\n"
        "\n"
        "Exit status: 1 when one could not be removed, 125 when the agent could not be asked.\n",
    .run = run,
};
