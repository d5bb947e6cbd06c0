/* SPDX-License-Identifier: Apache-2.0 */
/* `telex context create|use|ls|show|rm`. */
#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/context.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/paths.h"
#include "cli/say.h"
#include "cli/subverbs.h"
#include "cli/target.h"
#include "cli/verbs.h"
#include "common/mem.h"

static int fail(const struct err *e)
{
	say_error("context: %s", e->message);
	return CLI_TELEX;
}

/* ---- create ---- */

enum {
	OPT_HOST = 256,
	OPT_CERT,
	OPT_KEY,
	OPT_CA,
	OPT_SERVER_NAME,
	OPT_RENEW_FROM,
	OPT_REVOCATIONS,
	OPT_USE,
	OPT_FORCE
};

static const struct options_spec create_specs[] = {
    {OPT_HOST, '\0', "host", true},
    {OPT_CERT, '\0', "cert", true},
    {OPT_KEY, '\0', "key", true},
    {OPT_CA, '\0', "ca", true},
    {OPT_SERVER_NAME, '\0', "server-name", true},
    {OPT_RENEW_FROM, '\0', "renew-from", true},
    {OPT_REVOCATIONS, '\0', "revocations", true},
    {OPT_USE, '\0', "use", false},
    {OPT_FORCE, '\0', "force", false},
    {0},
};

struct create {
	const char *host, *cert, *key, *ca, *server_name, *renew_from, *revocations;
	bool use, force;
};

static void create_option(struct create *c, int id, const char *value)
{
	switch (id) {
	case OPT_HOST:
		c->host = value;
		break;
	case OPT_CERT:
		c->cert = value;
		break;
	case OPT_KEY:
		c->key = value;
		break;
	case OPT_CA:
		c->ca = value;
		break;
	case OPT_RENEW_FROM:
		c->renew_from = value;
		break;
	case OPT_REVOCATIONS:
		c->revocations = value;
		break;
	case OPT_SERVER_NAME:
		c->server_name = value;
		break;
	case OPT_USE:
		c->use = true;
		break;
	case OPT_FORCE:
		c->force = true;
		break;
	}
}

static const char *create_missing(const struct create *c)
{
	if (!c->host)
		return "--host";
	if (!c->cert)
		return "--cert";
	if (!c->key)
		return "--key";
	return c->ca ? NULL : "--ca";
}

/* The path as it will be used later, from any folder; the file must be readable now. */
static int file_option(const char *option, const char *path, char **out, struct err *e)
{
	int r = paths_absolute(path, out, e);

	if (r == 0 && access(*out, R_OK) < 0)
		r = err_sys(e, errno, "%s %s", option, *out);
	return r;
}

static int create_save(const char *name, const struct create *c, struct err *e)
{
	struct context context = {.name = xstrdup(name)};
	char host[TARGET_MAX], from[TARGET_MAX], *current = NULL;
	bool use = c->use;
	int r;

	if ((r = target_parse(c->host, host, e)) < 0 ||
	    (c->renew_from && (r = target_parse(c->renew_from, from, e)) < 0) ||
	    (r = file_option("--cert", c->cert, &context.certificate, e)) < 0 ||
	    (r = file_option("--key", c->key, &context.key, e)) < 0 ||
	    (r = file_option("--ca", c->ca, &context.ca, e)) < 0 ||
	    (c->revocations &&
	        (r = file_option("--revocations", c->revocations, &context.revocations, e)) < 0))
		goto out;
	context.host = xstrdup(host);
	context.server_name = c->server_name ? xstrdup(c->server_name) : NULL;
	context.renew_from = c->renew_from ? xstrdup(from) : NULL;
	if ((r = context_save(&context, c->force, e)) < 0)
		goto out;
	/* The first one is the one that is meant. */
	use = use || context_current(&current, NULL) == TX_ENOENT;
	if (use && (r = context_use(name, e)) == 0)
		say_note("context '%s' is now the current one", name);
out:
	free(current);
	context_clear(&context);
	return r;
}

