/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/watch_options.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "cli/values.h"
#include "cli/watch_words.h"
#include "common/mem.h"

/* What is done with a batch takes a while: until then nothing is lost by waiting for its end. */
#define SETTLE_MS     100
#define SETTLE_MAX_MS INT64_C(3600000)
#define ROOTS_MAX     64

enum {
	OPT_DEPTH = 256,
	OPT_INCLUDE,
	OPT_EXCLUDE,
	OPT_KIND,
	OPT_SINCE,
	OPT_STATE,
	OPT_SETTLE,
	OPT_MAX_DELAY,
	OPT_COUNT,
	OPT_TIMEOUT,
	OPT_WAIT,
	OPT_MOUNTS,
	OPT_REMOTE,
	OPT_PATHS,
	OPT_EXEC,
	OPT_EXEC_REMOTE,
	OPT_SYNC,
	OPT_DELETE,
};

const struct options_spec watch_options_specs[] = {
    {'r', 'r', "recursive", false},
    {OPT_DEPTH, '\0', "depth", true},
    {OPT_INCLUDE, '\0', "include", true},
    {OPT_EXCLUDE, '\0', "exclude", true},
    {OPT_KIND, '\0', "kind", true},
    {OPT_SINCE, '\0', "since", true},
    {OPT_STATE, '\0', "state", false},
    {OPT_SETTLE, '\0', "settle", true},
    {OPT_MAX_DELAY, '\0', "max-delay", true},
    {OPT_COUNT, '\0', "count", true},
    {OPT_TIMEOUT, '\0', "timeout", true},
    {OPT_WAIT, '\0', "wait", false},
    {OPT_MOUNTS, '\0', "across-mounts", false},
    {OPT_REMOTE, '\0', "allow-remote", false},
    {'u', 'u', "user", true},
    {'0', '0', "null", false},
    {OPT_PATHS, '\0', "paths", false},
    {OPT_EXEC, '\0', "exec", true},
    {OPT_EXEC_REMOTE, '\0', "exec-remote", true},
    {OPT_SYNC, '\0', "sync", true},
    {OPT_DELETE, '\0', "delete", false},
    {0},
};

static void add(const char ***list, size_t *n, const char *value)
{
	*list = xreallocarray(*list, *n + 2, sizeof(**list));
	(*list)[(*n)++] = value;
	(*list)[*n] = NULL;
}

static int set_time(int64_t *ms, const char *value, int64_t most, struct err *e)
{
	int64_t time;

	if (values_duration(value, &time, e) < 0)
		return TX_EINVAL;
	if (time > most)
		return err_set(e, TX_EINVAL, "'%s' is longer than %s", value,
		    most == SETTLE_MAX_MS ? "an hour" : "10 hours");
	*ms = time;
	return 0;
}

static int set_way(
    struct watch_options *w, enum watch_way_kind way, const char *value, struct err *e)
{
	if (w->way != WATCH_LINES)
		return err_set(
		    e, TX_EINVAL, "one of --exec, --exec-remote and --sync at a time, and once");
	if (value[0] == '\0')
		return err_set(e, TX_EINVAL, "it is empty");
	w->way = way;
	if (way == WATCH_MIRROR)
		w->local = value;
	else
		w->command = value;
	return 0;
}

/* What is watched, and what is told of it. */
static int apply_what(struct watch_options *w, int id, const char *value, struct err *e)
{
	struct telex_watch_options *o = &w->o;
	int64_t n;

	switch (id) {
	case 'r':
		o->recursive = true;
		return 0;
	case OPT_DEPTH:
		if (values_number(value, 1, UINT32_MAX, &n, e) < 0)
			return TX_EINVAL;
		o->recursive = true;
		o->depth = (uint32_t)n;
		return 0;
	case OPT_INCLUDE:
		add(&w->include, &w->n_include, value);
		return 0;
	case OPT_EXCLUDE:
		add(&w->exclude, &w->n_exclude, value);
		return 0;
	case OPT_KIND:
		return watch_words_parse_kinds(value, &o->kinds, e);
	case OPT_SINCE:
		o->since = value;
		return value[0] ? 0 : err_set(e, TX_EINVAL, "the clock is empty");
	case OPT_STATE:
		o->state = true;
		return 0;
	case OPT_WAIT:
		o->wait = true;
		return 0;
	case OPT_MOUNTS:
		o->across_mounts = true;
		return 0;
	case OPT_REMOTE:
		o->allow_remote = true;
		return 0;
	case 'u':
		o->user = value;
		return value[0] ? 0 : err_set(e, TX_EINVAL, "the name is empty");
	}
	return TX_ENOENT;
}

