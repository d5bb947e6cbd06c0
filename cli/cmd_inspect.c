/* SPDX-License-Identifier: Apache-2.0 */
/* `telex inspect`: all that the agent says of processes. */
#include <jansson.h>
#include <stdio.h>

#include "cli/end.h"
#include "cli/find.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/process_words.h"
#include "cli/session.h"
#include "cli/verbs.h"

static void each(const struct telex_process *process, void *arg)
{
	const struct session *s = arg;
	json_t *o = process_words_json(process);

	if (s->json) {
		output_json(o);
		return;
	}
	json_dumpf(o, stdout, JSON_INDENT(2));
	putchar('\n');
	json_decref(o);
}

static int ask(struct session *s, const char *id, const void *arg)
{
	(void)arg;
	return telex_get(s->client, id, 0, each, session_done, s, &s->error);
}

static int inspect(struct cli *cli, const struct options *o)
{
	struct session s;
	char id[FIND_ID];
	int status = session_open(&s, cli);

	if (status != CLI_OK)
		return status;
	for (size_t i = 0; i < o->n_operands && status != CLI_TELEX; i++) {
		if (find_ask(&s, o->operands[i], id, ask, NULL) == 0)
			continue;
		session_say_of(&s, "inspect", o->operands[i], &s.error);
		if (s.json)
			output_json(json_pack("{s:o,s:o}", "process_id",
			    output_json_text(o->operands[i]), "error", end_error_json(&s.error)));
		status = s.error.kind == TELEX_ERROR_STATUS ? CLI_FAILED : CLI_TELEX;
	}
	session_close(&s);
	return status;
}

static int run(struct cli *cli, int argc, char **argv)
{
	struct options o;
	const char *value;
	int id, status;

	options_start(&o, cli, &cmd_inspect, NULL, argc, argv);
	id = options_next(&o, &value);
	if (id == 0 && o.n_operands == 0)
		id = options_usage(&o, "no process was named; `telex ps -a` shows their ids");
	if (id != 0)
		return options_end(&o);
	status = inspect(cli, &o);
	options_end(&o);
	return status;
}

const struct cli_verb cmd_inspect = {
    .name = "inspect",
    .summary = "all about a process, as JSON",
    .takes_id = true,
    .help =
        "Examples:\n"
        "  telex inspect 5f2cqa\n"
        "  telex inspect 5f2cqa | jq .argv\n"
        "\n"
        "Usage: telex inspect ID…\n"
        "\n"
        "An object for each, as of `telex --json ps`; with --json on one line.\n"
        "\n"
        "Exit status: 1 when there is no such process, 125 when the agent could not be asked.\n",
    .run = run,
};
