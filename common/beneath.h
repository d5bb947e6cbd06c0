/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opens a name of one or several components below a folder: through no symbolic link, not above it.
 * openat2(2) with RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS; where the kernel
 * has none (before 5.6), component by component with O_NOFOLLOW, which comes to the same.
 */
#ifndef TX_COMMON_BENEATH_H
#define TX_COMMON_BENEATH_H

#include <stdbool.h>

/* flags: open(2)'s without O_CREAT; O_CLOEXEC and O_NOCTTY are added. name: relative, no "..". -1
 * with errno: EXDEV for a name that leads above, ELOOP for a link on the way. */
int open_beneath(int dir_fd, const char *name, int flags);

/* The same with O_CREAT: a file of that mode (less the umask). */
int open_beneath_make(int dir_fd, const char *name, int flags, unsigned mode);

/* With `follow`, links are followed, wherever they lead (the name may not be a peer's then). */
int open_below(int dir_fd, const char *name, int flags, bool follow);

#endif
