/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `telex dev`: an agent for this machine alone, with a throwaway CA, and the context `dev` for it.
 * May be repeated: what runs is left running, what expired is made anew.
 */
#include <jansson.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include "certs/provision.h"
#include "cli/context.h"
#include "cli/dev_agent.h"
#include "cli/dev_stay.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/say.h"
#include "cli/session.h"
#include "cli/verbs.h"
#include "common/duration.h"
#include "common/mem.h"

#define CERTIFICATE_DAYS 30
#define START_LIMIT_NS   (20 * NS_PER_S)
#define STOP_LIMIT_MS    30000
#define HEALTH_MS        2000
#define TRY_AGAIN_MS     20

enum { OPT_DIR = 256, OPT_PORT, OPT_DETACH, OPT_STOP };

static const struct options_spec specs[] = {
    {OPT_DIR, '\0', "dir", true},
    {OPT_PORT, '\0', "port", true},
    {OPT_DETACH, 'd', "detach", false},
    {OPT_STOP, '\0', "stop", false},
    {0},
};

struct dev {
	struct cli *cli;
	const char *dir;
	unsigned port;
	bool detach, stop;
	struct dev_agent agent;
	char *address;
};

static int fail(const struct err *e)
{
	say_error("dev: %s", e->message);
	return CLI_TELEX;
}

/* ---- certificates and context ---- */

static int provision(const struct dev *d, struct err *e)
{
	const struct provision_options o = {
	    .dir = d->agent.dir,
	    .agent_ttl_s = CERTIFICATE_DAYS * 86400,
	    .user_ttl_s = CERTIFICATE_DAYS * 86400,
	};
	int r = provision_dev(&o, NULL, e);

	if (r < 0)
		err_wrap(e, "certificates in %s", d->agent.dir);
	return r;
}

/* The context `dev`; context_clear it. */
static int context_of(const struct dev *d, struct context *c, struct err *e)
{
	struct provision_paths paths;
	int r = provision_paths_in(d->agent.dir, &paths, e);

	if (r == 0)
		*c = (struct context){
		    .name = xstrdup("dev"),
		    .host = xstrdup(d->address),
		    .certificate = xstrdup(paths.user),
		    .key = xstrdup(paths.user_key),
		    .ca = xstrdup(paths.ca),
		};
	return r;
}

static int save_context(const struct dev *d, struct err *e)
{
	struct context c;
	int r = context_of(d, &c, e);

	if (r < 0)
		return r;
	r = context_save(&c, true, e);
	if (r == 0)
		r = context_use("dev", e);
	context_clear(&c);
	return r;
}

/* ---- does it answer ---- */

static void on_health(bool serving, void *arg)
{
	struct session *s = arg;
	bool *out = s->data;

	*out = serving;
}

/* 0: it serves. *kind tells a certificate's failure from others. */
static int ask_health(const struct dev *d, enum telex_error_kind *kind, struct err *e)
{
	struct telex_error error = {.kind = TELEX_ERROR_CANCELLED};
	struct context c;
	struct session s;
	bool serving = false;
	int r = context_of(d, &c, e);

	if (r < 0)
		return r;
	r = session_open_context(&s, &c, NULL, &error);
	context_clear(&c);
	if (r == 0) {
		s.data = &serving;
		r = session_wait(&s,
		    telex_health(s.client, NULL, HEALTH_MS, on_health, session_done, &s, &s.error));
		error = s.error;
		session_close(&s);
	}
	*kind = error.kind;
	if (r < 0)
		return err_set(e, TX_ECLOSED, "%s", error.message);
	return serving ? 0 : err_set(e, TX_EAGAIN, "the agent says that it does not serve yet");
}

/* Waits until it answers. TX_ECLOSED: it has ended; TX_ETIMEOUT. */
static int wait_until_ready(struct dev *d, struct err *e)
{
	int64_t deadline = clock_monotonic_ns() + START_LIMIT_NS;
	enum telex_error_kind kind;
	struct err why;

	err_set(&why, TX_EAGAIN, "it has not said where it listens");
	while (clock_monotonic_ns() < deadline) {
		if (dev_agent_ended(&d->agent, TRY_AGAIN_MS))
			return err_set(e, TX_ECLOSED, "the agent ended as soon as it was started");
		free(d->address);
		d->address = NULL;
		if (dev_agent_address(&d->agent, &d->address, NULL) == 0 &&
		    ask_health(d, &kind, &why) == 0)
			return 0;
	}
	return err_set(e, TX_ETIMEOUT, "the agent does not answer: %s", why.message);
}

/* ---- it runs already ---- */

static void announce(const struct dev *d, const char *what)
{
	if (d->cli->json)
		output_json(json_pack("{s:s, s:i, s:o, s:s}", "address", d->address, "pid",
		    (int)d->agent.pid, "directory", output_json_text(d->agent.dir), "context",
		    "dev"));
	say_note("agent at %s %s (pid %d); context 'dev' is the current one", d->address, what,
	    (int)d->agent.pid);
	say_note("try: telex run -- uname -a%s",
	    d->detach ? "        to end the agent: telex dev --stop" : "");
}

static int already(struct dev *d)
{
	enum telex_error_kind kind = TELEX_OK;
	struct err e;
	int r;

	if (dev_agent_address(&d->agent, &d->address, &e) < 0)
		return fail(&e);
	r = ask_health(d, &kind, &e);
	if (r < 0 && kind == TELEX_ERROR_CERTIFICATE) {
		/* Expired while it ran. A new one for the user is enough when the agent's is good.
		 */
		if (provision(d, &e) < 0)
			return fail(&e);
		r = ask_health(d, &kind, &e);
	}
	if (r < 0) {
		say_error("dev: the agent runs (pid %d) but does not answer: %s; end it with "
		          "`telex dev --stop`",
		    (int)d->agent.pid, e.message);
		return CLI_TELEX;
	}
	if (save_context(d, &e) < 0)
		return fail(&e);
	announce(d, "runs already");
	return CLI_OK;
}

