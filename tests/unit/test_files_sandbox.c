/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How telex-files is locked in: a child locks itself in, and then does by system calls what no part
 * of it would, as one that was taken over might.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/inotify.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent/files/roots.h"
#include "agent/files/sandbox.h"
#include "agent/watch/watch_marker.h"
#include "agent/watch/watch_mounts.h"
#include "common/confine_internal.h"
#include "tests/support/folder.h"

#define CANNOT 100 /* this kernel or build has no Landlock, or no fanotify for us */

/* Below the folder: read/, write/, other/, each with a file. */
static char *top;

static char *at(const char *name)
{
	static char bufs[4][512];
	static unsigned next;
	char *buf = bufs[next++ % 4];

	snprintf(buf, sizeof(bufs[0]), "%s/%s", top, name);
	return buf;
}

static int set_up(void **state)
{
	static const char *const folders[] = {"read", "write", "other"};

	if (folder_make(state) != 0)
		return -1;
	top = realpath(*state, NULL);
	assert_non_null(top);
	for (size_t i = 0; i < 3; i++) {
		char name[32];
		int fd;

		assert_int_equal(mkdir(at(folders[i]), 0755), 0);
		snprintf(name, sizeof(name), "%s/file", folders[i]);
		fd = open(at(name), O_CREAT | O_WRONLY | O_CLOEXEC, 0644);
		assert_true(fd >= 0);
		close(fd);
	}
	return 0;
}

static int tear_down(void **state)
{
	free(top);
	return folder_remove(state);
}

/* ---- what the child does ---- */

/* 0; an errno; or CANNOT. ceiling: a folder, or NULL. everywhere: the role allows all. To watch, it
 * is what may be read. */
static int lock_in_as(enum sandbox_kind kind, const char *ceiling, bool everywhere)
{
	const bool watching = kind == SANDBOX_WATCH;
	const char *read[] = {everywhere ? "**" : at("read/**"), NULL};
	const char *write[] = {everywhere ? "**" : at("write/**"), NULL};
	struct confine_report r = {0};
	struct roots *roots;
	struct err e;

	if (sandbox_enter(&r, kind, &ceiling, ceiling != NULL ? 1 : 0, &e) != 0)
		return e.code == TX_EUNSUPPORTED ? CANNOT : EIO;
	if (roots_new(&roots, watching ? NULL : read, watching ? NULL : write,
	        watching ? read : NULL) != 0)
		return ENOMEM;
	if (sandbox_close(&r, kind, &roots, 1, &e) != 0)
		return EIO;
	for (size_t i = 0; i < r.n; i++)
		if (strcmp(r.list[i].name, "landlock") == 0 && !r.list[i].in_force)
			return CANNOT;
	return 0;
}

static int lock_in(const char *ceiling, bool everywhere)
{
	return lock_in_as(SANDBOX_FILES, ceiling, everywhere);
}

/* The errno of a try. */
static int try_open(const char *name, int flags)
{
	int fd = openat(AT_FDCWD, name[0] == '/' ? name : at(name), flags | O_CLOEXEC, 0600);

	if (fd < 0)
		return errno;
	close(fd);
	return 0;
}

static int reads_below_its_roots(void)
{
	int rc = lock_in(NULL, false);

	return rc != 0 ? rc : try_open("read/file", O_RDONLY);
}

static int writes_below_its_roots(void)
{
	int rc = lock_in(NULL, false);

	if (rc == 0)
		rc = try_open("write/new", O_CREAT | O_WRONLY);
	return rc != 0 ? rc : try_open("write/file", O_RDWR | O_TRUNC);
}

static int makes_folders_there(void)
{
	int rc = lock_in(NULL, false);

	if (rc == 0)
		rc = mkdirat(AT_FDCWD, at("write/folder"), 0755) == 0 ? 0 : errno;
	return rc != 0 || unlinkat(AT_FDCWD, at("write/folder"), AT_REMOVEDIR) == 0 ? rc : errno;
}

static int writes_where_it_may_read(void)
{
	int rc = lock_in(NULL, false);

	return rc != 0 ? rc : try_open("read/file", O_WRONLY);
}

static int makes_where_it_may_read(void)
{
	int rc = lock_in(NULL, false);

	return rc != 0 ? rc : try_open("read/new", O_CREAT | O_WRONLY);
}

static int removes_where_it_may_read(void)
{
	int rc = lock_in(NULL, false);

	return rc != 0 ? rc : unlinkat(AT_FDCWD, at("read/file"), 0) == 0 ? 0 : errno;
}

