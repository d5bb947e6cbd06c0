/* SPDX-License-Identifier: Apache-2.0 */
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/alloc_libs.h"

/* SQLite asks how large a block is. */
#define HEAD 16

static void *sql_malloc(int size)
{
	char *p = malloc((size_t)size + HEAD);

	if (p == NULL)
		return NULL;
	memcpy(p, &size, sizeof(size));
	return p + HEAD;
}

static void sql_free(void *p)
{
	if (p != NULL)
		free((char *)p - HEAD);
}

static void *sql_realloc(void *p, int size)
{
	char *q = realloc(p == NULL ? NULL : (char *)p - HEAD, (size_t)size + HEAD);

	if (q == NULL)
		return NULL;
	memcpy(q, &size, sizeof(size));
	return q + HEAD;
}

static int sql_size(void *p)
{
	int size = 0;

	if (p != NULL)
		memcpy(&size, (char *)p - HEAD, sizeof(size));
	return size;
}

static int sql_round(int size)
{
	return (size + 7) & ~7;
}

static int sql_start(void *arg)
{
	(void)arg;
	return SQLITE_OK;
}

static void sql_stop(void *arg)
{
	(void)arg;
}

static const sqlite3_mem_methods sql_methods = {
    sql_malloc, sql_free, sql_realloc, sql_size, sql_round, sql_start, sql_stop, NULL};

bool alloc_sqlite(void)
{
	return sqlite3_config(SQLITE_CONFIG_MALLOC, &sql_methods) == SQLITE_OK;
}
