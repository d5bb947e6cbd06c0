/* SPDX-License-Identifier: Apache-2.0 */
/* `telex health`: whether the agent serves. */
#include <jansson.h>
#include <stdio.h>

#include "cli/options.h"
#include "cli/output.h"
#include "cli/session.h"
#include "cli/verbs.h"

static void answer(bool serving, void *arg)
{
	struct session *s = arg;
	bool *out = s->data;

	*out = serving;
}

static int ask(struct cli *cli, const char *service)
{
	bool serving = false;
	struct session s;
	int status = session_open(&s, cli);

	if (status != CLI_OK)
		return status;
	s.data = &serving;
	status = session_answer(
	    &s, telex_health(s.client, service, 10000, answer, session_done, &s, &s.error));
	if (status == CLI_OK && cli->json)
		output_json(json_pack("{s:b, s:s}", "serving", serving, "agent", s.address));
	else if (status == CLI_OK)
		printf("%s\n", serving ? "serving" : "not serving");
	if (status == CLI_OK && !serving)
		status = CLI_FAILED;
	session_close(&s);
	return status;
}

static int run(struct cli *cli, int argc, char **argv)
{
	struct options o;
	const char *value;
	int status;

	options_start(&o, cli, &cmd_health, NULL, argc, argv);
	if (options_next(&o, &value) < 0)
		return options_end(&o);
	if (o.n_operands > 1) {
		options_usage(&o, "takes one service, but was given '%s' too", o.operands[1]);
		return options_end(&o);
	}
	status = ask(cli, o.operands[0]);
	options_end(&o);
	return status;
}

const struct cli_verb cmd_health = {
    .name = "health",
    .summary = "whether the agent serves",
    .help = "Examples:\n"
            "  telex health && echo up\n"
            "  telex health telex.v1.ProcessService\n"
            "\n"
            "Usage: telex health [SERVICE]\n"
            "\n"
            "Exit status: 0 it serves, 1 it does not, 125 it could not be asked.\n",
    .run = run,
};
