/* SPDX-License-Identifier: Apache-2.0 */
/* `telex attach`: back to a process that runs, or was not read to its end. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/fdkind.h"
#include "cli/find.h"
#include "cli/follow.h"
#include "cli/forward.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/run_json.h"
#include "cli/session.h"
#include "cli/values.h"
#include "cli/verbs.h"

enum { OPT_READ_ONLY = 256, OPT_OFFSET, OPT_FROM, OPT_NO_FORWARD };

static const struct options_spec specs[] = {
    {'i', 'i', "stdin", false},
    {'n', 'n', "no-stdin", false},
    {OPT_READ_ONLY, '\0', "read-only", false},
    {OPT_OFFSET, '\0', "since-offset", true},
    {OPT_FROM, '\0', "from", true},
    {OPT_NO_FORWARD, '\0', "no-forward", false},
    {0},
};

struct attach {
	struct options options;
	struct telex_attach how;
	char id[FIND_ID]; /* whole: how's process_id, once it was found */
	bool always_stdin, no_stdin, read_only, no_forward;
	bool has_from;
	/* What the agent said about it. */
	bool terminal, ended;
	uint64_t oldest[3], newest[3];
};

static void on_process(const struct telex_process *process, void *arg)
{
	struct session *s = arg;
	struct attach *a = s->data;

	a->terminal = process->terminal;
	a->ended = process->state == TELEX_STATE_ENDED;
	a->oldest[TELEX_STDOUT] = process->stdout_oldest;
	a->oldest[TELEX_STDERR] = process->stderr_oldest;
	a->newest[TELEX_STDOUT] = process->stdout_newest;
	a->newest[TELEX_STDERR] = process->stderr_newest;
}

static enum run_streams_in stdin_of(const struct attach *a)
{
	const bool terminal = isatty(STDIN_FILENO);

	if (a->no_stdin || a->read_only || a->ended)
		return RUN_STREAMS_NO_STDIN;
	if (a->terminal && terminal)
		return RUN_STREAMS_KEYS;
	if (a->always_stdin)
		return RUN_STREAMS_STDIN;
	return terminal || fdkind_is_null(STDIN_FILENO) ? RUN_STREAMS_NO_STDIN : RUN_STREAMS_STDIN;
}

/* What a screen showed once is of no use on another, and asks a terminal things that it then
 * answers: the program draws it anew. */
static bool draws_anew(const struct session *s, const struct attach *a)
{
	return !a->has_from && a->terminal && !a->ended && !s->json && isatty(STDOUT_FILENO);
}

/* JSON tells offsets, so it must be known where they begin. */
static void choose_begin(const struct session *s, struct attach *a, struct follow_how *how)
{
	const uint64_t *from;

	if (draws_anew(s, a))
		a->how.from = TELEX_FROM_NEWEST;
	from = a->how.from == TELEX_FROM_NEWEST ? a->newest : a->oldest;
	if (a->how.from == TELEX_FROM_OFFSET)
		a->how.stderr_offset = a->oldest[TELEX_STDERR];
	for (enum telex_stream i = TELEX_STDOUT; i <= TELEX_STDERR; i++) {
		how->begin[i] = from[i];
		how->wanted[i] = a->how.from == TELEX_FROM_OLDEST ? 0 : from[i];
	}
	if (a->how.from == TELEX_FROM_OFFSET)
		how->begin[TELEX_STDOUT] = how->wanted[TELEX_STDOUT] = a->how.stdout_offset;
	how->replay = a->how.from == TELEX_FROM_NEWEST ? 0 : a->newest[TELEX_STDOUT];
	if (!s->json || a->how.from == TELEX_FROM_OFFSET)
		return;
	a->how.from = TELEX_FROM_OFFSET;
	a->how.stdout_offset = from[TELEX_STDOUT];
	a->how.stderr_offset = from[TELEX_STDERR];
}

static int ask(struct session *s, const char *id, const void *arg)
{
	(void)arg;
	return telex_get(s->client, id, 0, on_process, session_done, s, &s->error);
}

/* As of a run: who reads JSON is told in an event, too. */
static int refused(struct session *s, const char *word)
{
	session_say_of(s, "attach", word, &s->error);
	if (s->json)
		output_json(run_json_error(&s->error));
	return CLI_TELEX;
}

