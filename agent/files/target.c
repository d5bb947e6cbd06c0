/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/files/target.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "agent/files/failure.h"
#include "agent/files/request.h"
#include "common/escape.h"

/* False: nothing is above it. */
static bool go_up(char *path)
{
	char *slash = strrchr(path, '/');

	if (slash == NULL || slash == path)
		return false;
	*slash = '\0';
	return true;
}

static bool is_missing(const struct roots *r, const char *folder)
{
	struct rpc_status status;
	int fd = roots_open(r, ROOTS_WRITE, folder, O_PATH, &status);

	if (fd >= 0)
		close(fd);
	return fd < 0 && strcmp(status.reason, "NO_SUCH_FILE") == 0;
}

void target_missing(const struct roots *r, const char *path, const char *folder, const char *what,
    struct rpc_status *status)
{
	char first[REQUEST_PATH_SIZE], above[REQUEST_PATH_SIZE], safe[256], safe_first[256];

	if (strcmp(status->reason, "NO_SUCH_FILE") != 0 || strlen(folder) >= sizeof(first))
		return;
	snprintf(first, sizeof(first), "%s", folder);
	snprintf(above, sizeof(above), "%s", folder);
	while (go_up(above) && is_missing(r, above))
		snprintf(first, sizeof(first), "%s", above);
	failure_errno(status, ENOENT, what, path);
	escape_text(safe, sizeof(safe), path, strlen(path));
	escape_text(safe_first, sizeof(safe_first), first, strlen(first));
	if (strcmp(first, path) == 0)
		snprintf(status->message, sizeof(status->message),
		    "cannot %s %.200s: there is no such folder", what, safe);
	else
		snprintf(status->message, sizeof(status->message),
		    "cannot %s %.200s: the folder %.200s is not there", what, safe, safe_first);
	rpc_status_meta(status, "folder", "%s", safe_first);
}

void target_no_parent(
    const struct roots *r, const char *path, const char *what, struct rpc_status *status)
{
	char folder[REQUEST_PATH_SIZE];

	snprintf(folder, sizeof(folder), "%s", path);
	if (go_up(folder))
		target_missing(r, path, folder, what, status);
}

int target_parent(const struct roots *r, const char *path, const char *what, const char **name,
    struct rpc_status *status)
{
	const int fd = roots_parent(r, ROOTS_WRITE, path, name, status);

	if (fd < 0)
		target_no_parent(r, path, what, status);
	return fd;
}
