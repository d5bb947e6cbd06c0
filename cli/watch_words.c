/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/watch_words.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/end.h"
#include "cli/fs_words.h"
#include "cli/output.h"
#include "cli/say.h"
#include "common/duration.h"
#include "common/mem.h"

/* By the bit. */
static const char *const names[] = {[1] = "created",
    [2] = "modified",
    [3] = "closed",
    [4] = "attributes",
    [5] = "deleted",
    [6] = "moved",
    [7] = "root-gone",
    [8] = "root-back"};
#define KINDS_MAX 8

static const char *const reasons[] = {"unknown", "overflow", "restarted", "root-back", "mounts"};

/* ---- kinds ---- */

char *watch_words_kinds(char out[WATCH_WORDS_KINDS], unsigned kinds)
{
	size_t len = 0;

	out[0] = '\0';
	for (unsigned i = 1; i <= KINDS_MAX; i++)
		if ((kinds & 1u << i) != 0)
			len += (size_t)snprintf(out + len, WATCH_WORDS_KINDS - len, "%s%s",
			    len > 0 ? "," : "", names[i]);
	return len > 0 ? out : strcpy(out, "changed");
}

static int add_kind(const char *word, size_t len, unsigned *kinds, struct err *e)
{
	for (unsigned i = 1; i <= KINDS_MAX; i++)
		if (strlen(names[i]) == len && memcmp(names[i], word, len) == 0) {
			*kinds |= 1u << i;
			return 0;
		}
	return err_set(e, TX_EINVAL,
	    "'%.*s' is no kind of change: created, modified, closed, attributes, deleted, moved, "
	    "root-gone, root-back",
	    (int)len, word);
}

int watch_words_parse_kinds(const char *text, unsigned *kinds, struct err *e)
{
	unsigned more = 0;

	for (;;) {
		const size_t len = strcspn(text, ",");

		if (add_kind(text, len, &more, e) < 0)
			return TX_EINVAL;
		if (text[len] == '\0')
			break;
		text += len + 1;
	}
	*kinds |= more;
	return 0;
}

/* ---- paths and lines ---- */

/* A root's slashes at its end are not doubled. */
static char *join(const char *root, const char *path)
{
	size_t len = strlen(root);

	while (len > 1 && root[len - 1] == '/')
		len--;
	if (path[0] == '\0')
		return xmemdup0(root, len);
	return xasprintf("%.*s%s%s", (int)len, root, root[len - 1] == '/' ? "" : "/", path);
}

char *watch_words_path(const struct telex_change *c, const char *const *roots)
{
	return join(roots[c->root], c->path);
}

static char *shown(const char *root, const char *path, bool escape)
{
	char *name = join(root, path), *out;

	if (!escape)
		return name;
	out = fs_words_name(name, true);
	free(name);
	return out;
}

char *watch_words_line(const struct telex_change *c, const struct watch_words_how *how, size_t *len)
{
	char kinds[WATCH_WORDS_KINDS], time[32], *line;
	char *path = shown(how->roots[c->root], c->path, how->escape);
	const char *other = c->moved_from != NULL ? c->moved_from : c->moved_to;
	char *moved = other != NULL ? shown(how->roots[c->moved_root], other, how->escape) : NULL;

	if (how->paths_only)
		line = xasprintf("%s%c", path, how->end);
	else
		line = xasprintf("%s %s %s%s%s%s%c", output_time(time, sizeof(time), c->time_ns),
		    watch_words_kinds(kinds, c->kinds), path,
		    c->exists && c->type == TELEX_FILE_DIRECTORY ? "/" : "",
		    moved == NULL           ? ""
		    : c->moved_from != NULL ? " <- "
		                            : " -> ",
		    moved != NULL ? moved : "", how->end);
	*len = strlen(line) + (how->end == '\0');
	free(path);
	free(moved);
	return line;
}

/* ---- JSON ---- */

static json_t *event(const char *name)
{
	json_t *o = json_object();

	json_object_set_new(o, "event", json_string(name));
	return o;
}

static void set_number(json_t *o, const char *key, uint64_t value)
{
	json_object_set_new(o, key, json_integer((json_int_t)value));
}

static void set_path(json_t *o, const char *key, const char *root, const char *path)
{
	char *name = join(root, path);

	fs_words_path_json(o, key, name);
	free(name);
}

json_t *watch_words_armed_json(const struct telex_watch_armed *armed)
{
	json_t *o = event("armed");

	json_object_set_new(o, "clock", output_json_text(armed->clock));
	json_object_set_new(o, "fresh_instance", json_boolean(armed->fresh_instance));
	set_number(o, "folders", armed->folders);
	set_number(o, "entries", armed->entries);
	json_object_set_new(o, "backend", output_json_text(armed->backend));
	return o;
}

