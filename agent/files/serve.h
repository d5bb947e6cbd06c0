/* SPDX-License-Identifier: Apache-2.0 */
/*
 * call.h over the worker's socket: the frames of common/files_frame.h, blocking, one call after the
 * other.
 */
#ifndef TX_FILES_SERVE_H
#define TX_FILES_SERVE_H

#include <stddef.h>
#include <stdint.h>

#include "agent/files/call.h"
#include "common/err.h"
#include "telex/internal/v1/files.pb-c.h"

/* What one role allows; by its number in FilesSetup. */
struct serve_role {
	struct roots *roots; /* the caller's */
	uint64_t max_upload_bytes, max_upload_files, max_unfinished;
};

/* A call's state from the first to the last of them; fd stays the caller's. NULL: out of memory. */
struct call *serve_new(int fd);
void serve_free(struct call *c);

/* Waits for FILES_SETUP; *out is the caller's to free. TX_ECLOSED, TX_EPROTO, TX_ENOMEM. */
int serve_setup(struct call *c, Telex__Internal__V1__FilesSetup **out);
/* FILES_READY; or FILES_STATUS, for a setup that failed. */
int serve_ready(struct call *c, const Telex__Internal__V1__FilesReady *ready);
int serve_failed(struct call *c, const struct err *why);

/*
 * Serves until the worker is gone (0) or breaks the contract (TX_EPROTO; TX_ENOMEM, TX_ESYS).
 * find: methods_find.
 */
int serve_calls(struct call *c, const struct serve_role *roles, size_t n_roles,
    const struct files_method_row *(*find)(const char *name));

#endif
