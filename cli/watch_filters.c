/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The first filter that matches decides, so what is left out comes first, then what is wanted, and
 * then all the rest is left out. A folder that is left out is not gone into: the folders above what
 * is wanted are wanted, too.
 */
#include "cli/watch_filters.h"

#include <stdlib.h>
#include <string.h>

#include "common/mem.h"

#define BELOW "/**"

/* "/" and the path, as a pattern of nothing but itself. */
static char *literal(const char *path)
{
	char *out = xmalloc(2 * strlen(path) + 2), *to = out;

	*to++ = '/';
	for (; *path; path++) {
		if (strchr("*?[\\", *path) != NULL)
			*to++ = '\\';
		*to++ = *path;
	}
	*to = '\0';
	return out;
}

/* Whether a folder above is wanted with all below it. */
static bool is_covered(const struct watch_names *patterns, const char *pattern)
{
	char *text = xasprintf("%s" BELOW, pattern);
	bool covered = false;

	for (char *slash = strchr(text + 1, '/'); slash && !covered;
	     slash = strchr(slash + 1, '/')) {
		char keep[sizeof(BELOW)];

		memcpy(keep, slash, sizeof(keep));
		memcpy(slash, BELOW, sizeof(BELOW));
		covered = watch_names_has(patterns, text);
		memcpy(slash, keep, sizeof(keep));
		if (slash[1] == '*' && slash[2] == '*')
			break; /* that was the last one: our own */
	}
	free(text);
	return covered;
}

void watch_filters_add(struct watch_names *patterns, const struct telex_change *c)
{
	const unsigned whole = TELEX_CHANGE_CREATED | TELEX_CHANGE_DELETED | TELEX_CHANGE_MOVED;
	char *pattern = literal(c->path), *below;

	if (c->path[0] != '\0' && !is_covered(patterns, pattern)) {
		watch_names_add(patterns, pattern);
		if ((c->kinds & whole) != 0 && (!c->exists || c->type == TELEX_FILE_DIRECTORY)) {
			below = xasprintf("%s" BELOW, pattern);
			watch_names_add(patterns, below);
			free(below);
		}
	}
	free(pattern);
}

/* ---- a pass ---- */

static void add(struct watch_filters *f, const char *pattern, bool exclude)
{
	f->list = xreallocarray(f->list, f->n + 1, sizeof(*f->list));
	f->list[f->n++] = (struct telex_tree_filter){.pattern = pattern, .exclude = exclude};
}

static void add_own(struct watch_filters *f, char *pattern, bool exclude)
{
	f->texts = xreallocarray(f->texts, f->n_texts + 1, sizeof(*f->texts));
	f->texts[f->n_texts++] = pattern;
	add(f, pattern, exclude);
}

/* What is deeper: a component more than the depth. */
static void add_depth(struct watch_filters *f, uint32_t depth)
{
	char *pattern;
	size_t len = 0;

	if (depth == 0 || depth > 1000)
		return; /* no path has as many */
	pattern = xmalloc(2 * ((size_t)depth + 1) + 1);
	for (uint32_t i = 0; i <= depth; i++) {
		pattern[len++] = '/';
		pattern[len++] = '*';
	}
	pattern[len] = '\0';
	add_own(f, pattern, true);
}

static void add_with_parents(
    struct watch_filters *f, struct watch_names *parents, const char *pattern)
{
	for (const char *slash = strchr(pattern + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
		char *parent = xmemdup0(pattern, (size_t)(slash - pattern));

		if (watch_names_add(parents, parent))
			add_own(f, parent, false);
		else
			free(parent);
	}
	add(f, pattern, false);
}

void watch_filters_make(
    struct watch_filters *f, const struct telex_watch_options *o, char *const *patterns, size_t n)
{
	struct watch_names *parents;

	*f = (struct watch_filters){.n = 0};
	for (size_t i = 0; o->exclude && o->exclude[i]; i++)
		add(f, o->exclude[i], true);
	add_depth(f, o->depth);
	if (patterns != NULL) {
		parents = watch_names_new();
		for (size_t i = 0; i < n; i++)
			add_with_parents(f, parents, patterns[i]);
		watch_names_free(parents);
		add(f, "*", true);
	} else if (o->include && o->include[0]) {
		for (size_t i = 0; o->include[i]; i++)
			add(f, o->include[i], false);
		add(f, "*/", false);
		add(f, "*", true);
	}
}

void watch_filters_clear(struct watch_filters *f)
{
	for (size_t i = 0; i < f->n_texts; i++)
		free(f->texts[i]);
	free(f->texts);
	free(f->list);
	*f = (struct watch_filters){.n = 0};
}
