/* SPDX-License-Identifier: Apache-2.0 */
/* `telex cert revoke [SERIAL|IDENTITY]`: the ledger, a new list beside the authority, and with
 * --push the agents that are to have it now. */
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "certs/ca.h"
#include "certs/certfile.h"
#include "certs/crl.h"
#include "certs/ledger.h"
#include "cli/cert_audit.h"
#include "cli/cert_nearest.h"
#include "cli/cmd_cert.h"
#include "cli/output.h"
#include "cli/say.h"
#include "cli/session.h"
#include "cli/verbs.h"
#include "common/mem.h"
#include "common/tls_cert.h"

#define LIST_FILE    "revocations.pem"
#define LIST_VALID_S (INT64_C(7) * 86400)
#define PUSH_MS      INT64_C(20000)

enum { OPT_REASON = CERT_OWN, OPT_PUSH };

static const struct options_spec specs[] = {
    {OPT_REASON, '\0', "reason", true},
    {OPT_PUSH, '\0', "push", false},
    CERT_SPEC_DIR,
    CERT_SPEC_PASSPHRASE,
    {0},
};

/* RFC 5280, 5.3.1 */
static const struct {
	const char *name;
	int code;
} reasons[] = {{"unspecified", 0}, {"key-compromise", 1}, {"affiliation-changed", 3},
    {"superseded", 4}, {"cessation", 5}, {"privilege-withdrawn", 9}};
#define REASONS (sizeof(reasons) / sizeof(reasons[0]))

struct revoke {
	struct cert_options given;
	const char *what; /* NULL: nothing more, a new list alone */
	int reason;
	bool push;
	bool recorded; /* the ledger has it, whatever failed after that */
	struct ledger_revoked done;
	char *pem;
	size_t len;
	char path[PATH_MAX];
	bool all_took_it;
	json_t *hosts;
};

/* ---- the list ---- */

static int write_down(const struct revoke *r, const char *dir, struct err *e)
{
	struct audit *a = NULL;
	int rc = cert_audit_begin(&a, dir, "revoke", e);

	if (rc != 0)
		return rc;
	audit_text(a, "what", r->what);
	audit_number(a, "certificates", (int64_t)r->done.certificates);
	audit_number(a, "renewed", (int64_t)r->done.renewed);
	audit_number(a, "tokens", (int64_t)r->done.tokens);
	audit_number(a, "reason", r->reason);
	return cert_audit_end(a, e);
}

static int make_list(struct revoke *r, struct err *e)
{
	struct ledger *l = NULL;
	struct ca *ca = NULL;
	char *dir = NULL;
	int rc = cmd_cert_authority(&r->given, &dir, &ca, e);

	if (rc == 0)
		rc = ledger_open(&l, dir, e);
	if (rc == 0 && r->what != NULL)
		rc = ledger_revoke(l, ca_domain(ca), r->what, r->reason, &r->done, e);
	if (rc == TX_ENOENT && r->what != NULL && l != NULL)
		cert_nearest(l, r->what, e);
	r->recorded = rc == 0 && r->what != NULL;
	if (rc == 0 && r->what != NULL)
		rc = write_down(r, dir, e);
	if (rc == 0)
		rc = crl_make(&r->pem, &r->len, ca, l, LIST_VALID_S, e);
	if (rc == 0)
		rc = certfile_path(r->path, dir, LIST_FILE, "", e);
	if (rc == 0)
		rc = certfile_write(r->path, r->pem, r->len, CERTFILE_CERTIFICATE, true, e);
	ledger_close(l);
	ca_free(ca);
	free(dir);
	return rc;
}

/* ---- the agents ---- */

struct push {
	struct revoke *revoke;
	const char *host;
	struct session *session;
	bool answered;
	struct telex_revocations_taken taken;
};

static void on_taken(const struct telex_revocations_taken *taken, void *arg)
{
	struct session *s = arg;
	struct push *p = s->data;

	p->answered = true;
	p->taken = *taken;
}

/* An agent that has a newer one has this one's revocations, too. */
static bool has_newer(const struct session *s)
{
	return s->error.kind == TELEX_ERROR_STATUS && strcmp(s->error.reason, "OLDER") == 0;
}

