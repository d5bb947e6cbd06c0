/* SPDX-License-Identifier: Apache-2.0 */
/* Files in the making lie in the folder of what they will be, as ".telex-ID.part" (temp_file.h,
 * tree_store.c): what is common to those of all kinds. */
#ifndef TX_COMMON_PARTS_H
#define TX_COMMON_PARTS_H

#include <stdbool.h>

#define PARTS_ID_MAX 32 /* digits, 0-9 a-f */

/* Whether a folder's entry is called like one: to be passed over by what lists, copies or removes.
 */
bool parts_is_name(const char *name);

/* Of one that was cut: whether it is worth keeping, to be gone on with. Not when nothing is in it,
 * nor when `most` others of this user's that hold something lie in the folder (which may be
 * O_PATH). Where the folder cannot be read: yes. */
bool parts_keep(int dir_fd, const char *name, unsigned most);

#endif
