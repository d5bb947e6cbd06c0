/* SPDX-License-Identifier: Apache-2.0 */
/* `telex kill`: a signal to processes of the agent. */
#include <jansson.h>
#include <signal.h>
#include <string.h>

#include "cli/end.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/say.h"
#include "cli/session.h"
#include "cli/verbs.h"
#include "common/signame.h"

enum { OPT_PROCESS = 256 };

static const struct options_spec specs[] = {
    {'s', 's', "signal", true},
    {OPT_PROCESS, '\0', "process", false},
    {0},
};

struct kill {
	struct options options;
	int signo;
	bool process_only;
};

static void print_json(const char *id, int signo, const struct telex_error *error)
{
	json_t *o = json_object();

	json_object_set_new(o, "process_id", output_json_text(id));
	json_object_set_new(o, "signal", json_integer(signo));
	json_object_set_new(o, "sent", json_boolean(!error));
	if (error)
		json_object_set_new(o, "error", end_error_json(error));
	output_json(o);
}

/* CLI_FAILED when this process could not be signalled, CLI_TELEX when the agent could not be asked.
 */
static int kill_one(struct session *s, const struct cli *cli, const struct kill *k, const char *id)
{
	const struct telex_signal_options how = {
	    .signo = k->signo,
	    .target = k->process_only ? TELEX_TARGET_PROCESS : TELEX_TARGET_GROUP,
	};
	int asked = telex_signal(s->client, id, &how, 0, session_done, s, &s->error);
	int r = session_wait(s, asked);

	if (cli->json)
		print_json(id, k->signo, r < 0 ? &s->error : NULL);
	if (r == 0)
		return CLI_OK;
	if (s->error.kind != TELEX_ERROR_STATUS) {
		session_say(s, &s->error);
		return CLI_TELEX;
	}
	say_error("kill %s: %s", id, s->error.message);
	return CLI_FAILED;
}

static int kill_all(struct cli *cli, const struct kill *k)
{
	struct session s;
	int status = session_open(&s, cli);

	if (status != CLI_OK)
		return status;
	for (size_t i = 0; i < k->options.n_operands && status != CLI_TELEX; i++) {
		int one = kill_one(&s, cli, k, k->options.operands[i]);

		status = one == CLI_OK ? status : one;
	}
	session_close(&s);
	return status;
}

static int run(struct cli *cli, int argc, char **argv)
{
	struct kill k = {.signo = SIGTERM};
	const char *value;
	int id, status;

	options_start(&k.options, cli, &cmd_kill, specs, argc, argv);
	while ((id = options_next(&k.options, &value)) > 0) {
		if (id == OPT_PROCESS) {
			k.process_only = true;
			continue;
		}
		k.signo = signame_parse(value);
		if (k.signo < 0) {
			options_usage(
			    &k.options, "'%s' is not a signal; write TERM, SIGINT or 15", value);
			return options_end(&k.options);
		}
	}
	if (id == 0 && k.options.n_operands == 0)
		options_usage(&k.options, "no process was named; `telex ps` shows their ids");
	if (id < 0 || k.options.n_operands == 0)
		return options_end(&k.options);
	status = kill_all(cli, &k);
	options_end(&k.options);
	return status;
}

const struct cli_verb cmd_kill = {
    .name = "kill",
    .summary = "send a signal to processes",
    .help =
        "Examples:\n"
        "  telex kill 5f2c9a\n"
        "  telex kill -s HUP 5f2c9a 77b01e\n"
        "\n"
        "Usage: telex kill [-s SIGNAL] [--process] ID…\n"
        "\n"
        "  -s, --signal SIGNAL  TERM when not given; a name or a number\n"
        "      --process        to the process alone, not to its process group\n"
        "\n"
        "Exit status: 1 when a process could not be signalled, 125 when the agent could not be\n"
        "asked.\n",
    .run = run,
};
