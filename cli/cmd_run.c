/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `telex run`: one process, from its start to its exit status.
 *
 * The status is the process's own as soon as its end is known; whatever else ends this program has
 * its own (125, or 128 + n when it left because of signal n). Output that came is written before
 * the program ends.
 *
 * Standard output that takes no more (`telex run -- yes | head`): SIGPIPE is sent to the remote
 * group, as a local pipe would; a program that has not ended two seconds later is left to its
 * disconnect policy, and the status is 128 + SIGPIPE.
 */
#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "cli/end.h"
#include "cli/forward.h"
#include "cli/output.h"
#include "cli/run_json.h"
#include "cli/run_options.h"
#include "cli/run_streams.h"
#include "cli/say.h"
#include "cli/session.h"
#include "cli/verbs.h"
#include "common/duration.h"
#include "common/signame.h"

static const struct timeval lost_grace = {.tv_sec = 2};

struct run {
	struct cli *cli;
	struct run_options options;
	struct session session;
	struct telex_run *handle; /* NULL: over, or left */
	char id[128];
	struct run_streams *streams;
	struct forward *forward;
	struct event *lost_timer;
	bool started, over;
	int signalled;  /* the last signal that we sent; 0: none */
	int lost_errno; /* standard output's */
	int status;
};

static void finish(struct run *r, int status)
{
	r->handle = NULL;
	r->over = true;
	r->status = status;
	/* From here on Ctrl-C ends this program, should standard output be stuck. */
	forward_free(r->forward);
	r->forward = NULL;
	event_del(r->lost_timer);
	run_streams_end(r->streams);
}

static void on_flushed(void *arg)
{
	struct run *r = arg;

	event_base_loopbreak(r->session.base);
}

static void send_signal(struct run *r, int signo)
{
	r->signalled = signo;
	telex_run_signal(r->handle, signo, TELEX_TARGET_GROUP);
}

/* ---- leaving before the end ---- */

static void say_left(const struct run *r)
{
	const struct telex_command *c = &r->options.command;
	int64_t wait_ms = c->disconnect_wait_ms ? c->disconnect_wait_ms : 60000;
	char wait[48];

	switch (c->on_disconnect) {
	case TELEX_DISCONNECT_KEEP:
		say_note("left process %s, which goes on at %s; see `telex ps`, `telex kill %s`",
		    r->id, r->session.address, r->id);
		break;
	case TELEX_DISCONNECT_KILL:
		say_note("left process %s at %s, which is killed now (--on-disconnect kill)", r->id,
		    r->session.address);
		break;
	default:
		duration_format(wait, sizeof(wait), wait_ms < 0 ? 0 : wait_ms * NS_PER_MS);
		say_note("left process %s at %s, which is hung up in %s; see `telex ps`, "
		         "`telex kill %s`",
		    r->id, r->session.address, wait, r->id);
		break;
	}
}

static void leave(struct run *r, int status)
{
	if (r->over)
		return;
	if (r->started) {
		say_left(r);
		if (r->cli->json)
			run_streams_json(r->streams, run_json_left(r->id));
	}
	telex_run_detach(r->handle);
	finish(r, status);
}

static void on_leave(struct forward *forward, void *arg)
{
	(void)forward;
	leave(arg, 128 + SIGINT);
}

static void on_signal(struct forward *forward, int signo, void *arg)
{
	struct run *r = arg;
	char name[24];

	(void)forward;
	if (!telex_client_agent(r->session.client)) {
		leave(r, 128 + signo); /* not even connected: there is nothing to end */
		return;
	}
	say_detail("%s goes to process %s", signame_format(name, sizeof(name), signo), r->id);
	send_signal(r, signo);
}

static const struct forward_ops forward_ops = {.signal = on_signal, .leave = on_leave};

static void on_stdout_lost(int sys_errno, void *arg)
{
	struct run *r = arg;

	r->lost_errno = sys_errno;
	if (sys_errno != EPIPE)
		say_error("cannot write standard output: %s", strerror(sys_errno));
	if (!r->handle)
		return;
	send_signal(r, SIGPIPE);
	event_add(r->lost_timer, &lost_grace);
}

