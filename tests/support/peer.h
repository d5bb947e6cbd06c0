/* SPDX-License-Identifier: Apache-2.0 */
/* One worker's end of a link to the keeper, in the test. */
#ifndef TX_TESTS_PEER_H
#define TX_TESTS_PEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "common/keeper_msg.h"

struct rig;
struct peer {
	int fd;      /* the link */
	int process; /* the socket to the fake worker: its end is the process's end */
	pid_t pid;
	int list; /* the revocation list that it was given at its start, or -1 */
	/* What the policy, the certificate and the key begin with that it was given. */
	char policy[64], certificate[64], key[64];
	uint32_t left; /* the attachment that was detached last, or 0: its notes may be under way */
};

/* Takes the next worker, through to KM_READY. */
void rig_accept(struct rig *r, struct peer *p);
/* The same up to KM_GO: it is not ready. */
void rig_accept_early(struct rig *r, struct peer *p);
/* Is the worker that is tried before an upgrade: ready, and ended. */
void rig_pass_check(struct rig *r);
/* Whether the keeper answers a question before it ends the link. Its pings are answered. */
bool peer_answers(struct peer *p);
/* The process is killed and the link ends with it. */
void peer_kill(struct peer *p);
void peer_close(struct peer *p);
/* Takes everything up to the link's end; the process stays. */
void peer_expect_end(struct peer *p);
/* As peer_answers, and takes what else comes before the answer. */
bool peer_answers_between(struct peer *p);
/* Waits until the keeper has ended it. */
void peer_expect_death(struct peer *p);

void peer_send(struct peer *p, uint16_t type, uint64_t seq, void *msg, int fd);
void peer_send_raw(struct peer *p, const void *bytes, size_t len);
/* The next message that is no ping (pings are answered). *fd -1: it carried none. */
void peer_recv(struct peer *p, union km_any *m, int *fd);
/* The next one, which must be of this type. */
void peer_expect(struct peer *p, uint16_t type, union km_any *m);

#endif
