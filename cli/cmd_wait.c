/* SPDX-License-Identifier: Apache-2.0 */
/*
 * `telex wait`: until processes have ended. All questions are asked at once, and each ending is
 * told as it comes; the status is the first failure's.
 */
#include <event2/event.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/end.h"
#include "cli/find.h"
#include "cli/options.h"
#include "cli/output.h"
#include "cli/process_words.h"
#include "cli/say.h"
#include "cli/session.h"
#include "cli/values.h"
#include "cli/verbs.h"
#include "common/duration.h"
#include "common/mem.h"

enum { OPT_GROUP = 256, OPT_TIMEOUT, OPT_RM };

static const struct options_spec specs[] = {
    {OPT_GROUP, '\0', "group", true},
    {OPT_TIMEOUT, '\0', "timeout", true},
    {OPT_RM, '\0', "rm", false},
    {0},
};

struct wait {
	struct session session;
	const char *group;
	int64_t timeout_ms;
	bool forget;
	size_t open;      /* questions without their end */
	bool late;        /* the timeout came first */
	bool failed;      /* status is an ending's */
	int status;       /* the first failure's */
	int telex_status; /* of what could not be asked; CLI_OK */
};

struct one {
	struct wait *wait;
	const char *word; /* what was typed: an id, its beginning, or the group */
	char id[FIND_ID];
	struct find find;
	struct telex_error unknown; /* why its id was looked for; kind OK: it was not */
	bool told, over;
};

static void note(struct wait *w, const struct telex_exit *exit)
{
	const int status = end_status(exit);

	if (status != CLI_OK && !w->failed) {
		w->failed = true;
		w->status = status;
	}
}

static void print_end(const char *id, const struct telex_exit *exit)
{
	char text[END_TEXT];
	const char *why = exit->reason == TELEX_REASON_EXITED ? NULL : end_reason(exit->reason);

	printf("%s %s%s%s%s\n", id, end_text(text, sizeof(text), exit), why ? " (" : "",
	    why ? why : "", why ? ")" : "");
	fflush(stdout);
}

static void on_exit_of(const struct telex_exit *exit, void *arg)
{
	struct one *one = arg;
	json_t *o;

	one->told = true;
	note(one->wait, exit);
	if (!one->wait->session.json) {
		print_end(one->id, exit);
		if (exit->unknown_why)
			say_note("%s: %s", one->id, exit->unknown_why);
		return;
	}
	o = json_pack("{s:o}", "process_id", output_json_text(one->id));
	json_object_update_new(o, end_json(exit));
	output_json(o);
	fflush(stdout);
}

static void on_member(const struct telex_process *process, void *arg)
{
	struct one *one = arg;

	if (!process->exit)
		return;
	note(one->wait, process->exit);
	if (one->wait->session.json)
		output_json(process_words_json(process));
	else
		print_end(process->process_id, process->exit);
}

static void is_over(struct one *one)
{
	one->over = true;
	if (--one->wait->open == 0)
		event_base_loopbreak(one->wait->session.base);
}

static json_t *named(const struct one *one)
{
	return json_pack("{s:o}", one->wait->group ? "group" : "process_id",
	    output_json_text(one->wait->group ? one->word : one->id));
}

static void failed(struct one *one, const struct telex_error *error)
{
	struct wait *w = one->wait;
	json_t *o;

	w->telex_status = CLI_TELEX;
	session_say_of(&w->session, w->group ? "wait --group" : "wait", one->word, error);
	if (w->session.json) {
		o = named(one);
		json_object_set_new(o, "error", end_error_json(error));
		output_json(o);
	}
	is_over(one);
}

/* ---- forgetting, when it was told ---- */

static void on_removed(const struct telex_error *error, void *arg)
{
	struct one *one = arg;

	/* Asked a second time after a lost connection, or somebody else was first. */
	if (error && strcmp(error->reason, "NO_SUCH_PROCESS") != 0)
		say_error("wait --rm %s: it is not removed: %s", one->id, error->message);
	is_over(one);
}

/* What nobody could read is not forgotten. */
static void forget(struct one *one)
{
	struct telex_error error;

	if (fflush(stdout) != 0 || ferror(stdout)) {
		say_error(
		    "wait --rm %s: it is not removed: standard output takes no more", one->id);
		one->wait->telex_status = CLI_TELEX;
		is_over(one);
	} else if (telex_remove(one->wait->session.client, one->id, 0, on_removed, one, &error) <
	           0) {
		on_removed(&error, one);
	}
}

/* ---- asking ---- */

static void ask(struct one *one);

static void each(const struct telex_process *process, void *arg)
{
	struct one *one = arg;

	find_note(&one->find, process->process_id);
}

static void on_searched(const struct telex_error *error, void *arg)
{
	struct one *one = arg;

	if (error) {
		failed(one, error);
	} else if (!find_result(&one->find, &one->unknown)) {
		failed(one, &one->unknown);
	} else {
		memcpy(one->id, one->find.ids[0], sizeof(one->id));
		ask(one);
	}
}

static void search(struct one *one, const struct telex_error *unknown)
{
	const struct telex_filter all = {.include_ended = true};
	struct telex_error error;

	one->unknown = *unknown;
	one->find.word = one->word;
	if (telex_list(one->wait->session.client, &all, 0, each, NULL, on_searched, one, &error) <
	    0)
		failed(one, &error);
}

