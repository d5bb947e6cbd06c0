/* SPDX-License-Identifier: Apache-2.0 */
/* `telex cert issue agent|user NAME`: a key, its certificate and a copy of the authority's, in a
 * folder. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "certs/ca.h"
#include "certs/certfile.h"
#include "certs/issue.h"
#include "cli/cmd_cert.h"
#include "cli/output.h"
#include "cli/paths.h"
#include "cli/say.h"
#include "cli/verbs.h"
#include "common/tls.h"
#include "common/tls_cert.h"

static const struct options_spec specs[] = {
    CERT_SPEC_SAN,
    CERT_SPEC_TTL,
    CERT_SPEC_DIR,
    CERT_SPEC_OUT,
    CERT_SPEC_KEY_TYPE,
    CERT_SPEC_FORCE,
    {0},
};

struct issue {
	struct cert_options given;
	struct issue_request request;
	char certificate[PATH_MAX], key[PATH_MAX], ca[PATH_MAX];
};

static bool same_folder(const char *a, const char *b)
{
	struct stat one, two;

	return stat(a, &one) == 0 && stat(b, &two) == 0 && one.st_dev == two.st_dev &&
	       one.st_ino == two.st_ino;
}

/* ca.pem beside what is issued, so that the three files go together. The same text there is fine.
 */
static int copy_ca(const struct issue *i, const struct ca *ca, struct err *e)
{
	size_t len, there_len = 0;
	const char *text = ca_certificate(ca, &len);
	char *there = NULL;
	bool same;
	int rc;

	if (!certfile_exists(i->ca))
		return certfile_write(i->ca, text, len, CERTFILE_CERTIFICATE, false, e);
	rc = tls_read_file(i->ca, &there, &there_len, e);
	if (rc != 0)
		return rc;
	same = there_len == len && memcmp(there, text, len) == 0;
	tls_text_free(there, there_len);
	if (same)
		return 0;
	if (!i->given.force)
		return err_set(e, TX_EEXIST,
		    "%s is of another authority; choose another folder with --out, or --force",
		    i->ca);
	return certfile_write(i->ca, text, len, CERTFILE_CERTIFICATE, true, e);
}

static int write_files(struct issue *i, const struct ca *ca, const char *dir,
    const struct issued *issued, struct err *e)
{
	int rc = certfile_path(i->certificate, i->given.out, i->request.name, ".pem", e);

	if (rc == 0)
		rc = certfile_path(i->key, i->given.out, i->request.name, ".key", e);
	if (rc == 0)
		rc = certfile_path(i->ca, i->given.out, CA_CERTIFICATE_FILE, "", e);
	if (rc == 0)
		rc = paths_make_folder(i->given.out, e);
	/* An agent called "ca" would take the authority's place. */
	if (rc == 0 && strcmp(i->certificate, i->ca) == 0)
		rc = err_set(e, TX_EINVAL, "\"ca\" is the name of the authority's own files");
	if (rc == 0 && !same_folder(dir, i->given.out))
		rc = copy_ca(i, ca, e);
	if (rc == 0)
		rc = certfile_write_pair(i->certificate, issued->certificate,
		    issued->certificate_len, i->key, issued->key, issued->key_len, i->given.force,
		    e);
	return rc;
}

static void answer_json(const struct issue *i, const struct issued *issued)
{
	json_t *o = json_object(), *hosts = json_array();

	json_object_set_new(o, "identity", output_json_text(issued->identity));
	json_object_set_new(o, "serial", output_json_text(issued->serial));
	json_object_set_new(o, "not_before", cmd_cert_time(issued->not_before));
	json_object_set_new(o, "not_after", cmd_cert_time(issued->not_after));
	json_object_set_new(o, "certificate", output_json_text(i->certificate));
	json_object_set_new(o, "key", output_json_text(i->key));
	json_object_set_new(o, "ca", output_json_text(i->ca));
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
	printf("  certificate  %s\n", i->certificate);
	printf("  key          %s\n", i->key);
	printf("  authority    %s\n", i->ca);
	if (i->request.kind == IDENTITY_USER)
		say_note("next: telex context create NAME --host HOST --cert %s --key %s --ca %s",
		    i->certificate, i->key, i->ca);
}

static int issue(const struct cli *cli, struct issue *i)
{
	struct issued issued = {.key = NULL};
	struct ca *ca = NULL;
	char *dir = NULL;
	struct err e;
	int rc = cmd_cert_folder(i->given.dir, &dir, &e);

	if (rc == 0)
		rc = ca_load(&ca, dir, &e);
	if (rc == 0)
		rc = issue_certificate(&issued, ca, &i->request, &e);
	if (rc == 0)
		rc = write_files(i, ca, dir, &issued, &e);
	if (rc == 0)
		answer(cli, i, &issued);
	else
		cmd_cert_fail(&e);
	if (rc == TX_ENOENT)
		say_note("make one with `telex cert init`, or name its folder with --dir");
	issue_free(&issued);
	ca_free(ca);
	free(dir);
	return rc == 0 ? CLI_OK : CLI_TELEX;
}

static bool take_operands(struct options *o, struct issue *i)
{
	static const char *const kinds[] = {"agent", "user"};

	if (o->n_operands != 2) {
		options_usage(o, "issue takes `agent NAME` or `user NAME`");
		return false;
	}
	if (!identity_kind_parse(&i->request.kind, o->operands[0])) {
		options_usage(o, "a certificate is of an agent or a user, not of '%s'%s",
		    o->operands[0], options_nearest(o->operands[0], kinds, 2));
		return false;
	}
	i->request.name = o->operands[1];
	i->request.sans = i->given.sans;
	i->request.sans_len = i->given.n_sans;
	i->request.ttl_s = i->given.ttl_s;
	i->request.key_type = i->given.key_type;
	return true;
}

static int run(struct cli *cli, int argc, char **argv)
{
	struct issue i = {.given = {.out = "."}};
	struct options o;

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
        "                       [--out DIR] [--key-type TYPE] [--force]\n"
        "       telex cert issue user NAME [--ttl TIME] [--dir DIR] [--out DIR]\n"
        "                       [--key-type TYPE] [--force]\n"
        "\n"
        "  --san NAME|IP    a host name or address by which clients reach the agent; may be\n"
        "                   repeated; default: NAME itself\n"
        "  --ttl TIME       how long the certificate lasts: 30m, 24h, 7d;\n"
        "                   default: 7d for an agent, 24h for a user\n"
        "  --dir DIR        where the authority is (ca.pem, ca.key);\n"
        "                   default: ${TELEX_CONFIG_HOME:-${XDG_CONFIG_HOME:-~/.config}/telex}/ca\n"
        "  --out DIR        where NAME.pem, NAME.key and a copy of ca.pem go; default: here\n"
        "  --key-type TYPE  p256 (default), ed25519 or rsa\n"
        "  --force          write over files that are there\n",
    .specs = specs,
    .run = run,
};
