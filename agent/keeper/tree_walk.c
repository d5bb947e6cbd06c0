/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/keeper/tree_walk.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/keeper/reserve.h"
#include "common/log.h"

#define PIDS_MAX ((size_t)1 << 20)

/* ---- the set ---- */

void tree_pids_add(struct tree_pids *ps, pid_t pid)
{
	if (ps->n == ps->size) {
		size_t size = ps->size == 0 ? 64 : ps->size * 2;
		pid_t *more =
		    size > PIDS_MAX ? NULL : reallocarray(ps->list, size, sizeof(*ps->list));

		if (more == NULL) {
			ps->shortage = ENOMEM;
			log_warn("no memory for more descendants: %d is passed over", (int)pid);
			return;
		}
		ps->list = more;
		ps->size = size;
	}
	ps->list[ps->n++] = pid;
}

static int by_number(const void *a, const void *b)
{
	pid_t x = *(const pid_t *)a, y = *(const pid_t *)b;

	return x < y ? -1 : x > y;
}

void tree_pids_sort(struct tree_pids *ps)
{
	size_t n = 0;

	if (ps->n > 0)
		qsort(ps->list, ps->n, sizeof(*ps->list), by_number);
	for (size_t i = 0; i < ps->n; i++)
		if (n == 0 || ps->list[n - 1] != ps->list[i])
			ps->list[n++] = ps->list[i];
	ps->n = n;
}

bool tree_pids_has(const struct tree_pids *ps, pid_t pid)
{
	return ps->n > 0 && bsearch(&pid, ps->list, ps->n, sizeof(pid), by_number) != NULL;
}

void tree_pids_free(struct tree_pids *ps)
{
	free(ps->list);
	*ps = (struct tree_pids){0};
}

/* ---- /proc ---- */

bool tree_stat_read(pid_t pid, struct tree_stat *st)
{
	char path[64], text[1024];
	uint64_t utime, stime, start;
	int64_t cutime, cstime, rss;
	int parent, fd;
	const char *at;
	ssize_t n;

	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return false;
	text[n] = '\0';
	/* The name may hold anything, the last parenthesis ends it. */
	at = strrchr(text, ')');
	if (at == NULL ||
	    sscanf(at + 1,
	        " %c %d %*d %*d %*d %*d %*u %*u %*u %*u %*u %" SCNu64 " %" SCNu64 " %" SCNd64
	        " %" SCNd64 " %*d %*d %*d %*d %" SCNu64 " %*u %" SCNd64,
	        &st->state, &parent, &utime, &stime, &cutime, &cstime, &start, &rss) != 8)
		return false;
	st->parent = (pid_t)parent;
	st->cpu_ticks = utime + stime + (uint64_t)cutime + (uint64_t)cstime;
	st->start = start;
	st->rss = rss > 0 ? (uint64_t)rss * (uint64_t)sysconf(_SC_PAGESIZE) : 0;
	return true;
}

static void note_shortage(struct tree_pids *ps)
{
	if (reserve_is_shortage(errno))
		ps->shortage = errno;
}

static void add_children_of(struct tree_pids *ps, const char *path)
{
	FILE *f = fopen(path, "re");
	int pid;

	if (f == NULL) {
		note_shortage(ps);
		return;
	}
	while (fscanf(f, "%d", &pid) == 1)
		tree_pids_add(ps, (pid_t)pid);
	fclose(f);
}

/* Children belong to the thread that made them. */
void tree_add_children(struct tree_pids *ps, pid_t pid)
{
	char path[320];
	struct dirent *d;
	DIR *dir;

	snprintf(path, sizeof(path), "/proc/%d/task", (int)pid);
	dir = opendir(path);
	if (dir == NULL) {
		note_shortage(ps);
		return;
	}
	while ((d = readdir(dir)) != NULL) {
		if (d->d_name[0] == '.')
			continue;
		snprintf(path, sizeof(path), "/proc/%d/task/%s/children", (int)pid, d->d_name);
		add_children_of(ps, path);
	}
	closedir(dir);
}

void tree_add_descendants(struct tree_pids *ps, size_t from)
{
	for (size_t i = from; i < ps->n; i++)
		tree_add_children(ps, ps->list[i]);
}

bool tree_mark_read(pid_t pid, char *id, size_t size)
{
	static const char mark[] = TREE_MARK "=";
	char path[64];
	char *line = NULL;
	size_t room = 0;
	bool found = false;
	FILE *f;

	snprintf(path, sizeof(path), "/proc/%d/environ", (int)pid);
	f = fopen(path, "re");
	if (f == NULL)
		return false;
	while (getdelim(&line, &room, '\0', f) > 0)
		if (strncmp(line, mark, sizeof(mark) - 1) == 0) {
			found = snprintf(id, size, "%s", line + sizeof(mark) - 1) < (int)size;
			break;
		}
	free(line);
	fclose(f);
	errno = 0;
	return found;
}
