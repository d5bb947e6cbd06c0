/* SPDX-License-Identifier: Apache-2.0 */
/* All of it, where read(2) and write(2) may do a part or be interrupted. For files and pipes that
 * may be waited for. */
#ifndef TX_COMMON_FD_IO_H
#define TX_COMMON_FD_IO_H

#include <stddef.h>

/* 0 or an errno; then some of it may have been written. */
int fd_write_all(int fd, const void *bytes, size_t len);
/*
 * From the file's begin, whatever its offset is: an open file that several processes have shares
 * that. Up to `size` bytes, fewer where it ends before; *got says how many. 0 or an errno; *got is
 * untouched then.
 */
int fd_read_all(int fd, void *bytes, size_t size, size_t *got);

#endif