static void set_state(json_t *o, const struct telex_change *c)
{
	char mode[12];

	json_object_set_new(o, "exists", json_boolean(c->exists));
	if (!c->exists)
		return;
	json_object_set_new(o, "type", json_string(fs_words_type(c->type)));
	snprintf(mode, sizeof(mode), "%04o", (unsigned)c->mode);
	json_object_set_new(o, "mode", json_string(mode));
	set_number(o, "size", c->size);
	set_number(o, "inode", c->inode);
	json_object_set_new(o, "modified_ns", json_integer((json_int_t)c->modified_ns));
}

json_t *watch_words_change_json(const struct telex_change *c, const char *const *roots)
{
	json_t *o = event("change"), *kinds = json_array();
	char time[32];

	for (unsigned i = 1; i <= KINDS_MAX; i++)
		if ((c->kinds & 1u << i) != 0)
			json_array_append_new(kinds, json_string(names[i]));
	json_object_set_new(o, "kinds", kinds);
	set_path(o, "path", roots[c->root], c->path);
	fs_words_path_json(o, "root", roots[c->root]);
	set_state(o, c);
	if (c->moved_from != NULL)
		set_path(o, "moved_from", roots[c->moved_root], c->moved_from);
	if (c->moved_to != NULL)
		set_path(o, "moved_to", roots[c->moved_root], c->moved_to);
	set_number(o, "count", c->count);
	set_number(o, "order", c->order);
	json_object_set_new(o, "time", json_string(output_time(time, sizeof(time), c->time_ns)));
	return o;
}

json_t *watch_words_clock_json(const char *clock)
{
	json_t *o = event("clock");

	json_object_set_new(o, "clock", output_json_text(clock));
	return o;
}

json_t *watch_words_rescan_json(const struct telex_rescan *rescan)
{
	json_t *o = event("rescan");

	json_object_set_new(o, "reason", json_string(reasons[rescan->reason]));
	json_object_set_new(o, "done", json_boolean(rescan->done));
	set_number(o, "waited_ms", (uint64_t)rescan->waited_ms);
	return o;
}

json_t *watch_words_warning_json(
    const char *path, const struct telex_file_failure *failure, bool over)
{
	json_t *o = event(over ? "warning-over" : "warning");

	json_object_set_new(o, "reason", output_json_text(failure->reason));
	fs_words_path_json(o, "path", path);
	json_object_set_new(o, "message", output_json_text(failure->message));
	return o;
}

json_t *watch_words_interrupted_json(const struct telex_error *why)
{
	json_t *o = event("interrupted");

	json_object_set_new(o, "error", end_error_json(why));
	return o;
}

/* ---- sentences ---- */

void watch_words_armed(
    const struct telex_watch_armed *armed, const char *what, bool again, bool anew)
{
	say_note("%s %s: %" PRIu64 " entr%s (%s); clock %s%s",
	    again ? "watching again" : "watching", what, armed->entries,
	    armed->entries == 1 ? "y" : "ies", armed->backend, armed->clock,
	    anew ? "; it cannot go on from the clock that was: all that is there follows" : "");
}

void watch_words_rescan(const struct telex_rescan *rescan)
{
	static const char *const why[] = {"something may have been missed",
	    "the kernel's queue of events was full", "what watches was started anew",
	    "what was gone is there again", "what is mounted below has changed"};
	char time[48];

	if (rescan->done)
		say_detail("rescan done (%s)", reasons[rescan->reason]);
	else if (rescan->waited_ms > 0)
		say_note("rescan: %s; this one waited %s: what differs follows",
		    why[rescan->reason],
		    duration_format(time, sizeof(time), rescan->waited_ms * NS_PER_MS));
	else
		say_note("rescan: %s; what differs follows", why[rescan->reason]);
}

void watch_words_warning(const char *path, const struct telex_file_failure *failure, bool over)
{
	char *name = fs_words_name(path, true);

	if (over) {
		say_note("watch: %s: what was said is over (%s)", path, failure->reason);
		free(name);
		return;
	}
	/* The agent's sentence may name it already. */
	if (strstr(failure->message, name) != NULL)
		say_error("watch: %s", failure->message);
	else
		say_error("watch: %s: %s", path, failure->message);
	free(name);
}

const char *watch_words_way_out(const char *reason)
{
	static const struct {
		const char *reason, *way;
	} ways[] = {
	    {"NO_SUCH_FILE", " (--wait waits until it is there)"},
	    {"NOT_A_FOLDER", " (without -r a file is watched by itself)"},
	    {"REMOTE_FILESYSTEM",
	        " (--allow-remote looks through it at intervals, and may miss what comes and goes "
	        "between two looks)"},
	    {"BAD_CLOCK", " (without --since, changes are told from now on)"},
	    {"OTHER_CLOCK", " (--state tells all that is there)"},
	};

	for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++)
		if (strcmp(ways[i].reason, reason) == 0)
			return ways[i].way;
	return NULL;
}
