/* SPDX-License-Identifier: Apache-2.0 */
/* The names of users and groups, from /etc/passwd and /etc/group as they were when this process
 * began: in its sandbox it cannot look. */
#ifndef TX_FILES_NAMES_H
#define TX_FILES_NAMES_H

#include <stdint.h>

enum names_kind { NAMES_USER, NAMES_GROUP };

/* Reads both. A file that cannot be read has no names. */
void names_load(void);
void names_free(void);
/* The first name of a number; "" for none. Lives until names_free. */
const char *names_of(enum names_kind kind, uint32_t id);
/* "NAME" or a number in decimal. TX_ENOENT: neither. */
int names_id(enum names_kind kind, const char *text, uint32_t *id);
/* The login group of a user, by name alone. TX_ENOENT: there is none of this name. */
int names_login_group(const char *user, uint32_t *gid);

#endif
