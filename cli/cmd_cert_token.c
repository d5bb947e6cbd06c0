/* SPDX-License-Identifier: Apache-2.0 */
/* `telex cert token`: what a new machine or person gets to have a first certificate. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "certs/certfile.h"
#include "certs/ledger.h"
#include "certs/token.h"
#include "cli/cert_audit.h"
#include "cli/cmd_cert.h"
#include "cli/output.h"
#include "cli/paths.h"
#include "cli/say.h"
#include "cli/verbs.h"
#include "common/duration.h"
#include "common/mem.h"
#include "common/tls.h"
#include "common/tls_cert.h"
#include "lib/address.h"

enum {
	OPT_AGENT = CERT_OWN,
	OPT_USER,
	OPT_ADDRESS,
	OPT_CERTIFICATE_TTL,
	OPT_LS,
	OPT_ALL,
	OPT_REVOKE
};

#define ADDRESS_FILE "address"
#define ADDRESS_MAX  ((size_t)255)

static const struct options_spec specs[] = {
    {OPT_AGENT, '\0', "agent", true},
    {OPT_USER, '\0', "user", true},
    {OPT_ADDRESS, '\0', "address", true},
    {OPT_CERTIFICATE_TTL, '\0', "certificate-ttl", true},
    {OPT_LS, '\0', "ls", false},
    {OPT_ALL, 'a', "all", false},
    {OPT_REVOKE, '\0', "revoke", true},
    CERT_SPEC_SAN,
    CERT_SPEC_TTL,
    CERT_SPEC_OUT,
    CERT_SPEC_FORCE,
    CERT_SPEC_DIR,
    CERT_SPEC_PASSPHRASE,
    {0},
};

struct making {
	struct cert_options given;
	enum identity_kind kind; /* 0: not said yet */
	const char *name, *address;
	int64_t certificate_ttl_s; /* 0: as for `issue` */
	bool ls, all;
	const char *revoke;
	struct token token;
	char *text;
	char id[LEDGER_TOKEN_ID_SIZE];
};

static bool take_who(struct options *o, struct making *m, enum identity_kind kind, const char *name)
{
	if (m->kind != 0) {
		options_usage(o, "a token is for one agent or one user");
		return false;
	}
	m->kind = kind;
	m->name = name;
	return true;
}

static bool take(struct options *o, int id, const char *value, void *arg)
{
	struct making *m = arg;
	int64_t ns;

	switch (id) {
	case OPT_AGENT:
		return take_who(o, m, IDENTITY_AGENT, value);
	case OPT_USER:
		return take_who(o, m, IDENTITY_USER, value);
	case OPT_ADDRESS:
		m->address = value;
		return true;
	case OPT_LS:
		m->ls = true;
		return true;
	case OPT_ALL:
		m->all = true;
		return true;
	case OPT_REVOKE:
		m->revoke = value;
		return true;
	default:
		if (duration_parse(value, &ns) == 0 && ns / NS_PER_S >= ISSUE_TTL_MIN) {
			m->certificate_ttl_s = ns / NS_PER_S;
			return true;
		}
		options_usage(o,
		    "--certificate-ttl takes a time of a minute or more, as 24h or 7d, not '%s'",
		    value);
		return false;
	}
}

/* ---- where the authority listens ---- */

/* HOST:PORT, and nothing left out: a default port would be that of agents. */
static int take_address(struct making *m, const char *text, struct err *e)
{
	const char *end = text[0] == '[' ? strchr(text, ']') : text;
	struct address a;

	if (end == NULL || strchr(end, ':') == NULL || strlen(text) >= sizeof(m->token.address) ||
	    address_parse(&a, text, e) != 0 || (strchr(a.host, ':') != NULL && text[0] != '['))
		return err_set(e, TX_EINVAL,
		    "'%.300s' is not where the authority listens: HOST:PORT or [IPv6]:PORT", text);
	snprintf(m->token.address, sizeof(m->token.address), "%s", text);
	return 0;
}

/* Said once, it is remembered beside the authority. */
static int find_address(struct making *m, const char *dir, struct err *e)
{
	char *path = xasprintf("%s/" ADDRESS_FILE, dir), *text = NULL;
	int rc = 0;

	if (m->address == NULL) {
		rc = paths_read(path, ADDRESS_MAX, &text, e);
		if (rc == TX_ENOENT)
			err_set(e, rc,
			    "say where the authority listens, once: --address HOST:PORT "
			    "(`authority` in its telexd.conf)");
		if (rc == 0) {
			text[strcspn(text, "\r\n")] = '\0';
			rc = take_address(m, text, e);
			if (rc != 0)
				err_wrap(e, "%s", path);
		}
	} else {
		rc = take_address(m, m->address, e);
		text = xasprintf("%s\n", m->address);
		if (rc == 0)
			rc = paths_write(path, text, strlen(text), e);
	}
	free(text);
	free(path);
	return rc;
}

