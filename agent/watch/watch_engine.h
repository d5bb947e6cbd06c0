/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the parts of the watcher share; nobody else includes it.
 *
 * An event never says what is there: it says where to look (watch_look.c). A folder's path leads
 * to it, and it is the inode that is remembered, or nothing is looked at in it: what was seen of
 * another folder that has its name meanwhile would never be put right. Where that happens, the
 * folder is to be scanned, and that begins with a look at it in the folder that it is in.
 *
 * So at any time, what the store has is what is there, or an event, a place in a queue, or a
 * rescan is pending for it.
 */
#ifndef TX_WATCH_ENGINE_H
#define TX_WATCH_ENGINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include "agent/files/roots.h"
#include "agent/files/scope.h"
#include "agent/watch/watch_map.h"
#include "agent/watch/watch_mounts.h"
#include "agent/watch/watch_source.h"
#include "agent/watch/watch_store.h"
#include "common/rpc_status.h"
#include "telex/v1/watch.pb-c.h"

#define WATCH_PATH_MAX ((size_t)64 << 10)
#define MS             ((int64_t)1000000)
#define NEVER_DUE      INT64_MAX

/* watch_note.flags */
enum node_flag {
	NODE_QUEUED = 1,     /* to be scanned */
	NODE_DEEP = 2,       /* with all below it, what is known, too */
	NODE_SEEN = 4,       /* the scan of its folder has met it */
	NODE_SCANNING = 8,   /* it is being scanned */
	NODE_UNWATCHED = 16, /* it is looked through at intervals */
	NODE_LOST = 32,      /* its watch has ended: what has its name is another one */
	NODE_MOUNT = 64,     /* another file system begins here */
	NODE_DENIED = 128,   /* it, or what is in it, could not be looked at; this was said */
	NODE_SHUT = 256,     /* that, or so it is somewhere below */
	NODE_WARNED = 512,   /* a warning is about it */
	NODE_HOLDS = 1024,   /* and was found to hold */
};

struct watch_options {
	bool recursive, across_mounts, allow_remote;
	uint32_t depth; /* of folders whose entries are watched; 0: all */
	char **exclude; /* NULL-terminated */
};

struct watch_warning {
	uint64_t number, over; /* when it began, and when it was over; 1, 2, …; 0: it holds */
	watch_id id;           /* WATCH_NO_ID: it is of the tree as a whole, or is over */
	char *path;
	Telex__V1__FileError error; /* malloc'd */
};

struct watch_tree {
	struct watch_tree *next;
	struct watcher *w;
	unsigned number; /* in the store */
	size_t clients;
	int64_t idle_since;
	const struct roots *roots;
	char *path;
	struct watch_options options;
	Telex__V1__TreeOptions filters; /* the excludes, for tree_excluded */
	struct scope scope;

	/* The root. */
	bool there;
	int fd; /* O_PATH; -1: it is not open: root_fd */
	dev_t dev;
	bool folder;
	bool rests; /* it is not kept open: it would keep its mount from being unmounted */
	struct watch_cover cover; /* its file system is watched as a whole */
	uint32_t parent_watch;    /* 0: the folder that it is in is not watched */
	uint32_t own_watch;       /* inotify's, where it rests and has a cover; 0: none */
	bool root_suspect;        /* to be checked now */
	int64_t check_due;
	const char *refused; /* a file system that is not entered, as others may change it */

	/* Scanning. */
	uint32_t *queue;
	size_t n_queue, queue_room;
	uint32_t *retries; /* when the queue is empty */
	size_t n_retries, retries_room;
	struct watch_scan *scan; /* NULL: none is going on */
	bool armed;              /* has been scanned as a whole */
	uint64_t armed_tick;     /* what was seen until then */
	uint64_t back_tick;      /* when a root folder was there again; told as a rescan */
	uint64_t mount_number;   /* of changes of what is mounted below; told as rescans */

