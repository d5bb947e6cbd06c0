/* SPDX-License-Identifier: Apache-2.0 */
/* Memory as a file: memfds, made, sealed and taken over with checks. The lowest layer of ring,
 * job_spec and job_record. */
#ifndef TX_COMMON_MEMFILE_H
#define TX_COMMON_MEMFILE_H

#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/err.h"

/* The seals of a memfd that nobody can change any more. */
#define MEMFILE_FROZEN (F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK)

/* A new empty memfd: close-on-exec, sealable, not executable where the kernel knows that. *fd is
 * the caller's. */
int memfile_new(const char *name, int *fd, struct err *e);

/* Adds seals (F_SEAL_…). */
int memfile_seal(int fd, int seals, struct err *e);

/* A memfd that holds a copy of data[0..len), frozen and sealed for ever. *fd is the caller's. */
int memfile_freeze(const char *name, const void *data, size_t len, int *fd, struct err *e);

/* The same with a copy of a regular file's first `max` bytes at most, of this mode; what was copied
 * stays nowhere else in our memory. TX_EINVAL: it is no regular file; TX_ETOOBIG: it is longer. */
int memfile_copy(const char *name, int from, size_t max, mode_t mode, int *fd, struct err *e);

/*
 * Copies the content of a foreign memfd that must be frozen and hold 1 to `max` bytes; *data is the
 * caller's to free. TX_EPROTO: not a memfd, not frozen, or empty; TX_ETOOBIG: above `max`.
 */
int memfile_load(int fd, size_t max, uint8_t **data, size_t *len, struct err *e);

#endif
