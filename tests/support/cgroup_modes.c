/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/support/cgroup_modes.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/keeper/cgroup_find.h"

static char mounted[64];

/* The mount goes with its namespace; the folder is ours to remove. */
static void remove_folder(void)
{
	(void)umount(mounted);
	(void)rmdir(mounted);
}

/* v2 that is mounted nowhere, or not where we may write: only the mount namespace is ours. */
static bool mount_v2(char *path, size_t size)
{
	if (geteuid() != 0 || unshare(CLONE_NEWNS) != 0 ||
	    mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) != 0)
		return false;
	snprintf(mounted, sizeof(mounted), "/tmp/telex-cgroup2-XXXXXX");
	if (mkdtemp(mounted) == NULL)
		return false;
	if (mount("none", mounted, "cgroup2", 0, NULL) != 0) {
		(void)rmdir(mounted);
		return false;
	}
	atexit(remove_folder);
	snprintf(path, size, "%s", mounted);
	return true;
}

/* Whether folders can be made in it. */
static bool is_usable(const char *path)
{
	char probe[4200];

	snprintf(probe, sizeof(probe), "%s/test-probe-%d", path, (int)getpid());
	return mkdir(probe, 0755) == 0 && rmdir(probe) == 0;
}

static void add(struct cgroup_mode *modes, int *n, const char *name, const char *how)
{
	struct cgroup_mode *m = &modes[(*n)++];

	m->name = name;
	m->certain = strcmp(how, "off") != 0;
	snprintf(m->config, sizeof(m->config), "cgroup = \"%.200s\"", how);
}

int cgroup_modes(struct cgroup_mode modes[CGROUP_MODES_MAX])
{
	struct cgroup_texts t;
	char path[4096];
	int n = 0;

	if (cgroup_texts_read(&t) == 0) {
		if (mount_v2(path, sizeof(path)) ||
		    (cgroup_find(&t, NULL, path, sizeof(path)) == 0 && is_usable(path)))
			add(modes, &n, "v2", path);
		if (cgroup_find(&t, "freezer", path, sizeof(path)) == 0 && is_usable(path))
			add(modes, &n, "v1", path);
		cgroup_texts_free(&t);
	}
	add(modes, &n, "none", "off");
	return n;
}
