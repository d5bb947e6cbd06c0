/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process is followed until its end.
 *
 * The status is the process's own as soon as its end is known; whatever else ends this program has
 * its own (125, or 128 + n when it left because of signal n). Output that came is written before
 * the program ends.
 *
 * Standard output that takes no more (`telex run -- yes | head`): SIGPIPE is sent to the remote
 * group, as a local pipe would; a program that has not ended two seconds later is left to its
 * disconnect policy, and the status is 128 + SIGPIPE. One that is only watched is left at once.
 */
#include "cli/follow.h"

#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

#include "cli/end.h"
#include "cli/follow_words.h"
#include "cli/forward.h"
#include "cli/loss.h"
#include "cli/redraw.h"
#include "cli/run_json.h"
#include "cli/say.h"
#include "cli/term.h"

static const struct timeval lost_grace = {.tv_sec = 2};

struct follow {
	struct session *session;
	const struct follow_how *how;
	struct telex_run *handle; /* NULL: over, or left */
	char id[128];
	struct run_streams *streams;
	struct forward *forward;
	struct term *term;
	struct loss *loss;
	struct redraw *redraw;
	struct event *lost_timer;
	struct telex_started what; /* its strings apart */
	bool started, over;
	bool interrupted; /* at least once */
	bool missing;     /* some of the output */
	int signalled;    /* the last signal that we sent; 0: none */
	int lost_errno;   /* standard output's */
	int status;
};

static void finish(struct follow *f, int status)
{
	f->handle = NULL;
	f->over = true;
	f->status = status;
	/* From here on Ctrl-C ends this program, should standard output be stuck. */
	forward_free(f->forward);
	f->forward = NULL;
	term_free(f->term);
	f->term = NULL;
	loss_free(f->loss);
	f->loss = NULL;
	redraw_free(f->redraw);
	f->redraw = NULL;
	event_del(f->lost_timer);
	run_streams_end(f->streams);
}

static void on_flushed(void *arg)
{
	struct follow *f = arg;

	event_base_loopbreak(f->session->base);
}

static void tell(struct follow *f, json_t *event)
{
	if (f->session->json)
		run_streams_json(f->streams, event);
	else
		json_decref(event);
}

static void send_signal(struct follow *f, int signo)
{
	f->signalled = signo;
	telex_run_signal(f->handle, signo, TELEX_TARGET_GROUP);
}

/* ---- leaving before the end ---- */

static void leave(struct follow *f, int status)
{
	if (f->over)
		return;
	if (f->started && !f->how->only_output) {
		follow_words_left(f->session->address, f->id, &f->what);
		tell(f, run_json_left(f->id));
	}
	telex_run_detach(f->handle);
	finish(f, status);
}

static void on_leave(struct forward *forward, int signo, void *arg)
{
	(void)forward;
	leave(arg, 128 + signo);
}

static void on_signal(struct forward *forward, int signo, void *arg)
{
	struct follow *f = arg;

	(void)forward;
	if (!f->started && !telex_client_agent(f->session->client)) {
		leave(f, 128 + signo); /* not even connected: there is nothing to end */
		return;
	}
	follow_words_signal(f->id, signo, loss_now(f->loss));
	send_signal(f, signo);
}

static const struct forward_ops forward_ops = {.signal = on_signal, .leave = on_leave};

static void on_lost_timer(evutil_socket_t fd, short what, void *arg)
{
	struct follow *f = arg;

	(void)fd;
	(void)what;
	leave(f, f->lost_errno == EPIPE ? 128 + SIGPIPE : CLI_TELEX);
}

static void on_stdout_lost(int sys_errno, void *arg)
{
	static const struct timeval at_once = {0};
	struct follow *f = arg;

	f->lost_errno = sys_errno;
	if (sys_errno != EPIPE)
		say_error("cannot write standard output: %s", strerror(sys_errno));
	if (!f->handle)
		return;
	if (!f->how->only_watch)
		send_signal(f, SIGPIPE);
	event_add(f->lost_timer, f->how->only_watch ? &at_once : &lost_grace);
}

