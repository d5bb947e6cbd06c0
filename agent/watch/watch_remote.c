/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/watch/watch_remote.h"

#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/vfs.h>

#include "common/err.h"
#include "common/escape.h"

/* By statfs(2)'s f_type. */
static const struct {
	uint32_t type;
	const char *name;
} table[] = {
    {0x6969, "nfs"},
    {0x517b, "smb"},
    {0xff534d42, "cifs"},
    {0xfe534d42, "smb2"},
    {0x65735546, "fuse"},
    {0x01021997, "9p"},
    {0x00c36400, "ceph"},
    {0x5346414f, "afs"},
    {0x6b414653, "afs"},
    {0x73757245, "coda"},
    {0x01161970, "gfs2"},
    {0x7461636f, "ocfs2"},
    {0x0bd00bd0, "lustre"},
    {0x47504653, "gpfs"},
    {0x786f4256, "vboxsf"},
    {0xbacbacbc, "vmhgfs"},
};

static uint32_t added;

void watch_remote_add(uint32_t type)
{
	added = type;
}

const char *watch_remote(int fd)
{
	struct statfs s;

	if (fstatfs(fd, &s) != 0)
		return NULL;
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (table[i].type == (uint32_t)s.f_type)
			return table[i].name;
	return added != 0 && added == (uint32_t)s.f_type ? "added" : NULL;
}

int watch_remote_refuse(struct rpc_status *status, const char *path, const char *remote)
{
	char safe[256];

	escape_text(safe, sizeof(safe), path, strlen(path));
	rpc_status_set(status, RPC_FAILED_PRECONDITION, "REMOTE_FILESYSTEM",
	    "%s is on a file system (%s) that others may change without this machine being told; "
	    "with allow_remote it is looked through at intervals",
	    safe, remote);
	rpc_status_meta(status, "path", "%s", safe);
	return TX_EUNSUPPORTED;
}
