/* SPDX-License-Identifier: Apache-2.0 */
/* Whose quota is used up, as a kernel tells it that is asked with quotactl_fd(2). */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/dqblk_xfs.h>
#include <linux/magic.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/quota.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/file_errno.h"
#include "common/file_quota.h"
#include "tests/support/folder.h"

/* ---- the kernel ---- */

static struct dqblk quotas[2]; /* of a user, of a group */
static uint32_t asked[2];
static unsigned times_asked;
static unsigned flags; /* of what is enforced; 0: it does not say */
static bool is_xfs;
static uint32_t capabilities; /* those that are effective, the lower half */

int __real_fstatfs(int fd, struct statfs *out);
int __wrap_fstatfs(int fd, struct statfs *out);
int __wrap_fstatfs(int fd, struct statfs *out)
{
	const int rc = __real_fstatfs(fd, out);

	out->f_type = is_xfs ? XFS_SUPER_MAGIC : EXT4_SUPER_MAGIC;
	return rc;
}

static int tell_state(struct fs_quota_statv *out)
{
	assert_int_equal(out->qs_version, FS_QSTATV_VERSION1);
	if (flags == 0) {
		errno = ENOSYS;
		return -1;
	}
	out->qs_flags = (uint16_t)flags;
	return 0;
}