static void tell(const struct cli *cli, struct push *p, const struct telex_error *error)
{
	json_t *o;

	if (error != NULL)
		p->revoke->all_took_it = false;
	if (cli->json) {
		o = json_pack(
		    "{s:o, s:b}", "host", output_json_text(p->host), "taken", error == NULL);
		if (error != NULL)
			json_object_set_new(o, "error", output_json_text(error->message));
		else
			json_object_set_new(
			    o, "connections_cut", json_integer(p->taken.connections_cut));
		json_array_append_new(p->revoke->hosts, o);
	} else if (error != NULL) {
		say_error("cert revoke: %s does not have it: %s", p->host, error->message);
	} else if (p->answered) {
		printf("%s has it, number %" PRId64 "; %u connections were cut\n", p->host,
		    p->taken.number, p->taken.connections_cut);
	} else {
		printf("%s has a newer one\n", p->host);
	}
}

static void push_to(struct revoke *r, const struct cli *cli, const char *host)
{
	struct cli there = *cli;
	struct session s;
	struct push p = {.revoke = r, .host = host, .session = &s};
	struct telex_error error;

	there.on = host;
	if (session_try(&s, &there, &error) < 0) {
		tell(cli, &p, &error);
		session_close(&s);
		return;
	}
	s.data = &p;
	if (session_wait(&s, telex_put_revocations(s.client, r->pem, r->len, PUSH_MS, on_taken,
	                         session_done, &s, &s.error)) == 0 ||
	    has_newer(&s))
		tell(cli, &p, NULL);
	else
		tell(cli, &p, &s.error);
	session_close(&s);
}

/* "a,b:8359": one after the other. None: the context's own. */
static void push(struct revoke *r, const struct cli *cli)
{
	char *list = cli->on == NULL ? NULL : xstrdup(cli->on);
	char *rest = list, *host;

	if (list == NULL)
		push_to(r, cli, NULL);
	while (rest != NULL && (host = strsep(&rest, ",")) != NULL)
		if (host[0] != '\0')
			push_to(r, cli, host);
	free(list);
}

/* ---- the verb ---- */

/* Agents ask whether a client is revoked; most clients have no list to ask. */
static void warn_of_agent(const struct revoke *r)
{
	char date[TLS_TIME_SIZE];

	if (r->done.agent_until != 0)
		say_note(
		    "clients do not learn of it by themselves: they go on trusting this agent, and "
		    "whoever has its key, until the certificate ends on %s, but for those that "
		    "have this list (telex context create --revocations). Stop the agent, and give "
		    "its name or address to nothing else until then",
		    tls_time_text(date, r->done.agent_until));
}

static void answer(const struct cli *cli, const struct revoke *r)
{
	if (cli->json)
		return;
	if (r->what != NULL)
		printf("revoked %zu certificate%s of %s\n", r->done.certificates,
		    r->done.certificates == 1 ? "" : "s", r->what);
	if (r->done.renewed > 0)
		printf("revoked %zu certificate%s renewed from it\n", r->done.renewed,
		    r->done.renewed == 1 ? "" : "s");
	if (r->done.tokens > 0)
		printf("withdrew %zu unused token%s\n", r->done.tokens,
		    r->done.tokens == 1 ? "" : "s");
	printf("  list  %s\n", r->path);
	warn_of_agent(r);
	if (r->len >= CRL_LONG)
		say_note("the list has %zu bytes of the %zu that it may have", r->len, CRL_MAX);
	if (!r->push)
		say_note("agents fetch it when they next ask their authority; --push -w HOST,... "
		         "gives it to them now");
}

static void answer_json(const struct revoke *r)
{
	json_t *o = json_pack("{s:i, s:i, s:i, s:o}", "revoked", (int)r->done.certificates,
	    "tokens", (int)r->done.tokens, "renewed", (int)r->done.renewed, "list",
	    output_json_text(r->path));

	if (r->done.agent_until != 0)
		json_object_set_new(o, "agent_until", cmd_cert_time(r->done.agent_until));
	if (r->push)
		json_object_set(o, "hosts", r->hosts);
	output_json(o);
}

