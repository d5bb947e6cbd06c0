/* SPDX-License-Identifier: Apache-2.0 */
/* `telex cert ls`: what an authority has issued. */
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "certs/ledger.h"
#include "cli/cmd_cert.h"
#include "cli/output.h"
#include "cli/say.h"
#include "cli/verbs.h"
#include "common/tls_cert.h"

enum { OPT_ALL = CERT_OWN };

static const struct options_spec specs[] = {
    {OPT_ALL, 'a', "all", false},
    CERT_SPEC_DIR,
    {0},
};

struct ls {
	struct cert_options given;
	bool all;
	int64_t now;
	struct output_table *table; /* NULL: JSON */
	size_t left_out;
};

static bool take(struct options *o, int id, const char *value, void *arg)
{
	struct ls *ls = arg;

	(void)o;
	(void)id;
	(void)value;
	ls->all = true;
	return true;
}

static const char *state_of(const struct ledger_certificate *c, int64_t now)
{
	if (c->revoked != 0)
		return "revoked";
	if (now > c->not_after)
		return "expired";
	return now < c->not_before ? "not yet valid" : "valid";
}

static void one_json(const struct ledger_certificate *c, int64_t now)
{
	json_t *o = json_object();

	json_object_set_new(o, "serial", output_json_text(c->serial));
	json_object_set_new(o, "identity", output_json_text(c->identity));
	json_object_set_new(o, "state", output_json_text(state_of(c, now)));
	json_object_set_new(o, "not_before", cmd_cert_time(c->not_before));
	json_object_set_new(o, "not_after", cmd_cert_time(c->not_after));
	json_object_set_new(o, "issued", cmd_cert_time(c->issued));
	if (c->revoked != 0) {
		json_object_set_new(o, "revoked", cmd_cert_time(c->revoked));
		json_object_set_new(o, "reason", json_integer(c->reason));
	}
	output_json(o);
}

static bool one(const struct ledger_certificate *c, void *arg)
{
	struct ls *ls = arg;
	char until[TLS_TIME_SIZE];

	if (!ls->all && ls->now > c->not_after) {
		ls->left_out++;
		return true;
	}
	if (ls->table == NULL)
		one_json(c, ls->now);
	else
		output_table_row(
		    ls->table, (const char *const[]){c->serial, c->identity,
		                   tls_time_text(until, c->not_after), state_of(c, ls->now)});
	return true;
}

static int list(const struct cli *cli, struct ls *ls)
{
	static const char *const headings[] = {"SERIAL", "IDENTITY", "UNTIL", "STATE"};
	struct ledger *l = NULL;
	char *dir = NULL;
	struct err e;
	int rc = cmd_cert_ledger(ls->given.dir, &dir, &l, &e);

	if (rc == 0 && !cli->json)
		ls->table = output_table_new(headings, 4);
	ls->now = (int64_t)time(NULL);
	if (rc == 0)
		rc = ledger_each(l, one, ls, &e);
	if (rc == 0 && ls->table != NULL)
		output_table_print(ls->table);
	else
		output_table_free(ls->table);
	if (rc != 0)
		cmd_cert_fail(&e);
	else if (ls->left_out > 0 && !cli->json)
		say_note("%zu expired, which -a shows", ls->left_out);
	ledger_close(l);
	free(dir);
	return rc == 0 ? CLI_OK : CLI_TELEX;
}

static int run(struct cli *cli, int argc, char **argv)
{
	struct ls ls = {.given = {.own = take}};
	struct options o;

	ls.given.arg = &ls;
	options_start(&o, cli, &cmd_cert_ls, specs, argc, argv);
	if (!cmd_cert_options(&o, &ls.given))
		return options_end(&o);
	if (o.n_operands != 0)
		options_usage(
		    &o, "ls takes options only, not '%s'; --dir names the folder", o.operands[0]);
	else
		o.status = list(cli, &ls);
	return options_end(&o);
}

const struct cli_verb cmd_cert_ls = {
    .name = "cert ls",
    .summary = "what the authority has issued",
    .help =
        "Examples:\n"
        "  telex cert ls\n"
        "  telex cert ls -a --json --dir ca\n"
        "\n"
        "Usage: telex cert ls [-a] [--dir DIR]\n"
        "\n"
        "Newest first: serial, identity, until when, and whether it is valid or revoked.\n"
        "\n"
        "  -a, --all    those that have expired, too\n"
        "  --dir DIR    where the authority is;\n"
        "               default: ${TELEX_CONFIG_HOME:-${XDG_CONFIG_HOME:-~/.config}/telex}/ca\n",
    .specs = specs,
    .run = run,
};
