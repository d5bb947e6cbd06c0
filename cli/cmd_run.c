/* SPDX-License-Identifier: Apache-2.0 */
/* `telex run`: one process, followed to its end (follow.h), or with -d only started. */
#include <stdio.h>
#include <unistd.h>

#include "cli/end.h"
#include "cli/fdkind.h"
#include "cli/follow.h"
#include "cli/follow_words.h"
#include "cli/output.h"
#include "cli/process_words.h"
#include "cli/run_options.h"
#include "cli/say.h"
#include "cli/session.h"
#include "cli/term.h"
#include "cli/verbs.h"

/* Stdin is not forwarded from a terminal unless it is asked for, or its keys are for a terminal
 * there; and /dev/null is /dev/null there too. */
static enum run_streams_in stdin_of(const struct run_options *o)
{
	const bool terminal = isatty(STDIN_FILENO);

	if (o->stdin_mode == RUN_STDIN_NEVER)
		return RUN_STREAMS_NO_STDIN;
	if (terminal && o->terminal)
		return RUN_STREAMS_KEYS;
	if (o->stdin_mode == RUN_STDIN_ALWAYS)
		return RUN_STREAMS_STDIN;
	return terminal || fdkind_is_null(STDIN_FILENO) ? RUN_STREAMS_NO_STDIN : RUN_STREAMS_STDIN;
}

static int run_followed(struct session *s, struct run_options *o)
{
	const struct follow_how how = {
	    .in = stdin_of(o),
	    .terminal = o->terminal,
	    .forward = o->forward,
	    .command = &o->command,
	};

	o->command.stdin_pipe = how.in != RUN_STREAMS_NO_STDIN;
	return follow(s, &how, &o->command, NULL);
}

/* ---- detached ---- */

static void on_started(const struct telex_process *process, void *arg)
{
	struct session *s = arg;
	bool *queued = s->data;

	*queued = process->state == TELEX_STATE_QUEUED;
	if (s->json)
		output_json(process_words_json(process));
	else
		puts(process->process_id);
	/* Nobody could find it otherwise. */
	if (fflush(stdout) != 0 || ferror(stdout))
		say_error("process %s was started", process->process_id);
}

/* The id is out at once; that it waits is told by a second question, which may fail. */
static void say_queued(struct session *s, const char *group)
{
	struct telex_error ignored;

	if (telex_group_get(s->client, group, 0, follow_words_queued, session_done, s, &ignored) ==
	    0)
		session_wait(s, 0);
}

static int run_detached(struct session *s, struct run_options *o, bool *queued)
{
	int asked;

	o->command.stdin_pipe = o->stdin_mode == RUN_STDIN_ALWAYS || o->terminal;
	s->data = queued;
	asked = telex_start(s->client, &o->command, 0, on_started, session_done, s, &s->error);
	if (session_wait(s, asked) < 0) {
		session_fail(s, &s->error);
		return end_error_status(&s->error);
	}
	if (*queued && o->command.group)
		say_queued(s, o->command.group);
	return CLI_OK;
}

/* ---- the verb ---- */

static int run(struct cli *cli, int argc, char **argv)
{
	struct run_options o;
	struct session s;
	struct telex_error error;
	bool queued = false;
	int status;

	if (run_options_parse(&o, cli, &cmd_run, argc, argv, &status) < 0)
		goto out;
	if (o.terminal)
		term_size(&o.command.rows, &o.command.columns);
	if (session_try(&s, cli, &error) < 0)
		status = session_fail_event(&s, &error);
	else
		status = o.detach ? run_detached(&s, &o, &queued) : run_followed(&s, &o);
	session_close(&s);
out:
	run_options_free(&o);
	return status;
}

