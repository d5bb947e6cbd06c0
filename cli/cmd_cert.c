/* SPDX-License-Identifier: Apache-2.0 */
/* `telex cert init|issue|show`: which word it is, and what the words share. */
#include "cli/cmd_cert.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/output.h"
#include "cli/paths.h"
#include "cli/say.h"
#include "cli/verbs.h"
#include "common/duration.h"
#include "common/mem.h"

int cmd_cert_fail(const struct err *e)
{
	say_error("cert: %s", e->message);
	return CLI_TELEX;
}

int cmd_cert_folder(const char *given, char **out, struct err *e)
{
	char *config = NULL;
	int rc;

	if (given != NULL) {
		*out = xstrdup(given);
		return 0;
	}
	rc = paths_config(&config, e);
	if (rc == 0)
		*out = xasprintf("%s/ca", config);
	free(config);
	return rc;
}

bool cmd_cert_key_type(struct options *o, const char *value, enum key_type *out)
{
	static const char *const types[] = {"p256", "ed25519"};

	if (key_type_parse(out, value))
		return true;
	options_usage(o, "--key-type is p256 or ed25519, not '%s'%s", value,
	    options_nearest(value, types, 2));
	return false;
}

json_t *cmd_cert_time(int64_t epoch)
{
	char text[48];

	return output_json_text(output_time(text, sizeof(text), epoch * NS_PER_S));
}

static const struct {
	const char *name;
	int (*run)(struct cli *cli, int argc, char **argv);
} words[] = {{"init", cmd_cert_init}, {"issue", cmd_cert_issue}, {"show", cmd_cert_show}};
#define WORDS (sizeof(words) / sizeof(words[0]))

static int run(struct cli *cli, int argc, char **argv)
{
	const char *value, *names[WORDS];
	struct options o;
	int at;

	options_start(&o, cli, &cmd_cert, NULL, argc, argv);
	o.stop_at_operand = true;
	if (options_next(&o, &value) < 0)
		return options_end(&o);
	if (o.n_operands == 0) {
		options_usage(&o, "say what to do: init, issue or show");
		return options_end(&o);
	}
	at = argc - (int)o.n_operands;
	for (size_t i = 0; i < WORDS; i++) {
		names[i] = words[i].name;
		if (strcmp(names[i], o.operands[0]) == 0) {
			options_end(&o);
			return words[i].run(cli, argc - at, argv + at);
		}
	}
	options_usage(
	    &o, "unknown word '%s'%s", o.operands[0], options_nearest(o.operands[0], names, WORDS));
	return options_end(&o);
}

const struct cli_verb cmd_cert = {
    .name = "cert",
    .summary = "make an authority, and certificates for agents and users",
    .words = (const char *const[]){"init", "issue", "show", NULL},
    .help =
        "Examples:\n"
        "  telex cert init --domain lab.example\n"
        "  telex cert issue agent build7 --san build7.lab.example --san 10.0.0.7 --out build7\n"
        "  telex cert issue user alice --ttl 8h --out ~/.config/telex/alice\n"
        "  telex cert show build7/build7.pem\n"
        "\n"
        "Usage: telex cert init [--dir DIR] [--domain DOMAIN] [--name NAME] [--days N]\n"
        "                       [--key-type TYPE] [--force]\n"
        "       telex cert issue agent NAME [--san NAME|IP]... [--ttl TIME] [--dir DIR]\n"
        "                       [--out DIR] [--key-type TYPE] [--force]\n"
        "       telex cert issue user NAME [--ttl TIME] [--dir DIR] [--out DIR]\n"
        "                       [--key-type TYPE] [--force]\n"
        "       telex cert show FILE...\n"
        "\n"
        "  --dir DIR        where the authority is (ca.pem, ca.key);\n"
        "                   default: ${TELEX_CONFIG_HOME:-${XDG_CONFIG_HOME:-~/.config}/telex}/ca\n"
        "  --domain DOMAIN  the first part of every identity: spiffe://DOMAIN/agent/NAME;\n"
        "                   default: telex.internal\n"
        "  --name NAME      what the authority is called\n"
        "  --days N         how long the authority lasts; default: ten years\n"
        "  --san NAME|IP    a host name or address by which clients reach the agent; may be\n"
        "                   repeated; default: NAME itself\n"
        "  --ttl TIME       how long the certificate lasts: 30m, 24h, 7d;\n"
        "                   default: 7d for an agent, 24h for a user\n"
        "  --out DIR        where NAME.pem, NAME.key and a copy of ca.pem go; default: here\n"
        "  --key-type TYPE  p256 (default) or ed25519\n"
        "  --force          write over files that are there\n"
        "\n"
        "Keep ca.key: who has it can be anyone. Give ca.pem to every agent and every user.\n",
    .run = run,
};
