/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/watch/watcher.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "agent/watch/watch_engine.h"
#include "common/mem.h"
#include "common/watch_control.h"

#define TURN   (10 * MS)
#define SLICE  (1 * MS) /* of scanning, between two of those */
#define EVENTS 256      /* between two looks at the kernel's queue */

static int64_t clock_of(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* A number in a file of /proc/sys; 0: it cannot be read. */
static uint32_t sysctl_number(const char *path)
{
	FILE *f = fopen(path, "re");
	unsigned long n = 0;

	if (f == NULL)
		return 0;
	if (fscanf(f, "%lu", &n) != 1 || n > UINT32_MAX)
		n = 0;
	fclose(f);
	return (uint32_t)n;
}

int watcher_new(struct watcher **out, int store_fd, const struct watch_wide *wide, struct err *e)
{
	struct watcher *w = xcalloc(1, sizeof(*w));
	int rc = watch_store_open(&w->store, store_fd, e);

	if (rc < 0) {
		free(w);
		return rc;
	}
	w->source_errno = watch_source_new(&w->source, wide);
	/* Later, this process may not look there. */
	w->max_watches = sysctl_number("/proc/sys/fs/inotify/max_user_watches");
	w->max_instances = sysctl_number("/proc/sys/fs/inotify/max_user_instances");
	w->mounts = watch_mounts_new();
	w->path = xmalloc(WATCH_PATH_MAX);
	w->watch_limit = UINT32_MAX;
	w->now = w->began = clock_of(CLOCK_MONOTONIC);
	watch_store_on_gone(w->store, folder_gone, w);
	w->restarted = watch_store_tick(w->store);
	*out = w;
	return 0;
}

void watcher_allow(struct watcher *w, const struct watch_allow *allow)
{
	w->memory_limit = allow->limit;
	watch_store_allow(w->store, allow->memory);
	w->more = true;
}

void watcher_free(struct watcher *w)
{
	if (w == NULL)
		return;
	watch_store_on_gone(w->store, NULL, NULL);
	while (w->trees != NULL)
		tree_free(w->trees);
	folder_forget_all(w);
	watch_map_clear(&w->map);
	watch_source_free(w->source);
	watch_mounts_free(w->mounts);
	watch_store_free(w->store);
	free(w->path);
	free(w);
}

size_t watcher_poll(const struct watcher *w, struct pollfd fds[WATCHER_FDS])
{
	size_t n;

	if (w->source == NULL)
		return 0;
	n = watch_source_poll(w->source, fds);
	if (w->mounts != NULL)
		fds[n++] = (struct pollfd){.fd = watch_mounts_fd(w->mounts), .events = POLLPRI};
	return n;
}

/* ---- a turn ---- */

/* Works off what the source has. False: a departure is waited for. */
static bool work_events(struct watcher *w)
{
	struct watch_event e;

	for (int i = 0; i < EVENTS && watch_source_first(w->source, &e); i++) {
		if (!event_work(w, &e))
			return false;
		watch_source_next(w->source);
	}
	return true;
}

static bool has_events(const struct watcher *w)
{
	struct watch_event e;

	return watch_source_first(w->source, &e);
}

static bool has_scans(const struct watcher *w)
{
	for (const struct watch_tree *t = w->trees; t != NULL; t = t->next)
		if (t->root_suspect || scan_pending(t))
			return true;
	return false;
}

/* Behind all others. */
static void move_to_end(struct watcher *w, struct watch_tree *t)
{
	struct watch_tree **at = &w->trees;

	while (*at != t)
		at = &(*at)->next;
	*at = t->next;
	while (*at != NULL)
		at = &(*at)->next;
	*at = t;
	t->next = NULL;
}

/* For a moment. Who has used it up is the last the next time, so that a large tree lets small ones
 * be armed meanwhile. */
static void scan_some(struct watcher *w)
{
	int64_t end = clock_of(CLOCK_MONOTONIC) + SLICE;

	for (struct watch_tree *t = w->trees; t != NULL; t = t->next)
		if (t->root_suspect)
			root_check(t);
	for (struct watch_tree *t = w->trees; t != NULL; t = t->next) {
		if (!scan_pending(t))
			continue;
		/* A step may be a thousand names. */
		while (scan_pending(t) && clock_of(CLOCK_MONOTONIC) < end)
			scan_step(t);
		if (scan_pending(t)) {
			move_to_end(w, t);
			return;
		}
	}
}

static void arm(struct watcher *w)
{
	for (struct watch_tree *t = w->trees; t != NULL; t = t->next) {
		if (t->root_suspect || scan_pending(t))
			continue;
		if (t->armed)
			continue;
		t->armed = true;
		t->armed_tick = watch_store_tick(w->store);
	}
}

static void work(struct watcher *w)
{
	int64_t end = w->now + TURN;
	bool waits;

	for (struct watch_tree *t = w->trees; t != NULL; t = t->next)
		t->root_suspect = t->root_suspect || w->now >= t->check_due;
	w->drained = false;
	do {
		bool filled = watch_source_fill(w->source);

		waits = !work_events(w);
		if (filled && !has_events(w) && !has_scans(w)) {
			w->drained = true;
			break;
		}
		scan_some(w);
		w->now = clock_of(CLOCK_MONOTONIC);
	} while (w->now < end && (!waits || has_scans(w)));
	w->more = has_scans(w) || (!w->drained && !waits);
	arm(w);
}

static void set_told(struct watcher *w)
{
	uint64_t told = watch_store_tick(w->store);

	for (const struct watch_client *c = w->clients; c != NULL; c = client_next(c))
		if (client_cursor(c) < told)
			told = client_cursor(c);
	watch_store_set_told(w->store, told);
}

static void settle_warnings(const struct watcher *w, struct watch_tree *t)
{
	uint64_t told = UINT64_MAX;

	if (t->n_warnings == 0)
		return;
	for (const struct watch_client *c = w->clients; c != NULL; c = client_next(c))
		if (client_warned(c, t) < told)
			told = client_warned(c, t);
	tree_settle_warnings(t, told);
}

void watcher_run(struct watcher *w)
{
	struct watch_client *next;

	w->now = clock_of(CLOCK_MONOTONIC);
	w->even = true;
	watch_store_set_time(w->store, clock_of(CLOCK_REALTIME));
	if (w->source != NULL) {
		set_told(w);
		watch_source_check(w->source);
		remount_turn(w);
		work(w);
		rescan_turn(w);
		w->even = w->drained && w->rescan.state == RESCAN_NONE && !w->remount.wanted;
		for (struct watch_tree *t = w->trees; t != NULL; t = t->next)
			interval_turn(t);
		if (room_turn(w))
			w->even = false;
	}
	for (struct watch_client *c = w->clients; c != NULL; c = next) {
		next = client_next(c);
		client_turn(c);
	}
	for (struct watch_tree *t = w->trees; t != NULL; t = t->next)
		settle_warnings(w, t);
	/* Where nobody works, no folder is kept from being unmounted. */
	if (!w->more) {
		folder_forget_all(w);
		for (struct watch_tree *t = w->trees; t != NULL; t = t->next)
			root_rest(t);
	}
	if (w->wandered && chdir("/") == 0)
		w->wandered = false;
}

static int64_t earlier(int64_t a, int64_t b)
{
	return a < b ? a : b;
}

int64_t watcher_due(const struct watcher *w)
{
	int64_t due = w->hold_until != 0 ? w->hold_until : NEVER_DUE;

	if (w->more)
		return 0;
	if (w->rescan.state == RESCAN_GOING)
		return 0;
	due = earlier(due, earlier(rescan_due(w), remount_due(w)));
	for (const struct watch_tree *t = w->trees; t != NULL; t = t->next) {
		if (t->root_suspect || scan_pending(t))
			return 0;
		due = earlier(due, earlier(t->check_due, interval_due(t)));
		due = earlier(due, room_due(t));
	}
	for (const struct watch_client *c = w->clients; c != NULL; c = client_next(c))
		due = earlier(due, client_due(c));
	return due;
}
