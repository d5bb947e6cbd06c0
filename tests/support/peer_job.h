/* SPDX-License-Identifier: Apache-2.0 */
/* A job as a worker sees it that is attached to it; and what tests look for in it. */
#ifndef TX_TESTS_PEER_JOB_H
#define TX_TESTS_PEER_JOB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/job_spec.h"
#include "common/keeper_msg.h"
#include "tests/support/peer.h"

#define PEER_OWNER "spiffe://test/user/one" /* for whom peers ask */

/* An output as a client would have it. */
struct peer_output {
	struct ring *ring;
	uint8_t *data;
	size_t len, size;
	uint64_t offset; /* of the next byte */
	int spool;       /* when spooled: what is before the ring's tail */
	uint64_t spool_base;
	bool spooled;
	bool eof;
};

/* What came of one attachment, in the order in which it must come. */
struct peer_job {
	uint32_t att;
	struct km_job job; /* the answer */
	struct peer_output out[3];
	struct ring *input;
	struct km_input_done input_done;
	struct km_running running; /* pid 0: it did not come */
	bool ended;
	struct km_exit exit;
};

/* A spec with sensible defaults: sh -c SCRIPT. */
void peer_spec(struct job_spec *spec, char *argv[4], char *script);
/*
 * KM_START; the answer is left in *m. A start that takes long is answered as QUEUED, and so it is
 * where a machine stands still for a moment: then what comes of it is waited for, and is as if it
 * had come at once. Not where the spec has a group, or p->queues.
 */
void peer_start(
    struct peer *p, uint32_t att, const char *id, const struct job_spec *spec, union km_any *m);
/* The same, which must be granted. */
void peer_run(
    struct peer *p, struct peer_job *pj, uint32_t att, const char *id, const struct job_spec *spec);
/* Only asks, with the number 7. */
void peer_ask_start(struct peer *p, uint32_t att, const char *id, const struct job_spec *spec);
/* Until one that has room in its group is no longer queued. */
void peer_until_started(struct peer *p, const char *id);
void peer_attach(struct peer *p, struct peer_job *pj, uint32_t att, const char *id,
    uint64_t offset_out, uint64_t offset_err, bool want_stdin);

/* Takes one message of the attachment and acts as a worker does: reads, and acknowledges when
 * `ack`. */
void peer_step(struct peer *p, struct peer_job *pj, bool ack);
/* Until the exit. */
void peer_finish(struct peer *p, struct peer_job *pj);
/* delivered: as KM_DETACH says. */
void peer_detach(struct peer *p, struct peer_job *pj, uint8_t delivered);
void peer_release(struct peer *p, uint32_t att, uint32_t stream, uint64_t acked, uint64_t seen);
/* Puts bytes into stdin (no more than the ring has room for). */
void peer_input(struct peer *p, struct peer_job *pj, const void *data, size_t len, bool eof);
/* The mappings and the data; the attachment stays. */
void peer_job_free(struct peer_job *pj);

/* All that came on an output so far. */
void peer_assert_output(const struct peer_job *pj, int s, const char *text);
/* A script that writes so many lines whose bytes depend on their offset; and that they came, from
 * `from` to the end. */
void peer_pattern_script(char *out, size_t size, int lines);
void peer_assert_pattern(const struct peer_output *o, uint64_t from, int lines);
/* The state of a job by KM_LIST; 0: there is none. */
int peer_job_state(struct peer *p, const char *id);

#endif
