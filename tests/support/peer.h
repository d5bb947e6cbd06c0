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

#define PEER_HELD 64

/* A message that came before the one that was waited for. */
struct peer_note {
	union km_any m;
	int fd; /* -1: it carried none */
};

/*
 * What the keeper tells of a job that a peer is attached to may come at any moment, also before an
 * answer that the peer waits for: it is held until it is asked for, in its order. What is still
 * told of one that was detached is dropped.
 */
struct peer {
	int fd;      /* the link */
	int process; /* the socket to the fake worker: its end is the process's end */
	pid_t pid;
	int list; /* the revocation list that it was given at its start, or -1 */
	/* What the policy, the certificate and the key begin with that it was given. */
	char policy[64], certificate[64], key[64];
	/* Numbers of attachments that were detached: their notes may be under way. */
	uint32_t left[PEER_HELD];
	size_t n_left;
	uint32_t joined[PEER_HELD]; /* and of those that are there */
	size_t n_joined;
	struct peer_note held[PEER_HELD];
	size_t n_held;
	bool queues; /* starts that are queued are what the test is about (peer_job.h) */
};

/* Takes the next worker, through to KM_READY. */
void rig_accept(struct rig *r, struct peer *p);
/* The same up to KM_GO: it is not ready. */
void rig_accept_early(struct rig *r, struct peer *p);
/* Is the worker that is tried before an upgrade: ready, and ended. */
void rig_pass_check(struct rig *r);
/* Whether the keeper answers a question before it ends the link, and says nothing else before but
 * of jobs. Its pings are answered. */
bool peer_answers(struct peer *p);
/* The process is killed and the link ends with it. */
void peer_kill(struct peer *p);
void peer_close(struct peer *p);
/* Takes everything up to the link's end; the process stays. */
void peer_expect_end(struct peer *p);
/* As peer_answers, and takes what else it says before the answer. */
bool peer_answers_between(struct peer *p);
/* Waits until the keeper has ended it. */
void peer_expect_death(struct peer *p);

void peer_send(struct peer *p, uint16_t type, uint64_t seq, void *msg, int fd);
void peer_send_raw(struct peer *p, const void *bytes, size_t len);
/* The next message that is no ping (pings are answered). *fd -1: it carried none. */
void peer_recv(struct peer *p, union km_any *m, int *fd);
/* The next one, which must be of this type; where that is not told of a job, the next of those. */
void peer_expect(struct peer *p, uint16_t type, union km_any *m);
/* The answer to the question of that number. *fd as of peer_recv. */
void peer_answer(struct peer *p, uint64_t seq, union km_any *m, int *fd);
/* Until the keeper tells this attachment that it runs, or has ended; what else it tells is held. */
void peer_await_running(struct peer *p, uint32_t att, union km_any *m);
/* The next one that is told of this attachment; of others, only those that are there are told. */
void peer_recv_of(struct peer *p, uint32_t att, union km_any *m, int *fd);
/* The attachment is there from now on; or its number is free, and what is told of it is dropped. */
void peer_join(struct peer *p, uint32_t att);
void peer_leave(struct peer *p, uint32_t att);

#endif
