/* SPDX-License-Identifier: Apache-2.0 */
/*
 * watch --sync: a folder here is made like the one on the agent, and kept so. A pass is a transfer:
 * the first one of all that is there, the others of the paths that were told since. What a pass
 * finds there is what counts, whatever was told of it.
 *
 * Only what was told to be gone is removed here, unless --delete was asked for; and a root that is
 * gone as a whole takes nothing with it.
 */
#include <event2/event.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/output.h"
#include "cli/say.h"
#include "cli/watch_filters.h"
#include "cli/watch_queue.h"
#include "common/duration.h"
#include "common/mem.h"
#include "common/tree_receive.h"

#define PASS_MAX ((size_t)32 * 1024) /* bytes of patterns in a pass */
#define MANY     ((size_t)500)       /* of them: then all is looked at, with --delete */

/* From a pass that was not whole to the next one, if nothing changes: twice as long each time. */
#define RETRY_MS     1000
#define RETRY_MAX_MS 300000

struct mirror {
	struct watch *watch;
	struct watch_queue *queue;
	const struct watch_options *options;
	struct watch_names *patterns; /* for the next passes */
	struct telex_transfer *going; /* NULL: no pass goes on */
	struct watch_filters filters; /* of that */
	char **taken;
	size_t n_taken;
	char *clock;
	struct event *retry;
	int64_t retry_ms; /* until the last one; 0: the pass before was whole */
	size_t failed;    /* files of this pass */
	bool whole;       /* the next pass is of all that is there */
	bool whole_goes;  /* this one is */
	bool alike;       /* once */
	bool gone;        /* the root is, and it was said */
};

/* ---- what is told ---- */

static void is_whole(struct mirror *m)
{
	m->whole = true;
	if (!m->options->delete_extraneous)
		return;
	watch_names_free(m->patterns);
	m->patterns = watch_names_new();
}

static void say_gone(struct mirror *m)
{
	if (!m->gone)
		say_note("%s is gone; what is in %s stays as it is", m->options->o.paths[0],
		    m->options->local);
	m->gone = true;
}

static void is_back(struct mirror *m)
{
	m->gone = false;
	is_whole(m);
}

static size_t on_add(void *self, const struct telex_change *c)
{
	struct mirror *m = self;
	const bool deletes = m->options->delete_extraneous;

	if ((c->kinds & TELEX_CHANGE_ROOT_GONE) != 0 && !c->exists)
		say_gone(m);
	else if ((c->kinds & TELEX_CHANGE_ROOT_BACK) != 0)
		is_back(m);
	if (m->gone)
		return 0;
	/* A pass of all that is there needs to be told of nothing but what is not. */
	if (c->path[0] != '\0' && !(m->whole && (c->exists || deletes)))
		watch_filters_add(m->patterns, c);
	if (deletes && watch_names_count(m->patterns) > MANY)
		is_whole(m);
	return watch_names_bytes(m->patterns);
}

static bool on_armed(void *self, bool again, bool fresh)
{
	struct mirror *m = self;
	const bool first = !again && m->options->o.since == NULL;

	if (!first && !fresh)
		return false;
	if (fresh && !m->options->delete_extraneous)
		say_note("what was removed there meanwhile stays here (--delete would remove it)");
	is_whole(m);
	return true;
}

/* ---- a pass ---- */

static void clear_pass(struct mirror *m)
{
	watch_filters_clear(&m->filters);
	for (size_t i = 0; i < m->n_taken; i++)
		free(m->taken[i]);
	free(m->taken);
	m->taken = NULL;
	m->n_taken = 0;
	m->going = NULL;
}

static void ended(struct mirror *m, int status)
{
	clear_pass(m);
	watch_queue_ended(m->queue, status,
	    m->whole || watch_names_count(m->patterns) > 0 ? WATCH_RUN_PART : WATCH_RUN_WHOLE);
}

/* It did not come to its end, or a part of it did not: the next one is about all there is. */
static void undone(struct mirror *m, int status)
{
	clear_pass(m);
	is_whole(m);
	watch_queue_ended(m->queue, status, WATCH_RUN_UNDONE);
}

/* What stood in the way may go without anything changing there. */
static void retry_later(struct mirror *m)
{
	struct timeval tv;

	m->retry_ms = m->retry_ms == 0 ? RETRY_MS : 2 * m->retry_ms;
	if (m->retry_ms > RETRY_MAX_MS)
		m->retry_ms = RETRY_MAX_MS;
	tv = duration_timeval(m->retry_ms * NS_PER_MS);
	if (event_add(m->retry, &tv) < 0)
		abort();
}

static void on_retry(evutil_socket_t fd, short what, void *arg)
{
	struct mirror *m = arg;

	(void)fd;
	(void)what;
	watch_queue_again(m->queue);
}