long __real_syscall(long number, ...);
long __wrap_syscall(long number, ...);
long __wrap_syscall(long number, ...)
{
	long a[6];
	va_list ap;

	va_start(ap, number);
	for (size_t i = 0; i < sizeof(a) / sizeof(a[0]); i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	if (number == SYS_capget) {
		struct __user_cap_data_struct *sets;

		memcpy(&sets, &a[1], sizeof(sets));
		sets[0].effective = capabilities;
		return 0;
	}
#ifdef SYS_quotactl_fd
	if (number == SYS_quotactl_fd &&
	    ((unsigned)a[1] == QCMD((unsigned)Q_XGETQSTATV, USRQUOTA) ||
	        (unsigned)a[1] == QCMD((unsigned)Q_XGETQSTATV, GRPQUOTA))) {
		struct fs_quota_statv *state;

		memcpy(&state, &a[3], sizeof(state));
		return tell_state(state);
	}
	if (number == SYS_quotactl_fd) {
		const int type = (unsigned)a[1] == QCMD((unsigned)Q_GETQUOTA, GRPQUOTA);
		const struct dqblk none = {0};
		void *out;

		assert_true(type || (unsigned)a[1] == QCMD((unsigned)Q_GETQUOTA, USRQUOTA));
		times_asked++;
		asked[type] = (uint32_t)a[2];
		if (memcmp(&quotas[type], &none, sizeof(none)) == 0) {
			errno = ESRCH;
			return -1;
		}
		memcpy(&out, &a[3], sizeof(out));
		memcpy(out, &quotas[type], sizeof(none));
		return 0;
	}
#endif
	return __real_syscall(number, a[0], a[1], a[2], a[3], a[4], a[5]);
}

static int set_up(void **state)
{
	memset(quotas, 0, sizeof(quotas));
	memset(asked, 0xff, sizeof(asked));
	times_asked = flags = capabilities = 0;
	is_xfs = false;
	return folder_make(state);
}

static bool is_asked(void)
{
#ifdef SYS_quotactl_fd
	return true;
#else
	return false;
#endif
}

static const char *in(const char *folder, const char *name)
{
	static char path[4096];

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	return path;
}

/* Of a file in the folder, as it is said. */
static const char *words(const char *path, const char *name)
{
	static char out[FILE_QUOTA_WORDS];
	struct file_quota q;

	(void)file_quota_at(&q, path);
	/* The folder's file system is the machine's matter. */
	snprintf(q.mount, sizeof(q.mount), "/srv");
	return file_quota_words(out, sizeof(out), &q, name);
}

/* ---- whose ---- */

static void whose_it_is_and_what_is_left(void **state)
{
	const char *path = in(*state, "f");
	char number[80];

	if (!is_asked())
		skip();
	assert_string_equal(words(path, "x"), "a user's, a group's or a folder's on /srv");
	assert_int_equal(asked[0], geteuid());
	assert_int_equal(asked[1], getegid());
	quotas[0] = (struct dqblk){.dqb_bhardlimit = 100, .dqb_curspace = 98304};
	assert_string_equal(
	    words(path, "alice"), "user alice's on /srv: 4096 of 102400 bytes are left");
	snprintf(number, sizeof(number), "user %u's on /srv: 4096 of 102400 bytes are left",
	    (unsigned)geteuid());
	assert_string_equal(words(path, NULL), number);
	assert_string_equal(words(path, ""), number);
	/* More than there may be, as root can have written it. */
	quotas[0].dqb_curspace = 999999;
	assert_string_equal(
	    words(path, "alice"), "user alice's on /srv: 0 of 102400 bytes are left");
}

static void of_both_the_one_that_has_less(void **state)
{
	const char *path = in(*state, "f");

	if (!is_asked())
		skip();
	quotas[0] = (struct dqblk){.dqb_bhardlimit = 100};
	quotas[1] = (struct dqblk){.dqb_bhardlimit = 50};
	assert_string_equal(
	    words(path, "staff"), "group staff's on /srv: 51200 of 51200 bytes are left");
	quotas[1].dqb_bhardlimit = 200;
	assert_string_equal(
	    words(path, "alice"), "user alice's on /srv: 102400 of 102400 bytes are left");
	/* The group has all its files, however few bytes the user has left. */
	quotas[1].dqb_ihardlimit = quotas[1].dqb_curinodes = 20;
	assert_string_equal(
	    words(path, "staff"), "group staff's on /srv: all of its 20 files are there");
	/* A limit that nothing is said of but that it is there. */
	memset(quotas, 0, sizeof(quotas));
	quotas[0].dqb_ihardlimit = 20;
	assert_string_equal(words(path, "alice"), "user alice's on /srv");
}

static void a_soft_limit_is_one_when_its_time_is_over(void **state)
{
	const char *path = in(*state, "f");

	if (!is_asked())
		skip();
	quotas[0] = (struct dqblk){.dqb_bhardlimit = 100,
	    .dqb_bsoftlimit = 50,
	    .dqb_curspace = 61440,
	    .dqb_btime = UINT32_MAX};
	assert_string_equal(
	    words(path, "alice"), "user alice's on /srv: 40960 of 102400 bytes are left");
	quotas[0].dqb_btime = 1000000000;
	assert_string_equal(
	    words(path, "alice"), "user alice's on /srv: 0 of 51200 bytes are left");
	quotas[0] =
	    (struct dqblk){.dqb_isoftlimit = 5, .dqb_curinodes = 6, .dqb_itime = 1000000000};
	assert_string_equal(
	    words(path, "alice"), "user alice's on /srv: all of its 5 files are there");
}

static void what_is_counted_alone_is_no_limit(void **state)
{
	const char *path = in(*state, "f");

	if (!is_asked())
		skip();
	quotas[0] = quotas[1] = (struct dqblk){.dqb_bhardlimit = 100};
	flags = FS_QUOTA_UDQ_ACCT | FS_QUOTA_GDQ_ACCT | FS_QUOTA_GDQ_ENFD;
	assert_string_equal(
	    words(path, "staff"), "group staff's on /srv: 102400 of 102400 bytes are left");
	flags = FS_QUOTA_UDQ_ACCT | FS_QUOTA_GDQ_ACCT | FS_QUOTA_UDQ_ENFD;
	assert_string_equal(
	    words(path, "alice"), "user alice's on /srv: 102400 of 102400 bytes are left");
	flags = FS_QUOTA_UDQ_ACCT | FS_QUOTA_GDQ_ACCT;
	assert_string_equal(words(path, "x"), "a user's, a group's or a folder's on /srv");
}

static void what_xfs_keeps_as_roots_is_not_roots(void **state)
{
	struct file_quota q;
	int fd = open(in(*state, "f"), O_CREAT | O_RDWR, 0644);

	if (!is_asked() || geteuid() != 0)
		skip();
	quotas[0] = (struct dqblk){.dqb_bhardlimit = 1};
	assert_true(file_quota_of(&q, fd));
	is_xfs = true;
	assert_false(file_quota_of(&q, fd));
	assert_int_equal(fchown(fd, 1234, 0), 0);
	assert_true(file_quota_of(&q, fd));
	assert_int_equal(q.id, 1234);
	close(fd);
}

static void who_may_pass_limits(void **state)
{
	(void)state;
	capabilities = ~CAP_TO_MASK(CAP_SYS_RESOURCE);
	assert_false(file_quota_passes());
	capabilities = CAP_TO_MASK(CAP_SYS_RESOURCE);
	assert_true(file_quota_passes());
}

static void a_folder_may_give_its_group(void **state)
{
	struct stat st;

	if (!is_asked())
		skip();
	if (geteuid() == 0)
		assert_int_equal(chown(*state, 0, 12345), 0);
	assert_int_equal(chmod(*state, 0755), 0);
	(void)words(in(*state, "f"), NULL);
	assert_int_equal(asked[1], getegid());
	assert_int_equal(chmod(*state, 02755), 0);
	assert_int_equal(stat(*state, &st), 0);
	(void)words(in(*state, "f"), NULL);
	assert_int_equal(asked[1], st.st_gid);
	/* Of one that is not there, the nearest above. */
	(void)words(in(*state, "none/at/all"), NULL);
	assert_int_equal(asked[1], st.st_gid);
}

static void of_a_file_its_own(void **state)
{
	struct file_quota q;
	int fd = open(in(*state, "f"), O_CREAT | O_RDWR, 0644);

	if (!is_asked())
		skip();
	assert_true(fd >= 0);
	if (geteuid() == 0)
		assert_int_equal(fchown(fd, 1234, 4321), 0);
	quotas[0] = (struct dqblk){.dqb_bhardlimit = 1};
	assert_true(file_quota_of(&q, fd));
	assert_int_equal(q.left, 1024);
	assert_string_equal(q.mount, "");
	assert_int_equal(asked[0], geteuid() == 0 ? 1234 : geteuid());
	assert_int_equal(asked[1], geteuid() == 0 ? 4321 : getegid());
	close(fd);
	assert_false(file_quota_of(&q, -1));
}

/* ---- where ---- */

static void the_file_system_has_a_name(void **state)
{
	char out[FILE_QUOTA_WORDS], mount_point[4096];
	struct file_quota q;

	assert_int_equal(mkdir(in(*state, "m"), 0755), 0);
	snprintf(mount_point, sizeof(mount_point), "%s", in(*state, "m"));
	if (mount("none", mount_point, "tmpfs", 0, "size=1m") != 0)
		skip();
	assert_int_equal(mkdir(in(*state, "m/d"), 0755), 0);
	(void)file_quota_at(&q, in(*state, "m/d/none/f"));
	assert_string_equal(q.mount, mount_point);
	(void)file_quota_at(&q, in(*state, "m/f"));
	assert_string_equal(q.mount, mount_point);
	/* The mount point itself lies in the folder above. */
	(void)file_quota_at(&q, mount_point);
	assert_string_not_equal(q.mount, mount_point);
	/* By a name that begins where this process is. */
	assert_int_equal(chdir(*state), 0);
	(void)file_quota_at(&q, "m/d/f");
	assert_string_equal(q.mount, "m");
	(void)file_quota_at(&q, "f");
	assert_string_equal(q.mount, "");
	assert_string_equal(
	    file_quota_words(out, sizeof(out), &q, NULL), "a user's, a group's or a folder's");
	assert_int_equal(chdir("/"), 0);
	(void)file_quota_at(&q, "/f");
	assert_string_equal(q.mount, "/");
	(void)file_quota_at(&q, "");
	assert_string_equal(q.mount, "");
	assert_int_equal(umount(mount_point), 0);
}

static void the_words_of_a_failure(void **state)
{
	char out[FILE_ERRNO_WORDS];

	(void)state;
	assert_string_equal(file_errno_words(out, sizeof(out), EDQUOT, "user alice's"),
	    "Disk quota exceeded (user alice's); remove files there, then try again");
}

#define with_folder(f) cmocka_unit_test_setup_teardown(f, set_up, folder_remove)

int main(void)
{
	const struct CMUnitTest tests[] = {
	    with_folder(whose_it_is_and_what_is_left),
	    with_folder(of_both_the_one_that_has_less),
	    with_folder(a_soft_limit_is_one_when_its_time_is_over),
	    with_folder(what_is_counted_alone_is_no_limit),
	    with_folder(what_xfs_keeps_as_roots_is_not_roots),
	    cmocka_unit_test(who_may_pass_limits),
	    with_folder(a_folder_may_give_its_group),
	    with_folder(of_a_file_its_own),
	    with_folder(the_file_system_has_a_name),
	    cmocka_unit_test(the_words_of_a_failure),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
