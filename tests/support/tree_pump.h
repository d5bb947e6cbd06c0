/* SPDX-License-Identifier: Apache-2.0 */
/* A sender and a receiver of trees in one process, with queues between them that can be cut. */
#ifndef TX_TESTS_TREE_PUMP_H
#define TX_TESTS_TREE_PUMP_H

#include <stdbool.h>
#include <stddef.h>

#include "common/tree_receive.h"
#include "common/tree_send.h"

/* What was told of the totals, last. */
struct tree_pump_totals {
	unsigned told;
	uint64_t files, bytes;
	bool complete;
	size_t messages; /* of the sender's, by then */
};

struct tree_pump_result {
	bool finished;   /* the sender has its summary */
	size_t messages; /* of the sender's */
	uint64_t wire;   /* their bytes, and those of answers */
	uint64_t failed; /* as the receiver told, and the sender by itself */
	uint64_t errors;
	char reason[64], last[256]; /* of the last failure */
	uint64_t removed, unchanged, files;
	struct tree_pump_totals sender, receiver; /* by the side that told it */
	struct err err;
	int rc;
};

struct tree_pump {
	const char *source; /* a path: its last component's content becomes the target itself */
	const char *target;
	Telex__V1__TreeOptions options;
	bool late;        /* the receiver hears of nothing while the sender has anything to do */
	size_t cut_after; /* messages of the sender's; 0: never */
	struct tree_receiver_config receiver; /* what is set of it is taken over */
	struct tree_set *had, *done;
	void (*ready)(void *arg);                   /* both sides are made; the first turn comes */
	void (*between)(size_t message, void *arg); /* after each message of the sender's */
	void *arg;
};

void tree_pump_init(struct tree_pump *p, const char *source, const char *target);
struct tree_pump_result tree_pump_run(struct tree_pump *p);

#endif
