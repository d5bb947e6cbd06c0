/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/files/methods.h"

#include <string.h>

#include "telex/v1/file.pb-c.h"

static const struct files_method_row rows[] = {
    {"Stat", &telex__v1__stat_request__descriptor, fs_stat},
    {"List", &telex__v1__file_service_list_request__descriptor, fs_list},
    {"MakeDirectory", &telex__v1__make_directory_request__descriptor, fs_make_directory},
    {"Remove", &telex__v1__file_service_remove_request__descriptor, fs_remove},
    {"Move", &telex__v1__move_request__descriptor, fs_move},
    {"Copy", &telex__v1__copy_request__descriptor, fs_copy},
    {"SetAttributes", &telex__v1__set_attributes_request__descriptor, fs_set_attributes},
    {"Link", &telex__v1__link_request__descriptor, fs_link},
    {"ReadLink", &telex__v1__read_link_request__descriptor, fs_read_link},
    {"StatFilesystem", &telex__v1__stat_filesystem_request__descriptor, fs_stat_filesystem},
    {"Checksum", &telex__v1__checksum_request__descriptor, fs_checksum},
    {"Read", &telex__v1__read_request__descriptor, fs_read},
    {"Write", &telex__v1__write_request__descriptor, fs_write},
    {"GetUpload", &telex__v1__get_upload_request__descriptor, fs_get_upload},
    {"Truncate", &telex__v1__truncate_request__descriptor, fs_truncate},
    {"PutTree", &telex__v1__put_tree_request__descriptor, fs_put_tree},
    {"GetTree", &telex__v1__get_tree_request__descriptor, fs_get_tree},
};

const struct files_method_row *methods_find(const char *name)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (strcmp(rows[i].name, name) == 0)
			return &rows[i];
	return NULL;
}
