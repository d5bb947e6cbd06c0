/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `telex logs`: the output of a process. What is held is read without attaching; with -f it is
 * attached, so that a process that waits for a reader goes on.
 */
#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "cli/find.h"
#include "cli/follow.h"
#include "cli/follow_words.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/run_json.h"
#include "cli/run_streams.h"
#include "cli/say.h"
#include "cli/session.h"
#include "cli/tail.h"
#include "cli/tail_read.h"
#include "cli/values.h"
#include "cli/verbs.h"
#include "common/duration.h"

/* How often a reader that was overtaken begins anew. */
#define TRIES 10

/* To a pipe or a file, a process that was started less long ago is given until then to end. */
#define YOUNG_MS INT64_C(5000)

enum { OPT_OFFSET = 256, OPT_TAIL, OPT_STDOUT, OPT_STDERR };

static const struct options_spec specs[] = {
    {'f', 'f', "follow", false},
    {OPT_OFFSET, '\0', "since-offset", true},
    {OPT_TAIL, '\0', "tail", true},
    {OPT_STDOUT, '\0', "stdout", false},
    {OPT_STDERR, '\0', "stderr", false},
    {0},
};

struct logs {
	struct options options;
	struct session session;
	const char *word; /* what was typed */
	char id[FIND_ID];
	bool follow, has_offset, has_tail, goes_on, missing;
	size_t tail;            /* lines */
	enum telex_stream only; /* 0: both */
	uint64_t offset;        /* of --since-offset */
	uint64_t next[3];       /* by enum telex_stream: the next byte wanted */
	uint64_t oldest[3], newest[3];
	int64_t start_ns;
	struct run_streams *streams;
	struct telex_reader *reader; /* NULL: over */
	int lost_errno;              /* standard output's; 0: none */
};

static void on_process(const struct telex_process *p, void *arg)
{
	const struct session *s = arg;
	struct logs *l = s->data;

	l->goes_on = p->state != TELEX_STATE_ENDED;
	l->start_ns = p->start_ns;
	l->oldest[TELEX_STDOUT] = p->stdout_oldest;
	l->oldest[TELEX_STDERR] = p->stderr_oldest;
	l->newest[TELEX_STDOUT] = p->stdout_newest;
	l->newest[TELEX_STDERR] = p->stderr_newest;
}

static bool wanted(const struct logs *l, enum telex_stream stream)
{
	return !l->only || l->only == stream;
}

static void tell_missing(struct logs *l, enum telex_stream s)
{
	l->missing = true;
	follow_words_skipped(s, l->next[s], l->oldest[s]);
	if (l->session.json)
		run_streams_json(l->streams, run_json_skipped(s, l->next[s], l->oldest[s]));
	run_streams_skipped(l->streams, s, l->oldest[s]);
}

/* From where: the offset that was asked for, else the oldest byte held. What was wanted and is not
 * held any longer is told, when there are streams; else follow does. */
static void choose_begin(struct logs *l)
{
	const enum telex_stream of = l->only ? l->only : TELEX_STDOUT;

	for (enum telex_stream s = TELEX_STDOUT; s <= TELEX_STDERR; s++) {
		if (l->has_offset && s == of && l->next[s] == 0)
			l->next[s] = l->offset;
		if (l->next[s] >= l->oldest[s])
			continue;
		if (wanted(l, s) && l->streams)
			tell_missing(l, s);
		l->next[s] = l->oldest[s];
	}
}

/* ---- what is held now ---- */

static void on_output(struct telex_reader *reader, enum telex_stream stream, uint64_t offset,
    const void *data, size_t len, void *arg)
{
	struct session *s = arg;
	struct logs *l = s->data;

	if (l->lost_errno || !wanted(l, stream)) {
		telex_reader_consumed(reader, len);
		return;
	}
	run_streams_skipped(l->streams, stream, offset); /* where it is, for JSON */
	l->next[stream] = offset + len;
	run_streams_output(l->streams, stream, data, len, false);
}

static void on_consumed(enum telex_stream stream, size_t n, void *arg)
{
	struct logs *l = arg;

	(void)stream;
	if (l->reader)
		telex_reader_consumed(l->reader, n);
}

static void on_stdout_lost(int sys_errno, void *arg)
{
	struct logs *l = arg;

	l->lost_errno = sys_errno;
}

static void on_flushed(void *arg)
{
	struct logs *l = arg;

	event_base_loopbreak(l->session.base);
}

