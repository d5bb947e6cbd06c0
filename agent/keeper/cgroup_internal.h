/* SPDX-License-Identifier: Apache-2.0 */
/* What cgroup.c (groups and their folders), cgroup_setup.c and cgroup_limits.c share; nobody else
 * includes it. */
#ifndef TX_KEEPER_CGROUP_INTERNAL_H
#define TX_KEEPER_CGROUP_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#include "agent/keeper/cgroup.h"
#include "agent/keeper/cgroup_place.h"

enum cgroup_hierarchy { CGROUP_TREE, CGROUP_MEMORY, CGROUP_CPU, CGROUP_PIDS, CGROUP_HIERARCHIES };

struct cgroup {
	STAILQ_ENTRY(cgroup) link;
	struct cgroups *cs;
	struct cgroup **holder; /* of one that is retired: who is told */
	bool dying;
	bool frozen;
	uint32_t number;   /* its folder is jNUMBER */
	uint8_t made;      /* bits of enum cgroup_hierarchy: where it has one */
	bool spent;        /* not to be used again: it had limits, or was killed */
	uint64_t cpu_base; /* what earlier jobs used in the folder, us */
	uint64_t oom_base;
};

STAILQ_HEAD(cgroup_list, cgroup);

struct cgroups {
	struct cgroup_place places[CGROUP_HIERARCHIES]; /* of memory, cpu, pids: v1's only */
	bool born_in;
	bool tree_is_pids; /* v1: the tree's hierarchy is that of pids */
	struct event *tick;
	struct cgroup_list spare, dying;
	unsigned n_spare, n_dying;
	uint32_t last; /* number */
	int64_t wait_ns;
	uint32_t *claimed; /* numbers of those that were restored, until cgroups_settle */
	size_t n_claimed;
};

#define CGROUP_FILE_SIZE 64
/* "j7/FILE" */
const char *cgroup_file(const struct cgroup *g, const char *name, char buf[CGROUP_FILE_SIZE]);
/* Makes the folder in one more (v1) hierarchy. 0 or an errno. */
int cgroup_make(struct cgroup *g, enum cgroup_hierarchy h);

/* cgroup_clean.c: whether it is as it was made; that one is a job's, after an upgrade. */
bool cgroup_is_clean(const struct cgroup *g);
void cgroup_claim(struct cgroups *cs, uint32_t number);

/* cgroup_setup.c: chooses the places, as cgroups_new says. */
int cgroup_setup(struct cgroups *cs, const char *how, struct err *e);
void cgroup_setup_tell(const struct cgroups *cs);

/* Where limits of this kind are set; NULL: nowhere. */
const struct cgroup_place *cgroup_limit_place(const struct cgroups *cs, enum cgroup_hierarchy h);
/* Before the first process is in it: makes folders as needed. */
int cgroup_limits_begin(struct cgroup *g, const struct cgroup_limits *limits, struct err *e);

#endif
