/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A path goes three ways: its text is held against a pattern; it is resolved by the kernel from
 * that pattern's root, which no link leaves; and where the pattern says more than its root, the
 * name of what was reached is held against the pattern again. The name is the kernel's own, of the
 * descriptor: nothing that happens to the path meanwhile matters.
 *
 * A root is opened once, as the policy's author wrote it, links and all; from then on it is that
 * folder, whatever its name comes to mean.
 */
#include "agent/files/roots.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <xxhash.h>

#include "agent/files/failure.h"
#include "common/beneath.h"
#include "common/err.h"
#include "common/glob.h"

#define PATH_SIZE 4096
#define LISTS     3
#define RETRIES   64 /* of a lookup that a rename has disturbed */

struct rule {
	const char *pattern; /* behind `root` */
	bool whole;          /* the root and all below it, and nothing else to be looked at */
	int fd;              /* of the root; -1: it was not there yet */
	char root[];
};

struct rules {
	struct rule **list;
	size_t n;
};

struct roots {
	struct rules by[LISTS];
};

/* ---- patterns ---- */

/* The literal text before the first wildcard. Returns the length of the pattern that it took. */
static size_t literal(char *out, const char *pattern)
{
	size_t at = 0, len = 0;

	while (pattern[at] != '\0' && pattern[at] != '*' && pattern[at] != '?') {
		if (pattern[at] == '\\' && pattern[at + 1] != '\0')
			at++;
		out[len++] = pattern[at++];
	}
	out[len] = '\0';
	return at;
}

/* Cuts the last component off; "/" stays. */
static void cut_last(char *path)
{
	char *slash = strrchr(path, '/');

	if (slash != NULL)
		slash[slash == path ? 1 : 0] = '\0';
}

static void set_root(struct rule *r)
{
	size_t taken;

	if (strcmp(r->pattern, "**") == 0 || strcmp(r->pattern, "/**") == 0) {
		strcpy(r->root, "/");
		r->whole = true;
		return;
	}
	taken = literal(r->root, r->pattern);
	r->whole =
	    strcmp(r->pattern + taken, "**") == 0 && taken > 1 && r->pattern[taken - 1] == '/';
	cut_last(r->root);
	if (r->root[0] != '/')
		strcpy(r->root, "/");
}

/* ---- opening ---- */

#define ANYWHERE RESOLVE_NO_MAGICLINKS

/* A kernel without openat2 (before 5.6): no link is followed then, but where it may lead anywhere.
 */
static int open_without(int dir_fd, const char *path, int flags, uint64_t how)
{
	int fd;

	if ((how & RESOLVE_BENEATH) == 0)
		return openat(dir_fd, path, flags);
	fd = open_beneath(dir_fd, path, flags);
	if (fd < 0 && errno == ELOOP)
		errno = EXDEV;
	return fd;
}

/* A FIFO's open does not wait, and no terminal becomes ours. */
static int with_always(int flags)
{
	return (flags & O_PATH) != 0 ? flags | O_CLOEXEC
	                             : flags | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
}

static int open2(int dir_fd, const char *path, int flags, uint64_t how)
{
	struct open_how h = {.flags = (uint64_t)(unsigned)with_always(flags), .resolve = how};
	int fd = -1;

	for (int i = 0; i < RETRIES; i++) {
		fd = (int)syscall(SYS_openat2, dir_fd, path, &h, sizeof(h));
		if (fd >= 0 || (errno != EAGAIN && errno != EINTR))
			break;
	}
	return fd < 0 && errno == ENOSYS ? open_without(dir_fd, path, with_always(flags), how) : fd;
}

int roots_open_beneath(int dir_fd, const char *name, int flags, unsigned mode)
{
	return open_beneath_make(dir_fd, name, with_always(flags), mode);
}

static int open_folder(const char *path)
{
	return open2(AT_FDCWD, path, O_PATH | O_DIRECTORY, ANYWHERE);
}

int roots_reopen(int fd, int flags)
{
	char link[40];

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	return open2(AT_FDCWD, link, flags, 0);
}

