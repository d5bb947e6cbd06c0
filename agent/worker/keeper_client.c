/* SPDX-License-Identifier: Apache-2.0 */
/*
 * See keeper_client.h. Every attachment is in `attachments` from its request until it is detached
 * or refused; one that its owner detached stays, silent, until the keeper has answered its request
 * and has been told. What has something to tell is on the `dirty` list, which flush() works off
 * while the link takes messages.
 */
#include "agent/worker/keeper_client.h"

#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#include "agent/worker/keeper_client_internal.h"
#include "common/log.h"
#include "common/mem.h"

struct keeper_call {
	struct id_entry entry; /* seq */
	keeper_answer *answer; /* NULL: forgotten */
	void *arg;
};

/* ---- sending ---- */

static int send_pong(struct keeper_client *k, uint64_t seq)
{
	struct km_pong m = {0};

	if (k->ops->pong != NULL)
		k->ops->pong(&m, k->arg);
	return km_send(k->chan, KM_PONG, seq, &m, NULL, 0);
}

void keeper_client_pong(struct keeper_client *k)
{
	if (k->chan != NULL)
		(void)send_pong(k, 0);
}

void keeper_send(struct keeper_client *k, uint16_t type, void *msg)
{
	int rc;

	if (k->chan == NULL)
		return;
	rc = km_send(k->chan, type, 0, msg, NULL, 0);
	if (rc < 0 && rc != TX_ECLOSED)
		log_warn("keeper: a message of type %u was not sent: %s", type, err_name(rc));
}

static void on_flush(evutil_socket_t fd, short what, void *arg)
{
	struct keeper_client *k = arg;
	struct keeper_attachment *a;

	(void)fd;
	(void)what;
	while (k->chan != NULL && !km_chan_busy(k->chan) && (a = TAILQ_FIRST(&k->dirty)) != NULL) {
		TAILQ_REMOVE(&k->dirty, a, link);
		a->dirty = false;
		keeper_attachment_flush(a);
	}
}

static void on_writable(struct km_chan *c, void *arg)
{
	struct keeper_client *k = arg;

	(void)c;
	event_active(k->flush, EV_TIMEOUT, 0);
}

/* ---- requests ---- */

int keeper_call(struct keeper_client *k, uint16_t type, void *msg, int fd, keeper_answer *answer,
    void *arg, struct keeper_call **out)
{
	struct keeper_call *c;
	int rc;

	if (k->chan == NULL)
		return TX_ECLOSED;
	rc = km_send(k->chan, type, k->last_seq + 1, msg, &fd, fd < 0 ? 0 : 1);
	if (rc < 0)
		return rc;
	c = xcalloc(1, sizeof(*c));
	c->entry.id = ++k->last_seq;
	c->answer = answer;
	c->arg = arg;
	id_table_add(&k->calls, &c->entry);
	if (out != NULL)
		*out = c;
	return 0;
}

void keeper_call_forget(struct keeper_call *c)
{
	if (c != NULL)
		c->answer = NULL;
}

static int on_answer(struct keeper_client *k, const union km_any *msg, int fd)
{
	struct keeper_call *c = (struct keeper_call *)id_table_find(&k->calls, msg->hdr.seq);

	if (c == NULL) {
		log_error("keeper: an answer to no question (type %u)", msg->hdr.type);
		return TX_EPROTO;
	}
	id_table_remove(&k->calls, &c->entry);
	if (c->answer != NULL)
		c->answer(msg, fd, c->arg);
	free(c);
	return 0;
}

/* ---- the link ---- */

static void close_all(const int *fds, size_t n)
{
	for (size_t i = 0; i < n; i++)
		close(fds[i]);
}

static int on_message(struct km_chan *c, const union km_any *msg, int *fds, size_t n_fds, void *arg)
{
	struct keeper_client *k = arg;
	int fd = n_fds > 0 ? fds[0] : -1;
	int rc = 0;

	switch (msg->hdr.type) {
	case KM_CONFIG:
	case KM_LISTEN:
	case KM_FILE:
		return k->ops->control(msg, fds, n_fds, k->arg);
	case KM_GO:
		km_chan_set_state(c, KM_LINK_CONFIGURED);
		return k->ops->control(msg, fds, n_fds, k->arg);
	case KM_DRAIN:
		km_chan_set_state(c, KM_LINK_DRAINING);
		return k->ops->control(msg, fds, n_fds, k->arg);
	case KM_PING:
		rc = send_pong(k, msg->hdr.seq);
		break;
	case KM_RING:
		keeper_attachment_on_ring(k, &msg->ring, fd);
		break;
	case KM_SPOOL:
		keeper_attachment_on_spool(k, &msg->spool, fd);
		break;
	case KM_DETACHED:
		keeper_attachment_on_detached(k, &msg->detached);
		break;
	case KM_WAKE:
		keeper_attachment_on_wake(k, &msg->wake);
		break;
	case KM_INPUT_DONE:
		keeper_attachment_on_input_done(k, &msg->input_done);
		break;
	case KM_RUNNING:
		keeper_attachment_on_running(k, &msg->running);
		break;
	case KM_ENDED:
		keeper_attachment_on_ended(k, &msg->ended);
		break;
	default: /* JOB, REFUSED, DONE, TABLE, INFO_REPLY, GROUP_REPLY, FILES_REPLY: km_check lets
	            nothing else through */
		rc = on_answer(k, msg, fd);
	}
	close_all(fds, n_fds);
	return rc;
}

