/* SPDX-License-Identifier: Apache-2.0 */
/* Attachments: keeper_client.h has what they are, keeper_client.c the link that they are on. */
#include <assert.h>
#include <errno.h>
#include <event2/event.h>
#include <stdlib.h>

#include "agent/worker/keeper_client_internal.h"
#include "common/log.h"
#include "common/mem.h"

/* ---- telling the keeper ---- */

static void flush_release(struct keeper_attachment *a, enum km_stream stream)
{
	struct km_release m = {
	    .att = (uint32_t)a->entry.id,
	    .stream = stream,
	    .acked = a->release[stream].acked,
	    .seen = a->release[stream].seen,
	};

	a->release_due[stream] = false;
	keeper_send(a->k, KM_RELEASE, &m);
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
void keeper_attachment_flush(struct keeper_attachment *a)
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

		keeper_send(k, KM_DETACH, &m);
		id_table_remove(&k->attachments, &a->entry);
		free(a);
	}
}

static void mark_dirty(struct keeper_attachment *a)
{
	if (a->dirty)
		return;
	a->dirty = true;
	TAILQ_INSERT_TAIL(&a->k->dirty, a, link);
	event_active(a->k->flush, EV_TIMEOUT, 0);
}

void keeper_attachment_mark_clean(struct keeper_attachment *a)
{
	if (a->dirty)
		TAILQ_REMOVE(&a->k->dirty, a, link);
	a->dirty = false;
}

/* ---- asking for one, and letting go ---- */

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
	keeper_attachment_mark_clean(a);
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

/* ---- what the keeper says of them ---- */

/* One that its owner still listens to; NULL: it has let go, and what is under way for it is
 * dropped. */
static struct keeper_attachment *listening(struct keeper_client *k, uint32_t att)
{
	struct keeper_attachment *a =
	    (struct keeper_attachment *)id_table_find(&k->attachments, att);

	return a != NULL && a->state == ATT_ATTACHED && !a->detached ? a : NULL;
}

void keeper_attachment_on_ring(struct keeper_client *k, const struct km_ring *m, int fd)
{
	struct keeper_attachment *a = listening(k, m->att);

	if (a != NULL)
		a->ops->ring(m, fd, a->arg);
}

void keeper_attachment_on_spool(struct keeper_client *k, const struct km_spool *m, int fd)
{
	struct keeper_attachment *a = listening(k, m->att);

	if (a != NULL && a->ops->spool != NULL)
		a->ops->spool(m, fd, a->arg);
}

/* The keeper has forgotten it: there is nothing to detach from. */
void keeper_attachment_on_detached(struct keeper_client *k, const struct km_detached *m)
{
	const struct km_refused why = {.why = m->why};
	struct keeper_attachment *a =
	    (struct keeper_attachment *)id_table_find(&k->attachments, m->att);

	if (a == NULL || a->state != ATT_ATTACHED)
		return;
	keeper_attachment_mark_clean(a);
	id_table_remove(&k->attachments, &a->entry);
	a->state = ATT_OVER;
	if (a->detached)
		free(a);
	else
		a->ops->refused(&why, a->arg);
}

/* What it was to read from did not come: it alone ends. */
void keeper_attachment_on_store_lost(struct keeper_client *k, uint32_t att)
{
	const struct km_refused why = {.why = KM_WHY_SYSTEM,
	    .sys_errno = EMFILE,
	    .text = "the agent's worker is out of file descriptors"};
	struct keeper_attachment *a = listening(k, att);
	struct km_detach m = {.att = att};

	if (a == NULL)
		return;
	keeper_attachment_mark_clean(a);
	id_table_remove(&k->attachments, &a->entry);
	a->state = ATT_OVER;
	keeper_send(k, KM_DETACH, &m);
	a->ops->refused(&why, a->arg);
}

void keeper_attachment_on_wake(struct keeper_client *k, const struct km_wake *m)
{
	struct keeper_attachment *a = listening(k, m->att);

	if (a != NULL)
		a->ops->wake(m->eof, a->arg);
}

void keeper_attachment_on_input_done(struct keeper_client *k, const struct km_input_done *m)
{
	struct keeper_attachment *a = listening(k, m->att);

	if (a != NULL)
		a->ops->input_done(m, a->arg);
}

void keeper_attachment_on_running(struct keeper_client *k, const struct km_running *m)
{
	struct keeper_attachment *a = listening(k, m->att);

	if (a != NULL && a->ops->running != NULL)
		a->ops->running(m, a->arg);
}

void keeper_attachment_on_ended(struct keeper_client *k, const struct km_ended *m)
{
	struct keeper_attachment *a = listening(k, m->att);

	if (a != NULL)
		a->ops->ended(&m->exit, a->arg);
}
