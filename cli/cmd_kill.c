/* SPDX-License-Identifier: Apache-2.0 */
/* `telex kill`: a signal to processes, or to all of a group. */
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "cli/each_id.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/session.h"
#include "cli/values.h"
#include "cli/verbs.h"

/* Between the stop signal and SIGKILL for a group, when nothing is said. */
#define GROUP_GRACE_MS 10000

/* The canonical code of what the agent says of a signal to what has ended. */
#define FAILED_PRECONDITION 9

enum { OPT_PROCESS = 256, OPT_TREE, OPT_VALUE, OPT_AFTER, OPT_GROUP };

static const struct options_spec specs[] = {
    {'s', 's', "signal", true},
    {OPT_PROCESS, '\0', "process", false},
    {OPT_TREE, '\0', "tree", false},
    {OPT_VALUE, '\0', "value", true},
    {OPT_AFTER, '\0', "after", true},
    {OPT_GROUP, '\0', "group", true},
    {0},
};

struct kill {
	struct options options;
	bool probe; /* -s 0 */
	struct telex_signal_options how;
	const char *group;
};

static int ask(struct session *s, const char *id, const void *how)
{
	return telex_signal(s->client, id, how, 0, session_done, s, &s->error);
}

/* ---- -s 0: whether it is there ---- */

static void on_process(const struct telex_process *process, void *arg)
{
	const struct session *s = arg;
	enum telex_state *state = s->data;

	*state = process->state;
}

static void on_probed(const struct telex_error *error, void *arg)
{
	struct session *s = arg;
	const enum telex_state *state = s->data;
	struct telex_error ended = {.kind = TELEX_ERROR_STATUS, .code = FAILED_PRECONDITION};

	if (error || *state != TELEX_STATE_ENDED) {
		session_done(error, s);
		return;
	}
	snprintf(ended.reason, sizeof(ended.reason), "PROCESS_ENDED");
	snprintf(ended.message, sizeof(ended.message), "`telex wait` tells how");
	session_done(&ended, s);
}

static int probe(struct session *s, const char *id, const void *arg)
{
	static enum telex_state state;

	(void)arg;
	s->data = &state;
	return telex_get(s->client, id, 0, on_process, on_probed, s, &s->error);
}

static void tell(json_t *object, const void *arg)
{
	const struct telex_signal_options *how = arg;

	json_object_set_new(object, "signal", json_integer(how->signo));
}

static void on_group(uint32_t signalled, uint32_t dequeued, void *arg)
{
	const struct session *s = arg;

	if (s->json)
		output_json(json_pack("{s:I,s:I}", "signalled", (json_int_t)signalled, "dequeued",
		    (json_int_t)dequeued));
	else
		printf("%u signalled, %u taken from the queue\n", signalled, dequeued);
}

static int kill_group(struct cli *cli, const struct kill *k)
{
	struct session s;
	int status = session_open(&s, cli);

	if (status != CLI_OK)
		return status;
	status = session_answer_of(&s, "kill --group", k->group,
	    telex_group_signal(
	        s.client, k->group, &k->how, 0, on_group, session_done, &s, &s.error));
	session_close(&s);
	return status;
}

static int apply(struct kill *k, int id, const char *value, struct err *e)
{
	int64_t n;
	int r;

	switch (id) {
	case 's':
		k->probe = strcmp(value, "0") == 0;
		if (k->probe)
			return 0;
		return values_signal(value, &k->how.signo, e);
	case OPT_PROCESS:
		k->how.target = TELEX_TARGET_PROCESS;
		return 0;
	case OPT_TREE:
		k->how.target = TELEX_TARGET_TREE;
		return 0;
	case OPT_VALUE:
		if ((r = values_number(value, INT32_MIN, INT32_MAX, &n, e)) < 0)
			return r;
		k->how.has_value = true;
		k->how.value = (int)n;
		return 0;
	case OPT_AFTER:
		k->how.kills = true;
		return values_duration(value, &k->how.kill_after_ms, e);
	}
	k->group = value;
	return options_check_id(value, e);
}

/* Whether it makes sense as a whole; else it was said. */
static bool check_whole(struct kill *k)
{
	struct options *o = &k->options;

	if (k->probe && k->group)
		options_usage(o, "signal 0 asks whether a process is there: without --group");
	else if (k->how.has_value && (k->group || k->how.target == TELEX_TARGET_TREE))
		options_usage(o, "--value goes to one process: without --tree and --group");
	else if (k->group && o->n_operands > 0)
		options_usage(o, "either --group or ids, not both");
	else if (!k->group && o->n_operands == 0)
		options_usage(o, "no process was named; `telex ps` shows their ids");
	else
		return true;
	return false;
}

/* A group is ended in good order; a process gets SIGTERM, as from kill(1). */
static void complete(struct kill *k)
{
	struct telex_signal_options *how = &k->how;

	if (how->has_value)
		how->target = TELEX_TARGET_PROCESS;
	if (!how->signo && !k->group)
		how->signo = SIGTERM;
	if (!how->signo && !how->kills) {
		how->kills = true;
		how->kill_after_ms = GROUP_GRACE_MS;
	}
}

static int run(struct cli *cli, int argc, char **argv)
{
	struct kill k = {.how.target = TELEX_TARGET_GROUP};
	struct each_id what = {
	    .verb = "kill", .did = "sent", .ask = ask, .tell = tell, .arg = &k.how};
	struct err e;
	const char *value;
	int id, status;

	options_start(&k.options, cli, &cmd_kill, specs, argc, argv);
	k.options.signal_id = 's';
	while ((id = options_next(&k.options, &value)) > 0)
		if (apply(&k, id, value, &e) < 0) {
			options_wrong(&k.options, id, &e);
			return options_end(&k.options);
		}
	if (id < 0 || !check_whole(&k))
		return options_end(&k.options);
	if (k.probe)
		what.ask = probe;
	else
		complete(&k);
	status = k.group ? kill_group(cli, &k) : each_id(cli, &k.options, &what);
	options_end(&k.options);
	return status;
}

const struct cli_verb cmd_kill = {
    .name = "kill",
    .summary = "send a signal to processes",
    .specs = specs,
    .takes_id = true,
    .help =
        "Examples:\n"
        "  telex kill 5f2cqa\n"
        "  telex kill -9 5f2cqa\n"
        "  telex kill -s HUP 5f2cqa 77b4xe\n"
        "  telex kill --tree --after 5s 5f2cqa    it and all its descendants; SIGKILL after 5s\n"
        "  telex kill -s RTMIN+1 --value 42 5f2cqa\n"
        "  telex kill --group tests               end all of a group in good order\n"
        "\n"
        "Usage: telex kill [OPTIONS] ID…\n"
        "       telex kill [OPTIONS] --group NAME\n"
        "\n"
        "  -s, --signal SIGNAL  a name or a number; -9 and -KILL are understood, too. Without it\n"
        "                       TERM, and for a group what each member was started with (run\n"
        "                       --signal). 0 sends nothing and tells whether a process is there\n"
        "      --process        to the process alone, not to its process group\n"
        "      --tree           to it and all its descendants\n"
        "      --value N        sent with the signal, as sigqueue(3), to the process alone\n"
        "      --after TIME     SIGKILL to the whole tree after this, unless it has ended;\n"
        "                       for a group without -s: 10s\n"
        "      --group NAME     every member that has not ended; queued ones never run\n"
        "\n"
        "Exit status: 1 when a process could not be signalled, 125 when the agent could not be\n"
        "asked.\n",
    .run = run,
};
