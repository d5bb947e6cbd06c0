/* SPDX-License-Identifier: Apache-2.0 */
/* Names of a tree's entries: which are allowed, and which the filters take. */
#include <fnmatch.h>
#include <limits.h>
#include <string.h>

#include "common/glob.h"
#include "common/tree.h"

static bool component_valid(const uint8_t *at, size_t len)
{
	return len > 0 && len <= NAME_MAX && !(len == 1 && at[0] == '.') &&
	       !(len == 2 && at[0] == '.' && at[1] == '.');
}

bool tree_path_valid(const uint8_t *path, size_t len)
{
	const uint8_t *at = path, *end;

	if (len == 0)
		return true;
	if (len > TREE_PATH_MAX || memchr(path, 0, len) != NULL)
		return false;
	end = path + len;
	for (;;) {
		const uint8_t *slash = memchr(at, '/', (size_t)(end - at));
		const uint8_t *to = slash != NULL ? slash : end;

		if (!component_valid(at, (size_t)(to - at)))
			return false;
		if (slash == NULL)
			return true;
		at = slash + 1;
	}
}

const char *tree_path_name(const char *path)
{
	const char *slash = strrchr(path, '/');

	return slash != NULL ? slash + 1 : path;
}

/* Of a path: how many folders it is below the top. */
static long depth_of(const char *path)
{
	long depth = 0;

	for (; *path != '\0'; path++)
		depth += *path == '/';
	return depth;
}

bool tree_link_stays(const char *path, const char *target)
{
	long depth = depth_of(path);
	const char *at = target;
	bool named = false;

	/* The entry that is the tree itself lies beside what is no part of it. */
	if (path[0] == '\0' || target[0] == '/' || target[0] == '\0')
		return false;
	while (*at != '\0') {
		size_t len = strcspn(at, "/");

		/* The name before may be another link, and what is above it is elsewhere then. */
		if (len == 2 && at[0] == '.' && at[1] == '.' && (named || --depth < 0))
			return false;
		named |= len > 2 || (len == 2 && (at[0] != '.' || at[1] != '.')) ||
		         (len == 1 && at[0] != '.');
		at += len;
		at += strspn(at, "/");
	}
	return true;
}

static bool matches(const char *pattern, const char *text)
{
	if (strstr(pattern, "**") != NULL)
		return glob_match(pattern, text);
	return fnmatch(pattern, text, FNM_PATHNAME) == 0;
}

static bool filter_takes(const char *filter, const char *path, bool folder)
{
	char pattern[PATH_MAX];
	size_t len = strlen(filter);

	if (len == 0 || len >= sizeof(pattern))
		return false;
	memcpy(pattern, filter, len + 1);
	if (pattern[len - 1] == '/') {
		if (!folder)
			return false;
		pattern[--len] = '\0';
	}
	if (pattern[0] == '/')
		return matches(pattern + 1, path);
	if (strchr(pattern, '/') == NULL)
		return matches(pattern, tree_path_name(path));
	/* Anywhere below: against the path, and against what follows each of its slashes. */
	for (const char *at = path; at != NULL; at = strchr(at, '/')) {
		at += *at == '/';
		if (matches(pattern, at))
			return true;
	}
	return false;
}

bool tree_excluded(const Telex__V1__TreeOptions *options, const char *path, bool folder)
{
	for (size_t i = 0; i < options->n_filters; i++)
		if (filter_takes(options->filters[i]->pattern, path, folder))
			return options->filters[i]->exclude;
	return false;
}
