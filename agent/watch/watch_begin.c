/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/watch/watch_begin.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/files/failure.h"
#include "agent/watch/watch_remote.h"
#include "common/err.h"
#include "common/escape.h"
#include "common/glob.h"
#include "common/mem.h"

#define SECOND       ((int64_t)1000000000)
#define HOUR         (3600 * SECOND)
#define PATTERNS_MAX ((size_t)1024)
#define KIND_LAST    TELEX__V1__CHANGE_KIND__CHANGE_KIND_ROOT_BACK

static int bad(struct rpc_status *status, const char *why)
{
	rpc_status_set(status, RPC_INVALID_ARGUMENT, "BAD_REQUEST", "a watch %s", why);
	return TX_EINVAL;
}

/* ---- paths ---- */

static bool is_twice(const struct watch_asked *a, const char *path)
{
	for (size_t i = 0; i < a->n_paths; i++)
		if (strcmp(a->paths[i], path) == 0)
			return true;
	return false;
}

static int read_paths(
    struct watch_asked *a, const Telex__V1__WatchBegin *b, struct rpc_status *status)
{
	if (b->n_paths < 1 || b->n_paths > WATCH_ROOTS_MAX)
		return bad(status, "has 1 to 64 paths");
	for (size_t i = 0; i < b->n_paths; i++) {
		const ProtobufCBinaryData *p = &b->paths[i];
		char *path;

		if (p->len == 0 || p->len >= PATH_MAX || memchr(p->data, '\0', p->len) != NULL)
			return bad(status, "has paths of 1 to 4095 bytes, without NUL");
		path = xmemdup0(p->data, p->len);
		if (!glob_path_plain(path) || is_twice(a, path)) {
			free(path);
			return bad(status, "has plain, absolute paths, and none twice");
		}
		a->paths[a->n_paths++] = path;
	}
	return 0;
}

/* ---- patterns ---- */

static int read_patterns(char ***out, char *const *list, size_t n, struct rpc_status *status)
{
	char safe[256];

	*out = xcalloc(n + 1, sizeof(**out));
	if (n > PATTERNS_MAX)
		return bad(status, "has at most 1024 patterns of a kind");
	for (size_t i = 0; i < n; i++) {
		if (!glob_valid(list[i]) || strlen(list[i]) >= PATH_MAX) {
			escape_text(safe, sizeof(safe), list[i], strlen(list[i]));
			rpc_status_set(status, RPC_INVALID_ARGUMENT, "BAD_PATTERN",
			    "\"%s\" is no pattern: it must not be empty, longer than 4095 bytes, "
			    "or end "
			    "with a backslash",
			    safe);
			rpc_status_meta(status, "pattern", "%s", safe);
			return TX_EINVAL;
		}
		(*out)[i] = xstrdup(list[i]);
	}
	return 0;
}

/* ---- the rest ---- */

/* Nanoseconds; false: out of range. NULL: 0. */
static bool read_time(const Google__Protobuf__Duration *d, int64_t *ns)
{
	*ns = 0;
	if (d == NULL)
		return true;
	if (d->seconds < 0 || d->seconds > HOUR / SECOND || d->nanos < 0 || d->nanos >= SECOND)
		return false;
	*ns = d->seconds * SECOND + d->nanos;
	return *ns <= HOUR;
}

static int read_times(
    struct watch_asked *a, const Telex__V1__WatchBegin *b, struct rpc_status *status)
{
	if (!read_time(b->settle, &a->settle) || !read_time(b->max_delay, &a->max_delay))
		return bad(status, "settles within 0 seconds to 1 hour");
	if (!read_time(b->heartbeat_interval, &a->heartbeat) ||
	    (b->heartbeat_interval != NULL && a->heartbeat < SECOND))
		return bad(status, "has a heartbeat every 1 second to 1 hour");
	if (b->max_delay == NULL)
		a->max_delay = 10 * a->settle;
	return 0;
}