/* This process has no room for a descriptor: that concerns whom it was for, and nobody else. */
static int on_starved(struct km_chan *c, const union km_any *msg, void *arg)
{
	union km_any refused = {.refused = {.hdr = msg->hdr,
	                            .why = KM_WHY_SYSTEM,
	                            .sys_errno = EMFILE,
	                            .text = "the agent's worker is out of file descriptors"}};
	struct keeper_client *k = arg;

	(void)c;
	switch (msg->hdr.type) {
	case KM_RING:
		keeper_attachment_on_store_lost(k, msg->ring.att);
		return 0;
	case KM_SPOOL:
		keeper_attachment_on_store_lost(k, msg->spool.att);
		return 0;
	case KM_TABLE:
	case KM_FILES_REPLY:
		refused.hdr.type = KM_REFUSED;
		return on_answer(k, &refused, -1);
	default:
		return TX_ESYS;
	}
}

static void on_closed(struct km_chan *c, const struct err *why, void *arg)
{
	struct keeper_client *k = arg;
	struct id_entry *e;

	(void)c;
	km_chan_free(k->chan);
	k->chan = NULL;
	while ((e = id_table_pop(&k->calls)) != NULL) {
		struct keeper_call *call = (struct keeper_call *)e;

		if (call->answer != NULL)
			call->answer(NULL, -1, call->arg);
		free(call);
	}
	while ((e = id_table_pop(&k->attachments)) != NULL) {
		struct keeper_attachment *a = (struct keeper_attachment *)e;

		keeper_attachment_mark_clean(a);
		a->state = ATT_OVER;
		if (a->detached)
			free(a);
		else
			a->ops->lost(a->arg);
	}
	k->ops->lost(why, k->arg);
}

void keeper_client_leave(struct keeper_client *k)
{
	struct err e;

	if (k->chan == NULL)
		return;
	err_set(&e, TX_ECLOSED, "this worker is being replaced");
	on_closed(k->chan, &e, k);
}

int keeper_client_new(struct keeper_client **out, struct event_base *base, int fd,
    const struct keeper_client_ops *ops, void *arg, struct err *e)
{
	static const struct km_chan_ops chan_ops = {.on_message = on_message,
	    .on_starved = on_starved,
	    .on_writable = on_writable,
	    .on_closed = on_closed};
	struct keeper_client *k = xcalloc(1, sizeof(*k));
	int rc;

	k->ops = ops;
	k->arg = arg;
	TAILQ_INIT(&k->dirty);
	id_table_init(&k->calls);
	id_table_init(&k->attachments);
	k->flush = event_new(base, -1, 0, on_flush, k);
	if (k->flush == NULL)
		abort();
	rc = km_chan_new(&k->chan, base, fd, KM_WORKER, &chan_ops, k, e);
	if (rc < 0)
		keeper_client_free(k);
	else
		*out = k;
	return rc;
}

void keeper_client_free(struct keeper_client *k)
{
	struct id_entry *e;

	if (k == NULL)
		return;
	while ((e = id_table_pop(&k->calls)) != NULL)
		free(e);
	while ((e = id_table_pop(&k->attachments)) != NULL) {
		assert(((struct keeper_attachment *)e)->detached);
		free(e);
	}
	km_chan_free(k->chan);
	event_free(k->flush);
	id_table_clear(&k->calls);
	id_table_clear(&k->attachments);
	free(k);
}

void keeper_client_ready(struct keeper_client *k)
{
	struct km_ready m = {0};

	km_chan_set_state(k->chan, KM_LINK_READY);
	keeper_send(k, KM_READY, &m);
}

void keeper_client_moving(struct keeper_client *k)
{
	k->moving = true;
}

void keeper_client_failed(struct keeper_client *k, const char *text)
{
	struct km_failed m = {0};

	snprintf(m.text, sizeof(m.text), "%s", text);
	keeper_send(k, KM_FAILED, &m);
}
