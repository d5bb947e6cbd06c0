/* SPDX-License-Identifier: Apache-2.0 */
/* The state directory: one keeper's at a time. */
#ifndef TX_KEEPER_STATE_DIR_H
#define TX_KEEPER_STATE_DIR_H

#include "common/err.h"

/* Makes it, if need be, and locks it. *dir and *lock are the caller's to close, also when it fails
 * (-1: not opened). TX_EEXIST: another keeper has it; TX_ESYS. */
int state_dir_take(const char *path, int *dir, int *lock, struct err *e);

/* Its folder for spool files; -1, and a warning: without it there are none, and all else goes on.
 */
int state_dir_spool(int dir, const char *path);

#endif