static void on_note(const struct telex_transfer_note *note, void *arg)
{
	struct mirror *m = arg;

	switch (note->event) {
	case TELEX_TRANSFER_FAILED:
		/* It was there when it was told: that it is not any more will be told, too. */
		if (note->reason != NULL && strcmp(note->reason, "NO_SUCH_FILE") == 0)
			break;
		say_error("watch: %s", note->message);
		m->failed++;
		break;
	case TELEX_TRANSFER_DONE:
		say_detail("%s/%s", m->options->local, note->path);
		break;
	case TELEX_TRANSFER_REMOVED:
		say_detail("removed %s/%s", m->options->local, note->path);
		break;
	default:
		break;
	}
}

static void tell(const struct mirror *m, const struct telex_transfer_summary *s)
{
	char bytes[24];

	if (watch_session(m->watch)->json) {
		output_json(json_pack("{s:s, s:b, s:I, s:I, s:I, s:I, s:I, s:s}", "event", "synced",
		    "whole", m->whole_goes, "files", (json_int_t)s->files, "unchanged",
		    (json_int_t)s->unchanged, "removed", (json_int_t)s->removed, "failed",
		    (json_int_t)s->failed, "bytes", (json_int_t)s->bytes, "clock", m->clock));
		fflush(stdout);
		return;
	}
	if (m->whole_goes || s->files > 0 || s->removed > 0 || s->failed > 0)
		say_note("%s%s: %" PRIu64 " file%s written (%s), %" PRIu64 " removed%s",
		    m->options->local, m->whole_goes ? " is alike" : "", s->files,
		    s->files == 1 ? "" : "s", output_bytes(bytes, sizeof(bytes), s->bytes),
		    s->removed, s->failed > 0 ? ", some could not be moved" : "");
}

/* The pass has not been made. What the agent or this machine refuses at the first one, it will
 * refuse again. What is gone may be back before anybody has seen that it was. */
static void pass_failed(struct mirror *m, const struct telex_error *error)
{
	const bool gone =
	    error->kind == TELEX_ERROR_STATUS && strcmp(error->reason, "NO_SUCH_FILE") == 0;

	if (gone)
		say_gone(m);
	else
		session_say_of(watch_session(m->watch), "watch", "--sync", error);
	if (!gone && (!m->alike || error->kind == TELEX_ERROR_SYSTEM))
		watch_end(m->watch, CLI_TELEX);
	else
		retry_later(m);
	undone(m, CLI_FAILED); /* with the next change, at the latest */
}

static void on_done(
    const struct telex_transfer_summary *summary, const struct telex_error *error, void *arg)
{
	struct mirror *m = arg;

	if (error != NULL) {
		pass_failed(m, error);
		return;
	}
	m->alike = true;
	m->gone = false;
	tell(m, summary);
	if (m->failed > 0) {
		retry_later(m);
		undone(m, CLI_FAILED);
		return;
	}
	m->retry_ms = 0;
	ended(m, CLI_OK);
}

static void on_start(void *self, const char *clock, bool overflow)
{
	static const struct telex_transfer_ops ops = {.note = on_note, .done = on_done};
	struct mirror *m = self;
	const struct telex_watch_options *w = &m->options->o;
	const char *sources[] = {w->paths[0], NULL};
	struct telex_transfer_options o = {.user = w->user,
	    .sources = sources,
	    .target = m->options->local,
	    .contents = true,
	    .lazy = true,
	    .owner = true,
	    .extended_attributes = true,
	    .hard_links = true,
	    .delta = true};
	struct telex_error error;

	(void)overflow; /* what is told afterwards is the difference */
	event_del(m->retry);
	free(m->clock);
	m->clock = xstrdup(clock);
	m->failed = 0;
	m->whole_goes = m->whole;
	m->whole = false;
	if (!m->whole_goes)
		m->taken = watch_names_take(m->patterns, PASS_MAX, &m->n_taken);
	watch_filters_make(&m->filters, w, m->taken, m->n_taken);
	o.filters = m->filters.list;
	o.n_filters = m->filters.n;
	o.delete_extraneous = !m->whole_goes || m->options->delete_extraneous;
	if (telex_get_tree(watch_session(m->watch)->client, &m->going, &o, &ops, m, &error) < 0)
		pass_failed(m, &error);
}

static void on_signal(void *self, int signo, bool last)
{
	struct mirror *m = self;

	(void)last;
	telex_transfer_cancel(m->going);
	undone(m, 128 + signo);
}

static void on_free(void *self)
{
	struct mirror *m = self;

	clear_pass(m);
	event_free(m->retry);
	watch_names_free(m->patterns);
	free(m->clock);
	free(m);
}

static const struct watch_runner runner = {
    .add = on_add, .armed = on_armed, .start = on_start, .signal = on_signal, .free = on_free};

void *watch_mirror_new(struct watch *w)
{
	struct mirror *m = xcalloc(1, sizeof(*m));

	tree_more_files();
	m->watch = w;
	m->options = watch_get_options(w);
	m->patterns = watch_names_new();
	m->retry = evtimer_new(watch_session(w)->base, on_retry, m);
	if (!m->retry)
		abort();
	m->queue = watch_queue_new(w, &runner, m);
	return m->queue;
}