	/* Folders that are looked through at intervals. */
	uint32_t *unwatched;
	size_t n_unwatched, unwatched_room;
	bool remote;
	int64_t interval_due;
	int64_t interval_began; /* 0: none is going on */

	struct watch_warning *warnings;
	size_t n_warnings, n_named, n_unnamed; /* folders that are named, and the rest of them */
	uint64_t last_warning;
	bool limit_told, full_told;

	/* Something of it had no room in the store. */
	bool full;
	int64_t heal_due, heal_wait;
};

enum watch_rescan_state { RESCAN_NONE, RESCAN_WAITING, RESCAN_GOING };

struct watch_rescan_now {
	enum watch_rescan_state state;
	uint64_t number; /* of the last one that began to be wanted */
	uint64_t done;   /* of the last one that is over */
	bool again;      /* the queue was full once more meanwhile */
	int64_t due, ended, waited;
	unsigned level;
};

/* What is mounted has changed. */
struct watch_remount {
	bool wanted;
	int64_t due, read; /* read: when it was looked at last */
	unsigned level;
};

#define CACHE_SIZE 16

struct watch_cached {
	watch_id id; /* WATCH_NO_ID: none */
	int fd;
	dev_t dev;
};

struct watcher {
	struct watch_store *store;
	struct watch_source *source; /* NULL: there is none to be had: source_errno */
	int source_errno;
	struct watch_map
	    map; /* from watch to the first of its folders; the next: watch_note.next */
	uint32_t watched[WATCH_TREES_MAX];   /* folders of each tree */
	uint32_t max_watches, max_instances; /* sysctl fs.inotify.…; 0: not known */
	uint32_t watch_limit;                /* for tests */
	uint64_t memory_limit;               /* max_watch_memory; 0: not known */
	struct watch_tree *trees;
	struct watch_tree *by_number[WATCH_TREES_MAX];
	struct watch_client *clients;
	struct watch_cached cache[CACHE_SIZE];
	struct watch_rescan_now rescan;
	struct watch_mounts *mounts; /* NULL: nobody tells what is mounted */
	struct watch_remount remount;
	const char *overflowed; /* the sysctl of the queue that was full last */
	int64_t now;            /* CLOCK_MONOTONIC */
	int64_t began;          /* this process has */
	int64_t idle_due;       /* idle trees are looked at */
	int64_t hold_until;     /* a departure waits for its arrival; 0: none does */
	bool drained;           /* all events of before this turn are worked off */
	bool even;              /* and none was lost: all that had happened is in the store */
	bool more;              /* there is something to be done now */
	bool wandered;          /* the working folder is one that is watched */
	uint64_t restarted;     /* the tick at which the store was taken over */
	char *path;             /* WATCH_PATH_MAX: for whoever needs one for a moment */
};

/* ---- watch_tree.c ---- */

/* One that is there already, or a new one. path is absolute and plain. NULL with *status. */
struct watch_tree *tree_acquire(struct watcher *w, const struct roots *roots, const char *path,
    const struct watch_options *options, struct rpc_status *status);
void tree_release(struct watch_tree *t);
void tree_free(struct watch_tree *t);
struct watch_tree *tree_of(const struct watcher *w, unsigned number);
watch_id tree_root(const struct watch_tree *t);
/* Whether a path below it is left out; folder: it is one. */
bool tree_leaves_out(const struct watch_tree *t, const char *path, bool folder);
/* Whether folders of that depth (0: the root) have their entries watched. */
bool tree_goes_into(const struct watch_tree *t, size_t depth);
/* To be scanned; tree_retry: after all others. */
void tree_enqueue(struct watch_tree *t, watch_id id, unsigned flags);
void tree_retry(struct watch_tree *t, watch_id id, unsigned flags);
/* Of those, where there are some. */
watch_id tree_dequeue(struct watch_tree *t);
/* It cannot be watched for that errno: it is looked through at intervals, or left out. */
void tree_add_unwatched(struct watch_tree *t, watch_id id, int sys_errno);

