/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/watch_request.h"

#include <stdlib.h>
#include <string.h>

#include "lib/error.h"
#include "lib/file_info.h"
#include "lib/request.h"

#define SETTLE_MAX_MS INT64_C(3600000)
#define KINDS_MAX     8

static size_t count(const char *const *list)
{
	size_t n = 0;

	while (list != NULL && list[n] != NULL)
		n++;
	return n;
}

/* The lists of the message that borrows; all but `kinds` are allocated. */
struct lists {
	ProtobufCBinaryData *paths;
	char **include, **exclude;
	Telex__V1__ChangeKind kinds[KINDS_MAX];
};

static char **borrow(const char *const *list, size_t n)
{
	char **out = calloc(n + 1, sizeof(*out));

	for (size_t i = 0; out != NULL && i < n; i++)
		out[i] = request_text(list[i]);
	return out;
}

static int check(const struct telex_watch_options *o, struct telex_error *error)
{
	ProtobufCBinaryData path;
	const size_t n = count(o->paths);

	if (n == 0)
		return error_set(error, TELEX_ERROR_USAGE, "no path to watch was given");
	if (n > WATCH_ROOTS_MAX)
		return error_set(error, TELEX_ERROR_USAGE, "a watch has at most %d paths, not %zu",
		    WATCH_ROOTS_MAX, n);
	for (size_t i = 0; i < n; i++)
		if (file_info_path(&path, "path", o->paths[i], error) < 0)
			return -1;
	if ((o->kinds & ~(unsigned)TELEX_CHANGE_ALL) != 0)
		return error_set(
		    error, TELEX_ERROR_USAGE, "there is a kind of change that is none");
	if (o->settle_ms < 0 || o->settle_ms > SETTLE_MAX_MS || o->max_delay_ms < 0 ||
	    o->max_delay_ms > 10 * SETTLE_MAX_MS)
		return error_set(error, TELEX_ERROR_USAGE,
		    "changes are held back for 0 to 1 hour, and for 10 hours at the most");
	return 0;
}

static int fill(Telex__V1__WatchBegin *m, struct lists *l, const struct telex_watch_options *o)
{
	m->n_paths = count(o->paths);
	m->n_include = count(o->include);
	m->n_exclude = count(o->exclude);
	m->paths = l->paths = calloc(m->n_paths, sizeof(*l->paths));
	m->include = l->include = borrow(o->include, m->n_include);
	m->exclude = l->exclude = borrow(o->exclude, m->n_exclude);
	m->kinds = l->kinds;
	if (l->paths == NULL || l->include == NULL || l->exclude == NULL)
		return TX_ENOMEM;
	for (size_t i = 0; i < m->n_paths; i++)
		l->paths[i] = request_bytes(o->paths[i], strlen(o->paths[i]));
	for (int i = 1; i <= KINDS_MAX; i++)
		if ((o->kinds & 1u << i) != 0)
			l->kinds[m->n_kinds++] = (Telex__V1__ChangeKind)i;
	m->user = file_info_user(o->user);
	m->recursive = o->recursive;
	m->depth = o->depth;
	m->across_mounts = o->across_mounts;
	m->allow_remote = o->allow_remote;
	m->wait = o->wait;
	return 0;
}

/* A deep copy: by packing it. */
static Telex__V1__WatchBegin *copy_of(const Telex__V1__WatchBegin *m)
{
	Telex__V1__WatchBegin *copy = NULL;
	uint8_t *packed = malloc(telex__v1__watch_begin__get_packed_size(m) + 1);

	if (packed != NULL)
		copy = telex__v1__watch_begin__unpack(
		    NULL, telex__v1__watch_begin__pack(m, packed), packed);
	free(packed);
	return copy;
}

int watch_request(Telex__V1__WatchBegin **out, const struct telex_watch_options *options,
    struct telex_error *error)
{
	Telex__V1__WatchBegin m = TELEX__V1__WATCH_BEGIN__INIT;
	Google__Protobuf__Duration settle, max_delay;
	struct lists lists = {0};

	if (check(options, error) < 0)
		return -1;
	if (options->settle_ms > 0)
		m.settle = request_duration(&settle, options->settle_ms);
	if (options->max_delay_ms > 0)
		m.max_delay = request_duration(&max_delay, options->max_delay_ms);
	*out = fill(&m, &lists, options) == 0 ? copy_of(&m) : NULL;
	free(lists.paths);
	free(lists.include);
	free(lists.exclude);
	return *out != NULL ? 0 : error_no_memory(error);
}

void watch_request_free(Telex__V1__WatchBegin *begin)
{
	telex__v1__watch_begin__free_unpacked(begin, NULL);
}
