/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A real telexd in a temporary folder, whose workers are the test itself (peer.h). Every wait has a
 * deadline; what does not come fails the test.
 */
#ifndef TX_TESTS_KEEPER_RIG_H
#define TX_TESTS_KEEPER_RIG_H

#include <stdbool.h>
#include <sys/types.h>

#include "tests/support/peer_job.h"

#define RIG_DEADLINE_MS 120000

struct rig {
	char dir[64];
	pid_t pid; /* of telexd; 0: it was waited for */
	bool copied;
	int listener;
	int status; /* as of waitpid, after rig_wait */
};

/* Starts telexd with `config` added to the usual lines. Its stderr goes to DIR/log. */
void rig_start(struct rig *r, const char *config);
/* The same, with the program copied to DIR/telexd, so that it can be replaced. */
void rig_start_copy(struct rig *r, const char *config);
/* Puts another program of the build, "telexd" say, in that one's place. */
void rig_replace(struct rig *r, const char *name);
/* A file in its folder. */
void rig_write(struct rig *r, const char *name, const char *text);
/* Writes its configuration anew; it is not told. */
void rig_configure(struct rig *r, const char *config);
/* It stands still from its next instruction on, and goes on. */
void rig_pause(struct rig *r);
void rig_go_on(struct rig *r);
/* Asks it to end and checks that it ends well; removes the folder. */
void rig_stop(struct rig *r);
/* Waits for its end. */
void rig_wait(struct rig *r);
/* Whether its log holds the words. */
bool rig_logged(const struct rig *r, const char *words);

/* Fails the test, after the end of the last started telexd's log: what it says is why. */
void rig_fail(const char *what) __attribute__((noreturn));
/* Polls until fn(arg) holds; fails the test when it does not in time. */
void rig_until(bool (*fn)(void *arg), void *arg, const char *what);

#endif
