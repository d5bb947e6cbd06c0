/* SPDX-License-Identifier: Apache-2.0 */
/* `telex cert sign CSR [agent|user NAME]`: a certificate for a key that was made elsewhere. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "certs/certshow.h"
#include "certs/csr.h"
#include "cli/cmd_cert.h"
#include "cli/output.h"
#include "cli/say.h"
#include "cli/verbs.h"
#include "common/tls.h"

static const struct options_spec specs[] = {
    CERT_SPEC_SAN,
    CERT_SPEC_TTL,
    CERT_SPEC_DIR,
    CERT_SPEC_OUT,
    CERT_SPEC_PASSPHRASE,
    CERT_SPEC_FORCE,
    {0},
};

struct sign {
	struct cert_options given;
	const char *file;
	enum identity_kind kind; /* 0: the request's */
	const char *name;
	struct identity asked;
	struct csr csr;
	struct cert_out to;
};

/* "-": standard input. */
static int read_request(struct sign *s, struct err *e)
{
	char *text = NULL;
	size_t len = 0;
	int rc = strcmp(s->file, "-") == 0
	             ? tls_read_fd(STDIN_FILENO, "standard input", &text, &len, e)
	             : tls_read_file(s->file, &text, &len, e);

	if (rc == 0)
		rc = csr_read(&s->csr, text, len, e);
	if (rc == TX_EINVAL)
		err_wrap(e, "%s", s->file);
	tls_text_free(text, len);
	return rc;
}

/* Who it is for: what was said here, else what the request says. csr_sign holds the two against
 * each other. */
static int find_who(struct sign *s, struct err *e)
{
	if (s->kind != 0)
		return 0;
	if (s->csr.identity[0] == '\0')
		return err_set(e, TX_EINVAL,
		    "the request asks for no identity (a URI name); say whose it is: telex cert "
		    "sign "
		    "%s agent NAME, or user NAME",
		    s->file);
	if (identity_parse(&s->asked, s->csr.identity, strlen(s->csr.identity), e) != 0)
		return e->code;
	s->kind = s->asked.kind;
	s->name = s->asked.name;
	return 0;
}

static int make(struct sign *s, struct issued *issued, const struct ca *ca, struct err *e)
{
	struct issue_request allowed = {.kind = s->kind, .name = s->name, .ttl_s = s->given.ttl_s};
	int rc = 0;

	if (s->given.n_sans > 0)
		rc = csr_narrow(&s->csr, s->given.sans, s->given.n_sans, e);
	allowed.sans = (const char *const *)s->csr.sans;
	allowed.sans_len = s->csr.n_sans;
	return rc == 0 ? csr_sign(issued, ca, &s->csr, &allowed, e) : rc;
}

static void answer_json(const struct sign *s, const struct issued *issued)
{
	json_t *o = cmd_cert_out_json(&s->to, issued), *hosts = json_array();

	for (size_t i = 0; i < s->csr.n_sans; i++)
		json_array_append_new(hosts, output_json_text(s->csr.sans[i]));
	if (s->kind == IDENTITY_AGENT && s->csr.n_sans == 0)
		json_array_append_new(hosts, output_json_text(s->name));
	json_object_set_new(o, "hosts", hosts);
	output_json(o);
}

/* All that it says, since others chose it. */
static void answer(const struct cli *cli, const struct sign *s, const struct issued *issued)
{
	struct certshow *shown = NULL;
	size_t n = 0;
	char *words = NULL;

	if (issued->shortened)
		say_note("it ends with its authority, earlier than asked for");
	if (cli->json) {
		answer_json(s, issued);
		return;
	}
	printf("signed %s into %s\n", issued->identity, s->to.certificate);
	if (certshow_read(&shown, &n, issued->certificate, issued->certificate_len, "it", NULL) ==
	    0)
		words = certshow_words(&shown[0], (int64_t)time(NULL));
	if (words != NULL)
		fputs(words, stdout);
	free(words);
	certshow_free(shown, n);
}

static int sign(const struct cli *cli, struct sign *s)
{
	struct issued issued = {.key = NULL};
	struct ca *ca = NULL;
	char *dir = NULL;
	struct err e;
	int rc = read_request(s, &e);

	if (rc == 0)
		rc = find_who(s, &e);
	if (rc == 0)
		rc = cmd_cert_authority(&s->given, &dir, &ca, &e);
	if (rc == 0)
		rc = cmd_cert_out_check(&s->to, &s->given, s->name, dir, ca, &e);
	if (rc == 0)
		rc = make(s, &issued, ca, &e);
	if (rc == 0)
		rc = cmd_cert_out_write(&s->to, "sign", dir, ca, &issued, &e);
	if (rc == 0)
		answer(cli, s, &issued);
	else
		cmd_cert_fail(&e);
	issue_free(&issued);
	csr_clear(&s->csr);
	ca_free(ca);
	free(dir);
	return rc == 0 ? CLI_OK : CLI_TELEX;
}

static bool take_operands(struct options *o, struct sign *s)
{
	if (o->n_operands != 1 && o->n_operands != 3) {
		options_usage(o,
		    "sign takes a file with a request, and `agent NAME` or `user NAME` "
		    "when the request does not say");
		return false;
	}
	s->file = o->operands[0];
	return o->n_operands == 1 || cmd_cert_who(o, 1, &s->kind, &s->name);
}

static int run(struct cli *cli, int argc, char **argv)
{
	struct sign s = {.given = {.out = "."}, .to = {.no_key = true}};
	struct options o;

	options_start(&o, cli, &cmd_cert_sign, specs, argc, argv);
	if (cmd_cert_options(&o, &s.given) && take_operands(&o, &s))
		o.status = sign(cli, &s);
	return options_end(&o);
}

const struct cli_verb cmd_cert_sign = {
    .name = "cert sign",
    .summary = "a certificate for a request that was made elsewhere",
    .help =
        "Examples:\n"
        "  telex cert sign build7.csr\n"
        "  telex cert sign build7.csr agent build7 --san build7.lab.example --out build7\n"
        "  ssh build7 cat /etc/telex/agent.csr | telex cert sign - agent build7\n"
        "\n"
        "Usage: telex cert sign FILE [agent NAME|user NAME] [--san NAME|IP]... [--ttl TIME]\n"
        "                       [--dir DIR] [--out DIR] [--passphrase-file FILE] [--force]\n"
        "\n"
        "Signs a request (PKCS #10, PEM or DER; - is standard input) for the identity and the\n"
        "hosts that it names, and shows what it signed. Anything else that it asks for is not\n"
        "looked at. The key must be P-256, P-384, Ed25519, or RSA of 2048 bits or more.\n"
        "\n"
        "  agent NAME, user NAME\n"
        "                   whose it is, when the request does not say; when it does, it must be\n"
        "                   the same\n"
        "  --san NAME|IP    only these of the hosts that it asks for; when it asks for none, "
        "these\n"
        "  --ttl TIME       how long the certificate lasts: 30m, 24h, 7d;\n"
        "                   default: 7d for an agent, 24h for a user\n"
        "  --dir DIR        where the authority is\n"
        "  --out DIR        where NAME.pem and a copy of ca.pem go; default: here\n"
        "  --passphrase-file FILE\n"
        "                   the first line is the passphrase of the authority's key\n"
        "  --force          write over files that are there\n",
    .specs = specs,
    .run = run,
};
