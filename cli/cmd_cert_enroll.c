/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `telex cert enroll TOKEN`: a first certificate. The key is made here and stays here. Until there
 * is an answer it is kept with its request beside their places (NAME.request): the same request
 * with the same token gets the same certificate, so a first attempt that was cut costs nothing.
 */
#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "certs/certfile.h"
#include "certs/certshow.h"
#include "certs/pem.h"
#include "certs/token.h"
#include "cli/agent_setup.h"
#include "cli/cmd_cert.h"
#include "cli/context.h"
#include "cli/enroll_request.h"
#include "cli/output.h"
#include "cli/paths.h"
#include "cli/say.h"
#include "cli/verbs.h"
#include "common/mem.h"
#include "common/tls.h"
#include "common/tls_cert.h"
#include "lib/telex.h"

enum { OPT_CONTEXT = CERT_OWN, OPT_HOST, OPT_LISTEN, OPT_OPERATOR };

static const struct options_spec specs[] = {
    CERT_SPEC_OUT,
    {OPT_CONTEXT, '\0', "context-name", true},
    {OPT_HOST, '\0', "host", true},
    {OPT_LISTEN, '\0', "listen", true},
    {OPT_OPERATOR, '\0', "operator", true},
    CERT_SPEC_KEY_TYPE,
    CERT_SPEC_FORCE,
    {0},
};

struct enrolling {
	struct cert_options given;
	const char *context, *host, *listen, *operator;
	char *text; /* of the token */
	struct token token;
	char identity[IDENTITY_SIZE];
	char *dir;
	char certificate[PATH_MAX], key[PATH_MAX], ca[PATH_MAX];
	bool keep_ca; /* what is there trusts the token's authority, and others */
	struct enroll_request request;
	/* the answer */
	struct event_base *base;
	struct telex_client *authority;
	bool done, failed;
	struct telex_error error;
	char *chain, *root;
	int64_t not_after;
};

static bool take(struct options *o, int id, const char *value, void *arg)
{
	struct enrolling *n = arg;

	if (id == OPT_CONTEXT && !context_name_valid(value)) {
		options_usage(o, "'%s' is no name of a context", value);
		return false;
	}
	if (id == OPT_CONTEXT)
		n->context = value;
	else if (id == OPT_HOST)
		n->host = value;
	else if (id == OPT_LISTEN)
		n->listen = value;
	else
		n->operator= value;
	return true;
}

/* ---- the token ---- */

/* "-": from stdin; "@FILE": from a file; so that it is in no list of processes. */
static int read_token(struct enrolling *n, const char *operand, struct err *e)
{
	char *text = NULL;
	size_t len = 0;
	int rc = 0;

	if (strcmp(operand, "-") == 0)
		rc = tls_read_fd(STDIN_FILENO, "standard input", &text, &len, e);
	else if (operand[0] == '@')
		rc = tls_read_file(operand + 1, &text, &len, e);
	if (rc != 0)
		return rc;
	n->text = xstrdup(text != NULL ? text : operand);
	tls_text_free(text, len);
	n->text[strcspn(n->text, " \t\r\n")] = '\0';
	return token_parse(&n->token, n->text, e);
}

static int check_token(struct enrolling *n, struct err *e)
{
	char date[TLS_TIME_SIZE];
	struct identity id;
	int rc = identity_make(&id, n->token.kind, n->token.domain, n->token.name, e);

	if (rc != 0)
		return rc;
	identity_format(n->identity, &id);
	if ((int64_t)time(NULL) >= n->token.expires)
		return err_set(e, TX_EPERM,
		    "the token was good until %s; ask for another one (telex cert token), or set "
		    "this "
		    "machine's clock",
		    tls_time_text(date, n->token.expires));
	return 0;
}

/* ---- places ---- */

/*
 * Those whom the folder's certificates are to trust. One that is there stays when the token's
 * authority is among several; another one's is nobody's to lose.
 */
static int look_at_ca(struct enrolling *n, struct err *e)
{
	char *text = NULL;
	size_t len = 0, certificates;
	bool ours = false;
	struct err why;

	if (!certfile_exists(n->ca))
		return 0;
	if (tls_read_file(n->ca, &text, &len, &why) == 0) {
		certificates = pem_find_pin(text, len, n->token.pin, &ours);
		n->keep_ca = ours && certificates > 1;
	}
	tls_text_free(text, len);
	if (ours || n->given.force)
		return 0;
	return err_set(e, TX_EEXIST,
	    "%s is there already and is not of the token's authority; --force writes over it, "
	    "--out names another folder. The token is still good",
	    n->ca);
}