static int reads_elsewhere(void)
{
	int rc = lock_in(NULL, false);

	return rc != 0 ? rc : try_open("other/file", O_RDONLY);
}

static int lists_elsewhere(void)
{
	int rc = lock_in(NULL, false);

	return rc != 0 ? rc : try_open("/etc", O_RDONLY | O_DIRECTORY);
}

/* The worker may say what it likes: the ceiling was there before. */
static int reads_beyond_the_ceiling(void)
{
	int rc = lock_in(at("read"), true);

	if (rc == 0 && try_open("read/file", O_RDWR) != 0)
		return EIO;
	return rc != 0 ? rc : try_open("other/file", O_RDONLY);
}

static int executes(void)
{
	char *argv[] = {(char[]){"true"}, NULL};
	int rc = lock_in(NULL, true);

	if (rc != 0)
		return rc;
	execv("/bin/true", argv);
	return errno;
}

static int forks(void)
{
	int rc = lock_in(NULL, true);

	return rc != 0 ? rc : fork() >= 0 ? 0 : errno;
}

static int connects(void)
{
	int rc = lock_in(NULL, true);
	int fd = rc == 0 ? socket(AF_INET, SOCK_STREAM, 0) : -1;

	if (fd >= 0)
		close(fd);
	return rc;
}

static int signals(void)
{
	int rc = lock_in(NULL, true);

	return rc != 0 ? rc : kill(getppid(), 0) == 0 ? 0 : errno;
}

/* ---- to watch ---- */

/* fd: from before. */
static int add_watch(int fd, const char *name)
{
	int dir, rc = 0;

	if (fd < 0)
		return errno;
	dir = openat(AT_FDCWD, at(name), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0 || fchdir(dir) != 0 || inotify_add_watch(fd, ".", IN_CREATE | IN_ONLYDIR) < 0)
		rc = errno;
	if (dir >= 0)
		close(dir);
	return rc;
}

static int watches_below_its_roots(void)
{
	int fd = inotify_init1(IN_CLOEXEC), rc = lock_in_as(SANDBOX_WATCH, NULL, false);

	return rc != 0 ? rc : add_watch(fd, "read");
}

static int watches_elsewhere(void)
{
	int fd = inotify_init1(IN_CLOEXEC), rc = lock_in_as(SANDBOX_WATCH, NULL, false);

	return rc != 0 ? rc : add_watch(fd, "other");
}

static int writes_where_it_watches(void)
{
	int rc = lock_in_as(SANDBOX_WATCH, NULL, false);

	return rc != 0 ? rc : try_open("read/file", O_WRONLY);
}

static int removes_where_it_watches(void)
{
	int rc = lock_in_as(SANDBOX_WATCH, NULL, true);

	return rc != 0 ? rc : unlinkat(AT_FDCWD, at("read/file"), 0) == 0 ? 0 : errno;
}

static int makes_another_inotify(void)
{
	int rc = lock_in_as(SANDBOX_WATCH, NULL, true);

	return rc != 0 ? rc : inotify_init1(0) >= 0 ? 0 : errno;
}

