/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Certificates and keys as files. A file is written beside its place, flushed and moved there: it
 * is whole or it is not there. Keys are 0600 from their first byte, certificates 0644. Nothing is
 * written over without `force`. What a writer that was killed left beside its place (it may hold a
 * key) is removed by the next one that writes into the folder.
 */
#ifndef TX_CERTS_CERTFILE_H
#define TX_CERTS_CERTFILE_H

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#include "common/err.h"

enum certfile_kind {
	CERTFILE_CERTIFICATE, /* 0644 */
	CERTFILE_KEY,         /* 0600 */
};

/* DIR/NAMESUFFIX. TX_ETOOBIG when it does not fit. */
int certfile_path(
    char out[PATH_MAX], const char *dir, const char *name, const char *suffix, struct err *e);
bool certfile_exists(const char *path); /* a symbolic link to nowhere exists too */
/* One folder of mode 0700; none is made when it is there. */
int certfile_make_dir(const char *dir, struct err *e);

/* TX_EEXIST when something is at `path` and force is false. */
int certfile_write(const char *path, const char *text, size_t len, enum certfile_kind kind,
    bool force, struct err *e);
/*
 * A certificate and its key. Both are written beside their places before either is moved, so a full
 * disk changes neither. Without force, either being there is TX_EEXIST and changes nothing. With
 * force a writer that is cut off leaves what tls_read_pair reads as both old or both new.
 */
int certfile_write_pair(const char *certificate_path, const char *certificate,
    size_t certificate_len, const char *key_path, const char *key, size_t key_len, bool force,
    struct err *e);

/* As tls_read_file, for what is secret. TX_EPERM when others than its owner may read it; the
 * message has the chmod to type. */
int certfile_read_key(const char *path, char **text, size_t *len, struct err *e);
/* The same of an open file, which stays open. */
int certfile_read_key_fd(int fd, const char *path, char **text, size_t *len, struct err *e);

#endif
