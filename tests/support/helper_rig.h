/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A telex-files of a worker's, and the keeper that gives it: the test is both, behind an asker.
 * What does not come fails the test.
 */
#ifndef TX_TESTS_SUPPORT_HELPER_RIG_H
#define TX_TESTS_SUPPORT_HELPER_RIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/keeper_msg.h"
#include "telex/internal/v1/files.pb-c.h"
#include "tests/support/asker.h"

#define HELPER_RIGS 80 /* in one test */

/* The other end of the worker's socket. */
struct helper_rig {
	int fd; /* -1: closed */
	struct km_files asked;
	uint8_t in[1 << 20];
	size_t len;
};

/* For a test's set_up and tear_down: they are its until then. */
void helper_rigs_begin(void);
void helper_rigs_end(void);

/* ---- the keeper's side ---- */

/* Whether it was asked for one. */
bool helper_asked(struct asker *f, union km_any *m);
void helper_not_asked(struct asker *f);
/* Answers its next question with a new one, which must be asked for this user. */
struct helper_rig *helper_give(struct asker *f, const char *user);
/* The same, and says that it is ready. */
struct helper_rig *helper_give_ready(struct asker *f, const char *user);

/* ---- the helper's side ---- */

void helper_frame(
    struct asker *f, struct helper_rig *h, uint32_t type, const void *body, size_t len);
/* The next frame's type and body; 0: nothing comes; -1: the worker has closed. */
int helper_next(struct asker *f, struct helper_rig *h, uint8_t *body, size_t size, size_t *len);
void helper_expect(struct asker *f, struct helper_rig *h, int type);
Telex__Internal__V1__FilesSetup *helper_expect_setup(struct asker *f, struct helper_rig *h);
void helper_ready(struct asker *f, struct helper_rig *h); /* takes the setup */
void helper_expect_call(struct asker *f, struct helper_rig *h, const char *method, uint32_t role);
void helper_status(struct asker *f, struct helper_rig *h, uint32_t code, const char *reason);
void helper_hang_up(struct asker *f, struct helper_rig *h);

#endif