/* Whether the context that is there has what is enrolled here. */
static bool is_of_these(const struct enrolling *n, const struct context *c)
{
	return strcmp(c->certificate, n->certificate) == 0 && strcmp(c->key, n->key) == 0 &&
	       strcmp(c->ca, n->ca) == 0;
}

/* A context of that name which is another one. */
static int look_at_context(const struct enrolling *n, struct err *e)
{
	struct context c = {0};
	char *path = NULL;
	struct err why;
	bool same;
	int rc;

	if (n->token.kind == IDENTITY_AGENT || n->given.force)
		return 0;
	rc = context_path(n->context, &path, e);
	if (rc == 0 && certfile_exists(path)) {
		same = context_load(n->context, &c, &why) == 0 && is_of_these(n, &c);
		if (!same)
			rc = err_set(e, TX_EEXIST,
			    "%s is there already: the context '%s' has another certificate; "
			    "--force writes over it, --context-name gives another name. The token "
			    "is still good",
			    path, n->context);
	}
	context_clear(&c);
	free(path);
	return rc;
}

/* Whether what is there came of such a token: it has the identity that this one is for. */
static bool has_its_identity(const struct enrolling *n)
{
	struct certshow *shown = NULL;
	size_t len = 0, count = 0;
	char *text = NULL;
	bool is = tls_read_file(n->certificate, &text, &len, NULL) == 0 &&
	          certshow_read(&shown, &count, text, len, n->certificate, NULL) == 0 &&
	          strcmp(shown[0].identity, n->identity) == 0;

	certshow_free(shown, count);
	tls_text_free(text, len);
	return is;
}

static int is_there(const struct enrolling *n, struct err *e)
{
	if (has_its_identity(n))
		return err_set(e, TX_EEXIST,
		    "%s is there already, and is of %s, as the token is: if it was made with this "
		    "token, all is done, and the token is spent. Else --force writes over it, and "
		    "--out names another folder",
		    n->certificate, n->identity);
	return err_set(e, TX_EEXIST,
	    "%s is there already; --force writes over it, --out names another folder. The token is "
	    "still good",
	    certfile_exists(n->certificate) ? n->certificate : n->key);
}

static int find_folder(struct enrolling *n, struct err *e)
{
	char *config = NULL;
	int rc;

	if (n->given.out != NULL || n->token.kind == IDENTITY_AGENT)
		return paths_absolute(n->given.out != NULL ? n->given.out : ".", &n->dir, e);
	rc = paths_config(&config, e);
	if (rc == 0)
		n->dir = xasprintf("%s/certificates/%s", config, n->context);
	free(config);
	return rc;
}

static int find_places(struct enrolling *n, struct err *e)
{
	const char *name = n->token.kind == IDENTITY_AGENT ? "agent" : "user";
	int rc = find_folder(n, e);

	if (rc == 0)
		rc = certfile_path(n->certificate, n->dir, name, ".pem", e);
	if (rc == 0)
		rc = certfile_path(n->key, n->dir, name, ".key", e);
	if (rc == 0)
		rc = certfile_path(n->request.path, n->dir, name, ".request", e);
	if (rc == 0)
		rc = certfile_path(n->ca, n->dir, CA_CERTIFICATE_FILE, "", e);
	if (rc == 0 && !n->given.force &&
	    (certfile_exists(n->certificate) || certfile_exists(n->key)) &&
	    !enroll_request_answered(&n->request, n->key))
		rc = is_there(n, e);
	if (rc == 0)
		rc = look_at_ca(n, e);
	if (rc == 0)
		rc = look_at_context(n, e);
	return rc == 0 ? paths_make_folder(n->dir, e) : rc;
}

/* ---- the question ---- */

static void on_certificate(const struct telex_certificate *c, void *arg)
{
	struct enrolling *n = arg;

	n->chain = xstrdup(c->chain);
	n->root = xstrdup(c->ca);
	n->not_after = c->not_after;
}

static void on_done(const struct telex_error *error, void *arg)
{
	struct enrolling *n = arg;

	n->done = true;
	n->failed = error != NULL;
	if (error != NULL)
		n->error = *error;
	event_base_loopbreak(n->base);
}

static int refused(const struct enrolling *n, struct err *e)
{
	bool used = strcmp(n->error.reason, "TOKEN_REFUSED") == 0;

	/* Nothing can come any more of a request that was never asked with before. */
	if (n->request.made && (used || n->error.kind == TELEX_ERROR_CERTIFICATE))
		enroll_request_remove(&n->request);
	if (used)
		return err_set(e, TX_EPERM,
		    "the authority at %s refuses the token: it was used already or is not one of "
		    "its "
		    "own; ask for another one (telex cert token)",
		    n->token.address);
	if (n->error.kind == TELEX_ERROR_CERTIFICATE)
		return err_set(e, TX_ECERT, "%s is not the authority that the token is of: %s",
		    n->token.address, n->error.message);
	return err_set(e, TX_ECLOSED, "%s; the token is still good: try again", n->error.message);
}

