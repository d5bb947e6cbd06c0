/* SPDX-License-Identifier: Apache-2.0 */
/* A tree as a client of a watch has it: paths, and what is there. */
#ifndef TX_TESTS_WATCH_MODEL_H
#define TX_TESTS_WATCH_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct model_entry {
	char *path; /* "": the root */
	uint64_t inode, size;
	int64_t mtime_ns;
	uint32_t mode;
	int type; /* DT_… */
};

/* Sorted: a folder, then all that is below it. Begins as {0}. */
struct model {
	struct model_entry *list;
	size_t n, room;
};

void model_free(struct model *m);
void model_clear(struct model *m);
/* Its path is copied. */
void model_put(struct model *m, const char *path, const struct model_entry *e);
/* With all below it. */
void model_drop(struct model *m, const char *path);
struct model_entry *model_get(const struct model *m, const char *path);
/* A path, which is there, and all below it. `to` is not there. */
void model_rename(struct model *m, const char *from, const char *to);
/* Prints the first differences. Of folders, size and times do not count. */
bool model_equal(const struct model *a, const struct model *b, const char *what);

#endif
