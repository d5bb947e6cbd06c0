/* SPDX-License-Identifier: Apache-2.0 */
/* Files of the agent in words: modes, sizes, times and names as ls(1) writes them, and as JSON. */
#ifndef TX_CLI_FS_WORDS_H
#define TX_CLI_FS_WORDS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "lib/telex.h"

/* "drwxr-xr-x". Returns out. */
char *fs_words_mode(char out[12], enum telex_file_type type, uint32_t mode);
/* "file", "folder", "link", "fifo", "socket", "character device", "block device", "unknown". */
const char *fs_words_type(enum telex_file_type type);
/* "4096", or for people "4.0K", rounded up. size >= 24. Returns out. */
char *fs_words_size(char *out, size_t size, uint64_t bytes, bool human);
/* "Jan 31 12:00", with the year instead where it is more than half a year from now; local time.
 * size >= 32. Returns out. */
char *fs_words_date(char *out, size_t size, int64_t ns, int64_t now_ns);
/* The owner or group: its name, or its number. size >= 12 for numbers. Returns one of both. */
const char *fs_words_owner(char *out, size_t size, const char *name, uint32_t number);

/* The name for standard output: as it is, or escaped where that is a terminal. The caller's to
 * free. */
char *fs_words_name(const char *path, bool terminal);
/* As sha256sum: a name with a newline or a backslash is escaped, and the line begins with a
 * backslash. The caller's to free. */
char *fs_words_sum(const char *hex, const char *path);
/* folder/name; an empty name: the folder; an empty folder: the name. The caller's to free. */
char *fs_words_join(const char *folder, const char *name);
/* The last component, without slashes at its end. The caller's to free. */
char *fs_words_base(const char *path);

/* Sets `key`, and where the path is not UTF-8 `key`_base64, too. */
void fs_words_path_json(json_t *object, const char *key, const char *path);
/* All that is known of it. */
json_t *fs_words_json(const struct telex_file *file, const char *path);

/* "755", "0644": octal, 0 to 07777. 0 or TX_EINVAL. */
int fs_words_octal(const char *text, unsigned *mode, struct err *e);
/* "0", "4096", "64K". 0 or TX_EINVAL. */
int fs_words_bytes(const char *text, uint64_t *bytes, struct err *e);
/* "alice", "alice:users", ":users", and "alice:" for the login group: pointers into text, which is
 * cut at the colon; NULL: not given. 0 or TX_EINVAL. */
int fs_words_owners(
    char *text, const char **owner, const char **group, bool *login_group, struct err *e);

#endif
