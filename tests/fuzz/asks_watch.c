/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fuzz/asks_watch.h"

#include <string.h>

#define ROOTS 2

static const struct asks *asks;

static void on_armed(struct telex_watch *w, const struct telex_watch_armed *armed, void *arg)
{
	(void)w;
	(void)arg;
	asks_look(armed->clock);
	asks_look(armed->backend);
}

/* Below a root: a program may join it to that. */
static void look_at_path(const char *path)
{
	const char *at = path;

	asks_look(path);
	if (path == NULL || *path == '\0')
		return;
	for (;;) {
		size_t len = strcspn(at, "/");

		fuzz_require(len > 0 && !(len == 1 && at[0] == '.') &&
		             !(len == 2 && at[0] == '.' && at[1] == '.'));
		if (at[len] == '\0')
			return;
		at += len + 1;
	}
}

static void on_changes(struct telex_watch *w, const struct telex_change *changes, size_t n,
    const char *clock, void *arg)
{
	struct ask *k = arg;

	asks_look(clock);
	for (size_t i = 0; i < n; i++) {
		const struct telex_change *c = &changes[i];

		fuzz_require(c->root < ROOTS && c->moved_root < ROOTS && c->count > 0);
		fuzz_require(c->path != NULL && c->mode <= 07777);
		look_at_path(c->path);
		look_at_path(c->moved_from);
		look_at_path(c->moved_to);
	}
	if (asks->hold)
		k->owed[0] += n;
	else
		telex_watch_consumed(w, n);
}

static void on_rescan(struct telex_watch *w, const struct telex_rescan *rescan, void *arg)
{
	(void)w;
	(void)arg;
	fuzz_require(rescan->reason <= TELEX_RESCAN_MOUNTS && rescan->waited_ms >= 0);
}

static void on_synced(struct telex_watch *w, uint64_t id, const char *clock, void *arg)
{
	(void)w;
	(void)arg;
	fuzz_require(id == 7);
	asks_look(clock);
}

static void on_warning(struct telex_watch *w, size_t root, const char *path,
    const struct telex_file_failure *failure, void *arg)
{
	(void)w;
	(void)arg;
	fuzz_require(root < ROOTS);
	look_at_path(path);
	asks_look(failure->reason);
	asks_look(failure->message);
}

/* From inside a callback, too, it may be enough. */
static void on_interrupted(struct telex_watch *w, const struct telex_error *why, void *arg)
{
	struct ask *k = arg;

	fuzz_require(why->kind != TELEX_OK && why->message[0] != '\0');
	if (!asks->hold)
		return;
	telex_watch_cancel(w);
	memset(k, 0, sizeof(*k));
}

static void on_watch_done(struct telex_watch *w, const struct telex_error *error, void *arg)
{
	(void)w;
	asks_done(error, arg);
}

int asks_watch_begin(const struct asks *a, struct ask *k, struct telex_client *c, uint8_t how)
{
	static const struct telex_watch_ops ops = {.armed = on_armed,
	    .changes = on_changes,
	    .rescan = on_rescan,
	    .synced = on_synced,
	    .warning = on_warning,
	    .warning_over = on_warning,
	    .interrupted = on_interrupted,
	    .done = on_watch_done};
	static const char *const paths[ROOTS + 1] = {"/a", "/b", NULL};
	static const char *const patterns[] = {"*.c", NULL};
	const struct telex_watch_options o = {.paths = paths,
	    .recursive = (how & 1) != 0,
	    .include = (how & 2) != 0 ? patterns : NULL,
	    .exclude = patterns,
	    .kinds = (how & 4) != 0 ? TELEX_CHANGE_CREATED | TELEX_CHANGE_DELETED : 0,
	    .state = (how & 8) != 0,
	    .since = (how & 2) != 0 ? "w1-0" : NULL,
	    .settle_ms = (how & 4) != 0 ? 50 : 0,
	    .max_delay_ms = (how & 4) != 0 ? 100 : 0};

	asks = a;
	return telex_watch(c, &k->watch, &o, &ops, k, NULL);
}

void asks_watch_act(struct ask *k, uint8_t how)
{
	switch (how & 3) {
	case 0:
		telex_watch_cancel(k->watch);
		memset(k, 0, sizeof(*k));
		break;
	case 1:
		telex_watch_end(k->watch);
		break;
	case 2:
		(void)telex_watch_sync(k->watch, 7);
		break;
	default:
		telex_watch_consumed(k->watch, k->owed[0]);
		k->owed[0] = 0;
	}
}
