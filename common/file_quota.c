/* SPDX-License-Identifier: Apache-2.0 */
#include "common/file_quota.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/dqblk_xfs.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/quota.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

#include "common/escape.h"

#define PATH_SIZE  4096
#define BLOCK_SIZE 1024u /* of the limits, whatever the file system's is */

/* 0: none. A soft limit is one once its time of grace is over. */
static uint64_t limit_of(uint64_t hard, uint64_t soft, uint64_t used, uint64_t until)
{
	return soft != 0 && used > soft && until != 0 && (uint64_t)time(NULL) > until ? soft : hard;
}

/* Since Linux 5.14; before, it takes the device's name, which only who mounted it knows. */
static int quotactl_of(int fd, unsigned command, int type, uint32_t id, void *out)
{
#ifdef SYS_quotactl_fd
	return (int)syscall(SYS_quotactl_fd, fd, QCMD(command, (unsigned)type), id, out);
#else
	(void)fd, (void)command, (void)type, (void)id, (void)out;
	return -1;
#endif
}

/* What a file system counts it may let pass all the same. Where it does not say, it does not. */
static bool is_enforced(int fd, int type)
{
	struct fs_quota_statv state = {.qs_version = FS_QSTATV_VERSION1};
	const unsigned flag = type == USRQUOTA ? FS_QUOTA_UDQ_ENFD : FS_QUOTA_GDQ_ENFD;

	return quotactl_of(fd, Q_XGETQSTATV, type, 0, &state) != 0 || (state.qs_flags & flag) != 0;
}

/* XFS keeps the limits of all who have none of their own as root's, who has none. */
static bool is_limited(int fd, uint32_t id)
{
	struct statfs st;

	return id != 0 || fstatfs(fd, &st) != 0 || (uint32_t)st.f_type != XFS_SUPER_MAGIC;
}

static bool ask(struct file_quota *out, enum file_quota_whose whose, int fd, uint32_t id)
{
	const int type = whose == FILE_QUOTA_USER ? USRQUOTA : GRPQUOTA;
	struct dqblk d;
	uint64_t blocks, files;

	memset(&d, 0, sizeof(d));
	if (!is_limited(fd, id) || quotactl_of(fd, Q_GETQUOTA, type, id, &d) != 0 ||
	    !is_enforced(fd, type))
		return false;
	blocks = limit_of(d.dqb_bhardlimit * BLOCK_SIZE, d.dqb_bsoftlimit * BLOCK_SIZE,
	    d.dqb_curspace, d.dqb_btime);
	files = limit_of(d.dqb_ihardlimit, d.dqb_isoftlimit, d.dqb_curinodes, d.dqb_itime);
	if (blocks == 0 && files == 0)
		return false;
	out->whose = whose;
	out->id = id;
	out->limit = blocks;
	out->left = UINT64_MAX;
	if (blocks != 0)
		out->left = blocks > d.dqb_curspace ? blocks - d.dqb_curspace : 0;
	out->files = files != 0 && d.dqb_curinodes >= files ? files : 0;
	return true;
}

bool file_quota_of(struct file_quota *out, int fd)
{
	struct file_quota group;
	struct stat st;
	uint32_t uid = geteuid(), gid = getegid();
	bool known;

	if (fstat(fd, &st) != 0)
		return false;
	if (S_ISREG(st.st_mode))
		uid = st.st_uid;
	/* What is made in a folder with set-group-ID has its group. */
	if (S_ISREG(st.st_mode) || (st.st_mode & S_ISGID) != 0)
		gid = st.st_gid;
	*out = group = (struct file_quota){.whose = FILE_QUOTA_UNKNOWN};
	known = ask(out, FILE_QUOTA_USER, fd, uid);
	if (ask(&group, FILE_QUOTA_GROUP, fd, gid) &&
	    (!known || (out->files == 0 && (group.files != 0 || group.left < out->left))))
		*out = group;
	return out->whose != FILE_QUOTA_UNKNOWN;
}

bool file_quota_passes(void)
{
	struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3] = {{0}};

	return syscall(SYS_capget, &head, sets) == 0 &&
	       (sets[CAP_TO_INDEX(CAP_SYS_RESOURCE)].effective & CAP_TO_MASK(CAP_SYS_RESOURCE)) !=
	           0;
}

/* "/a/b" becomes "/a", "/a" becomes "/", and "a" becomes ".". False: the text names none above. */
static bool go_up(char *path)
{
	size_t len = strlen(path);
	char *slash;

	while (len > 1 && path[len - 1] == '/')
		path[--len] = '\0';
	if (strcmp(path, "/") == 0 || strcmp(path, ".") == 0 || len == 0)
		return false;
	slash = strrchr(path, '/');
	if (slash == NULL)
		memcpy(path, ".", sizeof("."));
	else
		slash[slash == path ? 1 : 0] = '\0';
	return true;
}

/* The name of the file system's top, as far as the folder's own name leads there. */
static void find_mount(struct file_quota *out, char *folder)
{
	char below[PATH_SIZE];
	struct stat st, above;

	if (stat(folder, &st) != 0)
		return;
	do {
		snprintf(below, sizeof(below), "%s", folder);
		if (!go_up(folder)) {
			if (strcmp(below, "/") != 0)
				return;
			break;
		}
	} while (stat(folder, &above) == 0 && above.st_dev == st.st_dev);
	if (escape_text(out->mount, sizeof(out->mount), below, strlen(below)) >= sizeof(out->mount))
		out->mount[0] = '\0';
}

bool file_quota_at(struct file_quota *out, const char *path)
{
	struct file_quota found;
	char folder[PATH_SIZE];
	int fd = -1;

	*out = (struct file_quota){.whose = FILE_QUOTA_UNKNOWN};
	if ((size_t)snprintf(folder, sizeof(folder), "%s", path) >= sizeof(folder))
		return false;
	while (fd < 0 && go_up(folder))
		fd = open(folder, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return false;
	if (file_quota_of(&found, fd))
		*out = found;
	close(fd);
	find_mount(out, folder);
	return out->whose != FILE_QUOTA_UNKNOWN;
}

const char *file_quota_words(
    char *out, unsigned long size, const struct file_quota *q, const char *name)
{
	const char *on = q->mount[0] != '\0' ? " on " : "";
	char who[80];

	if (q->whose == FILE_QUOTA_UNKNOWN) {
		snprintf(out, size, "a user's, a group's or a folder's%s%s", on, q->mount);
		return out;
	}
	snprintf(who, sizeof(who), "%s %u", q->whose == FILE_QUOTA_USER ? "user" : "group", q->id);
	if (name != NULL && name[0] != '\0')
		snprintf(who, sizeof(who), "%s %.64s",
		    q->whose == FILE_QUOTA_USER ? "user" : "group", name);
	if (q->files != 0)
		snprintf(out, size, "%s's%s%s: all of its %llu files are there", who, on, q->mount,
		    (unsigned long long)q->files);
	else if (q->limit != 0)
		snprintf(out, size, "%s's%s%s: %llu of %llu bytes are left", who, on, q->mount,
		    (unsigned long long)q->left, (unsigned long long)q->limit);
	else
		snprintf(out, size, "%s's%s%s", who, on, q->mount);
	return out;
}