static int attach(struct cli *cli, struct attach *a)
{
	const char *const word = a->how.process_id;
	struct session s;
	struct follow_how how;
	int status = session_open(&s, cli);

	if (status != CLI_OK)
		return status;
	s.data = a;
	if (find_ask(&s, word, a->id, ask, NULL) < 0) {
		status = refused(&s, word);
	} else {
		a->how.process_id = a->id;
		how = (struct follow_how){
		    .in = stdin_of(a),
		    .terminal = a->terminal && !a->read_only,
		    .only_watch = a->read_only,
		    .forward = a->no_forward ? 0 : FORWARD_DEFAULT,
		};
		choose_begin(&s, a, &how);
		a->how.stdin_pipe = how.in != RUN_STREAMS_NO_STDIN;
		status = follow(&s, &how, NULL, &a->how);
	}
	session_close(&s);
	return status;
}

static int apply(struct attach *a, int id, const char *value, struct err *e)
{
	int64_t n;

	switch (id) {
	case 'i':
		a->always_stdin = true;
		return 0;
	case 'n':
		a->no_stdin = true;
		return 0;
	case OPT_READ_ONLY:
		a->read_only = true;
		return 0;
	case OPT_NO_FORWARD:
		a->no_forward = true;
		return 0;
	case OPT_OFFSET:
		a->has_from = true;
		if (values_number(value, 0, INT64_MAX, &n, e) < 0)
			return -1;
		a->how.from = TELEX_FROM_OFFSET;
		a->how.stdout_offset = (uint64_t)n;
		return 0;
	}
	a->has_from = true;
	if (strcmp(value, "oldest") == 0)
		a->how.from = TELEX_FROM_OLDEST;
	else if (strcmp(value, "newest") == 0)
		a->how.from = TELEX_FROM_NEWEST;
	else
		return err_set(e, TX_EINVAL, "'%s' is neither oldest nor newest", value);
	return 0;
}

static int run(struct cli *cli, int argc, char **argv)
{
	struct attach a = {0};
	struct err e;
	const char *value;
	int id, status;

	options_start(&a.options, cli, &cmd_attach, specs, argc, argv);
	while ((id = options_next(&a.options, &value)) > 0)
		if (apply(&a, id, value, &e) < 0) {
			options_wrong(&a.options, id, &e);
			return options_end(&a.options);
		}
	if (id == 0 && a.options.n_operands != 1)
		id = options_usage(&a.options,
		    a.options.n_operands == 0 ? "no process was named; `telex ps` shows their ids"
		                              : "one process at a time");
	if (id != 0)
		return options_end(&a.options);
	a.how.process_id = a.options.operands[0];
	status = attach(cli, &a);
	options_end(&a.options);
	return status;
}

const struct cli_verb cmd_attach = {
    .name = "attach",
    .summary = "back to a process",
    .specs = specs,
    .takes_id = true,
    .help =
        "Examples:\n"
        "  telex attach 5f2cqa\n"
        "  telex attach --read-only 5f2cqa       watch; somebody else may have its stdin\n"
        "  telex attach --from newest 5f2cqa     only what it writes from now on\n"
        "\n"
        "Usage: telex attach [OPTIONS] ID\n"
        "\n"
        "Its output comes from the oldest byte that is held, so that nothing is missing after a\n"
        "client was lost; then it is as `telex run` would have it: stdin, signals, keys on a\n"
        "terminal, and its exit status. One that has ended gives the rest of its output.\n"
        "One on a terminal draws its screen anew on the one here; --from oldest shows what it\n"
        "wrote instead.\n"
        "Several may be attached; one of them has stdin.\n"
        "\n"
        "      --read-only        no stdin, no signals: Ctrl-C leaves it alone\n"
        "  -i, --stdin            forward stdin, also from a terminal\n"
        "  -n, --no-stdin         never read stdin\n"
        "      --no-forward       no signals\n"
        "      --from WHERE       oldest or newest\n"
        "      --since-offset N   stdout from this byte on; stderr from the oldest\n"
        "\n"
        "Exit status: as of `telex run`.\n",
    .run = run,
};