const struct cli_verb cmd_run = {
    .name = "run",
    .summary = "run a command",
    .specs = run_options_specs,
    .help =
        "Examples:\n"
        "  telex run -- uname -a\n"
        "  telex run -C /srv/app -e LANG=C -- make -j4\n"
        "  tar c . | telex run -- tar x -C /srv/app\n"
        "  telex run -it -- bash                           a terminal: ~. disconnects\n"
        "  id=$(telex run -d -- ./nightly); telex logs -f $id\n"
        "  telex run --timeout 5m --limit memory=2G -- ./nightly\n"
        "  telex run -d --group tests --group-max 4 -- ./one-test\n"
        "  telex run -- sh -c 'cd /tmp && ls *.log'        a shell, where one is wanted\n"
        "  while read -r f; do telex run -n -- rm \"$f\"; done <list\n"
        "  telex --json run -- sh -c 'exit 3'              events, one a line\n"
        "\n"
        "Usage: telex run [OPTIONS] [--] COMMAND [ARG…]\n"
        "\n"
        "The command is executed as it is given; no shell is involved. Options end at the "
        "command.\n"
        "Stdin is forwarded when it is not a terminal, and with -t also from one.\n"
        "\n"
        "Streams:\n"
        "  -i, --stdin              forward stdin, also from a terminal; with -d: a pipe that\n"
        "                           `attach` can feed\n"
        "  -n, --no-stdin           never read stdin\n"
        "  -t, --tty                run it on a terminal of the size of this one (24x80 where "
        "there\n"
        "                           is none); keys go through as they are, stdout and stderr "
        "are one\n"
        "  -d, --detach             print its id and leave it running\n"
        "      --output-buffer SIZE how much of each output is held: the agent's default\n"
        "      --output-policy WHAT when that is full: block (it waits) or drop-oldest\n"
        "      --spool SIZE         that much more of each output in a file\n"
        "\n"
        "What it runs as:\n"
        "  -e, --env NAME=VALUE     set a variable; NAME alone takes the value from here\n"
        "      --clean-env          nothing but what -e sets\n"
        "  -C, --directory DIR      the working folder; else the user's home\n"
        "  -u, --user USER[:GROUP]  run as this user\n"
        "      --umask MASK         octal: 022\n"
        "      --nice N             -20 to 19\n"
        "      --no-new-privs       set-user-ID programs gain nothing\n"
        "      --block-signal LIST  blocked when it begins, as INT,TERM\n"
        "      --ignore-signal LIST ignored when it begins\n"
        "      --limit NAME=VALUE   memory=2G, cpu=1.5 (processors), pids=100: of it and all its\n"
        "                           descendants, by a control group; or a resource limit by its "
        "name\n"
        "                           in prlimit(1), NAME=SOFT[:HARD]: nofile, as, core, … "
        "(prlimit's\n"
        "                           cpu is cputime, in seconds). K, M, G, T; or unlimited\n"
        "\n"
        "Its life:\n"
        "      --timeout TIME       end it after this time (90, 1.5s, 5m, 1h30m); status 124\n"
        "      --signal SIGNAL      how it is ended: TERM\n"
        "      --grace TIME         from that signal to SIGKILL: 10s\n"
        "      --on-disconnect WHAT when the connection is gone: keep, kill, hangup or "
        "hangup:TIME\n"
        "                           (SIGHUP after TIME, 60s); with -d keep\n"
        "      --keep TIME          how long its end and output are held: 1h\n"
        "      --forward LIST       signals that go on: INT,TERM,HUP,QUIT,USR1,USR2\n"
        "      --no-forward         none; INT, TERM, HUP and QUIT leave it\n"
        "      --group NAME         a member of this group (telex ps, wait, kill, rm --group)\n"
        "      --group-max N        so many of the group run at once; others queue, in order\n"
        "      --id ID              the process's id; the same id and command again attaches to "
        "it\n"
        "\n"
        "Ctrl-C and SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2 go to the remote process group; a\n"
        "second Ctrl-C within a second leaves the process to --on-disconnect. With -t the keys go\n"
        "through instead, and at the beginning of a line ~. disconnects, ~^Z suspends, ~? lists.\n"
        "A lost connection is tried again for --reconnect TIME (60s); nothing is lost by it.\n"
        "\n"
        "Exit status: the program's own; 128+n when signal n ended it; 124 for --timeout; 126 "
        "found\n"
        "but not executable; 127 not found; 125 telex itself failed.\n",
    .run = run,
};