/* fanotify, too, knows a folder where it may be opened, by its handle. */
static int asks_for_a_handle(void)
{
	struct {
		struct file_handle head;
		uint8_t room[128];
	} h = {.head.handle_bytes = sizeof(h.room)};
	int mount, fd, rc = lock_in_as(SANDBOX_WATCH, NULL, false);

	if (rc != 0)
		return rc;
	fd = openat(AT_FDCWD, at("read"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return errno;
	if (name_to_handle_at(fd, "", &h.head, &mount, AT_EMPTY_PATH) != 0)
		rc = errno == EOPNOTSUPP ? 0 : errno;
	close(fd);
	return rc;
}

static void nothing_else(const char *point, bool changed, void *arg)
{
	(void)point;
	if (changed)
		*(int *)arg = EIO;
}

/* Of before, too. */
static int reads_what_is_mounted(void)
{
	struct watch_mounts *m = watch_mounts_new();
	int rc = lock_in_as(SANDBOX_WATCH, NULL, false);

	if (m == NULL)
		return ENOENT;
	if (rc == 0 && !watch_mounts_changed(m))
		watch_mounts_read(m, nothing_else, &rc);
	watch_mounts_free(m);
	return rc;
}

/* ---- to mark file systems ---- */

static int end_marker(bool by_itself)
{
	struct watch_marker m;
	int group = fanotify_init(FAN_CLASS_NOTIF | FAN_REPORT_DFID_NAME | FAN_CLOEXEC, O_RDONLY);
	int rc = group < 0 ? CANNOT : watch_marker_start(&m, group, sandbox_marker);

	if (rc != 0)
		return rc;
	if (by_itself && kill(m.pid, SIGKILL) != 0)
		return errno;
	rc = lock_in_as(SANDBOX_WATCH, NULL, true);
	while (rc == 0 && by_itself && !watch_marker_has_ended(&m))
		;
	if (rc == 0)
		watch_marker_end(&m);
	return rc;
}

static int ends_its_marker(void)
{
	return end_marker(false);
}

static int outlives_its_marker(void)
{
	return end_marker(true);
}

static int marks_a_file_system(void)
{
	struct watch_marker m;
	int fd = open(top, O_PATH | O_DIRECTORY | O_CLOEXEC), rc;
	int group = fanotify_init(
	    FAN_CLASS_NOTIF | FAN_REPORT_DFID_NAME | FAN_UNLIMITED_MARKS | FAN_CLOEXEC, O_RDONLY);

	if (group < 0)
		return errno == EPERM || errno == ENOSYS || errno == EINVAL ? CANNOT : errno;
	rc = watch_marker_start(&m, group, sandbox_marker);
	if (rc == 0)
		rc = watch_marker_set(&m, fd, true);
	if (rc == 0)
		rc = watch_marker_set(&m, fd, false);
	watch_marker_end(&m);
	return rc == EOPNOTSUPP ? CANNOT : rc;
}

/* What is not a local file system of those that are known is left alone. */
static int marks_another(void)
{
	struct watch_marker m;
	int fd = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC), rc;
	int group = fanotify_init(
	    FAN_CLASS_NOTIF | FAN_REPORT_DFID_NAME | FAN_UNLIMITED_MARKS | FAN_CLOEXEC, O_RDONLY);

	if (group < 0)
		return EOPNOTSUPP;
	rc = watch_marker_start(&m, group, sandbox_marker);
	if (rc == 0)
		rc = watch_marker_set(&m, fd, true);
	watch_marker_end(&m);
	return rc;
}

static int marks_and_opens(void)
{
	return sandbox_marker() != 0 ? CANNOT : try_open("read/file", O_RDONLY);
}

/* ---- */

/* 0: it has no others than these. */
static int keeps_capabilities(enum sandbox_kind kind, uint32_t kept)
{
	struct __user_cap_header_struct head = {_LINUX_CAPABILITY_VERSION_3, 0};
	struct __user_cap_data_struct sets[_LINUX_CAPABILITY_U32S_3];
	struct confine_report r = {0};
	struct err e;

	if (sandbox_enter(&r, kind, NULL, 0, &e) != 0 || syscall(SYS_capget, &head, sets) != 0)
		return EIO;
	if ((sets[0].permitted & ~kept) != 0 || sets[1].permitted != 0 || sets[0].inheritable != 0)
		return EPERM;
	if (getuid() != 0)
		return sets[0].permitted == 0 && sets[0].effective == 0 ? 0 : EPERM;
	for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++)
		if (prctl(PR_CAPBSET_READ, cap, 0, 0, 0) == 1 &&
		    (cap > 31 || (kept >> cap & 1) == 0))
			return EPERM;
	return prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1 ? 0 : EPERM;
}

static int keeps_few_capabilities(void)
{
	return keeps_capabilities(SANDBOX_FILES,
	    1u << CAP_CHOWN | 1u << CAP_DAC_OVERRIDE | 1u << CAP_DAC_READ_SEARCH |
	        1u << CAP_FOWNER | 1u << CAP_FSETID | 1u << CAP_MKNOD | 1u << CAP_SETFCAP);
}

static int keeps_one_capability_to_watch(void)
{
	return keeps_capabilities(SANDBOX_WATCH, 1u << CAP_DAC_READ_SEARCH);
}

/* ---- what comes of it ---- */

static int in_child(int (*act)(void))
{
	int status;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		/* The name of the system call that kills it is no concern here. */
		int null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);

		dup2(null_fd, STDERR_FILENO);
		_exit(act());
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	return status;
}

static bool under_valgrind(void)
{
	return getenv("TELEX_TEST_SLOW") != NULL;
}