/* Who is told that it failed would think that nothing was done. */
static void say_recorded(const struct revoke *r, bool too_long)
{
	say_error("cert revoke: what was asked for IS in the ledger (%zu certificate%s of %s "
	          "revoked): none of it is renewed any more. But there is no list with it, so "
	          "agents do not know of it, and go on with the list that they have",
	    r->done.certificates + r->done.renewed,
	    r->done.certificates + r->done.renewed == 1 ? "" : "s", r->what);
	if (too_long)
		say_error("cert revoke: a certificate leaves the list a day after its end: "
		          "`telex cert revoke --push -w HOST,...` makes it anew when enough have "
		          "ended. At once only a new authority helps, which agents trust in place "
		          "of this one (telex cert init)");
	else
		say_error("cert revoke: when that is mended, `telex cert revoke --push -w "
		          "HOST,...` makes the list and gives it to them");
}

static int revoke(const struct cli *cli, struct revoke *r)
{
	struct err e;
	int rc = make_list(r, &e);

	r->all_took_it = true;
	r->hosts = json_array();
	if (rc == 0) {
		answer(cli, r);
		if (r->push)
			push(r, cli);
		if (cli->json)
			answer_json(r);
	} else {
		cmd_cert_fail(&e);
		if (r->recorded)
			say_recorded(r, rc == TX_ETOOBIG);
	}
	json_decref(r->hosts);
	free(r->pem);
	if (rc != 0)
		return CLI_TELEX;
	return r->all_took_it ? CLI_OK : CLI_FAILED;
}

static bool take(struct options *o, int id, const char *value, void *arg)
{
	struct revoke *r = arg;
	const char *names[REASONS];

	if (id == OPT_PUSH) {
		r->push = true;
		return true;
	}
	for (size_t i = 0; i < REASONS; i++) {
		names[i] = reasons[i].name;
		if (strcmp(names[i], value) == 0) {
			r->reason = reasons[i].code;
			return true;
		}
	}
	options_usage(o, "--reason '%s' is none%s (telex cert revoke --help has them)", value,
	    options_nearest(value, names, REASONS));
	return false;
}

static int run(struct cli *cli, int argc, char **argv)
{
	struct revoke r = {.given = {.own = take}};
	struct options o;

	r.given.arg = &r;
	options_start(&o, cli, &cmd_cert_revoke, specs, argc, argv);
	if (!cmd_cert_options(&o, &r.given))
		return options_end(&o);
	r.what = o.n_operands > 0 ? o.operands[0] : NULL;
	if (o.n_operands > 1)
		options_usage(&o, "revoke takes one serial number or one identity");
	else if (r.what == NULL && !r.push)
		options_usage(&o, "say what to revoke, by its serial number or its identity");
	else
		o.status = revoke(cli, &r);
	return options_end(&o);
}

const struct cli_verb cmd_cert_revoke = {
    .name = "cert revoke",
    .summary = "a certificate is good no more",
    .help =
        "Examples:\n"
        "  telex cert revoke spiffe://lab.example/user/alice --push -w build7,build8\n"
        "  telex cert revoke 3F9A0C... --reason key-compromise\n"
        "  telex cert revoke --push -w build7      a new list, nothing more revoked\n"
        "\n"
        "Usage: telex cert revoke [SERIAL|IDENTITY] [--reason REASON] [--dir DIR]\n"
        "                         [--passphrase-file FILE] [--push [-w HOST,...]]\n"
        "\n"
        "  --reason REASON  unspecified (default), key-compromise, affiliation-changed,\n"
        "                   superseded, cessation or privilege-withdrawn\n"
        "  --dir DIR        where the authority is;\n"
        "                   default: ${TELEX_CONFIG_HOME:-${XDG_CONFIG_HOME:-~/.config}/telex}/ca\n"
        "  --passphrase-file FILE\n"
        "                   the first line is the passphrase of the authority's key; without it\n"
        "                   it is asked for, where it is encrypted\n"
        "  --push           give the new list to the agents now, with the context's certificate;\n"
        "                   they cut the connections of what it revokes at once\n"
        "\n"
        "An agent's certificate is refused by its authority from then on (it is not renewed); "
        "clients\n"
        "that have no list (telex context create --revocations) trust it until it ends. The\n"
        "answer says when that is.\n"
        "A serial number means the certificate, and all that were renewed from it: who copied its\n"
        "key may have them. Its owner enrolls again.\n"
        "An identity (spiffe://DOMAIN/user/NAME) means all its certificates that have not\n"
        "expired, and its tokens that nobody has used. The new list is written to revocations.pem "
        "in the authority's folder. Ends\n"
        "with 1 when a host did not take it.\n",
    .specs = specs,
    .run = run,
};
