/* SPDX-License-Identifier: Apache-2.0 */
/* `telex cert`: which word it is, and what the words share. */
#include "cli/cmd_cert.h"

#include <stdlib.h>

#include "certs/certfile.h"
#include "cli/output.h"
#include "cli/passphrase.h"
#include "cli/paths.h"
#include "cli/say.h"
#include "cli/subverbs.h"
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

int cmd_cert_authority(const struct cert_options *c, char **dir, struct ca **ca, struct err *e)
{
	struct key_passphrase p;
	int rc = cmd_cert_folder(c->dir, dir, e);

	passphrase_source(&p, c->passphrase_file);
	if (rc == 0)
		rc = ca_load_with(ca, *dir, &p, e);
	if (rc == TX_ENOENT)
		err_set(e, rc,
		    "there is no authority in %s (no %s); make one with `telex cert init`, or name "
		    "its folder with --dir",
		    *dir, CA_CERTIFICATE_FILE);
	return rc;
}

int cmd_cert_ledger(const char *given, char **dir, struct ledger **out, struct err *e)
{
	char path[PATH_MAX];
	int rc = cmd_cert_folder(given, dir, e);

	if (rc == 0)
		rc = certfile_path(path, *dir, CA_CERTIFICATE_FILE, "", e);
	if (rc == 0 && !certfile_exists(path))
		rc = err_set(e, TX_ENOENT,
		    "there is no authority in %s (no %s); --dir names its folder", *dir,
		    CA_CERTIFICATE_FILE);
	return rc == 0 ? ledger_open(out, *dir, e) : rc;
}

json_t *cmd_cert_time(int64_t epoch)
{
	char text[48];

	return output_json_text(output_time(text, sizeof(text), epoch * NS_PER_S));
}

static const struct cli_verb *const words[] = {
    &cmd_cert_init,
    &cmd_cert_issue,
    &cmd_cert_sign,
    &cmd_cert_token,
    &cmd_cert_enroll,
    &cmd_cert_ls,
    &cmd_cert_renew,
    &cmd_cert_revoke,
    &cmd_cert_show,
};
/* The same, for completion. */
static const char *const names[] = {
    "init", "issue", "sign", "token", "enroll", "ls", "renew", "revoke", "show", NULL};
_Static_assert(
    sizeof(names) / sizeof(names[0]) == sizeof(words) / sizeof(words[0]) + 1, "a name for each");

static int run(struct cli *cli, int argc, char **argv)
{
	return subverbs_run(cli, &cmd_cert, words, argc, argv);
}

const struct cli_verb cmd_cert = {
    .name = "cert",
    .summary = "make an authority, and certificates for agents and users",
    .words = names,
    .help =
        "Examples:\n"
        "  telex cert init --domain lab.example\n"
        "  telex cert issue agent build7 --san build7.lab.example --san 10.0.0.7 --out build7\n"
        "  telex cert issue user alice --ttl 8h --out ~/.config/telex/alice\n"
        "  telex cert token --agent build8 --out build8.token\n"
        "  telex cert enroll @build8.token --out /etc/telex\n"
        "  telex cert show build7/build7.pem\n"
        "\n"
        "Usage: telex cert WORD …, and telex cert WORD --help says more\n"
        "\n"
        "  init    a new authority in a folder\n"
        "  issue   a key and its certificate, for an agent or a user\n"
        "  sign    a certificate for a request that was made elsewhere\n"
        "  token   for a new machine or person: good once, for a first certificate\n"
        "  enroll  a first certificate, for a token; the key stays where it is made\n"
        "  ls      what the authority has issued\n"
        "  renew   the next certificate, before this one ends\n"
        "  revoke  a certificate is good no more\n"
        "  show    what certificates say\n"
        "\n"
        "The authority is in ${TELEX_CONFIG_HOME:-${XDG_CONFIG_HOME:-~/.config}/telex}/ca, or "
        "where\n"
        "--dir says. Keep its ca.key: who has it can be anyone. Give ca.pem to every agent and\n"
        "every user.\n",
    .run = run,
};