/* The root's descriptor; -1 with errno. One that was removed since may be there again. */
static int root_fd(const struct rule *r)
{
	struct rule *mine = (struct rule *)(uintptr_t)r;
	struct stat st;

	if (r->fd >= 0 && (fstat(r->fd, &st) != 0 || st.st_nlink == 0)) {
		close(r->fd);
		mine->fd = -1;
	}
	if (r->fd < 0)
		mine->fd = open_folder(r->root);
	return r->fd;
}

static uint64_t way_of(const struct rule *r)
{
	return (strcmp(r->root, "/") == 0 ? RESOLVE_IN_ROOT : RESOLVE_BENEATH) |
	       RESOLVE_NO_MAGICLINKS;
}

/* What of an absolute path is below the root; "." for the root; NULL: it is not below. */
static const char *below(const struct rule *r, const char *path)
{
	size_t len = strcmp(r->root, "/") == 0 ? 0 : strlen(r->root);

	if (strncmp(path, r->root, len) != 0)
		return NULL;
	if (path[len] == '\0' || (len == 0 && path[1] == '\0'))
		return ".";
	return path[len] == '/' ? path + len + 1 : NULL;
}

/* ---- the name of what was reached ---- */

static bool own_name(int fd, char out[PATH_SIZE])
{
	char link[40];
	ssize_t n;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	n = readlink(link, out, PATH_SIZE - 1);
	if (n <= 0 || out[0] != '/')
		return false;
	out[n] = '\0';
	return true;
}

static bool join(char name[PATH_SIZE], const char *last)
{
	size_t len = strcmp(name, "/") == 0 ? 0 : strlen(name);

	return last == NULL ||
	       snprintf(name + len, PATH_SIZE - len, "/%s", last) < (int)(PATH_SIZE - len);
}

/* As the path of fd (or of `last` in it) would be written below the root: what the root is really
 * called does not count. */
static bool name_below(const struct rule *r, int fd, const char *last, char out[PATH_SIZE])
{
	char root[PATH_SIZE], name[PATH_SIZE];
	size_t len;
	int n;

	if (!own_name(r->fd, root) || !own_name(fd, name) || !join(name, last))
		return false;
	len = strcmp(root, "/") == 0 ? 0 : strlen(root);
	if (strncmp(name, root, len) != 0 || (name[len] != '/' && name[len] != '\0'))
		return false;
	n = snprintf(out, PATH_SIZE, "%s%s", strcmp(r->root, "/") == 0 ? "" : r->root,
	    strcmp(name + len, "/") == 0 ? "" : name + len);
	if (n == 0)
		strcpy(out, "/");
	return n < PATH_SIZE;
}

/* Whether it is deleted by now: what it was called before, nobody can say for sure. */
static bool lost_its_name(const char *name)
{
	static const char mark[] = " (deleted)";
	size_t len = strlen(name);

	return len >= sizeof(mark) && strcmp(name + len - (sizeof(mark) - 1), mark) == 0;
}

/* *again: it was replaced while it was looked up. */
static bool reached_allowed(const struct rule *r, int fd, const char *last, bool *again)
{
	char name[PATH_SIZE];

	*again = false;
	if (r->whole)
		return true;
	if (!name_below(r, fd, last, name))
		return false;
	if (glob_path_match(r->pattern, name))
		return true;
	*again = lost_its_name(name);
	return false;
}

/* ---- by one rule ---- */

/* -1 with errno; EXDEV: it leads out. last: of a folder that was opened for this name in it. */
static int open_by(const struct rule *r, const char *rel, const char *last, int flags)
{
	int fd = root_fd(r);
	bool again = true;

	if (fd < 0)
		return -1;
	for (int i = 0; i < RETRIES && again; i++) {
		fd = open2(r->fd, rel, flags, way_of(r));
		if (fd < 0 || reached_allowed(r, fd, last, &again))
			return fd;
		close(fd);
	}
	errno = EXDEV;
	return -1;
}

static int parent_by(const struct rule *r, const char *path, const char *name)
{
	char folder[PATH_SIZE];
	const char *rel;

	memcpy(folder, path, strlen(path) + 1);
	cut_last(folder);
	rel = below(r, folder);
	/* The root itself: where it is, its author says. */
	if (rel == NULL)
		return open_folder(folder);
	return open_by(r, rel, name, O_PATH | O_DIRECTORY);
}

/* ---- by the rules of an access ---- */

static const struct rules *rules_of(const struct roots *r, enum roots_access access)
{
	return &r->by[access];
}

