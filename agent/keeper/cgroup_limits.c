/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Limits are rows of a table: for each, and for each version, the files and what is written to
 * them. A limit is set by writing its files in order; what they held before is remembered, so that
 * a set of limits is set as a whole or not at all.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/keeper/cgroup_internal.h"
#include "common/log.h"

#define PERIOD_US  100000
#define ROUNDS_MAX 16
#define VALUE_SIZE 64

enum form { BYTES, NUMBER, ZERO, QUOTA_PERIOD, QUOTA, PERIOD };

struct row {
	enum cgroup_hierarchy h;
	int version;
	const char *file;
	enum form form;
	bool must; /* else: where the file is */
};

/* Swap counts with memory: the limit is of both together. */
static const struct row rows[] = {
    {CGROUP_MEMORY, 2, "memory.swap.max", ZERO, false},
    {CGROUP_MEMORY, 2, "memory.max", BYTES, true},
    {CGROUP_MEMORY, 1, "memory.limit_in_bytes", BYTES, true},
    {CGROUP_MEMORY, 1, "memory.memsw.limit_in_bytes", BYTES, false},
    {CGROUP_CPU, 2, "cpu.max", QUOTA_PERIOD, true},
    {CGROUP_CPU, 1, "cpu.cfs_period_us", PERIOD, true},
    {CGROUP_CPU, 1, "cpu.cfs_quota_us", QUOTA, true},
    {CGROUP_PIDS, 2, "pids.max", NUMBER, true},
    {CGROUP_PIDS, 1, "pids.max", NUMBER, true},
};
#define N_ROWS (sizeof(rows) / sizeof(rows[0]))

static const char *const names[] = {"", "memory", "cpu", "pids"};

const struct cgroup_place *cgroup_limit_place(const struct cgroups *cs, enum cgroup_hierarchy h)
{
	const struct cgroup_place *tree = &cs->places[CGROUP_TREE];

	if (tree->version == 2 &&
	    ((h == CGROUP_MEMORY && tree->memory) || (h == CGROUP_CPU && tree->cpu) ||
	        (h == CGROUP_PIDS && tree->pids)))
		return tree;
	if (h == CGROUP_PIDS && cs->tree_is_pids)
		return tree;
	return cs->places[h].version != 0 ? &cs->places[h] : NULL;
}

static uint64_t value_of(const struct cgroup_limits *l, enum cgroup_hierarchy h)
{
	return h == CGROUP_MEMORY ? l->memory : h == CGROUP_CPU ? l->cpu_millis : l->pids;
}

static void format(const struct row *r, uint64_t value, char out[VALUE_SIZE])
{
	switch (r->form) {
	case BYTES:
	case NUMBER:
		snprintf(out, VALUE_SIZE, "%" PRIu64, value);
		break;
	case ZERO:
		snprintf(out, VALUE_SIZE, "0");
		break;
	case QUOTA_PERIOD:
		snprintf(out, VALUE_SIZE, "%" PRIu64 " %d", value * (PERIOD_US / 1000), PERIOD_US);
		break;
	case QUOTA:
		snprintf(out, VALUE_SIZE, "%" PRIu64, value * (PERIOD_US / 1000));
		break;
	case PERIOD:
		snprintf(out, VALUE_SIZE, "%d", PERIOD_US);
		break;
	}
}

/* ---- setting, and setting back ---- */

struct undo {
	const struct row *rows[N_ROWS];
	char before[N_ROWS][VALUE_SIZE];
	size_t n;
};

static int write_row(struct cgroup *g, const struct row *r, const char *text, struct undo *u)
{
	const struct cgroup_place *p = cgroup_limit_place(g->cs, r->h);
	char file[CGROUP_FILE_SIZE], before[VALUE_SIZE];
	int error;

	cgroup_file(g, r->file, file);
	error = cgroup_file_read(p, file, before, sizeof(before));
	if (error == 0)
		error = cgroup_file_write(p, file, text);
	if (error != 0)
		return error == ENOENT && !r->must ? 0 : error;
	if (u != NULL) {
		memcpy(u->before[u->n], before, sizeof(before));
		u->rows[u->n++] = r;
	}
	return 0;
}

static void set_back(struct cgroup *g, struct undo *u)
{
	while (u->n > 0) {
		const struct row *r = u->rows[--u->n];
		char *text = u->before[u->n];

		text[strcspn(text, "\n")] = '\0';
		if (write_row(g, r, text, NULL) != 0)
			log_warn("control group j%" PRIu32 ": %s cannot be set back to %s",
			    g->number, r->file, text);
	}
}

/* v1's limit with swap may never be below the one without: so it goes first where they grow. */
static bool grows(struct cgroup *g, const struct row *r, uint64_t value)
{
	char file[CGROUP_FILE_SIZE];

	return r->form == BYTES && r->version == 1 &&
	       value > cgroup_file_number(
	                   cgroup_limit_place(g->cs, r->h), cgroup_file(g, r->file, file), NULL);
}

/* 0 or an errno. */
static int set_one(struct cgroup *g, enum cgroup_hierarchy h, uint64_t value, struct undo *u)
{
	int version = cgroup_limit_place(g->cs, h)->version;
	const struct row *of[N_ROWS];
	char text[VALUE_SIZE];
	size_t n = 0;
	int error = 0;

	for (size_t i = 0; i < N_ROWS; i++)
		if (rows[i].h == h && rows[i].version == version)
			of[n++] = &rows[i];
	if (n == 2 && grows(g, of[0], value)) {
		const struct row *first = of[0];

		of[0] = of[1];
		of[1] = first;
	}
	for (size_t i = 0; i < n && error == 0; i++) {
		format(of[i], value, text);
		error = write_row(g, of[i], text, u);
	}
	return error;
}

