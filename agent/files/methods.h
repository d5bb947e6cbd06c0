/* SPDX-License-Identifier: Apache-2.0 */
/* The methods that telex-files serves. */
#ifndef TX_FILES_METHODS_H
#define TX_FILES_METHODS_H

#include "agent/files/call.h"

/* By name; NULL: there is none such. */
const struct files_method_row *methods_find(const char *name);

/* fs_stat.c */
files_method fs_stat;

#endif
