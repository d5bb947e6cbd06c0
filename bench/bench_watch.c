/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The limit of P12: what any program has to do that watches all folders below one, and nothing
 * else. For each folder inotify_add_watch(2), then readdir(3); d_type tells which entries are
 * folders, so that nothing is looked at by itself.
 *
 * Usage: bench_watch FOLDER; prints the microseconds and the number of folders.
 */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <time.h>
#include <unistd.h>

#include "common/mem.h"

#define MASK                                                                                       \
	(IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO | IN_MODIFY | IN_CLOSE_WRITE |        \
	    IN_ATTRIB)

struct todo {
	char **paths;
	size_t n, room;
};

static int64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

static void die(const char *what) __attribute__((noreturn));

static void die(const char *what)
{
	fprintf(stderr, "bench: %s: %s\n", what, strerror(errno));
	exit(1);
}

static void push(struct todo *t, char *path)
{
	if (t->n == t->room) {
		t->room = 2 * t->room + 64;
		t->paths = xreallocarray(t->paths, t->room, sizeof(*t->paths));
	}
	t->paths[t->n++] = path;
}

static void read_folder(struct todo *t, const char *path)
{
	const struct dirent *d;
	DIR *dir = opendir(path);

	if (dir == NULL)
		die(path);
	while ((d = readdir(dir)) != NULL)
		if (d->d_type == DT_DIR && strcmp(d->d_name, ".") != 0 &&
		    strcmp(d->d_name, "..") != 0)
			push(t, xasprintf("%s/%s", path, d->d_name));
	closedir(dir);
}

int main(int argc, char **argv)
{
	struct todo todo = {0};
	size_t folders = 0;
	int64_t start;
	int fd;

	if (argc != 2)
		return 2;
	start = now_us();
	fd = inotify_init1(IN_CLOEXEC);
	if (fd < 0)
		die("inotify_init1");
	push(&todo, xstrdup(argv[1]));
	for (; todo.n > 0; folders++) {
		char *path = todo.paths[--todo.n];

		if (inotify_add_watch(fd, path, MASK) < 0)
			die(path);
		read_folder(&todo, path);
		free(path);
	}
	printf("%lld %zu\n", (long long)(now_us() - start), folders);
	free(todo.paths);
	close(fd);
	return 0;
}
