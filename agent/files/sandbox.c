/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/files/sandbox.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/files/roots.h"
#include "common/log.h"

/* A row a purpose. */
const char *const sandbox_calls[] = {
    /* the worker's socket, and stderr */
    "recvfrom", "recvmsg", "sendmsg", "sendto", "read", "write", "close", "poll", "ppoll",
    /* looking */
    "openat2", "openat", "statx", "fstat", "newfstatat", "getdents64", "readlink", "readlinkat",
    "statfs", "fstatfs", "quotactl_fd", "getxattr", "lgetxattr", "fgetxattr", "listxattr",
    "llistxattr", "flistxattr", "faccessat2",
    /* names */
    "mkdirat", "mknodat", "linkat", "symlinkat", "unlinkat", "renameat", "renameat2",
    /* attributes */
    "fchmod", "fchmodat", "fchmodat2", "chmod", "fchown", "fchownat", "utimensat", "setxattr",
    "lsetxattr", "fsetxattr", "removexattr", "lremovexattr", "fremovexattr", "umask",
    /* contents */
    "readv", "writev", "pread64", "pwrite64", "preadv", "pwritev", "preadv2", "pwritev2", "lseek",
    "ftruncate", "fallocate", "copy_file_range", "sendfile", "ioctl", "fsync", "fdatasync",
    "syncfs", "sync_file_range", "fadvise64", "flock", "fcntl", "dup", "dup3",
    /* memory, time, and the rest of a process's life */
    "mmap", "munmap", "mremap", "mprotect", "madvise", "brk", "futex", "clock_gettime",
    "clock_nanosleep", "nanosleep", "getrandom", "getpid", "gettid", "getuid", "geteuid", "getgid",
    "getegid", "getgroups", "capget", "rt_sigprocmask", "rt_sigreturn", "tgkill", "exit_group",
    NULL};

/* Of one that watches: it changes nothing. */
const char *const sandbox_watch_calls[] = {
    /* the control socket, connections, and stderr */
    "recvfrom", "recvmsg", "sendmsg", "sendto", "read", "write", "close", "poll", "ppoll",
    /* looking */
    "openat2", "openat", "statx", "fstat", "newfstatat", "getdents64", "readlink", "readlinkat",
    "statfs", "fstatfs", "faccessat2", "lseek",
    /* watching, and the store */
    "inotify_add_watch", "inotify_rm_watch", "name_to_handle_at", "chdir", "fchdir", "ftruncate",
    "fcntl", "dup", "dup3",
    /* the end of the process that marks file systems */
    "shutdown", "wait4",
    /* memory, time, and the rest of a process's life */
    "mmap", "munmap", "mremap", "mprotect", "madvise", "brk", "futex", "clock_gettime",
    "clock_nanosleep", "nanosleep", "getrandom", "getpid", "gettid", "getuid", "geteuid", "getgid",
    "getegid", "rt_sigprocmask", "rt_sigreturn", "tgkill", "exit_group", NULL};

/* Of one that marks file systems. */
const char *const sandbox_marker_calls[] = {
    "recvmsg", "sendto", "fstatfs", "fanotify_mark", "close", "rt_sigreturn", "exit_group", NULL};

/* As root: what files need, and nothing of processes, networks and the system. */
static const int kept[] = {CAP_CHOWN, CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER, CAP_FSETID,
    CAP_MKNOD, CAP_SETFCAP};
static const int kept_to_watch[] = {CAP_DAC_READ_SEARCH};
static const int kept_to_mark[] = {CAP_SYS_ADMIN};

#define FOLDERS_MAX 1024

struct folders {
	struct confine_folder list[FOLDERS_MAX];
	dev_t dev[FOLDERS_MAX];
	ino_t ino[FOLDERS_MAX];
	size_t n, missing;
};

static void let_go(struct folders *f)
{
	for (size_t i = 0; i < f->n; i++)
		close(f->list[i].fd);
	free(f);
}

