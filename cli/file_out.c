/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/file_out.h"

#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/pace.h"
#include "cli/say.h"
#include "cli/session.h"
#include "cli/sink.h"
#include "cli/transfer_summary.h"
#include "common/duration.h"
#include "common/signals.h"

struct writing {
	struct session *session;
	struct sink *sink;
	struct telex_file_reader *reader; /* NULL: over */
	const char *path;
	struct progress *progress;
	struct pace *pace;
	size_t owed;    /* written, and not paid for */
	uint64_t bytes; /* that came */
	int lost;       /* errno */
};

static void on_output(
    struct telex_file_reader *reader, uint64_t offset, const void *data, size_t len, void *arg)
{
	const struct telex_transfer_note note = {.event = TELEX_TRANSFER_BYTES, .bytes = len};
	struct writing *w = arg;

	(void)reader;
	(void)offset;
	w->bytes += len;
	pace_went(w->pace, len);
	progress_note(w->progress, &note);
	sink_write(w->sink, data, len);
}

static void on_end(const struct telex_file *file, bool changed, void *arg)
{
	const struct writing *w = arg;

	(void)file;
	if (changed)
		say_note("%s was changed while it was read", w->path);
}

static void on_done(const struct telex_error *error, void *arg)
{
	struct writing *w = arg;

	w->reader = NULL;
	session_done(error, w->session);
}

/* The agent sends on when what came is written, and paid for. */
static void on_paid(void *arg)
{
	struct writing *w = arg;

	if (!w->reader || w->owed == 0 || !pace_may(w->pace))
		return;
	telex_file_reader_consumed(w->reader, w->owed);
	w->owed = 0;
}

static void on_written(struct sink *sink, size_t n, void *arg)
{
	struct writing *w = arg;

	(void)sink;
	w->owed += n;
	on_paid(w);
	if (!w->reader)
		event_base_loopbreak(w->session->base);
}

static void on_lost(struct sink *sink, int sys_errno, void *arg)
{
	struct writing *w = arg;

	(void)sink;
	w->lost = sys_errno;
	event_base_loopbreak(w->session->base);
}

static const struct sink_ops ops = {.written = on_written, .lost = on_lost};

static int tell_lost(int sys_errno)
{
	if (sys_errno == EPIPE) {
		signals_default(SIGPIPE);
		raise(SIGPIPE);
	}
	say_error("cannot write to standard output: %s", strerror(sys_errno));
	return 1;
}

/* Until the call is over and all is written, or nothing can be. */
static void turn(struct writing *w)
{
	struct session *s = w->session;

	while (!w->lost && (!s->done || sink_pending(w->sink) > 0))
		if (event_base_loop(s->base, EVLOOP_ONCE) != 0)
			break;
	if (w->reader)
		telex_file_reader_cancel(w->reader);
	w->reader = NULL;
}

/* ---- progress ---- */

static void on_file(const struct telex_file *file, void *arg)
{
	struct session *s = arg;

	*(uint64_t *)s->data = file->size;
}

/* How much there will be, where somebody looks; 0: it is not known. */
static uint64_t size_of(struct session *s, const char *user, const char *path)
{
	static const struct telex_stat_options follow = {.follow = true};
	uint64_t size = 0;

	s->data = &size;
	(void)session_wait(s, telex_file_stat(s->client, user, path, &follow, 0, on_file,
	                          session_done, s, &s->error));
	s->data = NULL;
	return size;
}

static struct progress *begin_progress(
    struct session *s, const char *user, const char *path, enum progress_kind kind)
{
	struct telex_transfer_note begun = {.event = TELEX_TRANSFER_FILE, .path = path};
	struct progress *p;

	/* Neither is to be drawn into the other. */
	if (kind == PROGRESS_AUTO && isatty(STDOUT_FILENO))
		kind = PROGRESS_NONE;
	if (progress_shows(kind))
		begun.size = size_of(s, user, path);
	p = progress_new(s->base, kind, 1, begun.size);
	progress_note(p, &begun);
	return p;
}

/* ---- all of it ---- */

static void say_summary(const struct writing *w, int64_t begun_ns)
{
	const struct telex_transfer_summary m = {.files = 1, .bytes = w->bytes, .sent = w->bytes};

	/* Standard output is the file's. */
	transfer_summary(&m, begun_ns, false, false);
}

int file_out(
    struct session *s, const char *user, const char *path, const struct file_out_options *options)
{
	const int64_t begun_ns = clock_monotonic_ns();
	const struct telex_file_read read = {.user = user, .path = path};
	struct writing w = {.session = s, .path = path};
	int r = 0;

	fflush(stdout);
	w.progress = begin_progress(s, user, path, options->progress);
	w.pace = pace_new(s->base, options->rate, on_paid, &w);
	w.sink = sink_new(s->base, STDOUT_FILENO, &ops, &w);
	if (telex_file_read(
	        s->client, &w.reader, &read, on_output, on_end, on_done, &w, &s->error) < 0)
		r = -1;
	else
		turn(&w);
	sink_free(w.sink);
	pace_free(w.pace);
	progress_free(w.progress);
	if (w.lost)
		r = tell_lost(w.lost);
	else if (!s->done || s->failed)
		r = -1;
	s->done = false;
	if (r == 0 && options->summary)
		say_summary(&w, begun_ns);
	return r;
}