/* ---- starting ---- */

static int started_badly(struct dev *d, struct err *e)
{
	struct err ignored;

	fail(e);
	if (d->detach) {
		say_error("dev: the end of %s/telexd.log:", d->agent.dir);
		dev_agent_show_log(&d->agent);
	}
	dev_agent_signal(&d->agent, SIGTERM, &ignored);
	if (!dev_agent_ended(&d->agent, STOP_LIMIT_MS))
		dev_agent_signal(&d->agent, SIGKILL, &ignored);
	waitpid(d->agent.pid, NULL, 0);
	dev_agent_forget(&d->agent);
	return CLI_TELEX;
}

static void is_ready(void *arg)
{
	struct dev *d = arg;

	announce(d, "is ready");
	dev_agent_unlock(&d->agent);
}

static int start(struct dev *d)
{
	struct err e;

	if (provision(d, &e) < 0 ||
	    dev_agent_configure(&d->agent, d->port, d->cli->verbosity > 0, &e) < 0 ||
	    dev_agent_start(&d->agent, d->detach, &e) < 0)
		return fail(&e);
	if (wait_until_ready(d, &e) < 0 || save_context(d, &e) < 0)
		return started_badly(d, &e);
	if (!d->detach)
		return dev_stay(&d->agent, is_ready, d);
	is_ready(d);
	return CLI_OK;
}

static void stopped_json(const struct dev *d, bool was_running)
{
	if (d->cli->json)
		output_json(json_pack("{s:b, s:o}", "stopped", was_running, "directory",
		    output_json_text(d->agent.dir)));
}

static int stop(struct dev *d)
{
	struct err e;

	if (d->agent.pid == 0) {
		stopped_json(d, false);
		say_note("no agent of `telex dev` runs (%s)", d->agent.dir);
		return CLI_OK;
	}
	if (dev_agent_signal(&d->agent, SIGTERM, &e) < 0)
		return fail(&e);
	if (!dev_agent_ended(&d->agent, STOP_LIMIT_MS)) {
		say_error("dev: the agent (pid %d) has not ended after %d s; killing it",
		    (int)d->agent.pid, STOP_LIMIT_MS / 1000);
		if (dev_agent_signal(&d->agent, SIGKILL, &e) < 0)
			return fail(&e);
		dev_agent_ended(&d->agent, STOP_LIMIT_MS);
	}
	stopped_json(d, true);
	say_note("the agent (pid %d) has ended", (int)d->agent.pid);
	dev_agent_forget(&d->agent);
	return CLI_OK;
}

/* ---- the verb ---- */

static int apply(struct dev *d, struct options *o, int id, const char *value)
{
	size_t len;

	switch (id) {
	case OPT_DIR:
		d->dir = value;
		return value[0] ? 0 : options_usage(o, "--dir: the folder's name is empty");
	case OPT_PORT:
		len = strlen(value);
		d->port = (unsigned)strtoul(value, NULL, 10);
		if (len == 0 || len > 5 || strspn(value, "0123456789") != len || d->port > 65535)
			return options_usage(
			    o, "--port '%s': a number up to 65535; 0 takes a free one", value);
		return 0;
	case OPT_DETACH:
		d->detach = true;
		return 0;
	default:
		d->stop = true;
		return 0;
	}
}

static int parse(struct dev *d, int argc, char **argv, int *status)
{
	struct options o;
	const char *value;
	int id;

	options_start(&o, d->cli, &cmd_dev, specs, argc, argv);
	while ((id = options_next(&o, &value)) > 0)
		if (apply(d, &o, id, value) != 0) {
			id = -1;
			break;
		}
	if (id == 0 && o.n_operands > 0) {
		options_usage(&o, "takes no arguments, but was given '%s'", o.operands[0]);
		id = -1;
	}
	*status = options_end(&o);
	return id;
}

static int run(struct cli *cli, int argc, char **argv)
{
	struct dev d = {.cli = cli};
	struct err e;
	int status;

	if (parse(&d, argc, argv, &status) < 0)
		return status;
	if (dev_agent_open(&d.agent, d.dir, &e) < 0)
		return fail(&e);
	if (d.stop)
		status = stop(&d);
	else if (d.agent.pid != 0)
		status = already(&d);
	else
		status = start(&d);
	free(d.address);
	dev_agent_close(&d.agent);
	return status;
}

const struct cli_verb cmd_dev = {
    .name = "dev",
    .summary = "an agent on this machine, to try it out",
    .specs = specs,
    .help =
        "Examples:\n"
        "  telex dev --detach          start it in the background\n"
        "  telex run -- uname -a       run something on it\n"
        "  telex dev --stop            end it, and what runs on it\n"
        "  telex dev                   in the foreground, until Ctrl-C\n"
        "\n"
        "Usage: telex dev [-d] [--dir DIR] [--port PORT]\n"
        "       telex dev --stop [--dir DIR]\n"
        "\n"
        "  -d, --detach    in the background, with its log in DIR/telexd.log\n"
        "      --stop      end it\n"
        "      --dir DIR   where it keeps all it has; else\n"
        "                  ${XDG_STATE_HOME:-~/.local/state}/telex/dev\n"
        "      --port PORT where it listens on 127.0.0.1; a free one when not given\n"
        "\n"
        "Makes a CA and certificates of its own for this machine alone, and the context 'dev',\n"
        "which becomes the current one. May be repeated: an agent that runs is left alone.\n",
    .run = run,
};