static void on_lost_timer(evutil_socket_t fd, short what, void *arg)
{
	struct run *r = arg;

	(void)fd;
	(void)what;
	leave(r, r->lost_errno == EPIPE ? 128 + SIGPIPE : CLI_TELEX);
}

static const struct run_streams_ops streams_ops = {
    .stdout_lost = on_stdout_lost, .flushed = on_flushed};

/* ---- what the agent tells ---- */

static void on_started(struct telex_run *run, const struct telex_started *started, void *arg)
{
	struct run *r = arg;

	(void)run;
	r->started = true;
	say_detail("process %s, pid %u%s", started->process_id, started->pid,
	    started->created ? "" : ", was running already");
	if (r->cli->json)
		run_streams_json(r->streams, run_json_started(started));
}

static void on_output(struct telex_run *run, enum telex_stream stream, const void *data, size_t len,
    bool eof, void *arg)
{
	struct run *r = arg;

	(void)run;
	run_streams_output(r->streams, stream, data, len, eof);
}

static void on_stdin_room(struct telex_run *run, void *arg)
{
	struct run *r = arg;

	(void)run;
	run_streams_stdin_room(r->streams);
}

static void on_stdin_closed(struct telex_run *run, void *arg)
{
	struct run *r = arg;

	(void)run;
	run_streams_stdin_closed(r->streams);
}

/* What the exit status alone does not tell. */
static void say_end(const struct run *r, const struct telex_exit *exit)
{
	char how[32], time[48];

	end_text(how, sizeof(how), exit);
	switch (exit->reason) {
	case TELEX_REASON_RUN_TIMEOUT:
		say_note("ended by --timeout %s (%s)",
		    duration_format(
		        time, sizeof(time), r->options.command.run_timeout_ms * NS_PER_MS),
		    how);
		break;
	case TELEX_REASON_SIGNALLED:
		if (!r->signalled)
			say_note("ended by a signal that %s sent (%s)", exit->ended_by, how);
		break;
	case TELEX_REASON_DISCONNECT:
		say_note("ended by its disconnect policy (%s)", how);
		break;
	case TELEX_REASON_SHUTDOWN:
		say_note("ended because the agent was shut down (%s)", how);
		break;
	default:
		break;
	}
	if (exit->end == TELEX_END_UNKNOWN)
		say_error("how the program ended is not known: %s",
		    exit->unknown_why ? exit->unknown_why : "the agent does not say why");
	if (exit->stdout_open || exit->stderr_open)
		say_note("the program has ended, but a process it started still holds its %s; "
		         "what that writes is not shown",
		    !exit->stderr_open ? "stdout"
		                       : (exit->stdout_open ? "stdout and stderr" : "stderr"));
	say_detail("%s, %s", end_reason(exit->reason), how);
}

static void on_done(struct telex_run *run, const struct telex_exit *exit,
    const struct telex_error *error, void *arg)
{
	struct run *r = arg;

	(void)run;
	r->handle = NULL;
	if (exit) {
		say_end(r, exit);
		if (r->cli->json)
			run_streams_json(r->streams, run_json_exit(r->id, exit));
		finish(r, end_status(exit));
		return;
	}
	session_say(&r->session, error);
	if (r->started && error->kind == TELEX_ERROR_LOST)
		say_left(r);
	if (r->cli->json)
		run_streams_json(r->streams, run_json_error(error));
	finish(r, end_error_status(error));
}

static const struct telex_run_ops run_ops = {
    .started = on_started,
    .output = on_output,
    .stdin_room = on_stdin_room,
    .stdin_closed = on_stdin_closed,
    .done = on_done,
};

/* ---- the verb ---- */

/* Whether there is a stdin to forward: not for a terminal unless asked, and /dev/null is /dev/null
 * there too. */
static bool wants_stdin(enum run_stdin mode)
{
	struct stat st;

	if (mode != RUN_STDIN_AUTO)
		return mode == RUN_STDIN_ALWAYS;
	if (isatty(STDIN_FILENO) || fstat(STDIN_FILENO, &st) < 0)
		return false;
	return !(S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3));
}

/* It failed here, before there was a run. */
static int not_begun(const struct run *r, const struct telex_error *error)
{
	session_say(&r->session, error);
	if (r->cli->json)
		output_json(run_json_error(error));
	return CLI_TELEX;
}

