/* SPDX-License-Identifier: Apache-2.0 */
/* `telex cert renew`: the context's certificate, now, or whenever it is due. */
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "cli/cmd_cert.h"
#include "cli/context.h"
#include "cli/output.h"
#include "cli/renewing.h"
#include "cli/say.h"
#include "cli/verbs.h"
#include "common/mem.h"
#include "common/tls_cert.h"

#define LOOK_S      60 /* at the clock, at least so often */
#define PAUSE_MAX_S 600

enum { OPT_DAEMON = CERT_OWN, OPT_DUE, OPT_ALL, OPT_ASIDE };

static const struct options_spec specs[] = {
    {OPT_DAEMON, '\0', "daemon", false},
    {OPT_DUE, '\0', "due", false},
    {OPT_ALL, '\0', "all", false},
    {OPT_ASIDE, '\0', "aside", false}, /* what a verb starts: renewing_aside */
    {0},
};

struct renew {
	struct cert_options given;
	bool daemon, only_due, all, aside;
};

static void answer(const struct cli *cli, const struct context *c, int64_t not_after)
{
	char date[TLS_TIME_SIZE];

	if (cli->json) {
		json_t *o = json_pack("{s:o}", "context", output_json_text(c->name));

		json_object_set_new(o, "certificate", output_json_text(c->certificate));
		json_object_set_new(o, "not_after", cmd_cert_time(not_after));
		output_json(o);
		return;
	}
	if (cli->verbosity >= 0)
		printf("%s: valid until %s\n", c->certificate, tls_time_text(date, not_after));
}

static int renew_one(const struct cli *cli, const struct renew *r, const struct context *c)
{
	int64_t not_after;
	struct err e;
	int rc = renewing_do(c, r->only_due || r->aside, &not_after, &e);

	renewing_remember(c, rc == 0 ? NULL : &e);
	if (rc != 0)
		return cmd_cert_fail(&e);
	if (!r->aside)
		answer(cli, c, not_after);
	return CLI_OK;
}

/* ---- for ever ---- */

static int64_t back_off(unsigned failures, int64_t left_s)
{
	int64_t pause = failures < 10 ? INT64_C(1) << failures : PAUSE_MAX_S;

	if (left_s > 0 && pause > left_s / 10)
		pause = left_s / 10;
	return pause < 1 ? 1 : pause > PAUSE_MAX_S ? PAUSE_MAX_S : pause;
}

static int serve(const struct cli *cli, const struct renew *r, const struct context *c)
{
	int64_t due, not_after, wait, not_until = 0, now;
	unsigned failures = 0;
	struct err e;

	if (c->renew_from == NULL)
		return renew_one(cli, r, c);
	for (;;) {
		if (renewing_dates(c, &due, &not_after, &e) != 0)
			return cmd_cert_fail(&e);
		now = (int64_t)time(NULL);
		if (now >= due && now >= not_until) {
			failures = renew_one(cli, r, c) == CLI_OK ? 0 : failures + 1;
			fflush(stdout);
			not_until =
			    failures == 0 ? 0 : now + back_off(failures - 1, not_after - now);
			continue;
		}
		wait = due > now ? due - now : not_until - now;
		(void)poll(NULL, 0, (int)(wait < LOOK_S ? wait : LOOK_S) * 1000);
	}
}

/* ---- which ---- */

static int one_context(const struct cli *cli, const struct renew *r, const char *name)
{
	struct context c = {0};
	char *current = NULL;
	struct err e;
	int rc = name == NULL ? context_current(&current, &e) : 0;
	int status;

	if (rc == 0)
		rc = context_load(name == NULL ? current : name, &c, &e);
	if (rc != 0)
		status = cmd_cert_fail(&e);
	else
		status = r->daemon ? serve(cli, r, &c) : renew_one(cli, r, &c);
	context_clear(&c);
	free(current);
	return status;
}

static int all_contexts(const struct cli *cli, const struct renew *r)
{
	char **names = NULL;
	int status = CLI_OK;
	struct context c;
	size_t n = 0;
	struct err e;

	if (context_names(&names, &n, &e) != 0)
		return cmd_cert_fail(&e);
	for (size_t i = 0; i < n; i++) {
		if (context_load(names[i], &c, &e) != 0) {
			status = cmd_cert_fail(&e);
			continue;
		}
		if (c.renew_from != NULL && renew_one(cli, r, &c) != CLI_OK)
			status = CLI_TELEX;
		context_clear(&c);
	}
	context_names_free(names);
	return status;
}

static bool take(struct options *o, int id, const char *value, void *arg)
{
	struct renew *r = arg;

	(void)o;
	(void)value;
	r->daemon |= id == OPT_DAEMON;
	r->only_due |= id == OPT_DUE;
	r->all |= id == OPT_ALL;
	r->aside |= id == OPT_ASIDE;
	return true;
}

static int run(struct cli *cli, int argc, char **argv)
{
	struct renew r = {.given = {.own = take}};
	struct options o;

	r.given.arg = &r;
	options_start(&o, cli, &cmd_cert_renew, specs, argc, argv);
	if (!cmd_cert_options(&o, &r.given))
		return options_end(&o);
	if (o.n_operands > 0)
		options_usage(&o, "renew takes options only, not '%s'; --context names the context",
		    o.operands[0]);
	else if (r.all && r.daemon)
		options_usage(
		    &o, "--all and --daemon do not go together; a timer does --all --due");
	else
		o.status = r.all ? all_contexts(cli, &r) : one_context(cli, &r, cli->context);
	return options_end(&o);
}

const struct cli_verb cmd_cert_renew = {
    .name = "cert renew",
    .summary = "the next certificate, before this one ends",
    .help = "Examples:\n"
            "  telex cert renew\n"
            "  telex cert renew --context build7 --daemon\n"
            "  telex cert renew --all --due            for a timer\n"
            "\n"
            "Usage: telex cert renew [--context NAME | --all] [--due] [--daemon]\n"
            "\n"
            "  --due     only when it is due: at two thirds of its life\n"
            "  --all     of every context that knows its authority, not of one\n"
            "  --daemon  stay, and renew it each time it is due\n"
            "\n"
            "Any other verb does this by itself, in the background, when it finds the context's\n"
            "certificate due. It needs a context that `telex cert enroll` made, or one with\n"
            "--renew-from. An expired or revoked certificate is not renewed: enroll again.\n",
    .specs = specs,
    .run = run,
};
