/* SPDX-License-Identifier: Apache-2.0 */
/* A growing set of pids, and what /proc tells of processes. */
#ifndef TX_KEEPER_TREE_WALK_H
#define TX_KEEPER_TREE_WALK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct tree_pids {
	pid_t *list;
	size_t n, size;
	int shortage; /* an errno: not all could be looked at, for want of descriptors or memory */
};

/* No room: the pid is left out (shortage), and a warning logged. */
void tree_pids_add(struct tree_pids *ps, pid_t pid);
/* By number, each once. */
void tree_pids_sort(struct tree_pids *ps);
/* Of a sorted one. */
bool tree_pids_has(const struct tree_pids *ps, pid_t pid);
void tree_pids_free(struct tree_pids *ps);

/* Of /proc/PID/stat. */
struct tree_stat {
	char state;
	pid_t parent;
	uint64_t cpu_ticks; /* its own and that of the children it waited for */
	uint64_t start;     /* ticks since boot */
	uint64_t rss;       /* bytes */
};
/* Whether there is such a process. */
bool tree_stat_read(pid_t pid, struct tree_stat *st);

/* Adds its children, zombies too. */
void tree_add_children(struct tree_pids *ps, pid_t pid);
/* Adds the descendants of those in the list from index `from` on. */
void tree_add_descendants(struct tree_pids *ps, size_t from);

#define TREE_MARK "TELEX_PROCESS_ID"
/* The value of the mark in the environment that the process began with: the id of the job it comes
 * from. Whether there is one that fits; if not, errno says why it could not be read, or is 0. */
bool tree_mark_read(pid_t pid, char *id, size_t size);

#endif
