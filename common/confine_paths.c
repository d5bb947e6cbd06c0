/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Landlock, by its system calls: libc has no functions for it, and a kernel header may be older
 * than the kernel. The bits are those of landlock(7); each version of the interface knows more of
 * them.
 */
#include <errno.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "common/confine.h"
#include "common/confine_internal.h"

/* The same numbers on every architecture. */
#define LANDLOCK_CREATE   444
#define LANDLOCK_ADD      445
#define LANDLOCK_RESTRICT 446

#define VERSION_ASKED  1u
#define PATH_BENEATH   1
#define FS_V1          UINT64_C(0x1fff) /* execute … make_sym */
#define FS_REFER       (UINT64_C(1) << 13)
#define FS_TRUNCATE    (UINT64_C(1) << 14)
#define FS_IOCTL_DEV   (UINT64_C(1) << 15)
#define NET_TCP        UINT64_C(3) /* bind, connect */
#define SCOPED         UINT64_C(3) /* abstract sockets, signals */
#define FS_WRITE_FILE  (UINT64_C(1) << 1)
#define FS_READ_FILE   (UINT64_C(1) << 2)
#define FS_READ_DIR    (UINT64_C(1) << 3)
#define FS_REMOVE_FILE (UINT64_C(1) << 5)
#define FS_MAKE_REG    (UINT64_C(1) << 8)
#define FS_EXECUTE     (UINT64_C(1) << 0)

struct ruleset {
	uint64_t fs, net, scoped;
};

struct beneath {
	uint64_t allowed;
	int32_t fd;
} __attribute__((packed));

/* What the version of the interface knows; *size is how much of the struct it takes. */
static struct ruleset handled_by(long version, size_t *size)
{
	struct ruleset all = {.fs = FS_V1};

	*size = sizeof(uint64_t);
	if (version >= 2)
		all.fs |= FS_REFER;
	if (version >= 3)
		all.fs |= FS_TRUNCATE;
	if (version >= 4) {
		all.net = NET_TCP;
		*size = 2 * sizeof(uint64_t);
	}
	if (version >= 5)
		all.fs |= FS_IOCTL_DEV;
	if (version >= 6) {
		all.scoped = SCOPED;
		*size = 3 * sizeof(uint64_t);
	}
	return all;
}

static uint64_t allowed_in(const struct confine_folder *f)
{
	if (f->read_only)
		return FS_READ_FILE | FS_READ_DIR;
	if (f->files)
		return ~(FS_EXECUTE | FS_IOCTL_DEV);
	return FS_WRITE_FILE | FS_READ_FILE | FS_READ_DIR | FS_REMOVE_FILE | FS_MAKE_REG |
	       FS_TRUNCATE;
}

static int restrict_to(int ruleset, const struct ruleset *handled,
    const struct confine_folder *folders, size_t n, struct err *e)
{
	for (size_t i = 0; i < n; i++) {
		const struct beneath rule = {
		    .allowed = handled->fs & allowed_in(&folders[i]), .fd = folders[i].fd};

		if (syscall(LANDLOCK_ADD, ruleset, PATH_BENEATH, &rule, 0) != 0)
			return err_sys(e, errno, "Landlock: a folder");
	}
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0 ||
	    syscall(LANDLOCK_RESTRICT, ruleset, 0) != 0)
		return err_sys(e, errno, "Landlock");
	return 0;
}

int confine_paths(
    struct confine_report *r, const struct confine_folder *folders, size_t n, struct err *e)
{
	long version = syscall(LANDLOCK_CREATE, NULL, 0, VERSION_ASKED);
	struct ruleset handled;
	size_t size;
	int fd, rc;

	/* Its leak checker reads /proc at the end. */
	if (CONFINE_SANITIZED) {
		confine_note(r, "landlock", false, "built with a sanitizer");
		return 0;
	}
	if (version < 1) {
		confine_note(r, "landlock", false, "%s",
		    errno == EOPNOTSUPP ? "it is switched off in this kernel (boot option lsm=)"
		                        : "the kernel has none (5.13 and later may)");
		return 0;
	}
	handled = handled_by(version, &size);
	fd = (int)syscall(LANDLOCK_CREATE, &handled, size, 0);
	if (fd < 0)
		return err_sys(e, errno, "Landlock");
	rc = restrict_to(fd, &handled, folders, n, e);
	close(fd);
	if (rc == 0)
		confine_note(r, "landlock", true, "version %ld, %zu folders", version, n);
	return rc;
}
