/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/file_out.h"

#include <errno.h>
#include <event2/event.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/say.h"
#include "cli/session.h"
#include "cli/sink.h"
#include "common/signals.h"

struct writing {
	struct session *session;
	struct sink *sink;
	struct telex_file_reader *reader; /* NULL: over */
	const char *path;
	int lost; /* errno */
};

static void on_output(
    struct telex_file_reader *reader, uint64_t offset, const void *data, size_t len, void *arg)
{
	struct writing *w = arg;

	(void)reader;
	(void)offset;
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

static void on_written(struct sink *sink, size_t n, void *arg)
{
	struct writing *w = arg;

	(void)sink;
	if (w->reader)
		telex_file_reader_consumed(w->reader, n);
	else
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

int file_out(struct session *s, const char *user, const char *path)
{
	const struct telex_file_read read = {.user = user, .path = path};
	struct writing w = {.session = s, .path = path};
	int r = 0;

	fflush(stdout);
	w.sink = sink_new(s->base, STDOUT_FILENO, &ops, &w);
	if (telex_file_read(
	        s->client, &w.reader, &read, on_output, on_end, on_done, &w, &s->error) < 0) {
		sink_free(w.sink);
		return -1;
	}
	turn(&w);
	sink_free(w.sink);
	if (w.lost)
		r = tell_lost(w.lost);
	else if (!s->done || s->failed)
		r = -1;
	s->done = false;
	return r;
}
