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

#include "agent/worker/id_table.h"
#include "common/log.h"
#include "common/mem.h"

struct keeper_call {
	struct id_entry entry; /* seq */
	keeper_answer *answer; /* NULL: forgotten */
	void *arg;
};

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

static void send_plain(struct keeper_client *k, uint16_t type, void *msg)
{
	int rc;

	if (k->chan == NULL)
		return;
	rc = km_send(k->chan, type, 0, msg, NULL, 0);
	if (rc < 0 && rc != TX_ECLOSED)
		log_warn("keeper: a message of type %u was not sent: %s", type, err_name(rc));
}

static void flush_release(struct keeper_attachment *a, enum km_stream stream)
{
	struct km_release m = {
	    .att = (uint32_t)a->entry.id,
	    .stream = stream,
	    .acked = a->release[stream].acked,
	    .seen = a->release[stream].seen,
	};

	a->release_due[stream] = false;
	send_plain(a->k, KM_RELEASE, &m);
}

int keeper_input_now(struct keeper_attachment *a)
{
	struct km_input m = {
	    .att = (uint32_t)a->entry.id, .eof = a->input_eof, .head = a->input_head};
	int rc;

	if (!a->input_due)
		return 0;
	if (a->k->chan == NULL)
		return TX_ECLOSED;
	rc = km_send(a->k->chan, KM_INPUT, 0, &m, NULL, 0);
	a->input_due = rc != 0;
	return rc;
}

static void flush_input(struct keeper_attachment *a)
{
	int rc = keeper_input_now(a);

	a->input_due = false;
	if (rc != 0 && rc != TX_ECLOSED)
		log_warn("keeper: input was not told: %s", err_name(rc));
}

/* Tells all that is due of one attachment, and frees it after the last. */
static void flush_attachment(struct keeper_attachment *a)
{
	struct keeper_client *k = a->k;

	if (a->input_due)
		flush_input(a);
	for (int s = KM_STDOUT; s <= KM_STDERR; s++)
		if (a->release_due[s])
			flush_release(a, (enum km_stream)s);
	if (a->detached) {
		struct km_detach m = {.att = (uint32_t)a->entry.id,
		    .delivered = (uint8_t)a->delivered,
		    .moved = a->moved};

		send_plain(k, KM_DETACH, &m);
		id_table_remove(&k->attachments, &a->entry);
		free(a);
	}
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
		flush_attachment(a);
	}
}

static void on_writable(struct km_chan *c, void *arg)
{
	struct keeper_client *k = arg;

	(void)c;
	event_active(k->flush, EV_TIMEOUT, 0);
}

static void mark_dirty(struct keeper_attachment *a)
{
	if (a->dirty)
		return;
	a->dirty = true;
	TAILQ_INSERT_TAIL(&a->k->dirty, a, link);
	event_active(a->k->flush, EV_TIMEOUT, 0);
}

