/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/files/methods.h"

#include <string.h>

#include "telex/v1/file.pb-c.h"

static const struct files_method_row rows[] = {
    {"Stat", &telex__v1__stat_request__descriptor, fs_stat},
};

const struct files_method_row *methods_find(const char *name)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		if (strcmp(rows[i].name, name) == 0)
			return &rows[i];
	return NULL;
}