static void on_escape(enum keys_event event, void *arg)
{
	struct follow *f = arg;

	if (event == KEYS_DISCONNECT)
		leave(f, CLI_TELEX);
	else if (event == KEYS_SUSPEND && f->term)
		term_suspend(f->term);
	else if (event == KEYS_HELP)
		follow_words_escapes();
}

static void on_keys(void *arg)
{
	struct follow *f = arg;

	if (f->term)
		term_awake(f->term);
}

static const struct run_streams_ops streams_ops = {
    .stdout_lost = on_stdout_lost, .escape = on_escape, .keys = on_keys, .flushed = on_flushed};

static void on_resized(void *arg)
{
	struct follow *f = arg;
	uint16_t rows, columns;

	if (f->handle && term_size(&rows, &columns))
		telex_run_resize(f->handle, rows, columns);
}

static const struct term_ops term_ops = {.resized = on_resized};

/* ---- what the agent tells ---- */

static void on_started(struct telex_run *run, const struct telex_started *started, void *arg)
{
	struct follow *f = arg;
	const struct telex_command *command = f->how->command;

	f->started = true;
	f->what = *started;
	tell(f, run_json_started(started));
	if (started->queued && command && command->group) {
		/* For the words alone: no answer, no words. */
		telex_group_get(
		    f->session->client, command->group, 0, follow_words_queued, NULL, NULL, NULL);
		return;
	}
	if (started->created)
		say_detail("process %s, pid %u", started->process_id, started->pid);
	else if (command)
		follow_words_joined(started);
	if (!command && f->how->terminal)
		redraw(f->redraw, run); /* and the size is the one here */
}

static void on_running(struct telex_run *run, uint32_t pid, void *arg)
{
	struct follow *f = arg;

	(void)run;
	say_detail("process %s runs now, pid %u", f->id, pid);
	tell(f, run_json_running(f->id, pid));
}

static void on_output(struct telex_run *run, enum telex_stream stream, const void *data, size_t len,
    bool eof, void *arg)
{
	struct follow *f = arg;

	if (f->how->quiet_streams[stream])
		telex_run_consumed(run, stream, len);
	else
		run_streams_output(f->streams, stream, data, len, eof);
}

static void on_stdin_room(struct telex_run *run, void *arg)
{
	struct follow *f = arg;

	(void)run;
	run_streams_stdin_room(f->streams);
}

static void on_stdin_closed(struct telex_run *run, void *arg)
{
	struct follow *f = arg;

	(void)run;
	/* Keys are read to the end: there are escapes among them. */
	if (f->how->in != RUN_STREAMS_KEYS)
		run_streams_stdin_closed(f->streams);
}

static void on_interrupted(struct telex_run *run, const struct telex_error *why, void *arg)
{
	struct follow *f = arg;

	(void)run;
	f->interrupted = true;
	loss_begins(f->loss, why);
	tell(f, run_json_interrupted(why));
}

static void on_resumed(struct telex_run *run, void *arg)
{
	struct follow *f = arg;

	if (loss_ends(f->loss) && f->term && f->how->in == RUN_STREAMS_KEYS)
		redraw(f->redraw, run);
	tell(f, run_json_resumed(f->id));
}

static void on_signal_unsure(struct telex_run *run, int signo, void *arg)
{
	(void)run;
	(void)arg;
	follow_words_unsure(signo);
}

static void on_skipped(
    struct telex_run *run, enum telex_stream stream, uint64_t from, uint64_t to, void *arg)
{
	struct follow *f = arg;

	(void)run;
	if (f->how->quiet_streams[stream])
		return;
	f->missing = true;
	follow_words_skipped(stream, from, to);
	tell(f, run_json_skipped(stream, from, to));
	run_streams_skipped(f->streams, stream, to);
}

static void on_error(struct follow *f, const struct telex_error *error)
{
	session_say(f->session, error);
	if (f->interrupted && strcmp(error->reason, "NO_SUCH_PROCESS") == 0)
		follow_words_unknown(f->session->address, f->id);
	else if (strcmp(error->reason, "STDIN_HELD") == 0)
		say_note("`telex attach --read-only %s` watches without it", f->id);
	else if (f->started && !f->how->only_output && error->kind != TELEX_ERROR_STATUS)
		follow_words_lost(f->session->address, f->id);
	tell(f, run_json_error(error));
	finish(f, end_error_status(error));
}

