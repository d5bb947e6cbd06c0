/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The sender of a tree: walks the sources, tells the receiver of each name, and sends the contents
 * that it wants; small ones at once, where that was asked for. Contents that are wanted go before
 * new names, so that neither side has to wait for the other.
 */
#ifndef TX_COMMON_TREE_SEND_H
#define TX_COMMON_TREE_SEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/err.h"
#include "common/tree.h"
#include "common/tree_receive.h"
#include "common/tree_walk.h"

struct tree_sender;

struct tree_sender_config {
	const Telex__V1__TreeOptions *options;
	const struct tree_source *sources;
	size_t n_sources;
	const char *salt;  /* of upload ids: where it goes */
	const char *title; /* what the empty path is called in messages; NULL: "the target" */
	const struct tree_set *had; /* these are sent as unless_same; may be NULL */
	struct tree_set *done;      /* gets what the receiver has; may be NULL */
	/* Whether the name may be read; NULL: yes. */
	bool (*allowed)(const struct tree_name *name, void *arg);
	tree_emit *emit;                                       /* TreeSend */
	void (*note)(const struct tree_note *note, void *arg); /* may be NULL */
	void *arg;
};

/* All of it is copied but what pointers point to, which must last. TX_ENOMEM. */
int tree_sender_new(struct tree_sender **out, const struct tree_sender_config *cfg);
void tree_sender_free(struct tree_sender *s); /* NULL is allowed */

/* Does a little: emits at most about 512 KiB. 1: there is more to do; 0: not until something was
 * received; TX_ENOMEM, or what emit returned. */
int tree_sender_step(struct tree_sender *s);
/* One TreeReceive, packed. TX_EPROTO with *e, TX_ENOMEM. */
int tree_sender_receive(struct tree_sender *s, const uint8_t *msg, size_t len, struct err *e);
/* The receiver's summary has come: NULL before. Its `failed` and ours are all that went wrong. */
const Telex__V1__TreeSummary *tree_sender_summary(const struct tree_sender *s);
uint64_t tree_sender_errors(const struct tree_sender *s); /* what could not be read here */
/* Bytes of content that were emitted. */
uint64_t tree_sender_bytes(const struct tree_sender *s);

#endif