static int create(struct cli *cli, int argc, char **argv)
{
	struct create c = {0};
	struct options o;
	struct err e;
	const char *value, *missing;
	int id;

	options_start(&o, cli, &cmd_context, create_specs, argc, argv);
	while ((id = options_next(&o, &value)) > 0)
		create_option(&c, id, value);
	if (id < 0)
		return options_end(&o);
	missing = create_missing(&c);
	if (o.n_operands != 1)
		options_usage(&o, "create takes one name");
	else if (missing)
		options_usage(&o, "create: %s is missing", missing);
	else if (create_save(o.operands[0], &c, &e) < 0)
		o.status = fail(&e);
	return options_end(&o);
}

/* ---- use, rm ---- */

/* The one operand of a verb without options, or NULL and *status. The string is argv's. */
static const char *one_name(
    struct cli *cli, int argc, char **argv, const char *fallback, int *status)
{
	struct options o;
	const char *value, *name = NULL;

	options_start(&o, cli, &cmd_context, NULL, argc, argv);
	if (options_next(&o, &value) == 0) {
		if (o.n_operands == 1)
			name = o.operands[0];
		else if (o.n_operands == 0 && fallback)
			name = fallback;
		else
			options_usage(&o, "%s takes one name", argv[0]);
	}
	*status = options_end(&o);
	return name;
}

static int use(struct cli *cli, int argc, char **argv)
{
	struct err e;
	int status;
	const char *name = one_name(cli, argc, argv, NULL, &status);

	if (!name)
		return status;
	return context_use(name, &e) < 0 ? fail(&e) : CLI_OK;
}

static int rm(struct cli *cli, int argc, char **argv)
{
	struct err e;
	int status;
	const char *name = one_name(cli, argc, argv, NULL, &status);

	if (!name)
		return status;
	return context_remove(name, &e) < 0 ? fail(&e) : CLI_OK;
}

/* ---- ls, show ---- */

static json_t *context_json(const struct context *c, bool current)
{
	json_t *o = json_object();

	json_object_set_new(o, "name", output_json_text(c->name));
	json_object_set_new(o, "current", json_boolean(current));
	json_object_set_new(o, "host", output_json_text(c->host));
	json_object_set_new(o, "certificate", output_json_text(c->certificate));
	json_object_set_new(o, "key", output_json_text(c->key));
	json_object_set_new(o, "ca", output_json_text(c->ca));
	if (c->server_name)
		json_object_set_new(o, "server_name", output_json_text(c->server_name));
	if (c->renew_from)
		json_object_set_new(o, "renew_from", output_json_text(c->renew_from));
	if (c->revocations)
		json_object_set_new(o, "revocations", output_json_text(c->revocations));
	return o;
}

/* One context of the list; one that cannot be read is said and passed over. */
static int ls_one(const char *name, bool current, struct output_table *table)
{
	struct context c = {0};
	struct err e;

	if (context_load(name, &c, &e) < 0)
		return fail(&e);
	if (table)
		output_table_row(
		    table, (const char *const[]){current ? "*" : " ", name, c.host, c.certificate});
	else
		output_json(context_json(&c, current));
	context_clear(&c);
	return CLI_OK;
}

static int ls(struct cli *cli, int argc, char **argv)
{
	static const char *const headings[] = {" ", "NAME", "HOST", "CERTIFICATE"};
	struct output_table *table;
	char **names, *current = NULL;
	struct err e;
	size_t n;
	bool go;
	int status = options_none(cli, &cmd_context, argc, argv, &go);

	if (!go)
		return status;
	if (context_names(&names, &n, &e) < 0)
		return fail(&e);
	context_current(&current, NULL);
	if (n == 0)
		say_note("there is no context yet; `telex dev --detach` or `telex context create` "
		         "makes one");
	table = cli->json || n == 0 ? NULL : output_table_new(headings, 4);
	for (size_t i = 0; i < n; i++) {
		bool is_current = current && strcmp(current, names[i]) == 0;

		if (ls_one(names[i], is_current, table) != CLI_OK)
			status = CLI_TELEX;
	}
	if (table)
		output_table_print(table);
	context_names_free(names);
	free(current);
	return status;
}