static void assert_comes_to(int (*act)(void), int sys_errno)
{
	int status;

	if (under_valgrind()) {
		print_message("valgrind's own system calls would be refused\n");
		skip();
	}
	status = in_child(act);
	assert_true(WIFEXITED(status));
	if (WEXITSTATUS(status) == CANNOT) {
		print_message("this kernel or build has not what it takes\n");
		skip();
	}
	assert_int_equal(WEXITSTATUS(status), sys_errno);
}

static void assert_killed(int (*act)(void))
{
	int status;

	if (under_valgrind() || CONFINE_SANITIZED) {
		print_message("no filter of system calls here\n");
		skip();
	}
	status = in_child(act);
	if (WIFEXITED(status) && WEXITSTATUS(status) == CANNOT) {
		print_message("this kernel or build has not what it takes\n");
		skip();
	}
	assert_true(WIFSIGNALED(status));
	assert_int_equal(WTERMSIG(status), SIGSYS);
}

#define COMES_TO(name, act, sys_errno)                                                             \
	static void name(void **state)                                                             \
	{                                                                                          \
		(void)state;                                                                       \
		assert_comes_to(act, sys_errno);                                                   \
	}
#define KILLED(name, act)                                                                          \
	static void name(void **state)                                                             \
	{                                                                                          \
		(void)state;                                                                       \
		assert_killed(act);                                                                \
	}

COMES_TO(what_may_be_read_is_read, reads_below_its_roots, 0)
COMES_TO(what_may_be_written_is_written, writes_below_its_roots, 0)
COMES_TO(folders_are_made_and_removed, makes_folders_there, 0)
COMES_TO(what_may_be_read_is_not_written, writes_where_it_may_read, EACCES)
COMES_TO(nor_made, makes_where_it_may_read, EACCES)
COMES_TO(nor_removed, removes_where_it_may_read, EACCES)
COMES_TO(other_files_are_out_of_reach, reads_elsewhere, EACCES)
COMES_TO(other_folders_are, lists_elsewhere, EACCES)
COMES_TO(no_role_leads_beyond_the_ceiling, reads_beyond_the_ceiling, EACCES)
COMES_TO(few_capabilities_are_kept, keeps_few_capabilities, 0)
COMES_TO(to_watch_there_is_one, keeps_one_capability_to_watch, 0)
COMES_TO(what_may_be_watched_is_watched, watches_below_its_roots, 0)
COMES_TO(other_folders_are_not_watched, watches_elsewhere, EACCES)
COMES_TO(what_is_watched_is_not_written, writes_where_it_watches, EACCES)
COMES_TO(a_handle_is_told_where_it_watches, asks_for_a_handle, 0)
COMES_TO(what_is_mounted_is_read, reads_what_is_mounted, 0)
COMES_TO(who_marks_is_ended, ends_its_marker, 0)
COMES_TO(who_marks_may_end, outlives_its_marker, 0)
COMES_TO(a_file_system_is_marked, marks_a_file_system, 0)
COMES_TO(of_those_that_are_known, marks_another, EOPNOTSUPP)
KILLED(nothing_is_executed, executes)
KILLED(nothing_is_forked, forks)
KILLED(nothing_is_connected_to, connects)
KILLED(nobody_is_signalled, signals)
KILLED(who_watches_removes_nothing, removes_where_it_watches)
KILLED(who_watches_makes_no_other_inotify, makes_another_inotify)
KILLED(who_marks_opens_nothing, marks_and_opens)

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
	    TEST(what_may_be_read_is_read),
	    TEST(what_may_be_written_is_written),
	    TEST(folders_are_made_and_removed),
	    TEST(what_may_be_read_is_not_written),
	    TEST(nor_made),
	    TEST(nor_removed),
	    TEST(other_files_are_out_of_reach),
	    TEST(other_folders_are),
	    TEST(no_role_leads_beyond_the_ceiling),
	    TEST(few_capabilities_are_kept),
	    TEST(to_watch_there_is_one),
	    TEST(what_may_be_watched_is_watched),
	    TEST(other_folders_are_not_watched),
	    TEST(what_is_watched_is_not_written),
	    TEST(a_handle_is_told_where_it_watches),
	    TEST(what_is_mounted_is_read),
	    TEST(who_marks_is_ended),
	    TEST(who_marks_may_end),
	    TEST(a_file_system_is_marked),
	    TEST(of_those_that_are_known),
	    TEST(nothing_is_executed),
	    TEST(nothing_is_forked),
	    TEST(nothing_is_connected_to),
	    TEST(nobody_is_signalled),
	    TEST(who_watches_removes_nothing),
	    TEST(who_watches_makes_no_other_inotify),
	    TEST(who_marks_opens_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