static const struct run_streams_ops streams_ops = {
    .consumed = on_consumed, .stdout_lost = on_stdout_lost, .flushed = on_flushed};

static int read_once(struct logs *l)
{
	struct session *s = &l->session;
	const struct telex_read read = {
	    .process_id = l->id,
	    .stream = l->only,
	    .from = TELEX_FROM_OFFSET,
	    .stdout_offset = l->next[TELEX_STDOUT],
	    .stderr_offset = l->next[TELEX_STDERR],
	};
	int r =
	    telex_read_output(s->client, &l->reader, &read, on_output, session_done, s, &s->error);

	r = session_wait(s, r);
	l->reader = NULL;
	return r;
}

static int ask(struct session *s, const char *id, const void *arg)
{
	(void)arg;
	return telex_get(s->client, id, 0, on_process, session_done, s, &s->error);
}

static int ask_process(struct logs *l)
{
	struct session *s = &l->session;

	return session_wait(s, ask(s, l->id, NULL));
}

/* The agent said no, or could not be asked. */
static int refused(struct logs *l)
{
	const struct telex_error *error = &l->session.error;

	session_say_of(&l->session, "logs", l->word, error);
	if (l->session.json && l->streams)
		run_streams_json(l->streams, run_json_error(error));
	else if (l->session.json)
		output_json(run_json_error(error));
	return error->kind == TELEX_ERROR_STATUS ? CLI_FAILED : CLI_TELEX;
}

/* A process that writes faster than we read, and drops what is old, overtakes us: again from what
 * it holds then. */
static int read_held(struct logs *l)
{
	int r = read_once(l);

	for (int i = 1; i < TRIES && r < 0; i++) {
		if (strcmp(l->session.error.reason, "OFFSET_DROPPED") != 0)
			break;
		if ((r = ask_process(l)) < 0)
			break;
		choose_begin(l);
		r = read_once(l);
	}
	return r;
}

/*
 * `id=$(telex run -d -- …); telex logs $id >file`: what was started in the line before and is about
 * to end is not cut in the middle. Failing here is no failure: what is held is shown all the same.
 */
static void await_young(struct logs *l)
{
	struct session *s = &l->session;
	int64_t left = YOUNG_MS - (clock_realtime_ns() - l->start_ns) / NS_PER_MS;

	if (!l->goes_on || l->start_ns == 0 || left <= 0 || isatty(STDOUT_FILENO))
		return;
	if (left > YOUNG_MS)
		left = YOUNG_MS; /* clocks that differ */
	(void)session_wait(
	    s, telex_wait(s->client, l->id, false, left, NULL, session_done, s, &s->error));
	(void)ask_process(l);
}

static int print_held(struct logs *l)
{
	int status = CLI_OK;

	l->streams = run_streams_new(l->session.base, l->session.json, &streams_ops, l);
	choose_begin(l);
	if (read_held(l) < 0) {
		status = refused(l);
	}
	run_streams_end(l->streams);
	if (!run_streams_flushed(l->streams))
		event_base_dispatch(l->session.base);
	run_streams_free(l->streams);
	if (l->lost_errno == EPIPE)
		return 128 + SIGPIPE;
	if (l->lost_errno) {
		say_error("cannot write standard output: %s", strerror(l->lost_errno));
		return CLI_TELEX;
	}
	/* Who reads at a terminal sees where it ends; a file or a pipe would pass for the whole. */
	if (status == CLI_OK && l->goes_on && !isatty(STDOUT_FILENO))
		say_note("this is the output so far; process %s has not ended (`telex logs -f %s` "
		         "goes on)",
		    l->id, l->id);
	return status == CLI_OK && l->missing ? CLI_FAILED : status;
}

/* ---- and what comes ---- */

static int follow_it(struct logs *l)
{
	const uint64_t asked = l->has_offset ? l->offset : 0;
	const bool of_stderr = l->only == TELEX_STDERR;
	const struct telex_attach attach = {
	    .process_id = l->id,
	    .from = TELEX_FROM_OFFSET,
	    .stdout_offset = l->next[TELEX_STDOUT],
	    .stderr_offset = l->next[TELEX_STDERR],
	};
	const struct follow_how how = {
	    .only_watch = true,
	    .only_output = true,
	    .quiet_streams = {false, !wanted(l, TELEX_STDOUT), !wanted(l, TELEX_STDERR)},
	    .begin = {0, l->next[TELEX_STDOUT], l->next[TELEX_STDERR]},
	    .wanted = {0,
	        l->has_tail ? l->next[TELEX_STDOUT]
	        : of_stderr ? 0
	                    : asked,
	        l->has_tail ? l->next[TELEX_STDERR]
	        : of_stderr ? asked
	                    : 0},
	};

	return follow(&l->session, &how, NULL, &attach);
}

