/* SPDX-License-Identifier: Apache-2.0 */
/* Files as ls(1) lists them: names in columns or one a line, or -l. */
#ifndef TX_CLI_FS_LIST_H
#define TX_CLI_FS_LIST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "lib/telex.h"

struct fs_list_row;

struct fs_list {
	bool is_long, human;
	bool terminal; /* names are escaped */
	bool columns;  /* else one a line */
	struct fs_list_row *rows;
	size_t n, room;
	uint64_t blocks;
};

/* Copies it. */
void fs_list_add(struct fs_list *l, const struct telex_file *file, const char *name);
void fs_list_print(const struct fs_list *l);
/* With "name:" before it (NULL: not), a blank line before that, and with -l its total. */
void fs_list_print_folder(const struct fs_list *l, const char *name, bool blank);
/* The names of the folders in it, NULL-terminated; all the caller's to free. */
char **fs_list_folders(const struct fs_list *l);
void fs_list_clear(struct fs_list *l);

#endif