static void on_done(struct telex_run *run, const struct telex_exit *exit,
    const struct telex_error *error, void *arg)
{
	struct follow *f = arg;
	const struct telex_command *command = f->how->command;

	(void)run;
	f->handle = NULL;
	if (!exit) {
		on_error(f, error);
		return;
	}
	/* A terminal is given back before anything is said about the end. */
	term_free(f->term);
	f->term = NULL;
	if (!f->how->only_output)
		follow_words_end(exit, command ? command->run_timeout_ms : 0, f->signalled != 0);
	tell(f, run_json_exit(f->id, exit));
	if (!f->how->only_output)
		finish(f, end_status_after(exit, f->signalled));
	else
		finish(f, f->missing ? CLI_FAILED : CLI_OK);
}

static const struct telex_run_ops run_ops = {
    .started = on_started,
    .output = on_output,
    .stdin_room = on_stdin_room,
    .stdin_closed = on_stdin_closed,
    .running = on_running,
    .interrupted = on_interrupted,
    .resumed = on_resumed,
    .signal_unsure = on_signal_unsure,
    .skipped = on_skipped,
    .done = on_done,
};

/* ---- the whole ---- */

static void listen_to_signals(struct follow *f)
{
	const struct follow_how *how = f->how;
	const bool keys = how->in == RUN_STREAMS_KEYS;
	uint64_t forwarded = how->only_watch ? 0 : how->forward, leaving;

	/* Keys are signals there; one that comes to us nevertheless is for us. */
	leaving = FORWARD_LEAVING & (keys ? ~UINT64_C(0) : ~forwarded);
	f->forward = forward_new(f->session->base, forwarded, leaving, &forward_ops, f);
	if (how->terminal)
		f->term = term_new(f->session->base, keys, &term_ops, f);
}

static int begin(struct follow *f, const struct telex_command *command,
    const struct telex_attach *attach, struct telex_error *error)
{
	struct telex_client *client = f->session->client;
	int r = command ? telex_run(client, &f->handle, command, &run_ops, f, error)
	                : telex_attach(client, &f->handle, attach, &run_ops, f, error);

	if (r < 0)
		return r;
	strncpy(f->id, telex_run_id(f->handle), sizeof(f->id) - 1);
	run_streams_begin(f->streams, f->how->begin[TELEX_STDOUT], f->how->begin[TELEX_STDERR]);
	for (enum telex_stream s = TELEX_STDOUT; s <= TELEX_STDERR; s++)
		if (f->how->begin[s] > f->how->wanted[s])
			on_skipped(f->handle, s, f->how->wanted[s], f->how->begin[s], f);
	run_streams_replay(f->streams, f->how->replay);
	run_streams_attach(f->streams, f->handle, f->how->in);
	listen_to_signals(f);
	return 0;
}

static int status_of(const struct follow *f)
{
	/* A program that ended by itself has the last word, unless its output could not be kept. */
	if (f->lost_errno && f->lost_errno != EPIPE)
		return CLI_TELEX;
	/* It was content with half of what it should have been given. */
	if (f->status == CLI_OK && run_streams_stdin_failed(f->streams))
		return CLI_TELEX;
	return f->status;
}

int follow(struct session *session, const struct follow_how *how,
    const struct telex_command *command, const struct telex_attach *attach)
{
	struct follow f = {.session = session, .how = how};
	struct telex_error error;
	int status;

	f.streams = run_streams_new(session->base, session->json, &streams_ops, &f);
	f.loss = loss_new(session, "the process goes on");
	f.redraw = redraw_new(session->base);
	f.lost_timer = evtimer_new(session->base, on_lost_timer, &f);
	if (!f.lost_timer)
		abort();
	if (begin(&f, command, attach, &error) < 0) {
		status = session_fail_event(session, &error);
	} else {
		event_base_dispatch(session->base);
		status = status_of(&f);
	}
	forward_free(f.forward);
	term_free(f.term);
	loss_free(f.loss);
	redraw_free(f.redraw);
	event_free(f.lost_timer);
	run_streams_free(f.streams);
	return status;
}
