/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/watch/watch_queue.h"

#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>

#include "common/mem.h"

#define KEPT_MAX   ((size_t)1 << 20) /* a queue that is empty is no larger */
#define LOOK_AHEAD 1024              /* events, for a partner */

void watch_queue_free(struct watch_queue *q)
{
	free(q->bytes);
	*q = (struct watch_queue){0};
}

bool watch_queue_is_empty(const struct watch_queue *q)
{
	return q->from == q->to;
}

bool watch_queue_is_full(const struct watch_queue *q)
{
	return q->to - q->from > WATCH_QUEUE_MAX;
}

void watch_queue_drop(struct watch_queue *q)
{
	q->from = q->to = 0;
}

/* ---- filling ---- */

static void make_room(struct watch_queue *q, size_t more)
{
	if (q->from > 0) {
		memmove(q->bytes, q->bytes + q->from, q->to - q->from);
		q->to -= q->from;
		q->from = 0;
	}
	if (q->room - q->to >= more)
		return;
	q->room = q->to + more + q->room / 2;
	q->bytes = xreallocarray(q->bytes, q->room, 1);
}

uint8_t *watch_queue_room(struct watch_queue *q, size_t size)
{
	if (q->room - q->to < size)
		make_room(q, size);
	return q->bytes + q->to;
}

void watch_queue_added(struct watch_queue *q, size_t added)
{
	q->to += added;
}

void watch_queue_push(struct watch_queue *q, const struct watch_event *e)
{
	const struct inotify_event head = {
	    (int)e->watch, e->mask, e->cookie, e->name == NULL ? 0 : (uint32_t)e->len + 1};
	uint8_t *at = watch_queue_room(q, sizeof(head) + head.len);

	memcpy(at, &head, sizeof(head));
	if (head.len > 0) {
		memcpy(at + sizeof(head), e->name, e->len);
		at[sizeof(head) + e->len] = '\0';
	}
	watch_queue_added(q, sizeof(head) + head.len);
}

/* ---- working off ---- */

static size_t at(const struct watch_queue *q, size_t pos, struct inotify_event *e)
{
	memcpy(e, q->bytes + pos, sizeof(*e));
	return pos + sizeof(*e) + e->len;
}

static void set_event(
    const struct watch_queue *q, size_t pos, const struct inotify_event *e, struct watch_event *out)
{
	const char *name = (const char *)q->bytes + pos + sizeof(*e);

	*out = (struct watch_event){(uint32_t)e->wd, e->mask, e->cookie, NULL, 0};
	if (e->len == 0)
		return;
	out->name = name;
	out->len = strnlen(name, e->len);
}

bool watch_queue_first(const struct watch_queue *q, struct watch_event *out)
{
	struct inotify_event e;

	if (watch_queue_is_empty(q))
		return false;
	(void)at(q, q->from, &e);
	set_event(q, q->from, &e, out);
	return true;
}

void watch_queue_next(struct watch_queue *q)
{
	struct inotify_event e;

	q->from = at(q, q->from, &e);
	if (!watch_queue_is_empty(q))
		return;
	watch_queue_drop(q);
	if (q->room > KEPT_MAX)
		watch_queue_free(q);
}

bool watch_queue_is_last(const struct watch_queue *q)
{
	struct inotify_event e;

	return at(q, q->from, &e) == q->to;
}

/* Each kind of source counts its own cookies. */
static bool is_same_kind(const struct inotify_event *a, const struct inotify_event *b)
{
	return (((uint32_t)a->wd ^ (uint32_t)b->wd) & WATCH_WIDE) == 0;
}

bool watch_queue_partner(const struct watch_queue *q, struct watch_event *out)
{
	struct inotify_event first, e;
	size_t pos = at(q, q->from, &first);

	for (int i = 0; i < LOOK_AHEAD && first.cookie != 0 && pos < q->to; i++) {
		size_t next = at(q, pos, &e);

		if (e.cookie == first.cookie && (e.mask & IN_MOVED_TO) != 0 &&
		    is_same_kind(&e, &first)) {
			set_event(q, pos, &e, out);
			return true;
		}
		pos = next;
	}
	return false;
}
