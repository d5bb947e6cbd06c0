/* SPDX-License-Identifier: Apache-2.0 */
/* `telex policy explain`: what becomes of a request, and by which rule. The worker's own function
 * decides. */
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/cmd_policy.h"
#include "cli/explain_files.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/run_options.h"
#include "cli/say.h"
#include "cli/verbs.h"
#include "common/duration.h"
#include "common/job_spec.h"
#include "common/mem.h"
#include "common/policy.h"

#define PROCESS_SERVICE "telex.v1.ProcessService/"

enum { OPT_FILE = 256, OPT_USER };

static const struct options_spec specs[] = {
    {OPT_FILE, '\0', "file", true},
    {OPT_USER, '\0', "agent-user", true},
    {0},
};

struct asking {
	struct cli *cli;
	const char *file, *agent_user;
	struct policy_request request;
	char method[160];
	char what[256]; /* in words */
};

/* Verbs that are no more than their method. */
static const struct {
	const char *verb, *method;
} verbs[] = {
    {"attach", PROCESS_SERVICE "Run"},
    {"logs", PROCESS_SERVICE "ReadOutput"},
    {"wait", PROCESS_SERVICE "Wait"},
    {"ps", PROCESS_SERVICE "List"},
    {"inspect", PROCESS_SERVICE "Get"},
    {"kill", PROCESS_SERVICE "Signal"},
    {"rm", PROCESS_SERVICE "Remove"},
    {"update", PROCESS_SERVICE "Update"},
    {"info", "telex.v1.SystemService/GetInfo"},
    {"health", "grpc.health.v1.Health/Check"},
};
#define VERBS (sizeof(verbs) / sizeof(verbs[0]))

/* ---- the answer ---- */

static void answer_json(const struct asking *a, const struct policy_decision *d, bool any)
{
	json_t *o = json_object();

	json_object_set_new(o, "allowed", json_boolean(d->allowed));
	json_object_set_new(o, "identity", output_json_text(a->request.identity));
	json_object_set_new(o, "method", output_json_text(a->request.method));
	json_object_set_new(o, "rule", output_json_text(d->rule));
	if (!d->allowed)
		json_object_set_new(o, "why", output_json_text(d->why));
	if (d->forced != NULL)
		json_object_set_new(o, "forced_command", output_json_text(d->forced));
	if (d->allowed && a->request.act == POLICY_CALL)
		json_object_set_new(o, "any_process", json_boolean(any));
	output_json(o);
}

static int answer(const struct asking *a, const struct policy *p)
{
	struct policy_decision d;
	bool any = policy_any_process(p, a->request.identity, a->request.method);

	policy_decide(p, &a->request, &d);
	if (a->cli->json) {
		answer_json(a, &d, any);
		return d.allowed ? CLI_OK : CLI_FAILED;
	}
	output_field(d.allowed ? "allowed" : "denied", d.allowed ? a->what : d.why);
	output_field(d.allowed ? "rule" : "nearest", d.rule);
	if (d.forced != NULL)
		output_field("runs instead", d.forced);
	if (d.allowed && a->request.act == POLICY_CALL &&
	    strncmp(a->request.method, PROCESS_SERVICE, sizeof(PROCESS_SERVICE) - 1) == 0)
		output_field("processes", any ? "any identity's" : "its own");
	return d.allowed ? CLI_OK : CLI_FAILED;
}

static int decide(const struct asking *a)
{
	char *file = a->file != NULL ? xstrdup(a->file) : cmd_policy_default();
	struct policy *p = NULL;
	int status;

	if (cmd_policy_read(file, &p, &status) == 0)
		status = answer(a, p);
	policy_free(p);
	free(file);
	return status;
}

/* ---- the request ---- */

static void take_limits(struct job_spec *s, const struct telex_command *c)
{
	s->rlimits = xcalloc(c->n_limits + 1, sizeof(*s->rlimits));
	for (size_t i = 0; i < c->n_limits; i++)
		s->rlimits[i] = (struct job_rlimit){
		    .resource = (uint32_t)job_rlimit_by_name(c->limits[i].name),
		    .soft = c->limits[i].soft,
		    .hard = c->limits[i].hard,
		};
	s->n_rlimits = c->n_limits;
}

static struct job_spec spec_of(const struct run_options *o)
{
	const struct telex_command *c = &o->command;
	struct job_spec s = {
	    .argv = (char **)(uintptr_t)c->argv,
	    .env = o->env,
	    .envc = o->n_env,
	    .cwd = (char *)(uintptr_t)c->directory,
	    .user = (char *)(uintptr_t)c->user,
	    .terminal = o->terminal,
	    .nice = (int8_t)c->nice,
	    .run_timeout_ns = c->run_timeout_ms * NS_PER_MS,
	    .stop_signal = c->stop_signal != 0 ? c->stop_signal : 15,
	    .output_buffer = c->output_buffer,
	    .spool = c->spool_bytes,
	    .memory = c->memory_bytes,
	    .pids = c->max_pids,
	    .cpu_millis = c->cpu_millis,
	};

	while (s.argv[s.argc] != NULL)
		s.argc++;
	take_limits(&s, c);
	return s;
}

static int explain_run(struct asking *a, int argc, char **argv)
{
	struct run_options o;
	struct job_spec spec;
	int status;

	if (run_options_parse(&o, a->cli, &cmd_run, argc, argv, &status) == 0) {
		spec = spec_of(&o);
		snprintf(
		    a->method, sizeof(a->method), PROCESS_SERVICE "%s", o.detach ? "Start" : "Run");
		a->request.act = POLICY_RUN;
		a->request.spec = &spec;
		a->request.user = spec.user != NULL ? spec.user : a->agent_user;
		snprintf(a->what, sizeof(a->what), "run %s as %s", spec.argv[0], a->request.user);
		status = decide(a);
		free(spec.rlimits);
	}
	run_options_free(&o);
	return status;
}

