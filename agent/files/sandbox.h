/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How telex-files is locked in, in three steps: to what the agent's ceiling says, before it reads
 * anything of a worker's; to what the roles say; and when it holds all it needs, to its system
 * calls.
 */
#ifndef TX_FILES_SANDBOX_H
#define TX_FILES_SANDBOX_H

#include <stddef.h>

#include "common/confine.h"
#include "common/err.h"

struct roots;

enum sandbox_kind { SANDBOX_FILES, SANDBOX_WATCH };

/* No new privileges, no core, not to be looked into; as root the capabilities of file work alone
 * (to watch: that of looking), as another user none. With folders (absolute, of the ceiling): they,
 * and nothing else of the file system but what is looked up; a kernel without Landlock is a failure
 * then. */
int sandbox_enter(struct confine_report *r, enum sandbox_kind kind, const char *const *folders,
    size_t n, struct err *e);

/* Of the file system what the roots of all roles come to; and only the system calls of
 * sandbox_calls, or sandbox_watch_calls. */
int sandbox_close(struct confine_report *r, enum sandbox_kind kind, struct roots *const *roots,
    size_t n_roots, struct err *e);

/* The process that marks file systems (watch_marker.h): no file at all, CAP_SYS_ADMIN alone, and
 * sandbox_marker_calls. */
int sandbox_marker(void);

/* NULL at its end. */
extern const char *const sandbox_calls[], *const sandbox_watch_calls[],
                                              *const sandbox_marker_calls[];

#endif