static void on_done(const struct telex_error *error, void *arg)
{
	struct one *one = arg;
	const struct wait *w = one->wait;

	if (error && !w->group && strcmp(error->reason, "NO_SUCH_PROCESS") == 0 &&
	    one->unknown.kind == TELEX_OK && find_may(one->word))
		search(one, error);
	else if (error)
		failed(one, error);
	else if (w->forget && one->told)
		forget(one);
	else
		is_over(one);
}

static void on_late(evutil_socket_t fd, short what, void *arg)
{
	struct wait *w = arg;

	(void)fd;
	(void)what;
	w->late = true;
	event_base_loopbreak(w->session.base);
}

static void ask(struct one *one)
{
	struct telex_client *client = one->wait->session.client;
	struct telex_error error;
	int r;

	if (one->wait->group)
		r = telex_group_wait(client, one->word, 0, on_member, on_done, one, &error);
	else
		r = telex_wait(client, one->find.n == 1 ? one->id : one->word, false, 0, on_exit_of,
		    on_done, one, &error);
	if (r < 0)
		failed(one, &error);
}

static void tell_late(const struct one *one)
{
	json_t *o;

	if (one->over || !one->wait->session.json)
		return;
	o = named(one);
	json_object_set_new(o, "timed_out", json_true());
	output_json(o);
}

static int result(const struct wait *w)
{
	char time[48];

	if (w->late) {
		say_note("not over after %s; it goes on",
		    duration_format(time, sizeof(time), w->timeout_ms * NS_PER_MS));
		return CLI_TIMEOUT;
	}
	return w->telex_status != CLI_OK ? w->telex_status : w->status;
}

static void wait_for_all(struct wait *w, const char *const *ids, size_t n)
{
	struct one *all = xcalloc(n, sizeof(*all));
	struct event *timer = evtimer_new(w->session.base, on_late, w);
	struct timeval limit = duration_timeval(w->timeout_ms * NS_PER_MS);

	if (!timer)
		abort();
	if (w->timeout_ms > 0)
		event_add(timer, &limit);
	w->open = n;
	for (size_t i = 0; i < n; i++) {
		all[i].wait = w;
		all[i].word = ids[i];
		snprintf(all[i].id, sizeof(all[i].id), "%s", ids[i]);
		ask(&all[i]);
	}
	if (w->open > 0)
		event_base_dispatch(w->session.base);
	event_free(timer);
	for (size_t i = 0; w->late && i < n; i++)
		tell_late(&all[i]);
	/* Nothing comes any more for those that are still open. */
	session_close(&w->session);
	free(all);
}

static int apply(struct wait *w, int id, const char *value, struct err *e)
{
	switch (id) {
	case OPT_GROUP:
		w->group = value;
		return options_check_id(value, e);
	case OPT_TIMEOUT:
		if (values_duration(value, &w->timeout_ms, e) < 0)
			return -1;
		return w->timeout_ms > 0 ? 0 : err_set(e, TX_EINVAL, "it must be more than 0");
	}
	w->forget = true;
	return 0;
}

static int run(struct cli *cli, int argc, char **argv)
{
	struct wait w = {0};
	struct options o;
	struct err e;
	const char *value;
	int id;

	options_start(&o, cli, &cmd_wait, specs, argc, argv);
	while ((id = options_next(&o, &value)) > 0)
		if (apply(&w, id, value, &e) < 0) {
			options_wrong(&o, id, &e);
			return options_end(&o);
		}
	if (id == 0 && w.group && (o.n_operands > 0 || w.forget))
		id = options_usage(&o, "--group goes without ids and --rm");
	else if (id == 0 && !w.group && o.n_operands == 0)
		id = options_usage(&o, "no process was named; `telex ps` shows their ids");
	if (id != 0)
		return options_end(&o);
	o.status = session_open(&w.session, cli);
	if (o.status == CLI_OK) {
		wait_for_all(&w, w.group ? &w.group : o.operands, w.group ? 1 : o.n_operands);
		o.status = result(&w);
	}
	return options_end(&o);
}

const struct cli_verb cmd_wait = {
    .name = "wait",
    .summary = "until processes have ended",
    .specs = specs,
    .takes_id = true,
    .help =
        "Examples:\n"
        "  telex wait 5f2cqa; echo $?        the process's own exit status\n"
        "  telex wait 5f2cqa 77b4xe          both; the status of the first failure\n"
        "  telex wait --group tests          all that are in the group now\n"
        "  telex wait --timeout 1m 5f2cqa\n"
        "\n"
        "Usage: telex wait [--timeout TIME] [--rm] ID…\n"
        "       telex wait [--timeout TIME] --group NAME\n"
        "\n"
        "Each ending is a line: the id and exit 3, SIGTERM, not started or unknown.\n"
        "\n"
        "      --timeout TIME  give up after this; what is waited for goes on\n"
        "      --rm            the agent forgets each, and its output, once its ending is printed\n"
        "      --group NAME    the members of the group\n"
        "\n"
        "Exit status: as of `telex run`; of several, the first failure's, in the order of their\n"
        "endings. 124 when --timeout is over, 125 when one is not known or the agent could not be\n"
        "asked.\n",
    .run = run,
};
