/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/watch/watch_source.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "agent/watch/watch_fanotify.h"
#include "agent/watch/watch_inotify.h"
#include "common/log.h"
#include "common/mem.h"

struct watch_source {
	int inotify;
	struct watch_fanotify *wide; /* NULL: there is none */
	struct watch_queue queue;
};

/* ---- life ---- */

static void begin_wide(struct watch_source *s, const struct watch_wide *wide)
{
	int error = watch_fanotify_new(&s->wide, wide);

	if (error == 0)
		log_debug("whole trees are watched by fanotify, where their file system has it");
	else
		log_info(
		    "trees are watched by inotify, as fanotify cannot be had: %s", strerror(error));
}

int watch_source_new(struct watch_source **out, const struct watch_wide *wide)
{
	int fd = watch_inotify_open();

	if (fd < 0)
		return -fd;
	*out = xcalloc(1, sizeof(**out));
	(*out)->inotify = fd;
	if (wide != NULL)
		begin_wide(*out, wide);
	return 0;
}

void watch_source_free(struct watch_source *s)
{
	if (s == NULL)
		return;
	watch_fanotify_free(s->wide);
	close(s->inotify);
	watch_queue_free(&s->queue);
	free(s);
}

size_t watch_source_poll(const struct watch_source *s, struct pollfd fds[WATCH_SOURCE_FDS])
{
	fds[0] = (struct pollfd){.fd = s->inotify, .events = POLLIN};
	if (s->wide == NULL)
		return 1;
	fds[1] = (struct pollfd){.fd = watch_fanotify_fd(s->wide), .events = POLLIN};
	fds[2] = (struct pollfd){.fd = watch_fanotify_marker_fd(s->wide), .events = POLLIN};
	return 3;
}

/* Marks that nobody can take away any more go with the group. */
static void end_wide(struct watch_source *s)
{
	if (s->wide == NULL || !watch_fanotify_is_over(s->wide))
		return;
	watch_fanotify_free(s->wide);
	s->wide = NULL;
}

void watch_source_check(struct watch_source *s)
{
	if (s->wide == NULL)
		return;
	watch_fanotify_check(s->wide);
	end_wide(s);
}

/* ---- watches ---- */

bool watch_source_cover(struct watch_source *s, int fd, struct watch_cover *out)
{
	*out = (struct watch_cover){0};
	return s->wide != NULL && watch_fanotify_cover(s->wide, fd, out);
}

void watch_source_uncover(struct watch_source *s, int fd, struct watch_cover *c)
{
	if (c->number != 0)
		watch_fanotify_uncover(s->wide, fd, c);
	*c = (struct watch_cover){0};
	end_wide(s);
}

int64_t watch_source_add(
    struct watch_source *s, int fd, uint32_t mask, bool folder, const struct watch_cover *cover)
{
	int64_t watch = 0;

	if (folder && cover != NULL && cover->number != 0)
		watch = watch_fanotify_add(s->wide, fd, mask, cover);
	return watch != 0 ? watch : watch_inotify_add(s->inotify, fd, mask, folder);
}

void watch_source_remove(struct watch_source *s, uint32_t watch)
{
	if ((watch & WATCH_WIDE) == 0)
		watch_inotify_remove(s->inotify, watch);
	else if (s->wide != NULL)
		watch_fanotify_remove(s->wide, watch);
}

size_t watch_source_memory(const struct watch_source *s)
{
	return s->queue.room + (s->wide == NULL ? 0 : watch_fanotify_memory(s->wide));
}

/* ---- the queue ---- */

bool watch_source_fill(struct watch_source *s)
{
	bool all = s->wide == NULL || watch_fanotify_fill(s->wide, &s->queue);

	return watch_inotify_fill(s->inotify, &s->queue) && all;
}

bool watch_source_first(const struct watch_source *s, struct watch_event *out)
{
	return watch_queue_first(&s->queue, out);
}

void watch_source_next(struct watch_source *s)
{
	watch_queue_next(&s->queue);
}

bool watch_source_is_last(const struct watch_source *s)
{
	return watch_queue_is_last(&s->queue);
}

bool watch_source_partner(const struct watch_source *s, struct watch_event *out)
{
	return watch_queue_partner(&s->queue, out);
}

void watch_source_overflow(struct watch_source *s)
{
	const struct watch_event e = {.watch = UINT32_MAX, .mask = IN_Q_OVERFLOW};

	(void)watch_source_fill(s);
	watch_queue_drop(&s->queue);
	watch_queue_push(&s->queue, &e);
}
