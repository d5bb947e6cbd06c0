/* SPDX-License-Identifier: Apache-2.0 */
/* A watcher of a temporary folder, and clients that keep what they are told. */
#ifndef TX_TESTS_WATCH_RIG_H
#define TX_TESTS_WATCH_RIG_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "agent/files/roots.h"
#include "agent/watch/watch_engine.h"
#include "agent/watch/watcher.h"
#include "tests/support/watch_model.h"

#define RIG_ROOTS    4
#define RIG_CLIENTS  4
#define RIG_WARNINGS 320

struct rig_change {
	uint32_t root, kinds, count; /* kinds: 1 << ChangeKind */
	char *path, *moved_from, *moved_to;
	bool exists;
};

struct rig_client {
	struct rig *rig;
	struct watch_client *call;
	struct model models[RIG_ROOTS];
	char clock[128];
	size_t armed, fresh, batches;
	uint64_t folders, entries;
	uint64_t synced;                 /* the last */
	size_t rescans[8], rescanned[8]; /* begun and done, by reason */
	bool rescanning[8];              /* the last that was said of it is that it begins */
	int64_t waited;
	char warned[RIG_WARNINGS][96]; /* "REASON path", those that are not over */
	char last_warning[512];
	size_t n_warned, n_over, beats;
	bool finished;
	struct rpc_status status;
	size_t room; /* messages that are taken before it is full; 0: all */
	size_t taken;
	struct rig_change *changes; /* since the last rig_clear */
	size_t n_changes;
};

struct rig {
	char *folder;
	int store;
	struct roots *roots;
	struct watcher *w;
	const struct watch_wide *wide; /* of the watcher */
	struct rig_client clients[RIG_CLIENTS];
};

/* The tests of a group by inotify, and once more by fanotify. Where this machine or its folder for
 * temporary files has that not, a test that is skipped says so. What main returns. */
int rig_run(const char *group, const struct CMUnitTest *tests, size_t n);
/* 0: fanotify watches a folder there as a whole; else *why says why not. */
int rig_has_fanotify(const char **why);

/* cmocka's setup and teardown; *state is the rig. */
int rig_make(void **state);
/* A watcher of the same folder, by inotify (wide NULL) or by fanotify. */
int rig_make_beside(struct rig **out, const struct rig *other, const struct watch_wide *wide);
void rig_free_beside(struct rig *r);
extern const struct watch_wide rig_wide;
/* For a child of the test's: what it has of its parent's memory at its end is no leak, and valgrind
 * takes long to look. 0. */
int rig_leaks_are_no_matter(void);
int rig_free(void **state);
/* The watcher's process has ended, and another one goes on. Its calls are over. */
void rig_restart(struct rig *r);
/* Only these patterns, NULL-terminated, may be watched. */
void rig_allow(struct rig *r, const char *const *patterns);

/* FOLDER/name, valid for some calls. */
char *rig_path(const struct rig *r, const char *name);
/* Any command of sh, in the folder. */
void rig_sh(const struct rig *r, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Fills one in: the folder itself, recursive. Its bytes live with the rig. */
Telex__V1__WatchBegin rig_begin(const struct rig *r, const char *const *names);
/* False: c->status says why. What was known of changes goes on, where begin has `since`. */
bool rig_call(struct rig *r, struct rig_client *c, const Telex__V1__WatchBegin *begin);
/* The same, until it is armed. */
void rig_watch(struct rig *r, struct rig_client *c, const Telex__V1__WatchBegin *begin);
/* A name in the folder, with its state, until all of it is told and forgotten. */
void rig_begin_at(struct rig *r, struct rig_client *c, const char *name, bool recursive, bool wait);
void rig_hang_up(struct rig_client *c);

/* A turn, without waiting. */
void rig_turn(struct rig *r);
/* Turns until that is true; 120 s. */
void rig_until(struct rig *r, bool (*done)(const struct rig_client *c), struct rig_client *c);
/* Everything until now is told. */
void rig_sync(struct rig *r, struct rig_client *c);
/* After a barrier, the client has what is on the disk. */
void rig_check(struct rig *r, struct rig_client *c, const char *what);
void rig_check_root(
    struct rig *r, struct rig_client *c, size_t root, const char *name, const char *what);

void rig_clear(struct rig_client *c);
/* The last change of a path; NULL: none was told. */
const struct rig_change *rig_change(const struct rig_client *c, const char *path);
bool rig_warned(const struct rig_client *c, const char *text);

#endif
