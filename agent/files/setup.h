/* SPDX-License-Identifier: Apache-2.0 */
/* What FILES_SETUP makes of a telex-files: its roles, and its locking in to them. */
#ifndef TX_FILES_SETUP_H
#define TX_FILES_SETUP_H

#include <stddef.h>

#include "agent/files/sandbox.h"
#include "agent/files/serve.h"
#include "common/confine.h"
#include "common/err.h"
#include "telex/internal/v1/files.pb-c.h"

/* Zero is none. Must not move once it was taken: `ready` points into it. */
struct setup {
	struct serve_role *roles;
	struct roots **roots; /* theirs */
	size_t n_roles;
	struct confine_report confinement; /* with what sandbox_enter has done */
	Telex__Internal__V1__FilesReady ready;
	Telex__V1__Confinement list[CONFINE_MEASURES_MAX], *of[CONFINE_MEASURES_MAX];
};

/* After sandbox_enter: takes the roles (to watch: only where they may), and closes the sandbox.
 * Negative with *e filled. */
int setup_take(struct setup *s, enum sandbox_kind kind, const Telex__Internal__V1__FilesSetup *m,
    struct err *e);
void setup_clear(struct setup *s);

#endif
