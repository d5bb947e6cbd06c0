/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/look.h"

#include <fcntl.h>
#include <ftw.h>
#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static struct look *into;
static size_t prefix;
static int flags;

/* FNV-1a. */
static uint64_t hash_of(const char *path)
{
	static unsigned char buffer[65536];
	uint64_t hash = UINT64_C(14695981039346656037);
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	ssize_t n;

	if (fd < 0)
		abort();
	while ((n = read(fd, buffer, sizeof(buffer))) > 0)
		for (ssize_t i = 0; i < n; i++)
			hash = (hash ^ buffer[i]) * UINT64_C(1099511628211);
	close(fd);
	return hash;
}

static int describe(const char *path, const struct stat *st, char *out, size_t size)
{
	char target[4096] = "";
	ssize_t n;
	int len;

	if (S_ISDIR(st->st_mode) && (flags & LOOK_KIND_OF_FOLDER) != 0)
		return snprintf(out, size, "a folder");
	len = snprintf(out, size, "mode %o, %u:%u, ", st->st_mode, st->st_uid, st->st_gid);
	if (S_ISREG(st->st_mode)) {
		len += snprintf(out + len, size - (size_t)len, "%" PRId64 " bytes, %016" PRIx64,
		    (int64_t)st->st_size, hash_of(path));
	} else if (S_ISLNK(st->st_mode)) {
		n = readlink(path, target, sizeof(target) - 1);
		len += snprintf(out + len, size - (size_t)len, "to %.*s", (int)n, target);
	}
	if ((flags & LOOK_TIMES) != 0)
		len += snprintf(out + len, size - (size_t)len, ", %" PRId64 ".%09ld",
		    (int64_t)st->st_mtim.tv_sec, st->st_mtim.tv_nsec);
	return len;
}

static int add(const char *path, const struct stat *st, int flag, struct FTW *ftw)
{
	char what[5000];
	struct look_entry *e;

	if (ftw->level == 0)
		return 0;
	if (strncmp(path + ftw->base, ".telex-", 7) == 0) {
		into->parts++;
		return 0;
	}
	if (flag == FTW_NS || flag == FTW_DNR)
		return -1;
	if (into->n == into->room) {
		into->room = into->room == 0 ? 64 : into->room * 2;
		into->entries = reallocarray(into->entries, into->room, sizeof(*e));
		if (into->entries == NULL)
			return -1;
	}
	describe(path, st, what, sizeof(what));
	e = &into->entries[into->n++];
	*e = (struct look_entry){strdup(path + prefix), strdup(what)};
	return e->path == NULL || e->what == NULL ? -1 : 0;
}

static int by_path(const void *a, const void *b)
{
	return strcmp(((const struct look_entry *)a)->path, ((const struct look_entry *)b)->path);
}

struct look look_at(const char *folder, int what)
{
	struct look l = {0};

	into = &l;
	prefix = strlen(folder) + 1;
	flags = what;
	if (nftw(folder, add, 16, FTW_PHYS) != 0)
		abort();
	into = NULL;
	if (l.n > 0)
		qsort(l.entries, l.n, sizeof(*l.entries), by_path);
	return l;
}

void look_clear(struct look *l)
{
	for (size_t i = 0; i < l->n; i++) {
		free(l->entries[i].path);
		free(l->entries[i].what);
	}
	free(l->entries);
	*l = (struct look){0};
}

const char *look_what(const struct look *l, const char *path)
{
	struct look_entry key = {.path = (char *)(uintptr_t)path};
	const struct look_entry *e =
	    l->n > 0 ? bsearch(&key, l->entries, l->n, sizeof(key), by_path) : NULL;

	return e != NULL ? e->what : "nothing";
}

/* The first path of `some` that is torn. */
static const char *torn_of(const struct look *some, const struct look *was,
    const struct look *to_be, const struct look *now)
{
	for (size_t i = 0; i < some->n; i++) {
		const char *path = some->entries[i].path, *is = look_what(now, path);

		if (strcmp(is, look_what(was, path)) != 0 &&
		    strcmp(is, look_what(to_be, path)) != 0)
			return path;
	}
	return NULL;
}

const char *look_torn(const struct look *was, const struct look *to_be, const struct look *now)
{
	const char *path = torn_of(was, was, to_be, now);

	if (path == NULL)
		path = torn_of(to_be, was, to_be, now);
	return path != NULL ? path : torn_of(now, was, to_be, now);
}