static void show_text(const struct context *c, bool current)
{
	output_field("name", c->name);
	output_field("current", current ? "yes" : "no");
	output_field("host", c->host);
	if (c->server_name)
		output_field("server name", c->server_name);
	if (c->renew_from)
		output_field("renewed from", c->renew_from);
	output_field("certificate", c->certificate);
	output_field("key", c->key);
	output_field("ca", c->ca);
	if (c->revocations)
		output_field("revocations", c->revocations);
}

static int show(struct cli *cli, int argc, char **argv)
{
	struct context c = {0};
	char *current = NULL;
	const char *name, *chosen = cli->context;
	struct err e;
	int status, r;

	r = context_current(&current, &e);
	if (!chosen)
		chosen = current;
	name = one_name(cli, argc, argv, chosen ? chosen : "", &status);
	if (name && !name[0] && r == TX_ENOENT)
		err_set(
		    &e, r, "none is the current one; name one, or choose with `telex context use`");
	else if (name && name[0])
		r = context_load(name, &c, &e);
	if (name && r < 0) {
		status = fail(&e);
	} else if (name) {
		bool is_current = current && strcmp(current, name) == 0;

		if (cli->json)
			output_json(context_json(&c, is_current));
		else
			show_text(&c, is_current);
	}
	context_clear(&c);
	free(current);
	return status;
}

/* ---- the verb ---- */

/* Options and help are cmd_context's. */
static const struct cli_verb cmd_create = {.run = create}, cmd_use = {.run = use},
                             cmd_ls = {.run = ls}, cmd_show = {.run = show},
                             cmd_forget = {.run = rm};
static const struct cli_verb *const words[] = {
    &cmd_create, &cmd_use, &cmd_ls, &cmd_show, &cmd_forget};
static const char *const subverbs[] = {"create", "use", "ls", "show", "rm", NULL};
_Static_assert(sizeof(subverbs) / sizeof(subverbs[0]) == sizeof(words) / sizeof(words[0]) + 1,
    "a name for each");

static int run(struct cli *cli, int argc, char **argv)
{
	return subverbs_run(cli, &cmd_context, words, argc, argv);
}

const struct cli_verb cmd_context = {
    .name = "context",
    .summary = "which agents I talk to, and as whom",
    .specs = create_specs,
    .words = subverbs,
    .help =
        "Examples:\n"
        "  telex context create build7 --host build7:8359 --cert me.pem --key me.key --ca ca.pem\n"
        "  telex context use build7\n"
        "  telex context ls\n"
        "\n"
        "Usage: telex context create NAME --host HOST[:PORT] --cert FILE --key FILE --ca FILE\n"
        "                            [--server-name NAME] [--renew-from HOST:PORT]\n"
        "                            [--revocations FILE] [--use] [--force]\n"
        "       telex context use NAME\n"
        "       telex context ls\n"
        "       telex context show [NAME]\n"
        "       telex context rm NAME\n"
        "\n"
        "  --host HOST[:PORT]   the agent; the port is 8359 when not given\n"
        "  --cert, --key FILE   your certificate and its key, PEM\n"
        "  --ca FILE            the authority that signed the agent's certificate, PEM\n"
        "  --server-name NAME   the name to look for in the agent's certificate, instead of HOST\n"
        "  --renew-from HOST:PORT\n"
        "                       the authority's listener, where the certificate is renewed\n"
        "  --revocations FILE   lists of revoked certificates, PEM: an agent whose certificate is\n"
        "                       on one is not talked to\n"
        "  --use                make it the current one (the first is so by itself)\n"
        "  --force              replace one of the same name\n"
        "\n"
        "Kept in ${TELEX_CONFIG_HOME:-${XDG_CONFIG_HOME:-~/.config}/telex}/contexts.\n",
    .run = run,
};
