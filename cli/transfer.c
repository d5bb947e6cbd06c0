/* SPDX-License-Identifier: Apache-2.0 */
/* A transfer from its begin to its summary: progress, failures as they come, interruption. */
#include "cli/transfer.h"

#include <event2/event.h>
#include <fcntl.h>
#include <jansson.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/end.h"
#include "cli/output.h"
#include "cli/say.h"
#include "cli/session.h"
#include "cli/transfer_stream.h"
#include "cli/transfer_summary.h"
#include "common/duration.h"
#include "common/mem.h"
#include "common/signame.h"
#include "common/tree_receive.h"

struct transfer {
	struct session s;
	const char *verb;
	bool put;
	const struct transfer_options *options;
	struct telex_transfer *going;
	struct progress *progress;
	struct telex_transfer_summary summary;
	struct telex_error error;
	bool failed, ended;
	int signo; /* that ended it */
	int64_t begun_ns;
};

/* ---- as it goes ---- */

static const char *shown(const struct telex_transfer_note *note)
{
	return note->path != NULL && note->path[0] != '\0' ? note->path : ".";
}

static void on_note(const struct telex_transfer_note *note, void *arg)
{
	struct transfer *t = arg;
	const bool loud = t->options->o.dry_run;
	struct telex_transfer_note named = *note;

	/* The tree itself, or the one file. */
	if (named.path != NULL && named.path[0] == '\0')
		named.path = t->options->o.sources[0];
	progress_note(t->progress, &named);
	switch (note->event) {
	case TELEX_TRANSFER_FAILED:
		say_error("%s: %s", t->verb, note->message);
		break;
	case TELEX_TRANSFER_DONE:
		if (loud && !t->s.json)
			say_note("would write %s", shown(note));
		else
			say_detail("%s", shown(note));
		break;
	case TELEX_TRANSFER_REMOVED:
		if (loud && !t->s.json)
			say_note("would remove %s", shown(note));
		else
			say_detail("removed %s", shown(note));
		break;
	case TELEX_TRANSFER_LOST:
		say_note("%s; trying to come back", note->message);
		break;
	case TELEX_TRANSFER_BACK:
		say_note("it is back; going on where it stopped");
		break;
	default:
		break;
	}
}

static void on_done(
    const struct telex_transfer_summary *summary, const struct telex_error *error, void *arg)
{
	struct transfer *t = arg;

	t->summary = *summary;
	t->ended = true;
	if (error != NULL) {
		t->failed = true;
		t->error = *error;
	}
	event_base_loopbreak(t->s.base);
}

static void on_signal(evutil_socket_t signo, short what, void *arg)
{
	struct transfer *t = arg;

	(void)what;
	t->signo = (int)signo;
	event_base_loopbreak(t->s.base);
}

/* ---- its end ---- */

/* Of put: what is not there can only be the target's, as sources are ours. */
static const char *way_out(const struct transfer *t)
{
	const bool missing = t->put && strcmp(t->error.reason, "NO_SUCH_FILE") == 0;

	return missing && !t->options->o.parents ? TRANSFER_IF_MISSING : "";
}

/* What the person named, and the agent or this machine refuses, is no failure of telex's. */
static int end_failed(const struct transfer *t)
{
	const struct telex_error *e = &t->error;

	if (e->kind == TELEX_ERROR_STATUS || e->kind == TELEX_ERROR_SYSTEM) {
		say_error("%s: %s%s", t->verb, e->message, way_out(t));
		if (t->s.json)
			output_json(json_pack("{s:o}", "error", end_error_json(e)));
		return CLI_FAILED;
	}
	session_fail(&t->s, e);
	if (t->summary.files + t->summary.sent > 0)
		say_note("what came whole is there; type it again to go on where it stopped");
	return CLI_TELEX;
}

static int end_interrupted(struct transfer *t)
{
	char name[24];

	telex_transfer_cancel(t->going);
	say_note("%s: what came whole is there; type it again to go on where it stopped",
	    signame_format(name, sizeof(name), t->signo));
	return 128 + t->signo;
}

static int wait_for_end(struct transfer *t)
{
	static const int signals[] = {SIGINT, SIGTERM, SIGHUP};
	struct event *events[3];

	for (size_t i = 0; i < 3; i++) {
		events[i] = evsignal_new(t->s.base, signals[i], on_signal, t);
		if (events[i] != NULL)
			event_add(events[i], NULL);
	}
	while (!t->ended && t->signo == 0 && event_base_dispatch(t->s.base) >= 0)
		;
	for (size_t i = 0; i < 3; i++)
		if (events[i] != NULL)
			event_free(events[i]);
	progress_free(t->progress);
	t->progress = NULL;
	if (!t->ended)
		return end_interrupted(t);
	if (t->failed)
		return end_failed(t);
	transfer_summary(&t->summary, t->begun_ns, t->options->o.dry_run, t->s.json);
	return t->summary.failed > 0 ? CLI_FAILED : CLI_OK;
}

int transfer_run(
    struct cli *cli, const char *verb, const struct transfer_options *options, bool put)
{
	struct transfer t = {
	    .verb = verb, .put = put, .options = options, .begun_ns = clock_monotonic_ns()};
	const struct telex_transfer_ops ops = {.note = on_note, .done = on_done};
	struct telex_transfer_options o = options->o;
	int status = session_open(&t.s, cli), rc;

	if (status != CLI_OK)
		return status;
	tree_more_files();
	t.progress = progress_new(t.s.base, options->progress, 0, 0);
	o.totals = progress_shows(options->progress);
	rc = put ? telex_put_tree(t.s.client, &t.going, &o, &ops, &t, &t.error)
	         : telex_get_tree(t.s.client, &t.going, &o, &ops, &t, &t.error);
	if (rc < 0) {
		progress_free(t.progress);
		status = end_failed(&t);
	} else {
		status = wait_for_end(&t);
	}
	session_close(&t.s);
	return output_finish(status);
}

int transfer_verb(struct cli *cli, const struct cli_verb *verb, bool put, int argc, char **argv,
    const char *usage)
{
	struct transfer_options t;
	const char *value, **sources;
	struct options o;
	int id, status;

	transfer_options_init(&t);
	options_start(&o, cli, verb, verb->specs, argc, argv);
	while ((id = options_next(&o, &value)) > 0)
		if (transfer_option(&t, &o, id, value) < 0) {
			id = -1;
			break;
		}
	if (id == 0 && o.n_operands < 2)
		id = options_usage(&o, "%s", usage);
	if (id != 0) {
		transfer_options_clear(&t);
		return options_end(&o);
	}
	if (transfer_stream_wanted(put, &o)) {
		status = transfer_stream(cli, &t, put, &o);
		transfer_options_clear(&t);
		options_end(&o);
		return status;
	}
	sources = xcalloc(o.n_operands, sizeof(*sources));
	for (size_t i = 0; i + 1 < o.n_operands; i++)
		sources[i] = o.operands[i];
	t.o.sources = sources;
	t.o.target = o.operands[o.n_operands - 1];
	t.o.into = put && transfer_is_folder(t.o.target);
	status = transfer_run(cli, verb->name, &t, put);
	free(sources);
	transfer_options_clear(&t);
	options_end(&o);
	return status;
}
