/* SPDX-License-Identifier: Apache-2.0 */
/* `telex cert issue agent|user NAME`: a key, its certificate and a copy of the authority's, in a
 * folder. */
#include <stdio.h>
#include <stdlib.h>

#include "certs/ca.h"
#include "certs/issue.h"
#include "cli/agent_setup.h"
#include "cli/cmd_cert.h"
#include "cli/output.h"
#include "cli/say.h"
#include "cli/verbs.h"
#include "common/tls_cert.h"

enum { OPT_SETUP = CERT_OWN, OPT_LISTEN, OPT_AUTHORITY, OPT_OPERATOR };

static const struct options_spec specs[] = {
    {OPT_SETUP, '\0', "setup", false},
    {OPT_LISTEN, '\0', "listen", true},
    {OPT_AUTHORITY, '\0', "authority", true},
    {OPT_OPERATOR, '\0', "operator", true},
    CERT_SPEC_SAN,
    CERT_SPEC_TTL,
    CERT_SPEC_DIR,
    CERT_SPEC_OUT,
    CERT_SPEC_KEY_TYPE,
    CERT_SPEC_PASSPHRASE,
    CERT_SPEC_FORCE,
    {0},
};

struct issue {
	struct cert_options given;
	struct issue_request request;
	struct cert_out to;
	bool setup;
	const char *listen, *authority, *operator_name;
};

static bool take(struct options *o, int id, const char *value, void *arg)
{
	struct issue *i = arg;

	(void)o;
	if (id == OPT_LISTEN)
		i->listen = value;
	else if (id == OPT_AUTHORITY)
		i->authority = value;
	else if (id == OPT_OPERATOR)
		i->operator_name = value;
	i->setup = true;
	return true;
}

/* What it takes to start the agent. */
static int set_up(const struct issue *i, const struct ca *ca, const char *ca_dir, struct err *e)
{
	char identity[IDENTITY_SIZE];
	struct identity id;
	struct agent_setup s = {.dir = i->given.out,
	    .listen = i->listen,
	    .renew_from = i->authority,
	    .authority_dir = i->authority != NULL ? ca_dir : NULL,
	    .authority_listen = i->authority};
	int rc = 0;

	if (i->operator_name != NULL) {
		rc = identity_make(&id, IDENTITY_USER, ca_domain(ca), i->operator_name, e);
		if (rc == 0)
			s.operator_identity = identity_format(identity, &id);
	}
	return rc == 0 ? agent_setup_write(&s, e) : rc;
}

static void answer_json(const struct issue *i, const struct issued *issued)
{
	json_t *o = cmd_cert_out_json(&i->to, issued), *hosts = json_array();

	for (size_t n = 0; n < i->request.sans_len; n++)
		json_array_append_new(hosts, output_json_text(i->given.sans[n]));
	if (i->request.kind == IDENTITY_AGENT && i->request.sans_len == 0)
		json_array_append_new(hosts, output_json_text(i->request.name));
	json_object_set_new(o, "hosts", hosts);
	output_json(o);
}

static void answer(const struct cli *cli, const struct issue *i, const struct issued *issued)
{
	char date[TLS_TIME_SIZE];

	if (issued->shortened)
		say_note("it ends with its authority, earlier than asked for");
	if (cli->json) {
		answer_json(i, issued);
		return;
	}
	printf("issued %s, valid until %s\n", issued->identity,
	    tls_time_text(date, issued->not_after));
	printf("  certificate  %s\n", i->to.certificate);
	printf("  key          %s\n", i->to.key);
	printf("  authority    %s\n", i->to.ca);
	if (i->setup)
		say_note("next: telexd -c %s/telexd.conf", i->given.out);
	if (i->request.kind == IDENTITY_USER)
		say_note("next: telex context create NAME --host HOST --cert %s --key %s --ca %s",
		    i->to.certificate, i->to.key, i->to.ca);
}

