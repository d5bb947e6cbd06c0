/* SPDX-License-Identifier: Apache-2.0 */
/* `telex policy`: who may do what. Which word it is, and the short ones: check, init. */
#include "cli/cmd_policy.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/context.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/paths.h"
#include "cli/policy_file.h"
#include "cli/say.h"
#include "cli/subverbs.h"
#include "cli/verbs.h"
#include "common/mem.h"
#include "common/policy.h"

#define INSTALLED SYSCONFDIR "/telex/policy.conf"

int cmd_policy_fail(const struct err *e)
{
	say_error("policy: %s", e->message);
	return CLI_TELEX;
}

char *cmd_policy_default(void)
{
	char *state = NULL, *file;

	if (paths_state(&state, NULL) < 0)
		return xstrdup(INSTALLED);
	file = xasprintf("%s/dev/policy.conf", state);
	free(state);
	if (access(file, F_OK) == 0)
		return file;
	free(file);
	return xstrdup(INSTALLED);
}

/* ---- reading ---- */

struct problems {
	json_t *list; /* NULL: they are said */
	unsigned n;
};

static void on_problem(const char *text, void *arg)
{
	struct problems *ps = arg;

	ps->n++;
	if (ps->list != NULL)
		json_array_append_new(ps->list, output_json_text(text));
	else
		say_error("%s", text);
}

static int read_file(const char *file, struct policy **out, struct problems *ps, int *status)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	struct err e;
	int rc;

	*status = CLI_TELEX;
	if (fd < 0) {
		err_sys(&e, errno, "%s", file);
		cmd_policy_fail(&e);
		return TX_ESYS;
	}
	rc = policy_read(out, fd, file, on_problem, ps);
	close(fd);
	if (rc == TX_ENOMEM)
		say_error("policy: out of memory");
	else if (rc < 0)
		*status = CLI_FAILED;
	return rc;
}

int cmd_policy_read(const char *file, struct policy **out, int *status)
{
	struct problems ps = {0};

	return read_file(file, out, &ps, status);
}

/* ---- check ---- */

static int check_file(const struct cli *cli, const char *file)
{
	struct problems ps = {.list = cli->json ? json_array() : NULL};
	struct policy *p = NULL;
	int status;
	int rc = read_file(file, &p, &ps, &status);

	if (rc == 0)
		status = CLI_OK;
	if (cli->json && status != CLI_TELEX) {
		json_t *o = json_object();

		json_object_set_new(o, "file", output_json_text(file));
		json_object_set_new(o, "good", json_boolean(rc == 0));
		if (rc == 0) {
			json_object_set_new(
			    o, "roles", json_integer((json_int_t)policy_role_count(p)));
			json_object_set_new(
			    o, "grants", json_integer((json_int_t)policy_grant_count(p)));
		}
		json_object_set(o, "problems", ps.list);
		output_json(o);
	} else if (rc == 0) {
		const size_t roles = policy_role_count(p), grants = policy_grant_count(p);

		printf("%zu role%s, %zu grant%s\n", roles, roles == 1 ? "" : "s", grants,
		    grants == 1 ? "" : "s");
	}
	json_decref(ps.list);
	policy_free(p);
	return status;
}

static int run_check(struct cli *cli, int argc, char **argv)
{
	struct options o;
	const char *value;
	char *file;

	options_start(&o, cli, &cmd_policy_check, NULL, argc, argv);
	if (options_next(&o, &value) < 0)
		return options_end(&o);
	if (o.n_operands > 1) {
		options_usage(&o, "takes one file, but was given '%s' too", o.operands[1]);
		return options_end(&o);
	}
	file = o.n_operands == 1 ? xstrdup(o.operands[0]) : cmd_policy_default();
	o.status = check_file(cli, file);
	free(file);
	return options_end(&o);
}

const struct cli_verb cmd_policy_check = {
    .name = "policy check",
    .summary = "find the mistakes in a policy",
    .help =
        "Examples:\n"
        "  telex policy check policy.conf\n"
        "\n"
        "Usage: telex policy check [FILE]\n"
        "\n"
        "Says every mistake with its line, or how many roles and grants there are. Without FILE:\n"
        "the policy of `telex dev` where there is one, else the installed agent's.\n"
        "Exit status: 0 it is good; 1 an agent would not take it; 125 it cannot be read.\n",
    .run = run_check,
};

/* ---- init ---- */

enum { OPT_FILE = 256, OPT_IDENTITY, OPT_FORCE };

static const struct options_spec init_specs[] = {
    {OPT_FILE, '\0', "file", true},
    {OPT_IDENTITY, '\0', "identity", true},
    {OPT_FORCE, '\0', "force", false},
    {0},
};

