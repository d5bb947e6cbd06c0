/* SPDX-License-Identifier: Apache-2.0 */
/* The symbols of all files in one sorted array; the files' own bytes stay as they were compiled in.
 */
#include "agent/worker/reflection_index.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "common/err.h"
#include "common/mem.h"
#include "descriptor_index.pb-c.h"

struct symbol {
	char *name;
	int file;
	bool message;
};

struct reflection_index {
	Telex__Descriptor__FileSet *set; /* owns the files' bytes */
	Telex__Descriptor__File **files;
	size_t n_files;
	struct symbol *symbols;
	size_t n_symbols, capacity;
};

/* ---- building ---- */

/* Adds scope.name and returns it; it is the table's. */
static const char *add(
    struct reflection_index *x, int file, const char *scope, const char *name, bool message)
{
	struct symbol *s;

	if (x->n_symbols == x->capacity) {
		x->capacity = x->capacity == 0 ? 256 : x->capacity * 2;
		x->symbols = xreallocarray(x->symbols, x->capacity, sizeof(*x->symbols));
	}
	s = &x->symbols[x->n_symbols++];
	s->name = scope[0] == '\0' ? xstrdup(name) : xasprintf("%s.%s", scope, name);
	s->file = file;
	s->message = message;
	return s->name;
}

static void add_message(
    struct reflection_index *x, int file, const char *scope, const Telex__Descriptor__Message *m)
{
	const char *name = add(x, file, scope, m->name, true);

	for (size_t i = 0; i < m->n_field; i++)
		add(x, file, name, m->field[i]->name, false);
	for (size_t i = 0; i < m->n_enum_type; i++)
		add(x, file, name, m->enum_type[i]->name, false);
	for (size_t i = 0; i < m->n_nested_type; i++)
		add_message(x, file, name, m->nested_type[i]);
}

static void add_file(struct reflection_index *x, int file)
{
	const Telex__Descriptor__File *f = x->files[file];

	for (size_t i = 0; i < f->n_message_type; i++)
		add_message(x, file, f->package, f->message_type[i]);
	for (size_t i = 0; i < f->n_enum_type; i++)
		add(x, file, f->package, f->enum_type[i]->name, false);
	for (size_t i = 0; i < f->n_service; i++) {
		const Telex__Descriptor__Service *s = f->service[i];
		const char *name = add(x, file, f->package, s->name, false);

		for (size_t j = 0; j < s->n_method; j++)
			add(x, file, name, s->method[j]->name, false);
	}
}

static int compare(const void *a, const void *b)
{
	const struct symbol *l = a, *r = b;

	return strcmp(l->name, r->name);
}

int reflection_index_new(struct reflection_index **out, const uint8_t *data, size_t len)
{
	struct reflection_index *x = xcalloc(1, sizeof(*x));

	x->set = telex__descriptor__file_set__unpack(NULL, len, data);
	if (x->set == NULL)
		goto broken;
	x->files = xcalloc(x->set->n_file + 1, sizeof(*x->files));
	for (size_t i = 0; i < x->set->n_file; i++) {
		const ProtobufCBinaryData *bytes = &x->set->file[i];

		x->files[i] = telex__descriptor__file__unpack(NULL, bytes->len, bytes->data);
		if (x->files[i] == NULL)
			goto broken;
		x->n_files++;
		add_file(x, (int)i);
	}
	if (x->n_symbols > 0)
		qsort(x->symbols, x->n_symbols, sizeof(*x->symbols), compare);
	*out = x;
	return 0;
broken:
	reflection_index_free(x);
	return TX_EPROTO;
}

void reflection_index_free(struct reflection_index *x)
{
	if (x == NULL)
		return;
	for (size_t i = 0; i < x->n_symbols; i++)
		free(x->symbols[i].name);
	for (size_t i = 0; i < x->n_files; i++)
		telex__descriptor__file__free_unpacked(x->files[i], NULL);
	if (x->set != NULL)
		telex__descriptor__file_set__free_unpacked(x->set, NULL);
	free(x->symbols);
	free(x->files);
	free(x);
}

/* ---- looking up ---- */

static const struct symbol *find(const struct reflection_index *x, const char *name)
{
	struct symbol key = {.name = (char *)name};

	if (x->n_symbols == 0)
		return NULL;
	return bsearch(&key, x->symbols, x->n_symbols, sizeof(key), compare);
}

int reflection_index_file(const struct reflection_index *x, const char *name)
{
	for (size_t i = 0; i < x->n_files; i++)
		if (strcmp(x->files[i]->name, name) == 0)
			return (int)i;
	return TX_ENOENT;
}

int reflection_index_symbol(const struct reflection_index *x, const char *symbol)
{
	const struct symbol *s = find(x, symbol);

	return s != NULL ? s->file : TX_ENOENT;
}

bool reflection_index_is_message(const struct reflection_index *x, const char *symbol)
{
	const struct symbol *s = find(x, symbol);

	return s != NULL && s->message;
}

const uint8_t *reflection_index_bytes(const struct reflection_index *x, int file, size_t *len)
{
	*len = x->set->file[file].len;
	return x->set->file[file].data;
}

size_t reflection_index_files(const struct reflection_index *x)
{
	return x->n_files;
}

static bool contains(const int *files, size_t n, int file)
{
	for (size_t i = 0; i < n; i++)
		if (files[i] == file)
			return true;
	return false;
}

size_t reflection_index_closure(const struct reflection_index *x, int file, int *files)
{
	size_t n = 0;

	files[n++] = file;
	for (size_t done = 0; done < n; done++) {
		const Telex__Descriptor__File *f = x->files[files[done]];

		for (size_t i = 0; i < f->n_dependency; i++) {
			int import = reflection_index_file(x, f->dependency[i]);

			if (import >= 0 && !contains(files, n, import))
				files[n++] = import;
		}
	}
	return n;
}
