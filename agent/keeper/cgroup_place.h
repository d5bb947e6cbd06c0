/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A folder of ours in one hierarchy of control groups: telex-PID, below our own group. Whoever
 * lives holds a lock on it; what is not locked was left by an agent that is gone, and is removed
 * when nothing runs in it any more.
 */
#ifndef TX_KEEPER_CGROUP_PLACE_H
#define TX_KEEPER_CGROUP_PLACE_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "common/err.h"

struct cgroup_place {
	int version; /* 0: there is none; 1, 2 */
	int fd;      /* the folder; locked */
	char *path;
	/* v2: what the groups in it may limit. */
	bool memory, cpu, pids;
};

/* Takes from the path what an earlier version of this process, which went into a group of its own,
 * added. */
void cgroup_place_strip(char *own);
/* In the folder `own`, which must be one of control groups. Removes what dead agents left there. */
int cgroup_place_open(struct cgroup_place *p, const char *own, struct err *e);
/* Removes the folder, if nothing runs in it. Nothing for version 0. */
void cgroup_place_close(struct cgroup_place *p);

/* Of files "GROUP/FILE" below the folder. 0 or an errno. */
int cgroup_file_write(const struct cgroup_place *p, const char *file, const char *text);
/* Ends text with NUL; cut when it is longer. */
int cgroup_file_read(const struct cgroup_place *p, const char *file, char *text, size_t size);
/* The number behind `key` in "KEY NUMBER" lines; key NULL: the whole text. 0 or an errno: ENODATA
 * when there is none. */
int cgroup_file_find(
    const struct cgroup_place *p, const char *file, const char *key, unsigned long long *number);
/* The same. 0 when there is none or it cannot be read. */
unsigned long long cgroup_file_number(
    const struct cgroup_place *p, const char *file, const char *key);

/* Removes the folder `name` below `fd` and those in it. 0 or an errno: EBUSY while something runs.
 */
int cgroup_remove(int fd, const char *name);

/* Calls each() for every process in the folder `name` below `fd` and those in it; each() returns
 * false to stop. 0 or an errno. */
int cgroup_walk(int fd, const char *name, bool (*each)(pid_t pid, void *arg), void *arg);

#endif