/* Whose the certificate of the context is. */
static int own_identity(const struct cli *cli, char out[IDENTITY_SIZE], struct err *e)
{
	struct context c = {0};
	char *name = cli->context != NULL ? xstrdup(cli->context) : NULL;
	int r = name != NULL ? 0 : context_current(&name, e);

	if (r == 0)
		r = context_load(name, &c, e);
	if (r == 0)
		r = policy_file_identity(c.certificate, out, e);
	context_clear(&c);
	free(name);
	if (r < 0)
		err_set(e, r,
		    "whose policy is it? name who may do everything, as --identity "
		    "spiffe://DOMAIN/user/NAME (`telex cert show` says it)");
	return r;
}

static int init(const struct cli *cli, const char *file, const char *given, bool force)
{
	char identity[IDENTITY_SIZE], *folder = xstrdup(file);
	struct identity id;
	struct err e;
	int r;

	if (given == NULL)
		r = own_identity(cli, identity, &e);
	else if ((r = identity_parse(&id, given, strlen(given), &e)) == 0)
		identity_format(identity, &id);
	if (r == 0)
		r = paths_make_folder(dirname(folder), &e);
	if (r == 0)
		r = policy_file_write(file, identity, force, &e);
	free(folder);
	if (r < 0)
		return cmd_policy_fail(&e);
	if (cli->json)
		output_json(json_pack("{s:o, s:o}", "file", output_json_text(file), "operator",
		    output_json_text(identity)));
	say_note("%s lets %s do everything, and nobody else anything", file, identity);
	return CLI_OK;
}

static int run_init(struct cli *cli, int argc, char **argv)
{
	const char *file = INSTALLED, *identity = NULL, *value;
	struct options o;
	bool force = false;
	int id;

	options_start(&o, cli, &cmd_policy_init, init_specs, argc, argv);
	while ((id = options_next(&o, &value)) > 0) {
		if (id == OPT_FILE)
			file = value;
		else if (id == OPT_IDENTITY)
			identity = value;
		else
			force = true;
	}
	if (id == 0 && o.n_operands > 0)
		options_usage(&o, "takes no arguments, but was given '%s'", o.operands[0]);
	else if (id == 0)
		o.status = init(cli, file, identity, force);
	return options_end(&o);
}

const struct cli_verb cmd_policy_init = {
    .name = "policy init",
    .summary = "write a policy to begin with",
    .specs = init_specs,
    .help = "Examples:\n"
            "  telex policy init --identity spiffe://lab.example/user/alice\n"
            "  telex policy init --file ./policy.conf\n"
            "\n"
            "Usage: telex policy init [--file FILE] [--identity IDENTITY] [--force]\n"
            "\n"
            "  --file FILE          where to; default: " INSTALLED "\n"
            "  --identity IDENTITY  who may do everything; default: the context's certificate's\n"
            "  --force              write over a file that is there\n"
            "\n"
            "A commented file with the roles operator, read-only, deploy and sandbox.\n",
    .run = run_init,
};

/* ---- the verb ---- */

static const struct cli_verb *const words[] = {
    &cmd_policy_check, &cmd_policy_explain, &cmd_policy_init};
static const char *const names[] = {"check", "explain", "init", NULL};
_Static_assert(
    sizeof(names) / sizeof(names[0]) == sizeof(words) / sizeof(words[0]) + 1, "a name for each");

static int run(struct cli *cli, int argc, char **argv)
{
	return subverbs_run(cli, &cmd_policy, words, argc, argv);
}

const struct cli_verb cmd_policy = {
    .name = "policy",
    .summary = "who may do what on an agent: check and explain it",
    .words = names,
    .help =
        "Examples:\n"
        "  telex policy init --identity spiffe://lab.example/user/alice\n"
        "  telex policy check /etc/telex/policy.conf\n"
        "  telex policy explain spiffe://lab.example/user/ci-7 run -u deploy -- /usr/bin/id\n"
        "\n"
        "Usage: telex policy check [FILE]\n"
        "       telex policy explain [OPTIONS] IDENTITY run [RUN OPTIONS] [--] COMMAND [ARG…]\n"
        "       telex policy explain [OPTIONS] IDENTITY METHOD | VERB\n"
        "       telex policy explain [OPTIONS] IDENTITY read|write PATH\n"
        "       telex policy init [--file FILE] [--identity IDENTITY] [--force]\n"
        "\n"
        "A policy is a file of the agent's: /etc/telex/policy.conf. telex-policy(5) describes it.\n"
        "No connection is made.\n",
    .run = run,
};