static int fail(struct rpc_status *status, int sys_errno, const char *path)
{
	if (sys_errno == EXDEV)
		failure_outside(
		    status, path, "leads out of what may be used here, by a link on its way");
	else
		failure_errno(status, sys_errno, "open", path);
	return -1;
}

/* Whether the next rule may do better: another root may hold what the first one's links leave. */
static bool is_final(int fd)
{
	return fd >= 0 || errno != EXDEV;
}

static int check_path(enum roots_access access, const char *path, struct rpc_status *status)
{
	static const char *const words[LISTS] = {
	    [ROOTS_READ] = "may not be read",
	    [ROOTS_WRITE] = "may not be written",
	    [ROOTS_WATCH] = "may not be watched",
	};

	if (strlen(path) >= PATH_SIZE)
		return failure_errno(status, ENAMETOOLONG, "open", path);
	return failure_outside(status, path, words[access]);
}

int roots_open(const struct roots *r, enum roots_access access, const char *path, int flags,
    struct rpc_status *status)
{
	const struct rules *rules = rules_of(r, access);
	int fd = -1, tried = 0;

	assert((flags & O_CREAT) == 0);
	for (size_t i = 0; i < rules->n; i++) {
		const struct rule *rule = rules->list[i];

		if (!glob_path_match(rule->pattern, path))
			continue;
		tried++;
		fd = open_by(rule, below(rule, path), NULL, flags);
		if (is_final(fd))
			break;
	}
	if (tried == 0)
		return check_path(access, path, status), -1;
	return fd >= 0 ? fd : fail(status, errno, path);
}

int roots_parent(const struct roots *r, enum roots_access access, const char *path,
    const char **name, struct rpc_status *status)
{
	const struct rules *rules = rules_of(r, access);
	const char *slash = strrchr(path, '/');
	int fd = -1, tried = 0;

	if (slash == NULL || slash[1] == '\0') {
		rpc_status_set(status, RPC_INVALID_ARGUMENT, "BAD_REQUEST",
		    "%s has no name that could be made, moved or removed", path);
		rpc_status_meta(status, "path", "%s", path);
		return -1;
	}
	for (size_t i = 0; i < rules->n; i++) {
		const struct rule *rule = rules->list[i];

		if (!glob_path_match(rule->pattern, path))
			continue;
		tried++;
		fd = parent_by(rule, path, slash + 1);
		if (is_final(fd))
			break;
	}
	if (tried == 0)
		return check_path(access, path, status), -1;
	if (fd < 0)
		return fail(status, errno, path);
	*name = slash + 1;
	return fd;
}

bool roots_allow(const struct roots *r, enum roots_access access, const char *path)
{
	const struct rules *rules = rules_of(r, access);

	for (size_t i = 0; i < rules->n; i++)
		if (glob_path_match(rules->list[i]->pattern, path))
			return true;
	return false;
}

/* Names that no pattern has literally: what takes them takes any. */
static bool takes_tree(const struct rule *rule, const char *name)
{
	const char *slash = name[1] == '\0' ? "" : "/";
	char one[PATH_SIZE], two[PATH_SIZE];

	return snprintf(one, sizeof(one), "%s%s\1", name, slash) < PATH_SIZE &&
	       snprintf(two, sizeof(two), "%s%s\1/\1", name, slash) < PATH_SIZE &&
	       glob_path_match(rule->pattern, one) && glob_path_match(rule->pattern, two);
}

bool roots_allow_tree(const struct roots *r, enum roots_access access, int fd, const char *last)
{
	const struct rules *rules = rules_of(r, access);
	char name[PATH_SIZE];

	for (size_t i = 0; i < rules->n; i++)
		if (root_fd(rules->list[i]) >= 0 && name_below(rules->list[i], fd, last, name) &&
		    takes_tree(rules->list[i], name))
			return true;
	return false;
}

/* Whether one path is the other, or above it. */
static bool is_above(const char *above, const char *path)
{
	size_t len = strcmp(above, "/") == 0 ? 0 : strlen(above);

	return strncmp(above, path, len) == 0 && (path[len] == '/' || path[len] == '\0');
}

