/* SPDX-License-Identifier: Apache-2.0 */
/*
 * One telex-files that watches: RUNNING with a control socket, KEPT when it has died and its store
 * is there for the next, GOING when it was let go and is not reaped yet. Of watchers.c, which has
 * the list; nobody else includes it.
 */
#ifndef TX_KEEPER_WATCHER_PROC_H
#define TX_KEEPER_WATCHER_PROC_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "agent/keeper/files_program.h"
#include "common/watch_control.h"

struct event;
struct event_base;

enum watcher_state { WATCHER_KEPT, WATCHER_RUNNING, WATCHER_GOING };

struct watcher_proc {
	TAILQ_ENTRY(watcher_proc) entry;
	enum watcher_state state;
	pid_t pid;   /* 0: KEPT */
	int control; /* -1: not RUNNING */
	int store;   /* -1: GOING */
	struct event *readable, *timer;
	uint64_t handed;            /* connections */
	struct watch_allow allowed; /* as it was told */
	bool idle;                  /* it has none of them left */
	bool deaf;  /* its end of the control socket is closed: it is dying, or should be */
	bool stale; /* not to be found any more */
	int64_t started_ns;
	unsigned died_young; /* how many died soon, one after the other, with this store */
	char owner[KM_IDENTITY_SIZE], spec[KM_TEXT_SIZE];
	uint8_t key[KM_HASH_SIZE];
	struct user *user;     /* as it was looked up then */
	struct config *config; /* that was in force then */
	/* A KEPT or GOING one is over. */
	void (*over)(struct watcher_proc *w, void *arg);
	void *arg;
};

/* KEPT, with a store that nothing is in yet. spec: "" for the agent's own user. *user becomes its
 * own. NULL: no memory or no descriptors. */
struct watcher_proc *watcher_proc_new(struct event_base *base, const char *owner, const char *spec,
    const uint8_t key[KM_HASH_SIZE], struct user **user);
/* A process that is there still is not touched, and nobody waits for it. */
void watcher_proc_free(struct watcher_proc *w);
/* Bytes that its store takes by now. */
uint64_t watcher_proc_memory(const struct watcher_proc *w);

/* KEPT -> RUNNING. Negative with *why filled. */
int watcher_proc_start(
    struct watcher_proc *w, struct files_program *program, struct km_refused *why);
/* Of a RUNNING one: it can take no connection any more. */
bool watcher_proc_is_dying(const struct watcher_proc *w);
/* Hands it one end of a new connection; *fd, the other, is the caller's. 0, or an errno. */
int watcher_proc_hand(struct watcher_proc *w, const struct watch_allow *allow, int *fd);
/* Tells it what it may take from now on, where that is something else. */
void watcher_proc_allow(struct watcher_proc *w, const struct watch_allow *allow);
/* RUNNING -> GOING: its control socket is closed, its store dropped; killed when it does not end.
 */
void watcher_proc_let_go(struct watcher_proc *w, bool kill_now);
/* The same, at once, and `heir` (KEPT) gets the store. */
void watcher_proc_inherit(struct watcher_proc *heir, struct watcher_proc *w);
/* It was reaped: RUNNING -> KEPT, or over(). */
void watcher_proc_reaped(struct watcher_proc *w);

#endif
