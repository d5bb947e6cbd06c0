/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A watch ends once, by whatever comes first: a signal, --timeout, the way's own end (--count), or
 * a failure. Then the agent is not listened to any more, and the way has as long as it takes to
 * come to rest; a signal in this time makes it leave what still goes on.
 */
#include "cli/watch.h"

#include <event2/event.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "cli/loss.h"
#include "cli/run_json.h"
#include "cli/say.h"
#include "cli/watch_words.h"
#include "common/duration.h"
#include "common/mem.h"
#include "common/signals.h"

static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
#define SIGNALS (sizeof(signals) / sizeof(signals[0]))

struct watch {
	struct session session;
	const struct watch_options *options;
	const struct watch_way *way;
	void *self;
	struct telex_watch *handle; /* NULL: over */
	struct loss *loss;
	struct event *timer; /* --timeout */
	struct signal_watch *watched[SIGNALS];
	char *clock; /* where another watch would go on; NULL: not known */
	bool armed;  /* once */
	bool ending, idle;
	int status;
};

static void stop(struct watch *w, int status, int signo)
{
	if (w->ending)
		return;
	w->ending = true;
	w->status = status;
	telex_watch_cancel(w->handle);
	w->handle = NULL;
	loss_free(w->loss);
	w->loss = NULL;
	w->way->stop(w->self, signo);
}

/* ---- what ends it ---- */

static void on_signal(int signo, void *arg)
{
	struct watch *w = arg;

	if (w->ending)
		w->way->stop(w->self, signo);
	else
		stop(w, 128 + signo, signo);
}

static void on_timeout(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	stop(arg, CLI_TIMEOUT, SIGTERM);
}

static void say_failure(struct watch *w, const struct telex_error *error)
{
	const char *way_out = watch_words_way_out(error->reason);

	if (error->kind == TELEX_ERROR_STATUS && way_out != NULL)
		say_error("watch: %s%s", error->message, way_out);
	else
		session_say_of(&w->session, "watch", w->options->o.paths[0], error);
}

static void on_done(struct telex_watch *watch, const struct telex_error *error, void *arg)
{
	struct watch *w = arg;

	(void)watch;
	w->handle = NULL;
	say_failure(w, error);
	if (w->way->failed != NULL)
		w->way->failed(w->self, error);
	stop(w, CLI_TELEX, 0);
}

/* ---- what is told ---- */

static void say_armed(struct watch *w, const struct telex_watch_armed *armed)
{
	const struct watch_options *o = w->options;
	const bool again = w->armed, said = again && loss_ends(w->loss);
	char *what;

	if (w->session.json || (again && !said && !armed->fresh_instance))
		return;
	what = o->options.n_operands == 1 ? xstrdup(o->o.paths[0])
	                                  : xasprintf("%zu paths", o->options.n_operands);
	watch_words_armed(
	    armed, what, again, armed->fresh_instance && (again || o->o.since != NULL));
	free(what);
}

static void on_armed(struct telex_watch *watch, const struct telex_watch_armed *armed, void *arg)
{
	struct watch *w = arg;
	const bool again = w->armed;

	(void)watch;
	say_armed(w, armed);
	w->armed = true;
	if (!again && !armed->fresh_instance)
		watch_set_clock(w, armed->clock);
	if (w->way->armed != NULL)
		w->way->armed(w->self, armed, again);
}

static void on_changes(struct telex_watch *watch, const struct telex_change *changes, size_t n,
    const char *clock, void *arg)
{
	struct watch *w = arg;

	(void)watch;
	w->way->changes(w->self, changes, n, clock);
}

static void on_rescan(struct telex_watch *watch, const struct telex_rescan *rescan, void *arg)
{
	struct watch *w = arg;

	(void)watch;
	watch_words_rescan(rescan);
	if (w->way->rescan != NULL)
		w->way->rescan(w->self, rescan);
}