bool roots_reach(
    const struct roots *r, enum roots_access access, int fd, const char *last, bool folder)
{
	const struct rules *rules = rules_of(r, access);
	char name[PATH_SIZE], root[PATH_SIZE];

	if (!own_name(fd, name) || !join(name, last))
		return true;
	for (size_t i = 0; i < rules->n; i++) {
		const struct rule *rule = rules->list[i];

		if (root_fd(rule) < 0)
			continue;
		if (!own_name(rule->fd, root))
			return true;
		if (folder && (is_above(root, name) || is_above(name, root)))
			return true;
		if (!folder && name_below(rule, fd, last, root) &&
		    glob_path_match(rule->pattern, root))
			return true;
	}
	return false;
}

bool roots_allow_all(const struct roots *r, enum roots_access access)
{
	const struct rules *rules = rules_of(r, access);

	for (size_t i = 0; i < rules->n; i++)
		if (rules->list[i]->whole && strcmp(rules->list[i]->root, "/") == 0)
			return true;
	return false;
}

uint64_t roots_mark(const struct roots *r, enum roots_access access)
{
	const struct rules *rules = rules_of(r, access);
	uint64_t mark = rules->n;

	for (size_t i = 0; i < rules->n; i++)
		mark = XXH3_64bits_withSeed(
		    rules->list[i]->pattern, strlen(rules->list[i]->pattern), mark);
	return mark;
}

/* ---- what they come to, for a sandbox ---- */

/* Of a root that is not there yet: the nearest folder above it that is. */
static int open_or_above(const struct rule *r, bool *missing)
{
	char path[PATH_SIZE];
	int fd;

	strcpy(path, r->root);
	*missing = false;
	while ((fd = open_folder(path)) < 0 && strcmp(path, "/") != 0) {
		*missing = true;
		cut_last(path);
	}
	return fd;
}

int roots_each(
    const struct roots *r, int (*each)(const struct roots_folder *f, void *arg), void *arg)
{
	int rc = 0;

	for (int access = 0; access < LISTS; access++)
		for (size_t i = 0; i < r->by[access].n && rc == 0; i++) {
			const struct rule *rule = r->by[access].list[i];
			struct roots_folder f = {.writable = access == ROOTS_WRITE};

			f.fd = open_or_above(rule, &f.missing);
			if (f.fd < 0)
				continue;
			rc = each(&f, arg);
			close(f.fd);
		}
	return rc;
}

/* ---- making ---- */

static int add_rule(struct rules *rules, const char *pattern)
{
	size_t len = strlen(pattern) + 1;
	struct rule *r;

	/* Nothing that could be opened is as long. */
	if (len >= PATH_SIZE)
		return 0;
	r = malloc(sizeof(*r) + 2 * len + 2);
	if (r == NULL)
		return TX_ENOMEM;
	memcpy(r->root + len + 2, pattern, len);
	r->pattern = r->root + len + 2;
	r->fd = -1;
	set_root(r);
	(void)root_fd(r);
	rules->list[rules->n++] = r;
	return 0;
}

static int add_rules(struct rules *rules, const char *const *patterns)
{
	size_t n = 0;
	int rc = 0;

	while (patterns != NULL && patterns[n] != NULL)
		n++;
	rules->list = calloc(n + 1, sizeof(struct rule *));
	if (rules->list == NULL)
		return TX_ENOMEM;
	for (size_t i = 0; i < n && rc == 0; i++)
		rc = add_rule(rules, patterns[i]);
	return rc;
}

int roots_new(
    struct roots **out, const char *const *read, const char *const *write, const char *const *watch)
{
	struct roots *r = calloc(1, sizeof(*r));
	int rc = r == NULL ? TX_ENOMEM : add_rules(&r->by[ROOTS_READ], read);

	if (rc == 0)
		rc = add_rules(&r->by[ROOTS_WRITE], write);
	if (rc == 0)
		rc = add_rules(&r->by[ROOTS_WATCH], watch);
	if (rc == 0)
		*out = r;
	else
		roots_free(r);
	return rc;
}

void roots_free(struct roots *r)
{
	if (r == NULL)
		return;
	for (int access = 0; access < LISTS; access++) {
		for (size_t i = 0; i < r->by[access].n; i++) {
			if (r->by[access].list[i]->fd >= 0)
				close(r->by[access].list[i]->fd);
			free(r->by[access].list[i]);
		}
		free(r->by[access].list);
	}
	free(r);
}