static int apply(struct watch_options *w, int id, const char *value, struct err *e)
{
	int64_t n;
	int r;

	switch (id) {
	case OPT_SETTLE:
		return set_time(&w->o.settle_ms, value, SETTLE_MAX_MS, e);
	case OPT_MAX_DELAY:
		return set_time(&w->o.max_delay_ms, value, 10 * SETTLE_MAX_MS, e);
	case OPT_COUNT:
		r = values_number(value, 1, INT64_MAX, &n, e);
		w->count = r == 0 ? (uint64_t)n : 0;
		return r;
	case OPT_TIMEOUT:
		r = values_duration(value, &w->timeout_ms, e);
		return r == 0 && w->timeout_ms == 0
		           ? err_set(e, TX_EINVAL, "it must be more than 0")
		           : r;
	case '0':
		w->null = true;
		return 0;
	case OPT_PATHS:
		w->paths_only = true;
		return 0;
	case OPT_EXEC:
		return set_way(w, WATCH_EXEC, value, e);
	case OPT_EXEC_REMOTE:
		return set_way(w, WATCH_EXEC_REMOTE, value, e);
	case OPT_DELETE:
		w->delete_extraneous = true;
		return 0;
	case OPT_SYNC:
		return set_way(w, WATCH_MIRROR, value, e);
	}
	return apply_what(w, id, value, e);
}

/* Whether it is there, and is no folder; with a slash behind a file's name, too. */
static bool is_no_folder(const char *path)
{
	struct stat st;

	if (stat(path, &st) != 0)
		return errno == ENOTDIR;
	return !S_ISDIR(st.st_mode);
}

/* What only all of them together tell. 0, or -1 and it was said. */
static int check_whole(struct watch_options *w)
{
	struct options *p = &w->options;

	if (p->n_operands == 0)
		options_usage(p, "what is to be watched? Name files or folders of the agent's");
	else if (p->n_operands > ROOTS_MAX)
		options_usage(p, "at most %d paths, not %zu", ROOTS_MAX, p->n_operands);
	else if (w->o.state && w->o.since)
		options_usage(p, "either --state or --since, not both");
	else if (w->o.max_delay_ms > 0 && w->o.max_delay_ms < w->o.settle_ms)
		options_usage(p, "--max-delay is shorter than --settle");
	else if (w->delete_extraneous && w->way != WATCH_MIRROR)
		options_usage(p, "--delete goes with --sync LOCAL/");
	else if (w->way == WATCH_MIRROR && p->n_operands != 1)
		options_usage(p, "--sync mirrors one folder of the agent's at a time");
	else if (w->way == WATCH_MIRROR && (w->o.kinds || w->o.state))
		options_usage(p, "--sync needs all changes, and begins with all that is there: "
		                 "without --kind and --state");
	else if (w->way == WATCH_MIRROR && is_no_folder(w->local))
		options_usage(p, "--sync needs a folder, and %s is none", w->local);
	else if ((w->way == WATCH_EXEC || w->way == WATCH_EXEC_REMOTE) && p->cli->json)
		options_usage(p, "with --json changes are told as objects, and standard output is "
		                 "not a command's: without --exec");
	else
		return 0;
	return -1;
}

static void complete(struct watch_options *w)
{
	w->o.paths = w->options.operands;
	w->o.include = w->include;
	w->o.exclude = w->exclude;
	if (w->way == WATCH_MIRROR)
		w->o.recursive = true;
}

int watch_options_parse(struct watch_options *w, struct cli *cli, const struct cli_verb *verb,
    int argc, char **argv, int *status)
{
	bool settles = false;
	const char *value;
	struct err e;
	int id;

	*w = (struct watch_options){.way = WATCH_LINES};
	options_start(&w->options, cli, verb, watch_options_specs, argc, argv);
	while ((id = options_next(&w->options, &value)) > 0) {
		if (apply(w, id, value, &e) < 0) {
			*status = options_wrong(&w->options, id, &e);
			return -1;
		}
		settles = settles || id == OPT_SETTLE;
	}
	if (!settles && w->way != WATCH_LINES)
		w->o.settle_ms = SETTLE_MS;
	if (id == 0 && check_whole(w) < 0)
		id = -1;
	*status = w->options.status;
	if (id < 0)
		return -1;
	complete(w);
	return 0;
}

void watch_options_free(struct watch_options *w)
{
	options_end(&w->options);
	free(w->include);
	free(w->exclude);
}