/* ---- watch_warnings.c ---- */

/* A folder cannot be watched as it was asked for. */
void tree_warn(struct watch_tree *t, watch_id id, const struct rpc_status *status);
/* It can, or it is gone. */
void tree_unwarn(struct watch_tree *t, watch_id id);
/* The same of the tree as a whole; path: where that was seen. */
void tree_warn_of_all(struct watch_tree *t, const char *path, const struct rpc_status *status);
void tree_unwarn_of_all(struct watch_tree *t, const char *reason);
/* It is on another's file system, and is looked through at intervals. */
void tree_warn_remote(struct watch_tree *t, watch_id id);
void tree_warn_errno(struct watch_tree *t, watch_id id, int sys_errno);
/* There are too many watches. */
void tree_warn_limit(struct watch_tree *t);
void tree_limit_is_over(struct watch_tree *t);
/* A folder, or what is in it, cannot be looked at for that errno: it is, when its attributes or
 * those of a folder above change. */
void tree_deny(struct watch_tree *t, watch_id id, int sys_errno);
/* It was renamed: what is said of it and below it is said anew. */
void tree_rename_warnings(struct watch_tree *t, watch_id top);
/* All clients were told up to that number. */
void tree_settle_warnings(struct watch_tree *t, uint64_t told);
void tree_forget_warnings(struct watch_tree *t);

/* ---- watch_folder.c: folders, their watches and descriptors ---- */

#define WATCH_MASK                                                                                 \
	(IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_MODIFY | IN_CLOSE_WRITE |        \
	    IN_ATTRIB | IN_EXCL_UNLINK)
#define WATCH_ROOT_MASK (IN_DELETE_SELF | IN_MOVE_SELF | IN_ATTRIB)
#define WATCH_FILE_MASK (IN_MODIFY | IN_CLOSE_WRITE | WATCH_ROOT_MASK)
#define WATCH_PARENT_MASK                                                                          \
	(IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_DELETE_SELF | IN_MOVE_SELF)

void folder_attach(struct watcher *w, watch_id id, uint32_t watch);
void folder_detach(struct watcher *w, watch_id id);
/* Where nobody needs it any more, it ends. */
void folder_end_watch(struct watcher *w, uint32_t watch);
/* All that have this watch: one in each tree that an inode is in. To be gone through while they
 * change: folder_is_watched_by says which of them still are. */
struct folder_ids {
	watch_id few[8], *ids;
	size_t n;
};
void folder_ids(struct folder_ids *out, struct watcher *w, uint32_t watch);
void folder_ids_clear(struct folder_ids *all);
bool folder_is_watched_by(struct watcher *w, watch_id id, uint32_t watch);
/* Watches what fd is. 0, or an errno. */
int folder_watch(struct watch_tree *t, watch_id id, int fd, uint32_t mask);
/* Opens what a path of the tree is by now, without any check. -1 with errno. */
int folder_open(struct watch_tree *t, watch_id id, int flags);
/* Its descriptor (O_PATH; kept here), if it is the one that is known: else -1. */
int folder_fd(struct watch_tree *t, watch_id id, dev_t *dev);
void folder_forget(struct watcher *w, watch_id id);
void folder_forget_all(struct watcher *w);
/* Of the store: a path that was there is no more. */
void folder_gone(watch_id id, struct watch_note *note, void *arg);

/* ---- watch_look.c ---- */

void watch_state_of(struct watch_state *out, const struct stat *st);
/* What is there under a name in a folder, after that happened to it (IN_…; 0: it was found). */
void look_at(struct watch_tree *t, watch_id folder, const char *name, size_t len, uint32_t mask);
/* The same where it was looked at: st NULL: it is not there. dir_fd: of the folder. Returns its id
 * when it is there. */
watch_id look_put(struct watch_tree *t, watch_id folder, int dir_fd, const char *name, size_t len,
    const struct stat *st, uint32_t mask);