/* ---- where the group has no folder yet ---- */

struct mover {
	int fd; /* the folder to move into */
	int error;
};

static bool move_one(pid_t pid, void *arg)
{
	struct mover *m = arg;
	char text[16];
	int n = snprintf(text, sizeof(text), "%d", (int)pid);

	/* ESRCH: it has ended meanwhile. */
	if (write(m->fd, text, (size_t)n) < 0 && errno != ESRCH)
		m->error = errno;
	return m->error == 0;
}

static bool count_one(pid_t pid, void *arg)
{
	(void)pid;
	++*(unsigned *)arg;
	return true;
}

/* All members, until none is missing: children are born where their parents are. */
static int move_members(struct cgroup *g, enum cgroup_hierarchy h)
{
	const struct cgroup_place *p = &g->cs->places[h];
	char file[CGROUP_FILE_SIZE], name[CGROUP_FILE_SIZE];
	struct mover m = {
	    .fd = openat(p->fd, cgroup_file(g, "cgroup.procs", file), O_WRONLY | O_CLOEXEC)};

	if (m.fd < 0)
		return errno;
	snprintf(name, sizeof(name), "j%" PRIu32, g->number);
	for (int i = 0; i < ROUNDS_MAX && m.error == 0; i++) {
		unsigned in = 0, all = 0;

		(void)cgroup_members(g, move_one, &m);
		(void)cgroup_walk(p->fd, name, count_one, &in);
		(void)cgroup_members(g, count_one, &all);
		if (in >= all)
			break;
	}
	close(m.fd);
	return m.error;
}

static bool is_missing(const struct cgroup *g, enum cgroup_hierarchy h)
{
	return cgroup_limit_place(g->cs, h) == &g->cs->places[h] && (g->made & (1u << h)) == 0;
}

/* ---- sets of limits ---- */

static int check_can(const struct cgroups *cs, const struct cgroup_limits *l, struct err *e)
{
	for (enum cgroup_hierarchy h = CGROUP_MEMORY; h < CGROUP_HIERARCHIES; h++)
		if (value_of(l, h) != 0 && cgroup_limit_place(cs, h) == NULL)
			return err_set(e, TX_EUNSUPPORTED,
			    "this host does not give the agent the control group controller '%s', "
			    "so "
			    "that limit cannot be set; leave it out, or have the controller "
			    "delegated "
			    "to the agent",
			    names[h]);
	return 0;
}

static int set_limits(
    struct cgroup *g, const struct cgroup_limits *l, struct undo *u, bool move, struct err *e)
{
	g->spent = true;
	for (enum cgroup_hierarchy h = CGROUP_MEMORY; h < CGROUP_HIERARCHIES; h++) {
		uint64_t value = value_of(l, h);
		bool missing = value != 0 && is_missing(g, h);
		int error = 0;

		if (value == 0)
			continue;
		if (missing)
			error = cgroup_make(g, h);
		if (error == 0)
			error = set_one(g, h, value, u);
		if (error == 0 && missing && move)
			error = move_members(g, h);
		if (error != 0)
			return err_sys(
			    e, error, "cannot set the limit %s to %" PRIu64, names[h], value);
	}
	return 0;
}

int cgroup_limits_begin(struct cgroup *g, const struct cgroup_limits *limits, struct err *e)
{
	struct undo u = {.n = 0};
	int rc = check_can(g->cs, limits, e);

	return rc != 0 ? rc : set_limits(g, limits, &u, false, e);
}

int cgroup_set_limits(struct cgroup *g, const struct cgroup_limits *limits, struct err *e)
{
	struct undo u = {.n = 0};
	int rc = check_can(g->cs, limits, e);

	if (rc == 0)
		rc = set_limits(g, limits, &u, true, e);
	if (rc != 0)
		set_back(g, &u);
	return rc;
}

/* ---- figures ---- */

/* Where the group's memory is counted; NULL: nowhere. */
static const struct cgroup_place *memory_place(const struct cgroup *g)
{
	const struct cgroup_place *p = cgroup_limit_place(g->cs, CGROUP_MEMORY);

	return p != NULL && is_missing(g, CGROUP_MEMORY) ? NULL : p;
}

uint64_t cgroup_oom_kills(const struct cgroup *g)
{
	const struct cgroup_place *p = memory_place(g);
	char file[CGROUP_FILE_SIZE];
	uint64_t n;

	if (p == NULL)
		return 0;
	cgroup_file(g, p->version == 2 ? "memory.events" : "memory.oom_control", file);
	n = cgroup_file_number(p, file, "oom_kill");
	return n > g->oom_base ? n - g->oom_base : 0;
}

bool cgroup_cpu_us(const struct cgroup *g, uint64_t *us)
{
	const struct cgroup_place *p = &g->cs->places[CGROUP_TREE];
	char file[CGROUP_FILE_SIZE];
	uint64_t n;

	if (p->version != 2)
		return false;
	n = cgroup_file_number(p, cgroup_file(g, "cpu.stat", file), "usage_usec");
	*us = n > g->cpu_base ? n - g->cpu_base : 0;
	return true;
}

bool cgroup_memory(const struct cgroup *g, uint64_t *bytes)
{
	const struct cgroup_place *p = memory_place(g);
	char file[CGROUP_FILE_SIZE];

	if (p == NULL)
		return false;
	cgroup_file(g, p->version == 2 ? "memory.current" : "memory.usage_in_bytes", file);
	*bytes = cgroup_file_number(p, file, NULL);
	return true;
}