static int read_kinds(
    struct watch_asked *a, const Telex__V1__WatchBegin *b, struct rpc_status *status)
{
	for (size_t i = 0; i < b->n_kinds; i++) {
		if (b->kinds[i] < 1 || b->kinds[i] > KIND_LAST)
			return bad(
			    status, "asks for kinds of changes that are in the list of them");
		a->kinds |= 1u << b->kinds[i];
	}
	if (b->n_kinds == 0)
		a->kinds = UINT32_MAX;
	return 0;
}

static int read_since(
    struct watch_asked *a, const Telex__V1__WatchBegin *b, struct rpc_status *status)
{
	char safe[256];

	a->asked = watch_clock_asked(b);
	a->has_since = b->since[0] != '\0';
	if (!a->has_since)
		return 0;
	escape_text(safe, sizeof(safe), b->since, strlen(b->since));
	if (watch_clock_read(&a->since, b->since) < 0) {
		rpc_status_set(status, RPC_INVALID_ARGUMENT, "BAD_CLOCK",
		    "\"%s\" is no clock; take one that an earlier watch has given", safe);
		return TX_EINVAL;
	}
	if (a->since.asked != a->asked) {
		rpc_status_set(status, RPC_INVALID_ARGUMENT, "OTHER_CLOCK",
		    "the clock \"%s\" is of a watch of other paths or options; ask for the same, "
		    "or "
		    "begin without one",
		    safe);
		return TX_EINVAL;
	}
	return 0;
}

int watch_asked_read(
    struct watch_asked *a, const Telex__V1__WatchBegin *b, struct rpc_status *status)
{
	int rc;

	*a = (struct watch_asked){.recursive = b->recursive,
	    .depth = b->recursive ? b->depth : 0,
	    .across_mounts = b->across_mounts,
	    .allow_remote = b->allow_remote,
	    .wait = b->wait,
	    .state = b->state};
	rc = read_paths(a, b, status);
	if (rc == 0)
		rc = read_patterns(&a->include, b->include, b->n_include, status);
	if (rc == 0)
		rc = read_patterns(&a->exclude, b->exclude, b->n_exclude, status);
	if (rc == 0)
		rc = read_kinds(a, b, status);
	if (rc == 0)
		rc = read_times(a, b, status);
	return rc == 0 ? read_since(a, b, status) : rc;
}

static void free_list(char **list)
{
	for (char **at = list; at != NULL && *at != NULL; at++)
		free(*at);
	free(list);
}

void watch_asked_clear(struct watch_asked *a)
{
	for (size_t i = 0; i < a->n_paths; i++)
		free(a->paths[i]);
	free_list(a->include);
	free_list(a->exclude);
	*a = (struct watch_asked){0};
}

/* ---- what is there ---- */

static int check_open(
    const struct watch_asked *a, const char *path, int fd, struct rpc_status *status)
{
	const char *remote = watch_remote(fd);
	struct stat st;

	if (fstat(fd, &st) != 0)
		return failure_errno(status, errno, "watch", path);
	if (a->recursive && !S_ISDIR(st.st_mode))
		return failure_errno(status, ENOTDIR, "watch", path);
	if (remote == NULL || a->allow_remote)
		return 0;
	return watch_remote_refuse(status, path, remote);
}

static int check(const struct watch_asked *a, const struct roots *roots, const char *path,
    struct rpc_status *status)
{
	int fd = roots_open(roots, ROOTS_WATCH, path, O_PATH, status);
	int rc;

	if (fd < 0)
		return a->wait && strcmp(status->reason, "NO_SUCH_FILE") == 0 ? 0 : TX_ENOENT;
	rc = check_open(a, path, fd, status);
	close(fd);
	return rc;
}

int watch_asked_check(
    const struct watch_asked *a, const struct roots *roots, struct rpc_status *status)
{
	int rc = 0;

	for (size_t i = 0; i < a->n_paths && rc == 0; i++)
		rc = check(a, roots, a->paths[i], status);
	return rc;
}
