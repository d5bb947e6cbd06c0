/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/keeper/list_check.h"

#include <errno.h>
#include <event2/event.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#include "agent/keeper/renew_child.h"
#include "common/duration.h"
#include "common/log.h"
#include "common/memfile.h"
#include "common/renew_frame.h"
#include "common/revocation_file.h"

struct waiting {
	TAILQ_ENTRY(waiting) link;
	uint8_t *pem;
	size_t len;
	void *owner; /* NULL: it is gone */
	uint64_t seq;
};

struct list_check {
	struct renew_child *child; /* it reads the first that waits */
	list_checked *done;
	struct config *config;
	bool outdated;        /* what it read does not wait any more */
	const void *last;     /* whose it read last; only to be compared */
	int64_t not_until_ns; /* monotonic: of the next one's begin */
	struct event *pause;
	TAILQ_HEAD(, waiting) queue;
};

static void end(struct list_check *c, struct waiting *w, const struct revocation_record *list)
{
	TAILQ_REMOVE(&c->queue, w, link);
	if (w->owner != NULL)
		c->done(list, w->owner, w->seq);
	free(w->pem);
	free(w);
}

/* A file of the keeper's own: what the worker gave has one offset for all who hold it. */
static int begin(struct list_check *c, const struct waiting *w, struct err *e)
{
	struct renew_order o = {
	    .mode = "list", .fds = {-1, -1, -1, -1}, .second = RENEW_FRAME_ABOUT_MAX - 1};
	int rc = memfile_freeze("telex-revocations", w->pem, w->len, &o.fds[0], e);
	int *ca = &o.fds[RENEW_FD_CA - RENEW_FD_CERTIFICATE];

	if (rc != 0)
		return rc;
	*ca = open(c->config->ca, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	c->last = w->owner;
	rc = *ca >= 0 ? renew_child_start(c->child, c->config, &o, e)
	              : err_sys(e, errno, "%s", c->config->ca);
	for (int i = 0; i < RENEW_FDS; i++)
		if (o.fds[i] >= 0)
			close(o.fds[i]);
	return rc;
}

/* The first, or of another owner than the last one the first: it is at the front then. */
static struct waiting *take_turn(struct list_check *c)
{
	struct waiting *w;

	TAILQ_FOREACH(w, &c->queue, link)
	if (w->owner != c->last)
		break;
	if (w == NULL)
		return TAILQ_FIRST(&c->queue);
	TAILQ_REMOVE(&c->queue, w, link);
	TAILQ_INSERT_HEAD(&c->queue, w, link);
	return w;
}

/* 0: it goes on when the pause is over. */
static int rest(struct list_check *c, int64_t left_ns)
{
	struct timeval tv = duration_timeval(left_ns);

	return event_add(c->pause, &tv) == 0 ? 0 : TX_ENOMEM;
}

static int64_t pause_left(const struct list_check *c)
{
	int64_t left = c->not_until_ns - clock_monotonic_ns();

	return left > 0 ? left : 0;
}

static void next(struct list_check *c)
{
	struct waiting *w;
	struct err e;

	if (!TAILQ_EMPTY(&c->queue) && !renew_child_runs(c->child) && pause_left(c) > 0 &&
	    rest(c, pause_left(c)) == 0)
		return;
	while (!renew_child_runs(c->child) && (w = take_turn(c)) != NULL) {
		if (w->owner != NULL && begin(c, w, &e) == 0)
			return;
		if (w->owner != NULL)
			log_error("a revocation list cannot be checked: %s", e.message);
		end(c, w, NULL);
	}
}

static void on_pause(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	next(arg);
}

static void on_done(
    const uint8_t *first, uint32_t first_len, const uint8_t *second, uint32_t second_len, void *arg)
{
	struct list_check *c = arg;
	struct waiting *w = TAILQ_FIRST(&c->queue);
	struct revocation_record list = {.number = -1};

	(void)first_len;
	if (w == NULL || c->outdated)
		return;
	list.pem = (const char *)w->pem;
	list.len = w->len;
	end(c, w, first != NULL && renew_about_read(&list, second, second_len) == 0 ? &list : NULL);
}

int list_check_new(struct list_check **out, struct event_base *base, const char *program,
    list_checked *done, struct err *e)
{
	struct list_check *c = calloc(1, sizeof(*c));
	int rc;

	if (c == NULL)
		return err_set(e, TX_ENOMEM, "out of memory");
	TAILQ_INIT(&c->queue);
	c->done = done;
	c->pause = evtimer_new(base, on_pause, c);
	rc = c->pause != NULL ? renew_child_new(&c->child, base, program, on_done, c, e)
	                      : err_set(e, TX_ENOMEM, "out of memory");
	if (rc == 0) {
		*out = c;
		return 0;
	}
	if (c->pause != NULL)
		event_free(c->pause);
	free(c);
	return rc;
}

void list_check_free(struct list_check *c)
{
	struct waiting *w;

	if (c == NULL)
		return;
	renew_child_free(c->child);
	event_free(c->pause);
	while ((w = TAILQ_FIRST(&c->queue)) != NULL) {
		w->owner = NULL;
		end(c, w, NULL);
	}
	config_unref(c->config);
	free(c);
}

void list_check_set(struct list_check *c, struct config *config)
{
	struct config *old = c->config;

	c->config = config_ref(config);
	config_unref(old);
}

bool list_check_full(const struct list_check *c, const void *owner)
{
	const struct waiting *w;
	size_t n = 0;

	TAILQ_FOREACH(w, &c->queue, link)
	n += w->owner == owner;
	return n >= LIST_CHECK_EACH_MAX;
}

int list_check_ask(
    struct list_check *c, uint8_t *pem, size_t len, void *owner, uint64_t seq, struct err *e)
{
	struct waiting *w = NULL;
	int rc = 0;

	if (c->config == NULL)
		rc = err_set(e, TX_ESTATE, "no authority is known yet");
	else if ((w = calloc(1, sizeof(*w))) == NULL)
		rc = err_set(e, TX_ENOMEM, "out of memory");
	if (rc != 0) {
		free(pem);
		return rc;
	}
	*w = (struct waiting){.pem = pem, .len = len, .owner = owner, .seq = seq};
	/* Whose turn it is at once, and cannot be begun, has its answer from the call. */
	if (TAILQ_EMPTY(&c->queue) && !renew_child_runs(c->child))
		rc = pause_left(c) == 0 || rest(c, pause_left(c)) != 0 ? begin(c, w, e) : 0;
	if (rc == 0) {
		TAILQ_INSERT_TAIL(&c->queue, w, link);
		return 0;
	}
	free(w->pem);
	free(w);
	return rc;
}

void list_check_forget(struct list_check *c, const void *owner)
{
	struct waiting *w, *after;

	if (c == NULL)
		return;
	for (w = TAILQ_FIRST(&c->queue); w != NULL; w = after) {
		after = TAILQ_NEXT(w, link);
		if (w->owner != owner)
			continue;
		w->owner = NULL;
		/* The first may be with the child. */
		if (w != TAILQ_FIRST(&c->queue))
			end(c, w, NULL);
	}
}

void list_check_stop(struct list_check *c)
{
	struct waiting *w;

	if (c == NULL)
		return;
	c->outdated = renew_child_runs(c->child);
	renew_child_kill(c->child);
	event_del(c->pause);
	while ((w = TAILQ_FIRST(&c->queue)) != NULL)
		end(c, w, NULL);
}

bool list_check_reaped(struct list_check *c, pid_t pid, int status)
{
	if (c == NULL || !renew_child_reaped(c->child, pid, status))
		return false;
	c->outdated = false;
	c->not_until_ns = clock_monotonic_ns() + LIST_CHECK_PAUSE_NS;
	next(c);
	return true;
}