static int ask(struct enrolling *n, struct err *e)
{
	int asked;

	n->base = event_base_new();
	if (n->base == NULL)
		return err_set(e, TX_ENOMEM, "out of memory");
	if (telex_authority_of_token(&n->authority, n->base, n->text, &n->error) != 0)
		return refused(n, e);
	asked = telex_enroll(n->authority, n->text, n->request.der, (size_t)n->request.der_len, 0,
	    on_certificate, on_done, n, &n->error);
	while (asked == 0 && !n->done && event_base_loop(n->base, EVLOOP_ONCE) == 0)
		;
	if (asked != 0 || n->failed)
		return refused(n, e);
	return n->chain != NULL ? 0 : err_set(e, TX_EPROTO, "the authority gave no certificate");
}

/* ---- what it is good for ---- */

/* That it can be used, with its key, on its side of a connection. */
static int check_usable(const struct enrolling *n, struct err *e)
{
	const struct tls_material m = {.certificate = n->chain,
	    .certificate_len = strlen(n->chain),
	    .key = n->request.key,
	    .key_len = n->request.key_len,
	    .ca = n->root,
	    .ca_len = strlen(n->root)};
	struct tls_ctx *ctx = NULL;
	int rc = n->token.kind == IDENTITY_AGENT ? tls_server_ctx_new(&ctx, &m, e)
	                                         : tls_client_ctx_new(&ctx, &m, e);

	if (rc == 0 && strcmp(tls_ctx_identity(ctx), n->identity) != 0)
		rc = err_set(
		    e, TX_ECERT, "the authority gave the certificate of %s", tls_ctx_identity(ctx));
	tls_ctx_free(ctx);
	return rc;
}

static int install(struct enrolling *n, struct err *e)
{
	int rc = check_usable(n, e);

	if (rc == 0 && !n->keep_ca)
		rc = certfile_write(n->ca, n->root, strlen(n->root), CERTFILE_CERTIFICATE, true, e);
	if (rc == 0)
		rc = certfile_write_pair(n->certificate, n->chain, strlen(n->chain), n->key,
		    n->request.key, n->request.key_len, true, e);
	return rc;
}

static int set_up_agent(const struct enrolling *n, struct err *e)
{
	char identity[IDENTITY_SIZE];
	struct agent_setup s = {.dir = n->dir, .listen = n->listen, .renew_from = n->token.address};
	struct identity id;
	int rc = 0;

	if (n->operator!= NULL) {
		rc = identity_make(&id, IDENTITY_USER, n->token.domain, n->operator, e);
		if (rc == 0)
			s.operator_identity = identity_format(identity, &id);
	}
	return rc == 0 ? agent_setup_write(&s, e) : rc;
}

/* The host of "HOST:PORT" or "[V6]:PORT". */
static char *host_of(const char *address)
{
	const char *colon = strrchr(address, ':');
	size_t len = colon != NULL ? (size_t)(colon - address) : strlen(address);

	return xasprintf("%.*s", (int)len, address);
}

/* A new certificate of ours does not make agents trusted that were not. NULL: none. */
static char *revocations_of(const struct enrolling *n)
{
	struct context c = {0};
	char *kept = NULL;
	struct err none;

	if (context_load(n->context, &c, &none) == 0 && is_of_these(n, &c)) {
		kept = c.revocations;
		c.revocations = NULL;
	}
	context_clear(&c);
	return kept;
}

static int set_up_user(const struct enrolling *n, struct err *e)
{
	char *host = n->host != NULL ? xstrdup(n->host) : host_of(n->token.address);
	char *revocations = revocations_of(n);
	const struct context c = {.name = (char *)(uintptr_t)n->context,
	    .host = host,
	    .certificate = (char *)(uintptr_t)n->certificate,
	    .key = (char *)(uintptr_t)n->key,
	    .ca = (char *)(uintptr_t)n->ca,
	    .renew_from = (char *)(uintptr_t)n->token.address,
	    .revocations = revocations};
	char *current = NULL;
	struct err none;
	int rc = context_save(&c, true, e);

	if (rc == 0 && context_current(&current, &none) == TX_ENOENT)
		rc = context_use(n->context, e);
	free(current);
	free(revocations);
	free(host);
	return rc;
}