static void warn(struct watch *w, size_t root, const char *path,
    const struct telex_file_failure *failure, bool over)
{
	const struct telex_change at = {.root = root, .path = path};
	char *name = watch_words_path(&at, w->options->o.paths);

	watch_words_warning(name, failure, over);
	if (w->way->warning != NULL)
		w->way->warning(w->self, name, failure, over);
	free(name);
}

static void on_warning(struct telex_watch *watch, size_t root, const char *path,
    const struct telex_file_failure *failure, void *arg)
{
	(void)watch;
	warn(arg, root, path, failure, false);
}

static void on_warning_over(struct telex_watch *watch, size_t root, const char *path,
    const struct telex_file_failure *failure, void *arg)
{
	(void)watch;
	warn(arg, root, path, failure, true);
}

static void on_interrupted(struct telex_watch *watch, const struct telex_error *why, void *arg)
{
	struct watch *w = arg;

	(void)watch;
	loss_begins(w->loss, why);
	if (w->way->interrupted != NULL)
		w->way->interrupted(w->self, why);
}

static const struct telex_watch_ops ops = {.armed = on_armed,
    .changes = on_changes,
    .rescan = on_rescan,
    .warning = on_warning,
    .warning_over = on_warning_over,
    .interrupted = on_interrupted,
    .done = on_done};

/* ---- for ways ---- */

struct session *watch_session(struct watch *w)
{
	return &w->session;
}

const struct watch_options *watch_get_options(const struct watch *w)
{
	return w->options;
}

void watch_consumed(struct watch *w, size_t n)
{
	if (w->handle != NULL)
		telex_watch_consumed(w->handle, n);
}

void watch_set_clock(struct watch *w, const char *clock)
{
	free(w->clock);
	w->clock = xstrdup(clock);
}

void watch_end(struct watch *w, int status)
{
	stop(w, status, 0);
}

void watch_idle(struct watch *w)
{
	w->idle = true;
	event_base_loopbreak(w->session.base);
}

/* ---- from begin to end ---- */

static void begin_events(struct watch *w)
{
	const struct timeval tv = duration_timeval(w->options->timeout_ms * NS_PER_MS);
	struct err e;

	w->loss = loss_new(&w->session, "what happens meanwhile is told then");
	w->timer = evtimer_new(w->session.base, on_timeout, w);
	if (!w->timer || (w->options->timeout_ms > 0 && evtimer_add(w->timer, &tv) < 0))
		abort();
	for (size_t i = 0; i < SIGNALS; i++)
		if (!signals_were_ignored(signals[i]) &&
		    signals_watch(&w->watched[i], w->session.base, signals[i], on_signal, w, &e) <
		        0)
			abort();
}

static void end_events(struct watch *w)
{
	for (size_t i = 0; i < SIGNALS; i++)
		signals_unwatch(w->watched[i]);
	if (w->timer)
		event_free(w->timer);
	loss_free(w->loss);
}

static int run(struct watch *w)
{
	struct telex_error error;

	begin_events(w);
	if (telex_watch(w->session.client, &w->handle, &w->options->o, &ops, w, &error) < 0)
		on_done(NULL, &error, w);
	while (!w->idle && event_base_dispatch(w->session.base) == 0)
		;
	if (w->armed && w->clock && !w->session.json)
		say_note("to go on from here: --since %s", w->clock);
	return w->status;
}

int watch_run(struct cli *cli, const struct watch_options *options, const struct watch_way *way,
    void *(*make)(struct watch *w))
{
	struct watch w = {.options = options, .way = way, .status = CLI_TELEX};
	struct telex_error error;
	int status;

	if (session_try(&w.session, cli, &error) < 0) {
		status = session_fail_event(&w.session, &error);
		session_close(&w.session);
		return status;
	}
	w.self = make(&w);
	status = w.self != NULL ? run(&w) : CLI_TELEX;
	end_events(&w);
	if (w.self != NULL)
		way->free(w.self);
	session_close(&w.session);
	free(w.clock);
	return status;
}
