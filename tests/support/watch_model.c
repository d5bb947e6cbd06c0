/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/watch_model.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/mem.h"

void model_clear(struct model *m)
{
	for (size_t i = 0; i < m->n; i++)
		free(m->list[i].path);
	m->n = 0;
}

void model_free(struct model *m)
{
	model_clear(m);
	free(m->list);
	*m = (struct model){0};
}

/* '/' is before all else: what is below a folder follows it. */
static int compare(const char *a, const char *b)
{
	while (*a != '\0' && *a == *b)
		a++, b++;
	if (*a == *b)
		return 0;
	if (*a == '\0' || *b == '\0')
		return *a == '\0' ? -1 : 1;
	if (*a == '/' || *b == '/')
		return *a == '/' ? -1 : 1;
	return (unsigned char)*a < (unsigned char)*b ? -1 : 1;
}

/* Of the first that is not before `path`. */
static size_t place(const struct model *m, const char *path)
{
	size_t from = 0, to = m->n;

	while (from < to) {
		size_t mid = (from + to) / 2;

		if (compare(m->list[mid].path, path) < 0)
			from = mid + 1;
		else
			to = mid;
	}
	return from;
}

struct model_entry *model_get(const struct model *m, const char *path)
{
	size_t i = place(m, path);

	return i < m->n && strcmp(m->list[i].path, path) == 0 ? &m->list[i] : NULL;
}

void model_put(struct model *m, const char *path, const struct model_entry *e)
{
	size_t i = place(m, path);
	char *copy = xstrdup(path);

	if (i < m->n && strcmp(m->list[i].path, path) == 0) {
		free(m->list[i].path);
	} else {
		if (m->n == m->room) {
			m->room = 2 * m->room + 64;
			m->list = xreallocarray(m->list, m->room, sizeof(*m->list));
		}
		memmove(&m->list[i + 1], &m->list[i], (m->n - i) * sizeof(*m->list));
		m->n++;
	}
	m->list[i] = *e;
	m->list[i].path = copy;
}

static bool is_below(const char *path, const char *top)
{
	size_t len = strlen(top);

	return len == 0 ||
	       (strncmp(path, top, len) == 0 && (path[len] == '/' || path[len] == '\0'));
}

void model_drop(struct model *m, const char *path)
{
	size_t from = place(m, path), to = from;

	for (; to < m->n && is_below(m->list[to].path, path); to++)
		free(m->list[to].path);
	if (to > from)
		memmove(&m->list[from], &m->list[to], (m->n - to) * sizeof(*m->list));
	m->n -= to - from;
}

void model_rename(struct model *m, const char *from, const char *to)
{
	struct model moved = {0};
	size_t at = place(m, from);

	for (; at < m->n && is_below(m->list[at].path, from); at++) {
		char *path = xasprintf("%s%s", to, m->list[at].path + strlen(from));

		model_put(&moved, path, &m->list[at]);
		free(path);
	}
	model_drop(m, from);
	for (size_t i = 0; i < moved.n; i++)
		model_put(m, moved.list[i].path, &moved.list[i]);
	model_free(&moved);
}

static bool same(const struct model_entry *a, const struct model_entry *b)
{
	if (a->type != b->type || a->inode != b->inode || a->mode != b->mode)
		return false;
	return a->type == DT_DIR || (a->size == b->size && a->mtime_ns == b->mtime_ns);
}

static void print(const char *which, const struct model_entry *e)
{
	fprintf(stderr, "%s: '%s' type %d mode %o inode %llu size %llu mtime %lld\n", which,
	    e->path, e->type, e->mode, (unsigned long long)e->inode, (unsigned long long)e->size,
	    (long long)e->mtime_ns);
}

bool model_equal(const struct model *a, const struct model *b, const char *what)
{
	size_t i = 0, k = 0, wrong = 0;

	while ((i < a->n || k < b->n) && wrong < 10) {
		int order = i == a->n   ? 1
		            : k == b->n ? -1
		                        : compare(a->list[i].path, b->list[k].path);

		if (order == 0 && same(&a->list[i], &b->list[k])) {
			i++, k++;
			continue;
		}
		if (wrong++ == 0)
			fprintf(stderr, "%s: %zu and %zu entries\n", what, a->n, b->n);
		if (order <= 0)
			print("  one", &a->list[i++]);
		if (order >= 0)
			print("  other", &b->list[k++]);
	}
	return wrong == 0;
}
