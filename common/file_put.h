/* SPDX-License-Identifier: Apache-2.0 */
/* Files that are whole or not there; and a certificate and its key, which are of use together only,
 * so that whoever reads them has both of before or both of after, whenever the writer was cut off.
 */
#ifndef TX_COMMON_FILE_PUT_H
#define TX_COMMON_FILE_PUT_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "common/err.h"

/* Written beside its place, flushed, and moved there: after a power cut the old one or the new. */
int file_put(const char *path, const void *bytes, size_t len, mode_t mode, struct err *e);

/* What is beside a file, path and suffix: where a link leads, as a certificate and its key are. */
int file_beside(char out[PATH_MAX], const char *path, const char *suffix, struct err *e);

/*
 * A certificate and its key. Both are written beside their places (.telex-renewed) before either is
 * moved; what a crash leaves half done, file_finish_pair ends or undoes, and file_open_pair reads
 * as if that were done already. Links are followed, and stay. One writer at a time.
 */
int file_put_pair(const char *certificate_path, const void *certificate, size_t certificate_len,
    const char *key_path, const void *key, size_t key_len, struct err *e);
/* Before the two are written anew, or read by who knows nothing of this. True: one that was cut off
 * is finished now. Failures are logged. */
bool file_finish_pair(const char *certificate_path, const char *key_path);
/* For reading; fds[0] is the certificate, fds[1] the key, both the caller's. TX_ESYS names the
 * file.
 */
int file_open_pair(const char *certificate_path, const char *key_path, int fds[2], struct err *e);

#endif
