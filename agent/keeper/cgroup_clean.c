/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What others left in a job's folder. A job with the right to may have made groups in its group, or
 * set limits there: the next one is not to find them. And an upgrade leaves the folders that no job
 * held any more.
 */
#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/keeper/cgroup_internal.h"
#include "common/log.h"

/* ---- is it as it was made? ---- */

/* What a file of a new folder begins with; those that are not there cannot be changed. */
static const struct {
	const char *name, *begins;
} as_made[] = {{"cgroup.type", "domain\n"}, {"cgroup.subtree_control", "\n"},
    {"cgroup.freeze", "0\n"}, {"memory.max", "max\n"}, {"memory.high", "max\n"},
    {"cpu.max", "max "}, {"cpu.weight", "100\n"}, {"pids.max", "max\n"},
    {"freezer.state", "THAWED\n"}};

static bool is_as_made(const struct cgroup_place *p, const struct cgroup *g, size_t i)
{
	char path[CGROUP_FILE_SIZE], text[32];
	const char *begins = as_made[i].begins;

	if (cgroup_file_read(p, cgroup_file(g, as_made[i].name, path), text, sizeof(text)) != 0 ||
	    text[0] == '\0')
		return true;
	return strncmp(text, begins, strlen(begins)) == 0;
}

bool cgroup_is_clean(const struct cgroup *g)
{
	const struct cgroup_place *p = &g->cs->places[CGROUP_TREE];
	char path[CGROUP_FILE_SIZE];
	struct stat st;

	/* Each folder in it is a link more. */
	if (fstatat(p->fd, cgroup_file(g, ".", path), &st, 0) != 0 || st.st_nlink > 2)
		return false;
	for (size_t i = 0; i < sizeof(as_made) / sizeof(as_made[0]); i++)
		if (!is_as_made(p, g, i))
			return false;
	return true;
}

/* ---- after an upgrade ---- */

void cgroup_claim(struct cgroups *cs, uint32_t number)
{
	uint32_t *more = reallocarray(cs->claimed, cs->n_claimed + 1, sizeof(*more));

	/* Unclaimed it is waited for like the others, and removed when nothing runs in it. */
	if (more == NULL)
		return;
	cs->claimed = more;
	cs->claimed[cs->n_claimed++] = number;
}

static int by_number(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

/* The number of a folder that nobody claims; 0: it is none. */
static uint32_t unclaimed(const struct cgroups *cs, const char *name)
{
	char again[16];
	uint32_t number;

	if (sscanf(name, "j%" SCNu32, &number) != 1)
		return 0;
	snprintf(again, sizeof(again), "j%" PRIu32, number);
	if (strcmp(name, again) != 0 ||
	    (cs->n_claimed > 0 &&
	        bsearch(&number, cs->claimed, cs->n_claimed, sizeof(number), by_number) != NULL))
		return 0;
	return number;
}

static void take_unclaimed(struct cgroups *cs, uint32_t number)
{
	struct cgroup *g = calloc(1, sizeof(*g));
	char path[CGROUP_FILE_SIZE];

	if (g == NULL)
		return;
	g->cs = cs;
	g->number = number;
	g->spent = true;
	for (int h = 0; h < CGROUP_HIERARCHIES; h++)
		if (cs->places[h].version != 0 &&
		    faccessat(cs->places[h].fd, cgroup_file(g, ".", path), F_OK, 0) == 0)
			g->made |= (uint8_t)(1u << h);
	if (number > cs->last)
		cs->last = number;
	cgroup_put(g);
}

void cgroups_settle(struct cgroups *cs)
{
	const struct cgroup_place *tree = cs != NULL ? &cs->places[CGROUP_TREE] : NULL;
	uint32_t number;
	struct dirent *d;
	DIR *dir;
	int fd;

	if (tree == NULL || tree->version == 0)
		return;
	if (cs->n_claimed > 0)
		qsort(cs->claimed, cs->n_claimed, sizeof(*cs->claimed), by_number);
	fd = openat(tree->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	dir = fd >= 0 ? fdopendir(fd) : NULL;
	if (dir == NULL) {
		log_warn("control groups that an upgrade left cannot be listed");
		if (fd >= 0)
			close(fd);
	}
	while (dir != NULL && (d = readdir(dir)) != NULL)
		if ((number = unclaimed(cs, d->d_name)) != 0)
			take_unclaimed(cs, number);
	if (dir != NULL)
		closedir(dir);
	free(cs->claimed);
	cs->claimed = NULL;
	cs->n_claimed = 0;
}