/* ---- the token ---- */

static int fill(struct making *m, const struct ca *ca, struct err *e)
{
	struct token *t = &m->token;
	struct identity id;
	int rc = identity_make(&id, m->kind, ca_domain(ca), m->name, e);

	if (rc != 0)
		return rc;
	t->kind = m->kind;
	memcpy(t->domain, id.domain, sizeof(t->domain));
	memcpy(t->name, id.name, sizeof(t->name));
	t->expires =
	    (int64_t)time(NULL) + (m->given.ttl_s != 0 ? m->given.ttl_s : TOKEN_TTL_DEFAULT);
	if (m->given.ttl_s > TOKEN_TTL_MAX)
		return err_set(e, TX_EINVAL, "--ttl: a token is good for seven days at most");
	if (m->kind == IDENTITY_USER && m->given.n_sans > 0)
		return err_set(e, TX_EINVAL, "a user's certificate names no host; leave out --san");
	if (m->kind == IDENTITY_AGENT && m->given.n_sans == 0 && !sans_valid(m->name))
		return err_set(e, TX_EINVAL,
		    "%s is no host name; say how clients reach the agent: --san NAME|IP", m->name);
	if (m->kind == IDENTITY_AGENT && m->given.n_sans == 0)
		m->given.sans[m->given.n_sans++] = m->name;
	rc = sans_set(&t->sans, &t->n_sans, m->given.sans, m->given.n_sans, e);
	return rc == 0 ? ca_pin(ca, t->pin, e) : rc;
}

/* The set as the ledger has it: one a line. */
static char *joined(const struct token *t)
{
	char *text = xstrdup("");

	for (size_t i = 0; i < t->n_sans; i++) {
		char *longer = xasprintf("%s%s%s", text, i > 0 ? "\n" : "", t->sans[i]);

		free(text);
		text = longer;
	}
	return text;
}

static int write_down(const struct making *m, int64_t ttl_s, const char *dir, struct err *e)
{
	char identity[IDENTITY_SIZE];
	struct audit *a = NULL;
	int rc = cert_audit_begin(&a, dir, "token", e);

	if (rc != 0)
		return rc;
	snprintf(identity, sizeof(identity), "spiffe://%s/%s/%s", m->token.domain,
	    identity_kind_name(m->kind), m->token.name);
	audit_text(a, "identity", identity);
	audit_text(a, "token", m->id);
	audit_list(a, "hosts", m->token.sans, m->token.n_sans);
	audit_number(a, "expires", m->token.expires);
	audit_number(a, "ttl", ttl_s);
	return cert_audit_end(a, e);
}

static int record(struct making *m, const char *dir, struct err *e)
{
	struct ledger_token t = {.kind = m->kind,
	    .ttl_s = m->certificate_ttl_s != 0   ? m->certificate_ttl_s
	             : m->kind == IDENTITY_AGENT ? ISSUE_AGENT_TTL
	                                         : ISSUE_USER_TTL,
	    .expires = m->token.expires};
	struct ledger *l = NULL;
	char *sans = joined(&m->token);
	int rc = token_make(&m->token, &m->text, e);

	memcpy(t.name, m->token.name, sizeof(t.name));
	token_hash(m->token.secret, t.hash);
	t.sans = sans;
	if (rc == 0)
		rc = ledger_open(&l, dir, e);
	if (rc == 0)
		rc = ledger_add_token(l, &t, e);
	ledger_close(l);
	free(sans);
	ledger_token_id(m->id, t.hash);
	return rc == 0 ? write_down(m, t.ttl_s, dir, e) : rc;
}

/* Where only its owner may read it. */
static int write_out(const struct making *m, struct err *e)
{
	char *line = xasprintf("%s\n", m->text);
	int rc = certfile_write(m->given.out, line, strlen(line), CERTFILE_KEY, m->given.force, e);

	tls_text_free(line, strlen(line));
	return rc;
}

static void answer(const struct cli *cli, const struct making *m)
{
	char date[TLS_TIME_SIZE];
	json_t *o;

	if (!cli->json) {
		if (m->given.out == NULL)
			puts(m->text);
		say_note("token %s, good once, until %s, for %s %s; there: telex cert enroll %s",
		    m->id, tls_time_text(date, m->token.expires), identity_kind_name(m->kind),
		    m->name,
		    m->given.out == NULL ? "@FILE (the token in a file), or - to read it from stdin"
		                         : "@FILE, with this file");
		return;
	}
	o = json_object();
	json_object_set_new(o, "token_id", output_json_text(m->id));
	if (m->given.out == NULL)
		json_object_set_new(o, "token", output_json_text(m->text));
	else
		json_object_set_new(o, "file", output_json_text(m->given.out));
	json_object_set_new(o, "kind", output_json_text(identity_kind_name(m->kind)));
	json_object_set_new(o, "name", output_json_text(m->name));
	json_object_set_new(o, "address", output_json_text(m->token.address));
	json_object_set_new(o, "expires", cmd_cert_time(m->token.expires));
	output_json(o);
}

