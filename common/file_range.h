/* SPDX-License-Identifier: Apache-2.0 */
/* The bytes of an open file, or of a part of it, in order. Holes are not read. */
#ifndef TX_COMMON_FILE_RANGE_H
#define TX_COMMON_FILE_RANGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define FILE_RANGE_PIECE ((size_t)256 << 10)

/* Told each piece, at most FILE_RANGE_PIECE bytes. Not 0 ends it. */
typedef int file_range_each(const void *data, size_t len, void *arg);

/*
 * From offset on, `length` bytes; 0: to the end. Holes come as zeros. *done: how many bytes were
 * told, fewer than asked for where the file ends. 0, what `each` returned, or an errno (positive).
 */
int file_range_read(
    int fd, uint64_t offset, uint64_t length, file_range_each *each, void *arg, uint64_t *done);

/* What lies at an offset before `end`: *data: bytes or a hole; *to: up to where. A file system that
 * does not tell has no holes. */
void file_range_part(int fd, uint64_t offset, uint64_t end, bool *data, uint64_t *to);

/* pread(2), again where it was cut short. 0: the file's end; -1 with errno, unless some bytes came
 * before. */
ssize_t file_range_get(int fd, void *out, size_t len, uint64_t offset);

#endif