static void mark_clean(struct keeper_attachment *a)
{
	if (a->dirty)
		TAILQ_REMOVE(&a->k->dirty, a, link);
	a->dirty = false;
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

/* ---- attachments ---- */

static void on_attach_answer(const union km_any *msg, int fd, void *arg)
{
	struct keeper_attachment *a = arg;

	(void)fd;
	if (msg == NULL)
		return; /* on_closed tells all attachments */
	if (msg->hdr.type == KM_JOB) {
		a->state = ATT_ATTACHED;
		if (a->detached)
			mark_dirty(a);
		else
			a->ops->job(&msg->job, a->arg);
		return;
	}
	mark_clean(a);
	id_table_remove(&a->k->attachments, &a->entry);
	a->state = ATT_OVER;
	if (a->detached) {
		free(a);
	} else if (msg->hdr.type == KM_REFUSED) {
		a->ops->refused(&msg->refused, a->arg);
	} else {
		log_error("keeper: a message of type %u is no answer to an attach", msg->hdr.type);
		a->ops->lost(a->arg);
	}
}

static int attach(struct keeper_attachment **out, struct keeper_client *k, uint16_t type, void *msg,
    uint32_t *att, int fd, const struct keeper_attachment_ops *ops, void *arg)
{
	struct keeper_attachment *a = xcalloc(1, sizeof(*a));
	int rc;

	do {
		a->entry.id = ++k->last_att;
	} while (a->entry.id == 0 || id_table_find(&k->attachments, a->entry.id) != NULL);
	a->k = k;
	a->ops = ops;
	a->arg = arg;
	a->state = ATT_ASKED;
	*att = (uint32_t)a->entry.id;
	rc = keeper_call(k, type, msg, fd, on_attach_answer, a, NULL);
	if (rc < 0) {
		free(a);
		return rc;
	}
	id_table_add(&k->attachments, &a->entry);
	*out = a;
	return 0;
}

int keeper_start(struct keeper_attachment **out, struct keeper_client *k, struct km_start *msg,
    int spec_fd, const struct keeper_attachment_ops *ops, void *arg)
{
	return attach(out, k, KM_START, msg, &msg->att, spec_fd, ops, arg);
}

int keeper_attach(struct keeper_attachment **out, struct keeper_client *k, struct km_attach *msg,
    const struct keeper_attachment_ops *ops, void *arg)
{
	return attach(out, k, KM_ATTACH, msg, &msg->att, -1, ops, arg);
}

void keeper_release(
    struct keeper_attachment *a, enum km_stream stream, uint64_t acked, uint64_t seen)
{
	if (a->state != ATT_ATTACHED)
		return;
	a->release_due[stream] = true;
	a->release[stream].acked = acked;
	a->release[stream].seen = seen;
	mark_dirty(a);
}

void keeper_input(struct keeper_attachment *a, uint64_t head, bool eof)
{
	if (a->state != ATT_ATTACHED)
		return;
	a->input_due = true;
	a->input_head = head;
	a->input_eof = eof;
	mark_dirty(a);
}

void keeper_detach(struct keeper_attachment *a, enum km_delivered delivered)
{
	if (a == NULL)
		return;
	assert(!a->detached);
	a->detached = true;
	a->delivered = delivered;
	a->moved = a->k->moving;
	if (a->state == ATT_OVER)
		free(a);
	else if (a->state == ATT_ATTACHED)
		mark_dirty(a);
	/* ATT_ASKED: the answer decides whether there is something to detach from. */
}

/* One that its owner still listens to; NULL: it has let go, and what is under way for it is
 * dropped. */
static struct keeper_attachment *listening(struct keeper_client *k, uint32_t att)
{
	struct keeper_attachment *a =
	    (struct keeper_attachment *)id_table_find(&k->attachments, att);

	return a != NULL && a->state == ATT_ATTACHED && !a->detached ? a : NULL;
}

static void on_ring(struct keeper_client *k, const struct km_ring *m, int fd)
{
	struct keeper_attachment *a = listening(k, m->att);

	if (a != NULL)
		a->ops->ring(m, fd, a->arg);
}

static void on_spool(struct keeper_client *k, const struct km_spool *m, int fd)
{
	struct keeper_attachment *a = listening(k, m->att);

	if (a != NULL && a->ops->spool != NULL)
		a->ops->spool(m, fd, a->arg);
}

/* The keeper has forgotten it: there is nothing to detach from. */
static void on_detached(struct keeper_client *k, const struct km_detached *m)
{
	const struct km_refused why = {.why = m->why};
	struct keeper_attachment *a =
	    (struct keeper_attachment *)id_table_find(&k->attachments, m->att);

	if (a == NULL || a->state != ATT_ATTACHED)
		return;
	mark_clean(a);
	id_table_remove(&k->attachments, &a->entry);
	a->state = ATT_OVER;
	if (a->detached)
		free(a);
	else
		a->ops->refused(&why, a->arg);
}

/* What it was to read from did not come: it alone ends. */
static void on_store_lost(struct keeper_client *k, uint32_t att)
{
	const struct km_refused why = {.why = KM_WHY_SYSTEM,
	    .sys_errno = EMFILE,
	    .text = "the agent's worker is out of file descriptors"};
	struct keeper_attachment *a = listening(k, att);
	struct km_detach m = {.att = att};

	if (a == NULL)
		return;
	mark_clean(a);
	id_table_remove(&k->attachments, &a->entry);
	a->state = ATT_OVER;
	send_plain(k, KM_DETACH, &m);
	a->ops->refused(&why, a->arg);
}

static void on_wake(struct keeper_client *k, const struct km_wake *m)
{
	struct keeper_attachment *a = listening(k, m->att);

	if (a != NULL)
		a->ops->wake(m->eof, a->arg);
}

static void on_input_done(struct keeper_client *k, const struct km_input_done *m)
{
	struct keeper_attachment *a = listening(k, m->att);

	if (a != NULL)
		a->ops->input_done(m, a->arg);
}

static void on_running(struct keeper_client *k, const struct km_running *m)
{
	struct keeper_attachment *a = listening(k, m->att);

	if (a != NULL && a->ops->running != NULL)
		a->ops->running(m, a->arg);
}

static void on_ended(struct keeper_client *k, const struct km_ended *m)
{
	struct keeper_attachment *a = listening(k, m->att);

	if (a != NULL)
		a->ops->ended(&m->exit, a->arg);
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
		on_ring(k, &msg->ring, fd);
		break;
	case KM_SPOOL:
		on_spool(k, &msg->spool, fd);
		break;
	case KM_DETACHED:
		on_detached(k, &msg->detached);
		break;
	case KM_WAKE:
		on_wake(k, &msg->wake);
		break;
	case KM_INPUT_DONE:
		on_input_done(k, &msg->input_done);
		break;
	case KM_RUNNING:
		on_running(k, &msg->running);
		break;
	case KM_ENDED:
		on_ended(k, &msg->ended);
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
		on_store_lost(k, msg->ring.att);
		return 0;
	case KM_SPOOL:
		on_store_lost(k, msg->spool.att);
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

		mark_clean(a);
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
	send_plain(k, KM_READY, &m);
}

void keeper_client_moving(struct keeper_client *k)
{
	k->moving = true;
}

void keeper_client_failed(struct keeper_client *k, const char *text)
{
	struct km_failed m = {0};

	snprintf(m.text, sizeof(m.text), "%s", text);
	send_plain(k, KM_FAILED, &m);
}