static bool is_path_act(const char *word, enum policy_act *act)
{
	static const char *const words[] = {"read", "write"};
	static const enum policy_act acts[] = {POLICY_FILE_READ, POLICY_FILE_WRITE};

	for (size_t i = 0; i < 2; i++) {
		if (strcmp(word, words[i]) == 0) {
			*act = acts[i];
			return true;
		}
	}
	return false;
}

/* The roots alone. */
static int explain_path(struct asking *a, const char *word, const char *path)
{
	snprintf(a->method, sizeof(a->method), "*");
	a->request.any_method = true;
	a->request.path = path;
	snprintf(a->what, sizeof(a->what), "%s %s", word, path);
	return decide(a);
}

static int explain_method(struct asking *a, struct options *o, const char *word)
{
	const char *known[VERBS + 1];

	a->method[0] = '\0';
	for (size_t i = 0; i < VERBS; i++) {
		known[i] = verbs[i].verb;
		if (strcmp(word, verbs[i].verb) == 0)
			snprintf(a->method, sizeof(a->method), "%s", verbs[i].method);
	}
	known[VERBS] = "run";
	if (strchr(word, '/') != NULL)
		snprintf(a->method, sizeof(a->method), "%s", word + (word[0] == '/' ? 1 : 0));
	if (a->method[0] == '\0') {
		options_usage(o, "'%s' is neither a verb nor a method (SERVICE/METHOD)%s", word,
		    options_nearest(word, known, VERBS + 1));
		return o->status;
	}
	snprintf(a->what, sizeof(a->what), "call %s", a->method);
	return decide(a);
}

static int explain_files(struct asking *a, struct options *o)
{
	struct explain_files e;
	int status = explain_files_take(
	    &e, &a->request, o, a->agent_user, o->operands + 1, o->n_operands - 1);

	if (status != 0)
		return status;
	snprintf(a->method, sizeof(a->method), "%s", e.method);
	snprintf(a->what, sizeof(a->what), "%s as %s", e.what, a->request.user);
	return decide(a);
}

static int explain(struct asking *a, struct options *o, int argc, char **argv)
{
	const char *word = o->n_operands > 1 ? o->operands[1] : "";
	int at = argc - (int)o->n_operands + 1;

	if (o->n_operands < 2) {
		options_usage(o,
		    "takes an identity and what it asks for, as in: %s run -- /usr/bin/id",
		    o->n_operands == 1 ? o->operands[0] : "spiffe://DOMAIN/user/NAME");
		return o->status;
	}
	a->request.identity = o->operands[0];
	if (strcmp(word, "run") == 0)
		return explain_run(a, argc - at, argv + at);
	if (explain_files_is(word))
		return explain_files(a, o);
	if (is_path_act(word, &a->request.act)) {
		if (o->n_operands == 3)
			return explain_path(a, word, o->operands[2]);
		options_usage(o, "%s takes one path", word);
		return o->status;
	}
	return explain_method(a, o, word);
}

static int run(struct cli *cli, int argc, char **argv)
{
	const struct passwd *own = getpwuid(geteuid());
	struct asking a = {.cli = cli, .agent_user = own != NULL ? own->pw_name : "root"};
	struct options o;
	const char *value;
	int id, status;

	a.request.method = a.method;
	options_start(&o, cli, &cmd_policy_explain, specs, argc, argv);
	o.stop_at_operand = true;
	while ((id = options_next(&o, &value)) > 0) {
		if (id == OPT_FILE)
			a.file = value;
		else
			a.agent_user = value;
	}
	if (id < 0)
		return options_end(&o);
	status = explain(&a, &o, argc, argv);
	options_end(&o);
	return status;
}

const struct cli_verb cmd_policy_explain = {
    .name = "policy explain",
    .summary = "what becomes of a request, and by which rule",
    .specs = specs,
    .help =
        "Examples:\n"
        "  telex policy explain spiffe://lab.example/user/ci-7 run -u deploy -- /usr/bin/id\n"
        "  telex policy explain --file ./policy.conf spiffe://lab.example/user/ci-7 ps\n"
        "  telex policy explain spiffe://lab.example/user/ci-7 "
        "telex.v1.ProcessService/Signal\n"
        "  telex policy explain spiffe://lab.example/user/ci-7 put -u deploy /srv/app/x\n"
        "  telex policy explain spiffe://lab.example/user/ci-7 read /var/log/syslog\n"
        "\n"
        "Usage: telex policy explain [OPTIONS] IDENTITY run [RUN OPTIONS] [--] COMMAND [ARG…]\n"
        "       telex policy explain [OPTIONS] IDENTITY METHOD | VERB\n"
        "       telex policy explain [OPTIONS] IDENTITY put|get|sync|watch [-u USER] PATH…\n"
        "       telex policy explain [OPTIONS] IDENTITY fs VERB [-u USER] PATH…\n"
        "       telex policy explain [OPTIONS] IDENTITY read|write PATH\n"
        "\n"
        "  --file FILE        the policy; default: that of `telex dev` where there is one, else\n"
        "                     the installed agent's\n"
        "  --agent-user USER  the agent's own user, who runs what names no user; default: the\n"
        "                     one who asks\n"
        "\n"
        "No connection is made. The agent's ceiling (telexd.conf) is not looked at.\n"
        "Exit status: 0 allowed; 1 denied, or the policy has mistakes; 125 telex itself failed.\n",
    .run = run,
};
