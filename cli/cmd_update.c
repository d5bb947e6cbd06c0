/* SPDX-License-Identifier: Apache-2.0 */
/* `telex update`: new limits for what runs. */
#include <jansson.h>
#include <stdio.h>

#include "cli/each_id.h"
#include "cli/limits.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/process_words.h"
#include "cli/session.h"
#include "cli/values.h"
#include "cli/verbs.h"

enum { OPT_LIMIT = 256, OPT_NICE, OPT_GROUP, OPT_GROUP_MAX };

static const struct options_spec specs[] = {
    {OPT_LIMIT, '\0', "limit", true},
    {OPT_NICE, '\0', "nice", true},
    {OPT_GROUP, '\0', "group", true},
    {OPT_GROUP_MAX, '\0', "group-max", true},
    {0},
};

struct update {
	struct options options;
	struct limits limits;
	struct telex_update what;
	const char *group;
	uint32_t group_max;
	bool has_limit, has_group_max;
};

static int ask(struct session *s, const char *id, const void *arg)
{
	const struct telex_update *what = arg;

	return telex_update(s->client, id, what, 0, session_done, s, &s->error);
}

static void on_group(const struct telex_group *group, void *arg)
{
	const struct session *s = arg;

	if (s->json)
		output_json(process_words_group_json(group));
}

static int update_group(struct cli *cli, const struct update *u)
{
	struct session s;
	int status = session_open(&s, cli);

	if (status != CLI_OK)
		return status;
	status = session_answer_of(&s, "update --group", u->group,
	    telex_group_set_maximum(
	        s.client, u->group, u->group_max, 0, on_group, session_done, &s, &s.error));
	session_close(&s);
	return status;
}

static int apply(struct update *u, int id, const char *value, struct err *e)
{
	int64_t n;
	int r;

	switch (id) {
	case OPT_LIMIT:
		u->has_limit = true;
		return limits_add(&u->limits, value, e);
	case OPT_NICE:
		if ((r = values_number(value, -20, 19, &n, e)) < 0)
			return r;
		u->what.set_nice = true;
		u->what.nice = (int)n;
		return 0;
	case OPT_GROUP:
		u->group = value;
		return options_check_id(value, e);
	}
	if ((r = values_number(value, 0, UINT32_MAX, &n, e)) < 0)
		return r;
	u->has_group_max = true;
	u->group_max = (uint32_t)n;
	return 0;
}

static bool check_whole(struct update *u)
{
	struct options *o = &u->options;
	const bool changes = u->has_limit || u->what.set_nice;

	if (u->group && (o->n_operands > 0 || changes))
		options_usage(o, "--group takes --group-max alone; limits are of processes");
	else if (u->group && !u->has_group_max)
		options_usage(o, "--group needs --group-max N; 0 is no maximum");
	else if (!u->group && u->has_group_max)
		options_usage(o, "--group-max needs --group NAME");
	else if (!u->group && o->n_operands == 0)
		options_usage(o, "no process was named; `telex ps` shows their ids");
	else if (!u->group && !changes)
		options_usage(o, "nothing to change: give --limit or --nice");
	else
		return true;
	return false;
}

static int update_all(struct cli *cli, struct update *u)
{
	const struct each_id what = {
	    .verb = "update", .did = "updated", .ask = ask, .arg = &u->what};

	u->what.limits = u->limits.rlimits;
	u->what.n_limits = u->limits.n_rlimits;
	u->what.memory_bytes = u->limits.memory_bytes;
	u->what.max_pids = u->limits.max_pids;
	u->what.cpu_millis = u->limits.cpu_millis;
	return each_id(cli, &u->options, &what);
}

static int run(struct cli *cli, int argc, char **argv)
{
	struct update u = {0};
	struct err e;
	const char *value;
	int id, status;

	options_start(&u.options, cli, &cmd_update, specs, argc, argv);
	while ((id = options_next(&u.options, &value)) > 0)
		if (apply(&u, id, value, &e) < 0) {
			options_wrong(&u.options, id, &e);
			break;
		}
	if (id != 0 || !check_whole(&u))
		status = u.options.status;
	else
		status = u.group ? update_group(cli, &u) : update_all(cli, &u);
	limits_clear(&u.limits);
	options_end(&u.options);
	return status;
}

const struct cli_verb cmd_update = {
    .name = "update",
    .summary = "change the limits of running processes",
    .specs = specs,
    .takes_id = true,
    .help =
        "Examples:\n"
        "  telex update --limit memory=4G --limit nofile=4096 5f2cqa\n"
        "  telex update --nice 10 5f2cqa\n"
        "  telex update --group tests --group-max 8    queued ones start at once\n"
        "\n"
        "Usage: telex update [--limit NAME=VALUE]… [--nice N] ID…\n"
        "       telex update --group NAME --group-max N\n"
        "\n"
        "      --limit NAME=VALUE  as of `telex run`: memory, cpu and pids of it and all its\n"
        "                          descendants, the others of the process itself\n"
        "      --nice N            -20 to 19, for its process group\n"
        "      --group-max N       so many of the group run at once; 0: any number\n"
        "\n"
        "Exit status: 1 when one could not be changed, 125 when the agent could not be asked.\n",
    .run = run,
};