static int issue(const struct cli *cli, struct issue *i)
{
	struct issued issued = {.key = NULL};
	struct ca *ca = NULL;
	char *dir = NULL;
	struct err e;
	int rc = cmd_cert_authority(&i->given, &dir, &ca, &e);

	if (rc == 0)
		rc = cmd_cert_out_check(
		    &i->to, &i->given, i->setup ? "agent" : i->request.name, dir, ca, &e);
	if (rc == 0)
		rc = issue_certificate(&issued, ca, &i->request, &e);
	if (rc == 0)
		rc = cmd_cert_out_write(&i->to, "issue", dir, ca, &issued, &e);
	if (rc == 0 && i->setup)
		rc = set_up(i, ca, dir, &e);
	if (rc == 0)
		answer(cli, i, &issued);
	else
		cmd_cert_fail(&e);
	issue_free(&issued);
	ca_free(ca);
	free(dir);
	return rc == 0 ? CLI_OK : CLI_TELEX;
}

static bool take_operands(struct options *o, struct issue *i)
{
	if (o->n_operands != 2) {
		options_usage(o, "issue takes `agent NAME` or `user NAME`");
		return false;
	}
	i->request.sans = i->given.sans;
	i->request.sans_len = i->given.n_sans;
	i->request.ttl_s = i->given.ttl_s;
	i->request.key_type = i->given.key_type;
	if (!cmd_cert_who(o, 0, &i->request.kind, &i->request.name))
		return false;
	if (i->setup && i->request.kind != IDENTITY_AGENT) {
		options_usage(o, "--setup, --listen, --authority and --operator are for an agent");
		return false;
	}
	return true;
}

static int run(struct cli *cli, int argc, char **argv)
{
	struct issue i = {.given = {.out = ".", .own = take}};
	struct options o;

	i.given.arg = &i;

	options_start(&o, cli, &cmd_cert_issue, specs, argc, argv);
	if (cmd_cert_options(&o, &i.given) && take_operands(&o, &i))
		o.status = issue(cli, &i);
	return options_end(&o);
}

const struct cli_verb cmd_cert_issue = {
    .name = "cert issue",
    .summary = "a key and its certificate, for an agent or a user",
    .help =
        "Examples:\n"
        "  telex cert issue agent build7 --san build7.lab.example --san 10.0.0.7 --out build7\n"
        "  telex cert issue user alice --ttl 8h --out ~/.config/telex/alice\n"
        "\n"
        "Usage: telex cert issue agent NAME [--san NAME|IP]... [--ttl TIME] [--dir DIR]\n"
        "                       [--out DIR] [--key-type TYPE] [--passphrase-file FILE]\n"
        "                       [--force] [--setup] [--listen HOST:PORT] [--authority HOST:PORT]\n"
        "                       [--operator NAME]\n"
        "       telex cert issue user NAME [--ttl TIME] [--dir DIR] [--out DIR]\n"
        "                       [--key-type TYPE] [--passphrase-file FILE] [--force]\n"
        "\n"
        "  --san NAME|IP    a host name or address by which clients reach the agent; may be\n"
        "                   repeated; default: NAME itself\n"
        "  --ttl TIME       how long the certificate lasts: 30m, 24h, 7d;\n"
        "                   default: 7d for an agent, 24h for a user\n"
        "  --dir DIR        where the authority is (ca.pem, ca.key);\n"
        "                   default: ${TELEX_CONFIG_HOME:-${XDG_CONFIG_HOME:-~/.config}/telex}/ca\n"
        "  --out DIR        where NAME.pem, NAME.key and a copy of ca.pem go; default: here\n"
        "  --key-type TYPE  p256 (default), ed25519 or rsa\n"
        "  --passphrase-file FILE\n"
        "                   the first line is the passphrase of the authority's key; without it\n"
        "                   the terminal is asked, when the key has one\n"
        "  --force          write over files that are there\n"
        "  --setup          an agent's: call the files agent.pem and agent.key, and write what "
        "else it\n"
        "                   takes to start one: telexd.conf, and with --operator policy.conf\n"
        "  --listen HOST:PORT\n"
        "                   where the agent is to listen\n"
        "  --authority HOST:PORT\n"
        "                   the agent is this authority's, too: where it gives certificates to who "
        "has\n"
        "                   a token (telex cert token)\n"
        "  --operator NAME  the user whom policy.conf grants everything\n",
    .specs = specs,
    .run = run,
};
