/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A watch as lines on standard output. What is held of changes that are not written yet is what the
 * agent's window lets come: it goes back when the lines have left.
 */
#include <errno.h>
#include <event2/buffer.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "cli/output.h"
#include "cli/run_json.h"
#include "cli/say.h"
#include "cli/sink.h"
#include "cli/watch.h"
#include "cli/watch_words.h"
#include "common/mem.h"

struct lines {
	struct watch *watch;
	const struct watch_options *options;
	struct watch_words_how how;
	struct sink *out;
	struct evbuffer *text; /* of one message */
	size_t flags;          /* of JSON */
	size_t held;           /* changes whose lines are not written */
	uint64_t left;         /* of --count */
	bool json, stopping, lost;
};

/* ---- standard output ---- */

static void check_idle(struct lines *l)
{
	if (l->stopping && (l->lost || sink_pending(l->out) == 0))
		watch_idle(l->watch);
}

static void on_written(struct sink *sink, size_t n, void *arg)
{
	struct lines *l = arg;

	(void)n;
	if (sink_pending(sink) > 0)
		return;
	watch_consumed(l->watch, l->held);
	l->held = 0;
	check_idle(l);
}

static void on_lost(struct sink *sink, int sys_errno, void *arg)
{
	struct lines *l = arg;

	(void)sink;
	l->lost = true;
	if (sys_errno != EPIPE)
		say_error("cannot write standard output: %s", strerror(sys_errno));
	watch_end(l->watch, sys_errno == EPIPE ? 128 + SIGPIPE : CLI_TELEX);
}

static const struct sink_ops sink_ops = {.written = on_written, .lost = on_lost};

static void add(struct lines *l, const void *text, size_t len)
{
	if (evbuffer_add(l->text, text, len) < 0)
		abort();
}

static void add_json(struct lines *l, json_t *object)
{
	char *text = json_dumps(object, l->flags);

	if (!text)
		abort();
	add(l, text, strlen(text));
	add(l, "\n", 1);
	free(text);
	json_decref(object);
}

/* Writes what was added. */
static void flush(struct lines *l)
{
	const size_t len = evbuffer_get_length(l->text);

	if (len > 0)
		sink_write(l->out, evbuffer_pullup(l->text, -1), len);
	evbuffer_drain(l->text, len);
}

static void tell(struct lines *l, json_t *object)
{
	if (!l->json) {
		json_decref(object);
		return;
	}
	add_json(l, object);
	flush(l);
}

/* ---- what is told ---- */

static void add_change(struct lines *l, const struct telex_change *c)
{
	size_t len;
	char *line;

	if (l->json) {
		add_json(l, watch_words_change_json(c, l->how.roots));
		return;
	}
	line = watch_words_line(c, &l->how, &len);
	add(l, line, len);
	free(line);
}

static void on_changes(void *self, const struct telex_change *changes, size_t n, const char *clock)
{
	struct lines *l = self;
	const bool all = l->left == 0 || n < l->left;
	const size_t shown = all ? n : (size_t)l->left;

	for (size_t i = 0; i < shown; i++)
		add_change(l, &changes[i]);
	if (clock != NULL && shown == n) {
		watch_set_clock(l->watch, clock);
		if (l->json)
			add_json(l, watch_words_clock_json(clock));
	}
	l->held += n;
	if (l->left > 0)
		l->left -= shown;
	if (evbuffer_get_length(l->text) == 0) {
		watch_consumed(l->watch, l->held);
		l->held = 0;
	}
	flush(l);
	if (!all)
		watch_end(l->watch, CLI_OK);
}

static void on_armed(void *self, const struct telex_watch_armed *armed, bool again)
{
	(void)again;
	tell(self, watch_words_armed_json(armed));
}

static void on_rescan(void *self, const struct telex_rescan *rescan)
{
	tell(self, watch_words_rescan_json(rescan));
}

static void on_warning(
    void *self, const char *path, const struct telex_file_failure *failure, bool over)
{
	tell(self, watch_words_warning_json(path, failure, over));
}

static void on_interrupted(void *self, const struct telex_error *why)
{
	tell(self, watch_words_interrupted_json(why));
}

static void on_failed(void *self, const struct telex_error *error)
{
	tell(self, run_json_error(error));
}

/* ---- its life ---- */

void *watch_lines_new(struct watch *w)
{
	struct lines *l = xcalloc(1, sizeof(*l));
	const struct watch_options *o = watch_get_options(w);

	l->watch = w;
	l->options = o;
	l->json = watch_session(w)->json;
	l->flags = output_json_flags();
	l->left = o->count;
	l->how = (struct watch_words_how){.roots = o->o.paths,
	    .escape = isatty(STDOUT_FILENO) != 0 && !o->null,
	    .paths_only = o->paths_only,
	    .end = o->null ? '\0' : '\n'};
	l->text = evbuffer_new();
	if (!l->text)
		abort();
	l->out = sink_new(watch_session(w)->base, STDOUT_FILENO, &sink_ops, l);
	return l;
}

/* A signal does not wait for who does not read. */
static void on_stop(void *self, int signo)
{
	struct lines *l = self;

	l->stopping = true;
	l->lost = l->lost || signo != 0;
	check_idle(l);
}

static void on_free(void *self)
{
	struct lines *l = self;

	sink_free(l->out);
	evbuffer_free(l->text);
	free(l);
}

const struct watch_way watch_lines = {.armed = on_armed,
    .changes = on_changes,
    .rescan = on_rescan,
    .warning = on_warning,
    .interrupted = on_interrupted,
    .failed = on_failed,
    .stop = on_stop,
    .free = on_free};