static int make(const struct cli *cli, struct making *m)
{
	struct ca *ca = NULL;
	char *dir = NULL;
	struct err e;
	int rc = cmd_cert_authority(&m->given, &dir, &ca, &e);

	if (rc == 0 && m->given.out != NULL && !m->given.force && certfile_exists(m->given.out))
		rc = err_set(
		    &e, TX_EEXIST, "%s is there already; --force writes over it", m->given.out);
	if (rc == 0)
		rc = find_address(m, dir, &e);
	if (rc == 0)
		rc = fill(m, ca, &e);
	if (rc == 0)
		rc = record(m, dir, &e);
	if (rc == 0 && m->given.out != NULL)
		rc = write_out(m, &e);
	if (rc == 0)
		answer(cli, m);
	else
		cmd_cert_fail(&e);
	token_text_free(m->text);
	token_clear(&m->token);
	ca_free(ca);
	free(dir);
	return rc == 0 ? CLI_OK : CLI_TELEX;
}

static int run(struct cli *cli, int argc, char **argv)
{
	struct making m = {.given = {.own = take}};
	struct options o;

	m.given.arg = &m;
	options_start(&o, cli, &cmd_cert_token, specs, argc, argv);
	if (!cmd_cert_options(&o, &m.given))
		return options_end(&o);
	if (m.ls || m.revoke != NULL) {
		if (m.kind != 0 || o.n_operands > 0 || (m.ls && m.revoke != NULL))
			options_usage(&o, "--ls and --revoke TOKEN are alone, but for --dir");
		else
			o.status = m.ls ? cmd_cert_token_ls(cli, m.given.dir, m.all)
			                : cmd_cert_token_revoke(cli, m.given.dir, m.revoke);
		return options_end(&o);
	}
	if (m.kind == 0 && o.n_operands == 2 && !cmd_cert_who(&o, 0, &m.kind, &m.name))
		return options_end(&o);
	if (m.kind == 0)
		options_usage(&o, "token takes --agent NAME or --user NAME");
	else
		o.status = make(cli, &m);
	return options_end(&o);
}

const struct cli_verb cmd_cert_token = {
    .name = "cert token",
    .summary = "a token for a first certificate",
    .help =
        "Examples:\n"
        "  telex cert token --agent build8 --san build8.lab.example --address ca.lab.example:8360\n"
        "  telex cert token --user alice --out alice.token\n"
        "  telex cert token --ls\n"
        "  telex cert token --revoke 3F9A0C5512AB34CD\n"
        "\n"
        "Usage: telex cert token --agent NAME [--san NAME|IP]... [--ttl TIME]\n"
        "                        [--certificate-ttl TIME] [--address HOST:PORT] [--dir DIR]\n"
        "                        [--passphrase-file FILE] [--out FILE [--force]]\n"
        "       telex cert token --user NAME [...]\n"
        "       telex cert token --ls [-a] [--dir DIR]\n"
        "       telex cert token --revoke ID|TOKEN|@FILE [--dir DIR]\n"
        "\n"
        "Prints a token: good once, for exactly this name and these hosts. Who has it can have "
        "the\n"
        "certificate, so hand it over as you would a password. `telex cert enroll` takes it.\n"
        "\n"
        "  --san NAME|IP    a host name or address of the agent; may be repeated; default: NAME\n"
        "  --ttl TIME       how long the token is good: 15m (default) to 7d\n"
        "  --certificate-ttl TIME\n"
        "                   how long the certificate lasts; default: 7d, or 24h for a user\n"
        "  --address HOST:PORT\n"
        "                   where the authority listens (`authority` in its telexd.conf);\n"
        "                   remembered in its folder\n"
        "  --out FILE       into a file that only you may read, instead of to standard output\n"
        "  --force          write over a file that is there\n"
        "  --ls             the tokens that are out; with -a also those that were used, withdrawn\n"
        "                   or have expired\n"
        "  --revoke ID      it is good no more; also by its text, or by @FILE with that\n"
        "  --dir DIR        the authority's folder, as for `telex cert issue`\n"
        "  --passphrase-file FILE\n"
        "                   the first line is the passphrase of the authority's key\n",
    .specs = specs,
    .run = run,
};
