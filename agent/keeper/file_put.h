/* SPDX-License-Identifier: Apache-2.0 */
/* Files that are whole or not there: what the keeper keeps for its workers. */
#ifndef TX_KEEPER_FILE_PUT_H
#define TX_KEEPER_FILE_PUT_H

#include <stddef.h>
#include <sys/types.h>

#include "common/err.h"

/* Written beside its place, flushed, and moved there: after a power cut the old one or the new. */
int file_put(const char *path, const void *bytes, size_t len, mode_t mode, struct err *e);

/*
 * A certificate and its key, which are of use together only. Both are written beside their places
 * (.telex-renewed) before either is moved; what a crash leaves half done, file_finish_pair ends or
 * undoes.
 */
int file_put_pair(const char *certificate_path, const void *certificate, size_t certificate_len,
    const char *key_path, const void *key, size_t key_len, struct err *e);
/* Before the two are read. Failures are logged. */
void file_finish_pair(const char *certificate_path, const char *key_path);

#endif
