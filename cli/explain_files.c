/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/explain_files.h"

#include <stdio.h>
#include <string.h>

#include "common/glob.h"

#define FILES "telex.v1.FileService/"

/* How a path is used: by its place among the operands, 'r', 'w' or 'x' (it is watched); the last
 * letter is for all that follow. "=" : what is at the first comes to be at the second. */
static const struct row {
	const char *verb, *method, *uses;
} rows[] = {
    {"put", FILES "PutTree", "w"},
    {"get", FILES "GetTree", "r"},
    {"sync", FILES "PutTree", "w"},
    {"watch", "telex.v1.WatchService/Watch", "x"},
    {"ls", FILES "List", "r"},
    {"stat", FILES "Stat", "r"},
    {"cat", FILES "Read", "r"},
    {"sum", FILES "Checksum", "r"},
    {"df", FILES "StatFilesystem", "r"},
    {"readlink", FILES "ReadLink", "r"},
    {"mkdir", FILES "MakeDirectory", "w"},
    {"rm", FILES "Remove", "w"},
    {"mv", FILES "Move", "=w"},
    {"cp", FILES "Copy", "rw"},
    {"ln", FILES "Link", "=w"},
    {"chmod", FILES "SetAttributes", "w"},
    {"chown", FILES "SetAttributes", "w"},
    {"touch", FILES "SetAttributes", "w"},
    {"truncate", FILES "Truncate", "w"},
    {"write", FILES "Write", "w"},
};
#define N_ROWS (sizeof(rows) / sizeof(rows[0]))
#define PLAIN  4 /* of them, verbs of telex itself; the others are fs's */

bool explain_files_is(const char *word)
{
	for (size_t i = 0; i < PLAIN; i++)
		if (strcmp(rows[i].verb, word) == 0)
			return true;
	return strcmp(word, "fs") == 0;
}

static const struct row *find(const char *verb, size_t from, size_t to)
{
	for (size_t i = from; i < to; i++)
		if (strcmp(rows[i].verb, verb) == 0)
			return &rows[i];
	return NULL;
}

static int wrong_verb(struct options *o, const char *verb)
{
	const char *names[N_ROWS];

	for (size_t i = PLAIN; i < N_ROWS; i++)
		names[i - PLAIN] = rows[i].verb;
	options_usage(
	    o, "'fs %s' is no verb%s", verb, options_nearest(verb, names, N_ROWS - PLAIN));
	return o->status;
}

static int add_path(struct explain_files *e, struct policy_request *r, struct options *o,
    const char *path, char use)
{
	if (!glob_path_plain(path)) {
		options_usage(o,
		    "'%s' is not an absolute path, without '..', '//' and a '/' at its end: an "
		    "agent "
		    "makes it one before it decides",
		    path);
		return o->status;
	}
	if (use == 'r')
		e->reads[r->n_reads++] = path;
	else if (use == 'x')
		e->watches[r->n_watches++] = path;
	else
		e->writes[r->n_writes++] = path;
	return 0;
}

static int add_paths(struct explain_files *e, struct policy_request *r, struct options *o,
    const struct row *row, const char *const *paths, size_t n)
{
	const char *use = row->uses + (row->uses[0] == '=');
	size_t used = (size_t)snprintf(e->what, sizeof(e->what), "%s", row->verb);
	int rc = 0;

	for (size_t i = 0; i < n && rc == 0; i++) {
		rc = add_path(e, r, o, paths[i], *use);
		if (use[1] != '\0')
			use++;
		if (used < sizeof(e->what))
			used += (size_t)snprintf(
			    e->what + used, sizeof(e->what) - used, " %s", paths[i]);
	}
	r->carries = row->uses[0] == '=' && n == 2;
	return rc;
}

/* "-u USER" may be anywhere among the words. Takes it out. */
static size_t take_user(
    struct explain_files *e, const char *const *words, size_t n, const char *out[EXPLAIN_PATHS_MAX])
{
	size_t kept = 0;

	for (size_t i = 0; i < n && kept < EXPLAIN_PATHS_MAX; i++) {
		if (strcmp(words[i], "-u") == 0 && i + 1 < n)
			e->user = words[++i];
		else
			out[kept++] = words[i];
	}
	return kept;
}

int explain_files_take(struct explain_files *e, struct policy_request *r, struct options *o,
    const char *agent_user, const char *const *words, size_t n)
{
	const char *kept[EXPLAIN_PATHS_MAX] = {""};
	const struct row *row;
	size_t first = 1;

	*e = (struct explain_files){0};
	n = take_user(e, words, n, kept);
	if (strcmp(kept[0], "fs") == 0) {
		first = 2;
		row = n > 1 ? find(kept[1], PLAIN, N_ROWS) : NULL;
		if (row == NULL)
			return wrong_verb(o, n > 1 ? kept[1] : "");
	} else {
		row = find(kept[0], 0, PLAIN);
	}
	if (n == first) {
		options_usage(o, "%s takes a path of the agent's", row->verb);
		return o->status;
	}
	snprintf(e->method, sizeof(e->method), "%s", row->method);
	r->act = POLICY_FILES;
	r->user = e->user != NULL ? e->user : agent_user;
	r->default_user = e->user == NULL;
	r->reads = e->reads;
	r->writes = e->writes;
	r->watches = e->watches;
	return add_paths(e, r, o, row, kept + first, n - first);
}