static void answer(const struct cli *cli, const struct enrolling *n)
{
	char date[TLS_TIME_SIZE];
	json_t *o;

	if (cli->json) {
		o = json_object();
		json_object_set_new(o, "identity", output_json_text(n->identity));
		json_object_set_new(o, "certificate", output_json_text(n->certificate));
		json_object_set_new(o, "key", output_json_text(n->key));
		json_object_set_new(o, "ca", output_json_text(n->ca));
		json_object_set_new(o, "not_after", cmd_cert_time(n->not_after));
		if (n->token.kind == IDENTITY_USER)
			json_object_set_new(o, "context", output_json_text(n->context));
		output_json(o);
		return;
	}
	printf("enrolled %s, valid until %s\n", n->identity, tls_time_text(date, n->not_after));
	printf("  certificate  %s\n", n->certificate);
	printf("  key          %s\n", n->key);
	printf("  authority    %s\n", n->ca);
	if (n->token.kind == IDENTITY_USER)
		printf("  context      %s\n", n->context);
	else
		say_note("next: telexd -c %s/telexd.conf%s", n->dir,
		    n->operator!= NULL ? "" : ", with a policy.conf beside it (telex policy init)");
}

static int enroll(const struct cli *cli, struct enrolling *n, const char *operand)
{
	struct err e;
	int rc = read_token(n, operand, &e);

	if (rc == 0)
		rc = check_token(n, &e);
	if (rc == 0 && n->context == NULL)
		n->context = n->token.name;
	if (rc == 0)
		rc = find_places(n, &e);
	if (rc == 0)
		rc = enroll_request_open(&n->request, n->identity,
		    (const char *const *)n->token.sans, n->token.n_sans, n->given.key_type,
		    n->given.force, &e);
	if (rc == 0)
		rc = ask(n, &e);
	if (rc == 0)
		rc = install(n, &e);
	if (rc == 0)
		rc = n->token.kind == IDENTITY_AGENT ? set_up_agent(n, &e) : set_up_user(n, &e);
	if (rc == 0) {
		enroll_request_remove(&n->request);
		answer(cli, n);
	} else
		cmd_cert_fail(&e);
	return rc == 0 ? CLI_OK : CLI_TELEX;
}

static void clear(struct enrolling *n)
{
	telex_client_free(n->authority);
	if (n->base != NULL)
		event_base_free(n->base);
	enroll_request_clear(&n->request);
	token_clear(&n->token);
	token_text_free(n->text);
	free(n->chain);
	free(n->root);
	free(n->dir);
}

static int run(struct cli *cli, int argc, char **argv)
{
	struct enrolling n = {.given = {.own = take}};
	struct options o;

	n.given.arg = &n;
	options_start(&o, cli, &cmd_cert_enroll, specs, argc, argv);
	if (!cmd_cert_options(&o, &n.given))
		return options_end(&o);
	if (o.n_operands != 1)
		options_usage(
		    &o, "enroll takes one token: the text, @FILE, or - for standard input");
	else
		o.status = enroll(cli, &n, o.operands[0]);
	clear(&n);
	return options_end(&o);
}

const struct cli_verb cmd_cert_enroll = {
    .name = "cert enroll",
    .summary = "a first certificate, for a token",
    .help =
        "Examples:\n"
        "  telex cert enroll @alice.token\n"
        "  telex cert enroll - --out /etc/telex --operator alice <build8.token\n"
        "\n"
        "Usage: telex cert enroll TOKEN|@FILE|- [--out DIR] [--context-name NAME] [--host HOST]\n"
        "                         [--listen HOST:PORT] [--operator NAME] [--key-type TYPE] "
        "[--force]\n"
        "\n"
        "The key is made here and goes nowhere. Until there is an answer it is kept with its\n"
        "request in agent.request or user.request: an attempt that was cut may be repeated, and\n"
        "the token is still good for it. Another token's such file is not written over.\n"
        "\n"
        "  @FILE, -         the token from a file, or from standard input: an argument can be "
        "seen\n"
        "                   in the list of processes\n"
        "  --out DIR        where the files go; default: here for an agent; for a user a folder "
        "of\n"
        "                   the context's in "
        "${TELEX_CONFIG_HOME:-${XDG_CONFIG_HOME:-~/.config}/telex}\n"
        "  --context-name NAME\n"
        "                   a user's: what the context is called; default: the user's name\n"
        "  --host HOST      a user's: which agent the context is for; default: the authority's\n"
        "  --listen HOST:PORT\n"
        "                   an agent's: where it is to listen, in its telexd.conf\n"
        "  --operator NAME  an agent's: which user policy.conf grants everything; without it no\n"
        "                   policy is written\n"
        "  --key-type TYPE  p256 (default), ed25519 or rsa\n"
        "  --force          write over certificates, authorities, a context and another token's\n"
        "                   request that are there\n",
    .specs = specs,
    .run = run,
};
