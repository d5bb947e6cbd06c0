/* SPDX-License-Identifier: Apache-2.0 */
/* Remove. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <unistd.h>

#include "agent/files/failure.h"
#include "agent/files/methods.h"
#include "agent/files/remove_tree.h"
#include "agent/files/request.h"
#include "telex/v1/file.pb-c.h"

/* A file, or an empty folder. 0 or an errno; EISDIR: a folder, that is to be removed with all in
 * it. */
static int remove_one(const Telex__V1__FileServiceRemoveRequest *r, int dir_fd, const char *name)
{
	int error = EISDIR;

	if (!r->directory_only)
		error = unlinkat(dir_fd, name, 0) == 0 ? 0 : errno;
	if (error == EISDIR && (r->directory_only || !r->recursive))
		error = unlinkat(dir_fd, name, AT_REMOVEDIR) == 0 ? 0 : errno;
	return error;
}

static void answer(struct call *c, const struct tally *tally, struct rpc_status *status)
{
	Telex__V1__FileServiceRemoveResponse response =
	    TELEX__V1__FILE_SERVICE_REMOVE_RESPONSE__INIT;

	call_summary(c, "removed=%" PRIu64 " failed=%" PRIu64, tally->done, tally->failed);
	tally_end(tally, "removed", status);
	response.removed = tally->done;
	if (tally->failed == 0)
		(void)call_send(c, &response.base);
}

static void run(struct call *c, const Telex__V1__FileServiceRemoveRequest *r, const char *path,
    int dir_fd, const char *name, struct rpc_status *status)
{
	struct tally tally;
	struct remove_tree tree = {.call = c, .across = r->across_mounts, .tally = &tally};
	int error = remove_one(r, dir_fd, name);

	tally_init(&tally, path);
	if (error == EISDIR) {
		tree.scope = (struct scope){.roots = call_roots(c),
		    .access = ROOTS_WRITE,
		    .top = path,
		    .whole = roots_allow_tree(call_roots(c), ROOTS_WRITE, dir_fd, name)};
		if (!remove_tree(&tree, dir_fd, name))
			return;
	} else if (error == 0) {
		tally.done++;
	} else if (error != ENOENT || !r->force) {
		tally_errno(&tally, error, "remove", "");
	}
	answer(c, &tally, status);
}

void fs_remove(struct call *c, const ProtobufCMessage *request, struct rpc_status *status)
{
	const Telex__V1__FileServiceRemoveRequest *r =
	    (const Telex__V1__FileServiceRemoveRequest *)request;
	char path[REQUEST_PATH_SIZE];
	struct rpc_status found;
	const char *name;
	int dir_fd;

	if (!request_path(path, &r->path, status))
		return;
	dir_fd = roots_parent(call_roots(c), ROOTS_WRITE, path, &name, &found);
	if (dir_fd >= 0) {
		run(c, r, path, dir_fd, name, status);
		close(dir_fd);
	} else if (found.code == RPC_NOT_FOUND && r->force) {
		struct tally none;

		tally_init(&none, path);
		answer(c, &none, status);
	} else {
		*status = found;
	}
}