/* NODE_MOUNT, where another file system begins at a folder that is in dir_fd; else 0. */
unsigned look_mount(const struct watch_tree *t, int dir_fd, const struct stat *st);
/* A path that is known, in the folder that it is in, after that happened to it. */
void look_again(struct watch_tree *t, watch_id id, uint32_t mask);
/* A folder that is known, which fd is, or so it was: its attributes may have changed untold. */
void look_at_folder(struct watch_tree *t, watch_id id, int fd);

/* ---- watch_event.c ---- */

/* Works off the first event of the source. False: it waits for its other half. */
bool event_work(struct watcher *w, const struct watch_event *e);

/* ---- watch_move.c ---- */

/* A departure and an arrival, of one and the same. */
void move_both(struct watcher *w, const struct watch_event *from, const struct watch_event *to);

/* ---- watch_scan.c ---- */

bool scan_pending(const struct watch_tree *t);
/* A piece of it. */
void scan_step(struct watch_tree *t);
void scan_abort(struct watch_tree *t);

/* ---- watch_root.c ---- */

/* Opens it. 0, or negative with *status filled. */
int root_open(struct watch_tree *t, int *fd, struct stat *st, struct rpc_status *status);
/* What its path means by now. */
void root_check(struct watch_tree *t);
/* Its descriptor, which is opened where it rests. -1 with errno: it is not there, or another one
 * is. */
int root_fd(struct watch_tree *t);
/* Nothing is to be done: it is not kept open. */
void root_rest(struct watch_tree *t);
/* For its end: gives up what it is watched by, but for its folders' watches. */
void root_let_go(struct watch_tree *t);
void root_leave(struct watch_tree *t);
/* Something happened to the root itself, without a name. */
void root_event(struct watch_tree *t, uint32_t mask);

/* ---- watch_rescan.c ---- */

/* wide: it was fanotify's queue. */
void rescan_overflow(struct watcher *w, bool wide);
/* A tree is told that what is lost is not looked for at once, where it is so. */
void rescan_warn(struct watch_tree *t);
void rescan_turn(struct watcher *w);
int64_t rescan_due(const struct watcher *w);
/* Whether somebody waits for a barrier: nothing is held back. */
bool rescan_is_waited_for(const struct watcher *w);
/* Folders that are not watched; now: whenever they were looked through last. */
void interval_turn(struct watch_tree *t);
void interval_now(struct watch_tree *t);
int64_t interval_due(const struct watch_tree *t);

/* ---- watch_remount.c ---- */

void remount_turn(struct watcher *w);
int64_t remount_due(const struct watcher *w);

/* ---- watch_room.c ---- */

#define ROOM_LIMIT_SIZE 160

/* Whether there is a tree that nobody asks for. */
bool room_can_be_made(const struct watcher *w);
/* Forgets the one that nobody has asked for for longest. False: there is none. Not while a tree is
 * worked on. */
bool room_make(struct watcher *w);
/* Whether one more path of it may be remembered: where memory is short, one that has more than its
 * share of it leaves the rest to the others. */
bool room_is_left(const struct watch_tree *t);
/* What is short: " (max_watch_memory is …)", or nothing that can be set. */
const char *room_limit(const struct watcher *w, char out[ROOM_LIMIT_SIZE]);
/* True: what had no room is being looked for. */
bool room_turn(struct watcher *w);
int64_t room_due(const struct watch_tree *t);

/* ---- watch_client.c ---- */

/* Sends what there is to be sent. */
void client_turn(struct watch_client *c);
struct watch_client *client_next(const struct watch_client *c);
int64_t client_due(const struct watch_client *c);
/* What it was told up to. */
uint64_t client_cursor(const struct watch_client *c);
/* Of a tree's warnings; UINT64_MAX: it needs none of those that are over. */
uint64_t client_warned(const struct watch_client *c, const struct watch_tree *t);
/* For a barrier, or its end: it should not be held back. */
bool client_waits(const struct watch_client *c);

#endif
