/* SPDX-License-Identifier: Apache-2.0 */
/* `telex cert init`: a new authority in a folder. */
#include <errno.h>
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>

#include "certs/ca.h"
#include "certs/record.h"
#include "cli/cmd_cert.h"
#include "cli/output.h"
#include "cli/passphrase.h"
#include "cli/paths.h"
#include "cli/say.h"
#include "cli/verbs.h"
#include "common/tls_cert.h"

enum { OPT_DOMAIN = CERT_OWN, OPT_NAME, OPT_DAYS, OPT_INTERMEDIATE, OPT_ENCRYPT };

static const struct options_spec specs[] = {
    CERT_SPEC_DIR,
    {OPT_DOMAIN, '\0', "domain", true},
    {OPT_NAME, '\0', "name", true},
    {OPT_DAYS, '\0', "days", true},
    CERT_SPEC_KEY_TYPE,
    {OPT_INTERMEDIATE, '\0', "intermediate", false},
    {OPT_ENCRYPT, '\0', "encrypt", false},
    CERT_SPEC_PASSPHRASE,
    CERT_SPEC_FORCE,
    {0},
};

struct init {
	struct cert_options given;
	struct ca_options ca;
	bool encrypt;
};

static bool parse_days(struct options *o, const char *value, int64_t *out)
{
	char *end;
	long long n;

	errno = 0;
	n = strtoll(value, &end, 10);
	if (end == value || *end != '\0' || errno != 0 || n < 1) {
		options_usage(o, "--days takes a number of days, not '%s'", value);
		return false;
	}
	*out = n;
	return true;
}

static bool take(struct options *o, int id, const char *value, void *arg)
{
	struct init *i = arg;

	switch (id) {
	case OPT_DOMAIN:
		i->ca.domain = value;
		return true;
	case OPT_NAME:
		i->ca.name = value;
		return true;
	case OPT_INTERMEDIATE:
		i->ca.intermediate = true;
		return true;
	case OPT_ENCRYPT:
		i->encrypt = true;
		return true;
	default:
		return parse_days(o, value, &i->ca.days);
	}
}

static void answer_json(const struct init *i, const struct ca *ca, const char *dir)
{
	json_t *o = json_object();

	json_object_set_new(o, "name", output_json_text(ca_name(ca)));
	json_object_set_new(o, "domain", output_json_text(ca_domain(ca)));
	json_object_set_new(o, "dir", output_json_text(dir));
	json_object_set_new(o, "intermediate", json_boolean(i->ca.intermediate));
	json_object_set_new(o, "encrypted", json_boolean(i->encrypt));
	json_object_set_new(o, "not_after", cmd_cert_time(ca_expires(ca)));
	output_json(o);
}

static void answer(
    const struct cli *cli, const struct init *i, const struct ca *ca, const char *dir)
{
	char date[TLS_TIME_SIZE];

	if (cli->json) {
		answer_json(i, ca, dir);
		return;
	}
	tls_time_text(date, ca_expires(ca));
	printf("made the authority \"%s\" for spiffe://%s, valid until %s\n", ca_name(ca),
	    ca_domain(ca), date);
	printf("  %s/" CA_CERTIFICATE_FILE "  give it to every agent and every user\n", dir);
	if (i->ca.intermediate) {
		printf("  %s/" CA_KEY_FILE
		       "  move it away, offline: it is needed only for a new intermediate\n",
		    dir);
		printf("  %s/" CA_INTERMEDIATE_FILE "  issues; it comes along in what it issues\n",
		    dir);
	}
	printf("  %s/%s  keep it: who has it%s can be anyone\n", dir,
	    i->ca.intermediate ? CA_INTERMEDIATE_KEY_FILE : CA_KEY_FILE,
	    i->encrypt ? " and its passphrase" : "");
}

/* A passphrase when there is to be one, else NULL. */
static int get_passphrase(
    const struct init *i, char buffer[KEY_PASSPHRASE_SIZE], const char **out, struct err *e)
{
	*out = i->encrypt ? buffer : NULL;
	return i->encrypt ? passphrase_new(i->given.passphrase_file, buffer, e) : 0;
}

static int make(const struct cli *cli, const struct init *i)
{
	char buffer[KEY_PASSPHRASE_SIZE] = "";
	const char *passphrase = NULL;
	struct ca *ca = NULL;
	char *dir = NULL;
	struct err e;
	int rc = cmd_cert_folder(i->given.dir, &dir, &e);

	if (rc == 0)
		rc = ca_new(&ca, &i->ca, &e);
	if (rc == 0)
		rc = get_passphrase(i, buffer, &passphrase, &e);
	if (rc == 0)
		rc = paths_make_folder(dir, &e);
	if (rc == 0)
		rc = ca_save_with(ca, dir, passphrase, i->given.force, &e);
	if (rc == 0)
		rc = record_replaced(dir, &e);
	if (rc == 0)
		answer(cli, i, ca, dir);
	else
		cmd_cert_fail(&e);
	if (rc == TX_EEXIST)
		say_note("what the old authority issued is worth nothing under a new one");
	OPENSSL_cleanse(buffer, sizeof(buffer));
	ca_free(ca);
	free(dir);
	return rc == 0 ? CLI_OK : CLI_TELEX;
}

static int run(struct cli *cli, int argc, char **argv)
{
	struct init i = {.given = {.own = take}};
	struct options o;

	i.given.arg = &i;
	options_start(&o, cli, &cmd_cert_init, specs, argc, argv);
	if (!cmd_cert_options(&o, &i.given))
		return options_end(&o);
	i.ca.key_type = i.given.key_type;
	i.encrypt |= i.given.passphrase_file != NULL;
	if (o.n_operands != 0)
		options_usage(
		    &o, "init takes options only, not '%s'; --dir names the folder", o.operands[0]);
	else
		o.status = make(cli, &i);
	return options_end(&o);
}

const struct cli_verb cmd_cert_init = {
    .name = "cert init",
    .summary = "a new authority in a folder",
    .help =
        "Examples:\n"
        "  telex cert init --domain lab.example\n"
        "  telex cert init --dir ca --name 'Lab CA' --days 365\n"
        "\n"
        "Usage: telex cert init [--dir DIR] [--domain DOMAIN] [--name NAME] [--days N]\n"
        "                       [--key-type TYPE] [--intermediate] [--encrypt]\n"
        "                       [--passphrase-file FILE] [--force]\n"
        "\n"
        "  --dir DIR        where the authority is to be (ca.pem, ca.key);\n"
        "                   default: ${TELEX_CONFIG_HOME:-${XDG_CONFIG_HOME:-~/.config}/telex}/ca\n"
        "  --domain DOMAIN  the first part of every identity: spiffe://DOMAIN/agent/NAME;\n"
        "                   default: telex.internal\n"
        "  --name NAME      what the authority is called\n"
        "  --days N         how long the authority lasts; default: ten years\n"
        "  --key-type TYPE  p256 (default), ed25519 or rsa\n"
        "  --intermediate   the root signs once, an authority below it that issues from then on;\n"
        "                   the root's key, ca.key, can then be kept offline\n"
        "  --encrypt        the keys get a passphrase, which is asked on the terminal\n"
        "  --passphrase-file FILE\n"
        "                   or is the first line of FILE\n"
        "  --force          write over an authority that is there\n"
        "\n"
        "Keep ca.key: who has it can be anyone. Give ca.pem to every agent and every user.\n",
    .specs = specs,
    .run = run,
};
