/* SPDX-License-Identifier: Apache-2.0 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tests/support/files_place.h"
#include "tests/support/folder.h"

#define NOBODY 65534

/* Before any folder is opened: what is opened stays in the mounts that it was opened in. 0, or the
 * errno why there are none of its own. */
static int own_mounts(void)
{
	static int tried, why;

	if (tried == 0 &&
	    (unshare(CLONE_NEWNS) != 0 || mount("none", "/", "", MS_REC | MS_PRIVATE, NULL) != 0))
		why = errno;
	tried = 1;
	return why;
}

int place_make(void **state)
{
	struct place *p = calloc(1, sizeof(*p));
	const char *roots[] = {NULL, NULL};
	void *folder;

	(void)own_mounts();
	if (p == NULL || folder_make(&folder) != 0)
		return -1;
	p->folder = realpath(folder, NULL);
	free(folder);
	snprintf(p->pattern, sizeof(p->pattern), "%s/**", p->folder);
	roots[0] = p->pattern;
	/* For the user nobody, too. */
	if (chmod(p->folder, 0755) != 0)
		return -1;
	p->fd = open(p->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	p->call = memory_call_new(roots, roots);
	*state = p;
	return p->fd >= 0 ? 0 : -1;
}

int place_remove(void **state)
{
	struct place *p = *state;
	void *folder = p->folder;

	place_unmount(p);
	memory_call_free(p->call);
	close(p->fd);
	free(p);
	return folder_remove(&folder);
}

const char *place_path(struct place *p, const char *name)
{
	char *out = p->path[p->next++ % 8];

	snprintf(out, sizeof(p->path[0]), "%s%s%s", p->folder, name[0] != '\0' ? "/" : "", name);
	return out;
}

ProtobufCBinaryData bytes_of(const char *text)
{
	return (ProtobufCBinaryData){strlen(text), (uint8_t *)(uintptr_t)text};
}

ProtobufCBinaryData place_bytes(struct place *p, const char *name)
{
	return bytes_of(place_path(p, name));
}

/* ---- files ---- */

void place_put(const struct place *p, const char *name, const char *text)
{
	int fd = openat(p->fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	if (fd < 0)
		fail_msg("%s: %s", name, strerror(errno));
	assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	close(fd);
}

void place_folder(const struct place *p, const char *name)
{
	if (mkdirat(p->fd, name, 0755) != 0)
		fail_msg("%s: %s", name, strerror(errno));
}

void place_link(const struct place *p, const char *target, const char *name)
{
	if (symlinkat(target, p->fd, name) != 0)
		fail_msg("%s: %s", name, strerror(errno));
}

const char *place_text(const struct place *p, const char *name)
{
	static char text[4096];
	int fd = openat(p->fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
	ssize_t n;

	if (fd < 0)
		return NULL;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n < 0)
		return NULL;
	text[n] = '\0';
	return text;
}

bool place_has(const struct place *p, const char *name)
{
	struct stat st;

	return fstatat(p->fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

struct stat place_stat(const struct place *p, const char *name)
{
	struct stat st = {0};

	if (fstatat(p->fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		fail_msg("%s: %s", name, strerror(errno));
	return st;
}

int place_count(struct place *p, const char *name)
{
	return folder_count(place_path(p, name));
}

/* ---- calls ---- */

void place_expect(
    struct place *p, const char *method, const ProtobufCMessage *request, const char *reason)
{
	const struct rpc_status *s;

	(void)memory_call_run(p->call, method, request);
	s = memory_call_status(p->call);
	if (reason == NULL && s->code != RPC_OK)
		fail_msg("%s: %s", method, s->message);
	if (reason == NULL)
		return;
	if (s->code == RPC_OK || strcmp(s->reason, reason) != 0)
		fail_msg("%s: %s (%s) instead of %s", method, s->reason, s->message, reason);
	assert_int_not_equal(strlen(s->message), 0);
}

const void *place_response(struct place *p, const ProtobufCMessageDescriptor *type)
{
	assert_int_equal(memory_call_count(p->call), 1);
	return memory_call_response(p->call, 0, type);
}

/* ---- what root can ---- */

bool place_root(const char *what_for)
{
	if (geteuid() == 0)
		return true;
	print_message("# not root, which is needed to %s\n", what_for);
	return false;
}

bool place_mount(struct place *p, const char *options)
{
	if (!place_root("mount"))
		return false;
	if (own_mounts() != 0) {
		print_message("# no mounts of one's own here: %s\n", strerror(own_mounts()));
		return false;
	}
	if (!place_has(p, "mount"))
		place_folder(p, "mount");
	if (mount("none", place_path(p, "mount"), "tmpfs", 0, options) != 0) {
		print_message("# no tmpfs here: %s\n", strerror(errno));
		return false;
	}
	p->mounted = true;
	return true;
}

void place_unmount(struct place *p)
{
	if (p->mounted)
		(void)umount2(place_path(p, "mount"), MNT_DETACH);
	p->mounted = false;
}

int place_as_nobody(struct place *p, int (*check)(struct place *p))
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (pid == 0) {
		if (setgroups(0, NULL) != 0 || setgid(NOBODY) != 0 || setuid(NOBODY) != 0)
			_exit(255);
		_exit(check(p));
	}
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}
