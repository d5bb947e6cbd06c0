/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The inside of transfers: what put and get share (transfer.c), and each one's own part.
 *
 * A transfer is a row of sessions: one call each, with an engine (tree_send.h, tree_receive.h) that
 * begins anew. What is done is remembered over sessions by `set`, so that it is not sent again.
 */
#ifndef TX_LIB_TRANSFER_H
#define TX_LIB_TRANSFER_H

#include "common/tree_receive.h"
#include "common/tree_send.h"
#include "lib/client.h"
#include "lib/transfer_paths.h"

struct watchdog;

struct telex_transfer {
	struct call call;
	struct telex_transfer_options o; /* its own copies */
	struct telex_transfer_ops ops;
	void *arg;
	const struct transfer_side *side;
	Telex__V1__TreeOptions tree;
	struct transfer_paths paths; /* the local ones */
	char id[33];                 /* the same when the same is typed again */
	struct tree_set *set;        /* what is done */
	struct telex_transfer_summary summary;
	struct event *turn; /* does a bit more */
	struct watchdog *watchdog;
	/* Of the session: */
	struct tree_sender *sender;
	struct tree_receiver *receiver;
	bool started;               /* put: the agent has said so */
	bool ended;                 /* our half is closed: all is done */
	struct telex_error failure; /* why we end it; kind OK: we do not */
	/* Of all: */
	char *base;      /* put: what the target is, as the agent said first; NULL: it has not */
	bool opened;     /* once */
	int64_t lost_ns; /* since when; 0: it is not lost */
	int64_t paid_ns; /* with a rate: what went is paid for until then */
	size_t owed;     /* get, with a rate: credit that is held back until then */
	unsigned deaths; /* of the agent's process for files, since the last file that was done */
	bool in_callback, cancelled, over;
};

/* What put and get differ in. */
struct transfer_side {
	const struct call_method *method;
	/* Opens local files, once. 0, or -1 and *error. */
	int (*prepare)(struct telex_transfer *t, struct telex_error *error);
	/* A session begins: makes the engine and sends the first message. TX_E…; *error filled. */
	int (*begin)(struct telex_transfer *t, struct telex_error *error);
	/* Does a bit. 1: there is more; 0: not now; TX_E…. */
	int (*step)(struct telex_transfer *t, struct err *e);
	/* A response's inside, by its field. */
	int (*take)(struct telex_transfer *t, uint32_t field, const uint8_t *msg, size_t len,
	    struct err *e);
	uint32_t request_field; /* what our engine's messages are in */
};

/* The engines' callbacks; arg is the transfer. */
int transfer_emit(const struct tree_span *parts, size_t n, void *arg);
void transfer_note(const struct tree_note *note, void *arg);
/* All is done: our half of the call ends. */
void transfer_finish(struct telex_transfer *t);
void transfer_schedule(struct telex_transfer *t);

extern const struct transfer_side transfer_put_side, transfer_get_side;

#endif
