/* SPDX-License-Identifier: Apache-2.0 */
/* StatFilesystem. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "agent/files/failure.h"
#include "agent/files/methods.h"
#include "agent/files/request.h"
#include "agent/files/roots.h"
#include "telex/v1/file.pb-c.h"

/* statfs(2)'s f_type. Where one number stands for several, the one that is in use. */
static const struct {
	uint32_t magic;
	const char *name;
} types[] = {{0xef53, "ext4"}, {0x58465342, "xfs"}, {0x9123683e, "btrfs"}, {0x01021994, "tmpfs"},
    {0x794c7630, "overlay"}, {0x6969, "nfs"}, {0x65735546, "fuse"}, {0xf2f52010, "f2fs"},
    {0x2fc12fc1, "zfs"}, {0xca451a4e, "bcachefs"}, {0x4d44, "vfat"}, {0x2011bab0, "exfat"},
    {0x5346544e, "ntfs"}, {0x7366746e, "ntfs3"}, {0xff534d42, "cifs"}, {0xfe534d42, "smb2"},
    {0x00c36400, "ceph"}, {0x01021997, "9p"}, {0x73717368, "squashfs"}, {0xe0f5e1e2, "erofs"},
    {0x9660, "iso9660"}, {0x15013346, "udf"}, {0x9fa0, "proc"}, {0x62656572, "sysfs"},
    {0x27e0eb, "cgroup"}, {0x63677270, "cgroup2"}, {0x1cd1, "devpts"}, {0x858458f6, "ramfs"},
    {0x958458f6, "hugetlbfs"}, {0x64626720, "debugfs"}, {0x74726163, "tracefs"},
    {0x73636673, "securityfs"}, {0xcafe4a11, "bpf"}, {0x6165676c, "pstore"}, {0x3153464a, "jfs"},
    {0x52654973, "reiserfs"}, {0x24051905, "ubifs"}, {0x0bd00bd0, "lustre"},
    {0x6a656a63, "virtiofs"}, {0x19800202, "mqueue"}};

static const char *type_name(uint32_t magic, char number[16])
{
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (types[i].magic == magic)
			return types[i].name;
	snprintf(number, 16, "%08x", magic);
	return number;
}

void fs_stat_filesystem(struct call *c, const ProtobufCMessage *request, struct rpc_status *status)
{
	const Telex__V1__StatFilesystemRequest *r =
	    (const Telex__V1__StatFilesystemRequest *)request;
	Telex__V1__StatFilesystemResponse out = TELEX__V1__STAT_FILESYSTEM_RESPONSE__INIT;
	char path[REQUEST_PATH_SIZE], number[16];
	struct statfs s;
	uint64_t unit;
	int fd, rc;

	if (!request_path(path, &r->path, status))
		return;
	fd = roots_open(call_roots(c), ROOTS_READ, path, O_PATH, status);
	if (fd < 0)
		return;
	rc = fstatfs(fd, &s) == 0 ? 0 : errno;
	close(fd);
	if (rc != 0) {
		failure_errno(status, rc, "look at the file system of", path);
		return;
	}
	unit = s.f_frsize > 0 ? (uint64_t)s.f_frsize : (uint64_t)s.f_bsize;
	out.type = (char *)(uintptr_t)type_name((uint32_t)s.f_type, number);
	out.total = s.f_blocks * unit;
	out.free = s.f_bfree * unit;
	out.available = s.f_bavail * unit;
	out.files = s.f_files;
	out.files_free = s.f_ffree;
	out.block_size = (uint32_t)s.f_bsize;
	out.name_max = (uint32_t)s.f_namelen;
	out.read_only = (s.f_flags & ST_RDONLY) != 0;
	(void)call_send(c, &out.base);
}