static int start(struct run *r)
{
	struct telex_error error;
	struct telex_command *command = &r->options.command;

	command->stdin_pipe = wants_stdin(r->options.stdin_mode);
	if (telex_run(r->session.client, &r->handle, command, &run_ops, r, &error) < 0)
		return not_begun(r, &error);
	strncpy(r->id, telex_run_id(r->handle), sizeof(r->id) - 1);
	run_streams_attach(r->streams, r->handle, command->stdin_pipe);
	r->forward = forward_new(r->session.base, &forward_ops, r);
	return CLI_OK;
}

static int follow(struct run *r)
{
	int status;

	r->streams = run_streams_new(r->session.base, r->cli->json, &streams_ops, r);
	r->lost_timer = evtimer_new(r->session.base, on_lost_timer, r);
	if (!r->lost_timer)
		abort();
	status = start(r);
	if (status == CLI_OK) {
		event_base_dispatch(r->session.base);
		/* A program that ended by itself has the last word, unless its output could not be
		 * kept. */
		status = r->lost_errno && r->lost_errno != EPIPE ? CLI_TELEX : r->status;
		/* It was content with half of what it should have been given. */
		if (status == CLI_OK && run_streams_stdin_failed(r->streams))
			status = CLI_TELEX;
	}
	forward_free(r->forward);
	event_free(r->lost_timer);
	run_streams_free(r->streams);
	return status;
}

static int run(struct cli *cli, int argc, char **argv)
{
	struct run r = {.cli = cli};
	struct telex_error error;
	int status;

	if (run_options_parse(&r.options, cli, &cmd_run, argc, argv, &status) < 0)
		goto out;
	if (session_try(&r.session, cli, &error) == 0)
		status = follow(&r);
	else
		status = not_begun(&r, &error);
	session_close(&r.session);
out:
	run_options_free(&r.options);
	return status;
}

const struct cli_verb cmd_run = {
    .name = "run",
    .summary = "run a command",
    .help =
        "Examples:\n"
        "  telex run -- uname -a\n"
        "  telex run -C /srv/app -e LANG=C -- make -j4\n"
        "  tar c . | telex run -- tar x -C /srv/app\n"
        "  telex run --timeout 5m --limit as=2G -- ./nightly\n"
        "  telex run -- sh -c 'cd /tmp && ls *.log'        a shell, where one is wanted\n"
        "  while read -r f; do telex run -n -- rm \"$f\"; done <list\n"
        "  telex --json run -- sh -c 'exit 3'              events, one a line\n"
        "\n"
        "Usage: telex run [OPTIONS] [--] COMMAND [ARG…]\n"
        "\n"
        "The command is executed as it is given; no shell is involved. Options end at the "
        "command.\n"
        "Stdin is forwarded when it is not a terminal.\n"
        "\n"
        "  -i, --stdin              forward stdin, also from a terminal\n"
        "  -n, --no-stdin           never read stdin\n"
        "  -e, --env NAME=VALUE     set a variable; NAME alone takes the value from here\n"
        "  -C, --directory DIR      the working folder; else the user's home\n"
        "  -u, --user USER[:GROUP]  run as this user\n"
        "      --timeout TIME       end it after this time (90, 1.5s, 5m, 1h30m); status 124\n"
        "      --signal SIGNAL      how it is ended: TERM\n"
        "      --grace TIME         from that signal to SIGKILL: 10s\n"
        "      --on-disconnect WHAT when the connection is gone: keep, kill, hangup or "
        "hangup:TIME\n"
        "                           (SIGHUP after TIME, 60s)\n"
        "      --limit NAME=SOFT[:HARD]\n"
        "                           a resource limit by its name in prlimit(1): nofile, as, core, "
        "…;\n"
        "                           numbers may end in K, M, G, T; or unlimited\n"
        "      --id ID              the process's id; the same id and command again attaches to "
        "it\n"
        "  -t, -d                   a terminal, detached: with the next version\n"
        "\n"
        "Ctrl-C and SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2 go to the remote process group; a\n"
        "second Ctrl-C within a second leaves the process to --on-disconnect.\n"
        "\n"
        "Exit status: the program's own; 128+n when signal n ended it; 124 for --timeout; 126 "
        "found\n"
        "but not executable; 127 not found; 125 telex itself failed.\n",
    .run = run,
};
