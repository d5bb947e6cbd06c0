/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A keeper that keeps to the contract, for a fuzzed worker: it answers what it is asked, one way or
 * another as the input says, and tells of jobs that there are none of.
 */
#ifndef TX_TESTS_FUZZ_ANSWERS_H
#define TX_TESTS_FUZZ_ANSWERS_H

#include "tests/fuzz/fuzz.h"
#include "tests/support/worker_rig.h"

#define ANSWERS_JOBS 4

struct answers_job {
	uint32_t att; /* 0: none */
	uint64_t head[3], eof;
	struct ring *rings[3];
};

struct answers {
	struct worker_rig *rig;
	struct answers_job jobs[ANSWERS_JOBS];
	int helper; /* the other end of a telex-files's socket; -1: none */
};

void answers_init(struct answers *a, struct worker_rig *rig);
void answers_free(struct answers *a);
/* Answers the oldest question of a kind, if there is one. */
void answers_give(struct answers *a, struct fuzz_input *in);
/* Something happens to a job. */
void answers_tell(struct answers *a, struct fuzz_input *in);
/* telex-files, whose user may be the client, says something. */
void answers_helper(struct answers *a, struct fuzz_input *in);

#endif