/* One that is there already is not taken twice. fd stays the caller's. */
static int add(struct folders *f, int fd, bool writable, struct err *e)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return err_sys(e, errno, "a root");
	for (size_t i = 0; i < f->n; i++) {
		if (f->dev[i] != st.st_dev || f->ino[i] != st.st_ino)
			continue;
		f->list[i].read_only = f->list[i].read_only && !writable;
		return 0;
	}
	if (f->n == FOLDERS_MAX)
		return err_set(e, TX_ELIMIT, "more than %d roots", FOLDERS_MAX);
	fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (fd < 0)
		return err_sys(e, errno, "a root");
	f->dev[f->n] = st.st_dev;
	f->ino[f->n] = st.st_ino;
	f->list[f->n++] = (struct confine_folder){.fd = fd, .files = true, .read_only = !writable};
	return 0;
}

/* ---- the ceiling's ---- */

static int add_ceiling(struct folders *f, const char *path, struct err *e)
{
	int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	int rc;

	/* One that is not there gives nothing. */
	if (fd < 0)
		return errno == ENOENT ? 0 : err_sys(e, errno, "the ceiling's folder %s", path);
	rc = add(f, fd, true, e);
	close(fd);
	return rc;
}

static int lock_to_ceiling(
    struct confine_report *r, const char *const *folders, size_t n, struct err *e)
{
	struct folders *f = calloc(1, sizeof(*f));
	int rc = 0;

	if (f == NULL)
		return err_set(e, TX_ENOMEM, "out of memory");
	for (size_t i = 0; i < n && rc == 0; i++)
		rc = add_ceiling(f, folders[i], e);
	if (rc == 0)
		rc = confine_paths(r, f->list, f->n, e);
	if (rc == 0 && !r->list[r->n - 1].in_force)
		rc = err_set(e, TX_EUNSUPPORTED,
		    "the agent's ceiling names folders, and that needs Landlock: %s",
		    r->list[r->n - 1].note);
	/* What the roles say is told of. */
	if (rc == 0)
		r->n--;
	let_go(f);
	return rc;
}

int sandbox_enter(struct confine_report *r, enum sandbox_kind kind, const char *const *folders,
    size_t n, struct err *e)
{
	const bool watching = kind == SANDBOX_WATCH;
	int rc = confine_give_up(r, e);

	if (rc == 0 && geteuid() == 0)
		rc = confine_keep_capabilities(r, watching ? kept_to_watch : kept,
		    watching ? sizeof(kept_to_watch) / sizeof(kept_to_watch[0])
		             : sizeof(kept) / sizeof(kept[0]),
		    e);
	else if (rc == 0)
		rc = confine_capabilities(r, true, e);
	if (rc == 0)
		confine_note(r, "own-user", true, "uid %u", (unsigned)geteuid());
	if (rc == 0 && n > 0)
		rc = lock_to_ceiling(r, folders, n, e);
	return rc < 0 ? err_wrap(e, "sandbox") : 0;
}

int sandbox_marker(void)
{
	struct confine_report r = {0};
	struct err e;
	int rc = confine_give_up(&r, &e);

	if (rc == 0)
		rc = confine_keep_capabilities(
		    &r, kept_to_mark, sizeof(kept_to_mark) / sizeof(kept_to_mark[0]), &e);
	if (rc == 0)
		rc = confine_paths(&r, NULL, 0, &e);
	if (rc == 0)
		rc = confine_calls(
		    &r, "telex-files, to mark file systems,", sandbox_marker_calls, &e);
	if (rc != 0)
		log_error("file systems are not watched as a whole: %s", e.message);
	return rc;
}

/* ---- the roles' ---- */

struct adding {
	struct folders *f;
	struct err *e;
};

static int add_root(const struct roots_folder *root, void *arg)
{
	struct adding *a = arg;

	a->f->missing += root->missing;
	return add(a->f, root->fd, root->writable, a->e);
}

int sandbox_close(struct confine_report *r, enum sandbox_kind kind, struct roots *const *roots,
    size_t n_roots, struct err *e)
{
	struct folders *f = calloc(1, sizeof(*f));
	struct adding a = {f, e};
	int rc = 0;

	if (f == NULL)
		return err_set(e, TX_ENOMEM, "sandbox: out of memory");
	for (size_t i = 0; i < n_roots && rc == 0; i++)
		rc = roots_each(roots[i], add_root, &a);
	if (rc == 0)
		rc = confine_paths(r, f->list, f->n, e);
	let_go(f);
	if (rc == 0)
		rc = confine_calls(r, "telex-files",
		    kind == SANDBOX_WATCH ? sandbox_watch_calls : sandbox_calls, e);
	return rc < 0 ? err_wrap(e, "sandbox") : 0;
}
