/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is read is offered to the writer, and read on only when all of it was taken: a slow disk at
 * the other end keeps who writes into our standard input waiting.
 */
#include "cli/file_in.h"

#include <event2/event.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "cli/end.h"
#include "cli/output.h"
#include "cli/pace.h"
#include "cli/say.h"
#include "cli/session.h"
#include "cli/source.h"
#include "cli/transfer_summary.h"
#include "common/duration.h"
#include "common/signame.h"

struct feeding {
	struct session *session;
	const struct file_in *in;
	struct source *source;
	struct telex_file_writer *writer; /* NULL: over */
	struct progress *progress;
	struct pace *pace;
	int64_t begun_ns;
	uint64_t size; /* of the file, when it is written */
	bool at_end;   /* of standard input */
	bool written;
	int lost;  /* errno of standard input */
	int signo; /* that ended it */
};

/* ---- from standard input ---- */

static size_t on_take(struct source *source, const void *data, size_t len, void *arg)
{
	struct feeding *f = arg;
	struct telex_transfer_note note = {.event = TELEX_TRANSFER_BYTES};

	(void)source;
	if (!f->writer)
		return len;
	if (!pace_may(f->pace))
		return 0;
	note.bytes = telex_file_writer_write(f->writer, data, len);
	pace_went(f->pace, note.bytes);
	progress_note(f->progress, &note);
	return note.bytes;
}

static void on_ended(struct source *source, int sys_errno, void *arg)
{
	struct feeding *f = arg;

	(void)source;
	if (sys_errno != 0) {
		f->lost = sys_errno;
		event_base_loopbreak(f->session->base);
		return;
	}
	f->at_end = true;
	if (f->writer)
		telex_file_writer_end(f->writer);
}

static const struct source_ops source_ops = {.take = on_take, .ended = on_ended};

static void on_paid(void *arg)
{
	const struct feeding *f = arg;

	source_room(f->source);
}

/* ---- to the agent ---- */

static void on_room(struct telex_file_writer *writer, void *arg)
{
	(void)writer;
	on_paid(arg);
}

static void on_interrupted(
    struct telex_file_writer *writer, const struct telex_error *why, void *arg)
{
	(void)writer;
	(void)arg;
	say_note("%s; trying to come back", why->message);
}

static void on_resumed(struct telex_file_writer *writer, void *arg)
{
	(void)writer;
	(void)arg;
	say_note("it is back; going on where it stopped");
}

static void on_done(struct telex_file_writer *writer, const struct telex_file_written *written,
    const struct telex_error *error, void *arg)
{
	struct feeding *f = arg;

	(void)writer;
	f->writer = NULL;
	f->written = written != NULL;
	if (written)
		f->size = written->size;
	session_done(error, f->session);
}

static const struct telex_file_write_ops writer_ops = {
    .room = on_room, .interrupted = on_interrupted, .resumed = on_resumed, .done = on_done};

/* ---- its end ---- */

static const char *what_is_there(const struct feeding *f)
{
	if (f->at_end)
		return "whether it is written is not known";
	return f->in->write.append ? "what was appended is taken back" : "it is as it was";
}

static int end_interrupted(const struct feeding *f)
{
	char name[24];

	say_note("%s: %s: %s; what was read of standard input is gone, so type the whole command "
	         "again",
	    signame_format(name, sizeof(name), f->signo), f->in->write.path, what_is_there(f));
	return 128 + f->signo;
}

static int end_unread(const struct feeding *f)
{
	say_error("%s: cannot read standard input: %s; %s: %s", f->in->verb, strerror(f->lost),
	    f->in->write.path, what_is_there(f));
	return CLI_TELEX;
}

/* What the agent refuses is no failure of telex's. */
static int end_failed(const struct feeding *f)
{
	const struct telex_error *e = &f->session->error;
	const char *more = "";

	if (strcmp(e->reason, "IS_A_FOLDER") == 0)
		more = "; say what the file in it is to be called";
	else if (strcmp(e->reason, "NO_SUCH_FILE") == 0)
		more = f->in->if_missing;
	if (e->kind == TELEX_ERROR_STATUS) {
		say_error("%s: %s%s", f->in->verb, e->message, more);
		if (f->session->json)
			output_json(json_pack("{s:o}", "error", end_error_json(e)));
		return CLI_FAILED;
	}
	session_fail(f->session, e);
	if (f->in->write.append)
		say_note("what had come by then was appended to %s", f->in->write.path);
	else if (!f->at_end)
		say_note("%s is as it was; what was read of standard input is gone, so type the "
		         "whole command again",
		    f->in->write.path);
	return CLI_TELEX;
}

static int end_written(const struct feeding *f)
{
	const struct telex_transfer_summary m = {.files = 1, .bytes = f->size, .sent = f->size};

	if (f->in->summary)
		transfer_summary(&m, f->begun_ns, false, f->session->json);
	return CLI_OK;
}

/* ---- all of it ---- */

static void on_signal(evutil_socket_t signo, short what, void *arg)
{
	struct feeding *f = arg;

	(void)what;
	f->signo = (int)signo;
	event_base_loopbreak(f->session->base);
}

static void turn(struct feeding *f)
{
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
	struct session *s = f->session;
	struct event *events[3];

	for (size_t i = 0; i < 3; i++) {
		events[i] = evsignal_new(s->base, signals[i], on_signal, f);
		if (events[i])
			event_add(events[i], NULL);
	}
	while (!s->done && f->signo == 0 && f->lost == 0)
		if (event_base_loop(s->base, EVLOOP_ONCE) != 0)
			break;
	for (size_t i = 0; i < 3; i++)
		if (events[i])
			event_free(events[i]);
	telex_file_writer_cancel(f->writer);
	f->writer = NULL;
	s->done = false;
}

int file_in(struct session *s, const struct file_in *in)
{
	struct feeding f = {.session = s, .in = in, .begun_ns = clock_monotonic_ns()};
	const struct telex_transfer_note begun = {
	    .event = TELEX_TRANSFER_FILE, .path = in->write.path};

	if (telex_file_write(s->client, &f.writer, &in->write, &writer_ops, &f, &s->error) < 0)
		return end_failed(&f);
	f.progress = progress_new(s->base, in->progress, 1, 0);
	progress_note(f.progress, &begun);
	f.pace = pace_new(s->base, in->rate, on_paid, &f);
	f.source = source_new(s->base, STDIN_FILENO, &source_ops, &f);
	turn(&f);
	source_free(f.source);
	pace_free(f.pace);
	progress_free(f.progress);
	if (f.written)
		return end_written(&f);
	if (f.signo != 0)
		return end_interrupted(&f);
	return f.lost != 0 ? end_unread(&f) : end_failed(&f);
}
