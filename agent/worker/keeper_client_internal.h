/* SPDX-License-Identifier: Apache-2.0 */
/* What keeper_client.c (the link, and questions) and keeper_attach.c (attachments) share; nobody
 * else includes it. */
#ifndef TX_WORKER_KEEPER_CLIENT_INTERNAL_H
#define TX_WORKER_KEEPER_CLIENT_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "agent/worker/id_table.h"
#include "agent/worker/keeper_client.h"

struct event;

enum att_state {
	ATT_ASKED,    /* no answer yet */
	ATT_ATTACHED, /* KM_JOB came */
	ATT_OVER,     /* refused, or the keeper is gone: not in the table */
};

struct keeper_attachment {
	struct id_entry entry; /* att */
	struct keeper_client *k;
	const struct keeper_attachment_ops *ops;
	void *arg;
	enum att_state state;
	bool detached, moved; /* its owner has let go */
	enum km_delivered delivered;
	bool dirty; /* on the list */
	bool release_due[3], input_due;
	struct {
		uint64_t acked, seen;
	} release[3];
	uint64_t input_head;
	bool input_eof;
	TAILQ_ENTRY(keeper_attachment) link;
};

struct keeper_client {
	struct km_chan *chan; /* NULL: the keeper is gone */
	struct event *flush;
	const struct keeper_client_ops *ops;
	void *arg;
	struct id_table calls, attachments;
	uint64_t last_seq;
	uint32_t last_att;
	bool moving;
	TAILQ_HEAD(, keeper_attachment) dirty;
};

/* keeper_client.c: what has no answer; nothing where the keeper is gone. */
void keeper_send(struct keeper_client *k, uint16_t type, void *msg);

/* keeper_attach.c: tells all that is due of one, and frees it after the last. */
void keeper_attachment_flush(struct keeper_attachment *a);
/* It has nothing to tell any more. */
void keeper_attachment_mark_clean(struct keeper_attachment *a);
/* The keeper's messages. */
void keeper_attachment_on_ring(struct keeper_client *k, const struct km_ring *m, int fd);
void keeper_attachment_on_spool(struct keeper_client *k, const struct km_spool *m, int fd);
void keeper_attachment_on_detached(struct keeper_client *k, const struct km_detached *m);
void keeper_attachment_on_wake(struct keeper_client *k, const struct km_wake *m);
void keeper_attachment_on_input_done(struct keeper_client *k, const struct km_input_done *m);
void keeper_attachment_on_running(struct keeper_client *k, const struct km_running *m);
void keeper_attachment_on_ended(struct keeper_client *k, const struct km_ended *m);
/* What it was to read from did not come. */
void keeper_attachment_on_store_lost(struct keeper_client *k, uint32_t att);

#endif