static int show(struct logs *l)
{
	if (!l->follow)
		await_young(l);
	if (l->has_tail && tail_read(&l->session, l->id, l->tail, l->next) < 0)
		return refused(l);
	if (!l->follow)
		return print_held(l);
	choose_begin(l);
	return follow_it(l);
}

static int logs(struct cli *cli, struct logs *l)
{
	int status = session_open(&l->session, cli);

	if (status != CLI_OK)
		return status;
	l->session.data = l;
	if (find_ask(&l->session, l->word, l->id, ask, NULL) < 0) {
		status = refused(l);
	} else {
		status = show(l);
	}
	session_close(&l->session);
	return status;
}

static int apply(struct logs *l, int id, const char *value, struct err *e)
{
	int64_t n;

	switch (id) {
	case 'f':
		l->follow = true;
		return 0;
	case OPT_STDOUT:
		l->only = l->only == TELEX_STDERR ? 0 : TELEX_STDOUT;
		return 0;
	case OPT_STDERR:
		l->only = l->only == TELEX_STDOUT ? 0 : TELEX_STDERR;
		return 0;
	}
	if (values_number(value, 0, id == OPT_TAIL ? TAIL_MAX : INT64_MAX, &n, e) < 0)
		return -1;
	if (id == OPT_TAIL) {
		l->has_tail = true;
		l->tail = (size_t)n;
		return 0;
	}
	l->has_offset = true;
	l->offset = (uint64_t)n;
	return 0;
}

static int run(struct cli *cli, int argc, char **argv)
{
	struct logs l = {0};
	struct err e;
	const char *value;
	int id, status;

	options_start(&l.options, cli, &cmd_logs, specs, argc, argv);
	while ((id = options_next(&l.options, &value)) > 0)
		if (apply(&l, id, value, &e) < 0) {
			options_wrong(&l.options, id, &e);
			return options_end(&l.options);
		}
	if (id == 0 && l.has_tail && l.has_offset)
		id = options_usage(&l.options, "either --tail or --since-offset, not both");
	if (id == 0 && l.options.n_operands != 1)
		id = options_usage(
		    &l.options, l.options.n_operands == 0
		                    ? "no process was named; `telex ps -a` shows their ids"
		                    : "one process at a time");
	if (id != 0)
		return options_end(&l.options);
	l.word = l.options.operands[0];
	status = logs(cli, &l);
	options_end(&l.options);
	return status;
}

const struct cli_verb cmd_logs = {
    .name = "logs",
    .summary = "the output of a process",
    .specs = specs,
    .takes_id = true,
    .help =
        "Examples:\n"
        "  telex logs 5f2cqa\n"
        "  telex logs -f 5f2cqa                    until it has ended\n"
        "  telex logs -f --tail 20 5f2cqa          the last lines, and what comes\n"
        "  telex logs --since-offset 4096 5f2cqa\n"
        "\n"
        "Usage: telex logs [-f] [OPTIONS] ID\n"
        "\n"
        "Its stdout goes to stdout, its stderr to stderr, from the oldest byte that is held to\n"
        "what there is now. The process does not wait for it, and nobody else misses anything\n"
        "by it. With -f it is attached: a process whose buffer is full waits for what is shown\n"
        "here, and goes on as it is shown.\n"
        "\n"
        "To a pipe or a file, a process that was started less than 5 s ago is given until then to\n"
        "end; one that still runs after that is said on stderr.\n"
        "\n"
        "  -f, --follow          go on until it has ended; Ctrl-C leaves it alone\n"
        "      --since-offset N  stdout from this byte on (with --stderr: stderr)\n"
        "      --tail N          the last N lines of each\n"
        "      --stdout          its stdout alone\n"
        "      --stderr          its stderr alone\n"
        "\n"
        "Exit status: 0 when all was shown, 1 when some of it is missing or there is no such\n"
        "process, 125 when telex itself failed. How the process ended is told by `telex wait`.\n",
    .run = run,
};
