/* SPDX-License-Identifier: Apache-2.0 */
/* What the calls of FileService have in common: their paths, and files as the public struct. */
#ifndef TX_LIB_FILE_INFO_H
#define TX_LIB_FILE_INFO_H

#include "lib/telex.h"
#include "telex/v1/file.pb-c.h"

#define FILE_INFO_SERVICE "telex.v1.FileService"

/* The user and the path of a request, lent as request_text does. `what` names the path in the
 * error. 0, or -1 and *error. */
int file_info_path(
    ProtobufCBinaryData *out, const char *what, const char *path, struct telex_error *error);
char *file_info_user(const char *user);

/* The result points into the message and into itself. */
struct file_info {
	struct telex_file file;
	char *text; /* paths and names, NUL-terminated, one block */
	struct telex_attribute *extended;
};

/* `in` may be NULL: nothing is known. 0 or TX_ENOMEM; free it in any case. */
int file_info(struct file_info *out, const Telex__V1__FileInfo *in);
void file_info_free(struct file_info *f);

#endif
