/* SPDX-License-Identifier: Apache-2.0 */
/* The methods that telex-files serves. */
#ifndef TX_FILES_METHODS_H
#define TX_FILES_METHODS_H

#include "agent/files/call.h"

/* By name; NULL: there is none such. */
const struct files_method_row *methods_find(const char *name);

/* Each in the file of its name. */
files_method fs_checksum;
files_method fs_copy;
files_method fs_get_upload;
files_method fs_link;
files_method fs_list;
files_method fs_make_directory;
files_method fs_move;
files_method fs_read;
files_method fs_read_link;
files_method fs_remove;
files_method fs_set_attributes;
files_method fs_stat;
files_method fs_stat_filesystem; /* fs_statfs.c */
files_method fs_truncate;
files_method fs_write;
/* tree_put.c, tree_get.c */
files_method fs_put_tree, fs_get_tree;

#endif
