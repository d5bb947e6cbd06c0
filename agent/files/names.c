/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/files/names.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"

#define ENTRIES_MAX 100000

struct entry {
	uint32_t id;
	uint32_t group; /* of a user; the highest number: none */
	uint32_t order; /* in the file: of two with one number, the first is meant */
	char *name;
};

static struct table {
	struct entry *list; /* by id, then by order */
	size_t n;
} tables[2];

static bool read_number(const char *text, uint32_t *out)
{
	unsigned long long n;
	char *end;

	if (text[0] < '0' || text[0] > '9')
		return false;
	errno = 0;
	n = strtoull(text, &end, 10);
	*out = (uint32_t)n;
	/* The highest one means "none" to the kernel. */
	return errno == 0 && *end == '\0' && n < UINT32_MAX;
}

/* "NAME:PASSWORD:ID:…", in both files; a user's group is next. */
static void add_line(struct table *t, char *line)
{
	char *rest = line;
	const char *name = strsep(&rest, ":"), *number, *next;
	struct entry *more;
	uint32_t id, group;

	(void)strsep(&rest, ":");
	number = strsep(&rest, ":\n");
	if (number == NULL || name[0] == '\0' || t->n == ENTRIES_MAX || !read_number(number, &id))
		return;
	next = strsep(&rest, ":\n");
	if (next == NULL || !read_number(next, &group))
		group = UINT32_MAX;
	more = reallocarray(t->list, t->n + 1, sizeof(*more));
	if (more == NULL)
		return;
	t->list = more;
	more[t->n] = (struct entry){id, group, (uint32_t)t->n, strdup(name)};
	if (more[t->n].name != NULL)
		t->n++;
}

static int compare(const void *a, const void *b)
{
	const struct entry *x = a, *y = b;

	if (x->id != y->id)
		return x->id < y->id ? -1 : 1;
	return x->order < y->order ? -1 : 1;
}

static void load(struct table *t, const char *path)
{
	FILE *f = fopen(path, "re");
	char *line = NULL;
	size_t size = 0;

	if (f == NULL)
		return;
	while (getline(&line, &size, f) >= 0)
		add_line(t, line);
	free(line);
	fclose(f);
	if (t->n > 1)
		qsort(t->list, t->n, sizeof(*t->list), compare);
}

void names_load(void)
{
	names_free();
	load(&tables[NAMES_USER], "/etc/passwd");
	load(&tables[NAMES_GROUP], "/etc/group");
}

void names_free(void)
{
	for (int kind = 0; kind < 2; kind++) {
		for (size_t i = 0; i < tables[kind].n; i++)
			free(tables[kind].list[i].name);
		free(tables[kind].list);
		tables[kind] = (struct table){0};
	}
}

const char *names_of(enum names_kind kind, uint32_t id)
{
	const struct table *t = &tables[kind];
	size_t from = 0, to = t->n;

	while (from < to) {
		size_t middle = from + (to - from) / 2;

		if (t->list[middle].id < id)
			from = middle + 1;
		else
			to = middle;
	}
	return from < t->n && t->list[from].id == id ? t->list[from].name : "";
}

int names_id(enum names_kind kind, const char *text, uint32_t *id)
{
	const struct table *t = &tables[kind];

	for (size_t i = 0; i < t->n; i++)
		if (strcmp(t->list[i].name, text) == 0) {
			*id = t->list[i].id;
			return 0;
		}
	return read_number(text, id) ? 0 : TX_ENOENT;
}

int names_login_group(const char *user, uint32_t *gid)
{
	const struct table *t = &tables[NAMES_USER];

	for (size_t i = 0; i < t->n; i++)
		if (strcmp(t->list[i].name, user) == 0 && t->list[i].group != UINT32_MAX) {
			*gid = t->list[i].group;
			return 0;
		}
	return TX_ENOENT;
}
