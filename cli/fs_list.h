/* SPDX-License-Identifier: Apache-2.0 */
/* Files as ls(1) lists them: names in columns or one a line, or -l. A list that is too long to be
 * held is printed in parts: each has widths of its own, and of a folder there is no total. */
#ifndef TX_CLI_FS_LIST_H
#define TX_CLI_FS_LIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/telex.h"

struct fs_list_row;

enum fs_list_order { FS_LIST_NAME, FS_LIST_TIME, FS_LIST_SIZE, FS_LIST_NONE };

struct fs_list {
	bool is_long, human;
	bool numeric; /* owners and groups by number */
	bool marks;   /* of what kind it is, behind a name: / * @ | = */
	enum fs_list_order order;
	bool reverse;
	bool terminal; /* names are escaped */
	bool columns;  /* else one a line */
	struct fs_list_row *rows;
	size_t n, room;
	size_t bytes; /* that are held */
	uint64_t blocks;
	bool begun; /* a part of the folder was printed */
};

#define FS_LIST_HELD   ((size_t)16 << 20)  /* bytes; more is printed in parts */
#define FS_LIST_SORTED ((size_t)256 << 20) /* as long as it is to be sorted; more is refused */

/* Copies it. */
void fs_list_add(struct fs_list *l, const struct telex_file *file, const char *name);
/* In its order; by name where that leaves two alike. As ls(1): newest and largest first. */
void fs_list_sort(struct fs_list *l);
/* Whether it is to be in another order than the agent gave it in: then it is one whole. */
bool fs_list_sorts(const struct fs_list *l);
void fs_list_print(const struct fs_list *l);
/* With "name:" before it (NULL: not), a blank line before that, and with -l its total. */
void fs_list_print_folder(const struct fs_list *l, const char *name, bool blank);
/* Where more is held than should be, prints it as a part, and drops it. Whether it did. */
bool fs_list_print_part(struct fs_list *l, const char *name, bool blank);
/* The nth row's name, and which folder it is; NULL: none. */
const char *fs_list_folder(const struct fs_list *l, size_t n, struct telex_file_identity *identity);
void fs_list_clear(struct fs_list *l);

#endif
