/* SPDX-License-Identifier: Apache-2.0 */
/* A worker's end of a telex-files, in the test: the stand-in of fake_files.c, which says of itself
 * what it is. */
#ifndef TX_TESTS_PEER_FILES_H
#define TX_TESTS_PEER_FILES_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "tests/support/keeper_rig.h"

struct peer_files {
	int fd;
	pid_t pid;
	char home[KM_HOME_SIZE];
	char text[4096]; /* what it says of itself */
};

/* KM_FILES; key: to watch, all its bytes this one; -1: not to. */
void peer_files_ask(struct peer *p, uint64_t seq, const char *owner, const char *user, int key);
/* The answer, which must be one, and its text. */
void peer_files_take(struct peer *p, struct peer_files *h);
/* Both. */
void peer_files_start(
    struct peer *p, struct peer_files *h, const char *owner, const char *user, int key);
void peer_files_assert_says(const struct peer_files *h, const char *line);
/* The answer must be KM_REFUSED, for this reason. */
void peer_files_assert_refused(struct peer *p, uint32_t why);

/* For rig_until; arg: the peer_files. Its process is gone; its socket is at its end. */
bool peer_files_is_gone(void *arg);
bool peer_files_is_closed(void *arg);

/* Whether the keeper's own record holds these words. */
bool peer_files_recorded(const struct rig *r, const char *words);

#endif
