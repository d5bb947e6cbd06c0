/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/keeper/cgroup_place.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "common/log.h"

#define MAGIC_V1   0x27e0eb
#define MAGIC_V2   0x63677270
#define NAMES_MAX  10
#define DEPTH_MAX  16
#define FOLDER     (O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW)
#define PREFIX     "telex-"
#define PREFIX_LEN (sizeof(PREFIX) - 1)

/* ---- files ---- */

static int write_at(int fd, const char *file, const char *text)
{
	int f = openat(fd, file, O_WRONLY | O_CLOEXEC);
	int error = 0;

	if (f < 0)
		return errno;
	if (write(f, text, strlen(text)) < 0)
		error = errno;
	close(f);
	return error;
}

static int read_at(int fd, const char *file, char *text, size_t size)
{
	int f = openat(fd, file, O_RDONLY | O_CLOEXEC);
	int error = 0;
	ssize_t n;

	text[0] = '\0';
	if (f < 0)
		return errno;
	n = read(f, text, size - 1);
	if (n < 0)
		error = errno;
	text[n < 0 ? 0 : n] = '\0';
	close(f);
	return error;
}

int cgroup_file_write(const struct cgroup_place *p, const char *file, const char *text)
{
	return write_at(p->fd, file, text);
}

int cgroup_file_read(const struct cgroup_place *p, const char *file, char *text, size_t size)
{
	return read_at(p->fd, file, text, size);
}

int cgroup_file_find(
    const struct cgroup_place *p, const char *file, const char *key, unsigned long long *number)
{
	char text[4096];
	char *line, *at;
	int error = read_at(p->fd, file, text, sizeof(text));

	*number = 0;
	if (error != 0)
		return error;
	if (key == NULL) {
		*number = strtoull(text, NULL, 10);
		return 0;
	}
	for (line = strtok_r(text, "\n", &at); line != NULL; line = strtok_r(NULL, "\n", &at)) {
		size_t n = strlen(key);

		if (strncmp(line, key, n) != 0 || line[n] != ' ')
			continue;
		*number = strtoull(line + n + 1, NULL, 10);
		return 0;
	}
	return ENODATA;
}

unsigned long long cgroup_file_number(
    const struct cgroup_place *p, const char *file, const char *key)
{
	unsigned long long number;

	(void)cgroup_file_find(p, file, key, &number);
	return number;
}

/* Whether "memory cpu pids" has the word. */
static bool has_word(const char *list, const char *word)
{
	size_t n = strlen(word);

	for (const char *at = list; (at = strstr(at, word)) != NULL; at += n)
		if ((at == list || at[-1] == ' ') && strchr(" \n", at[n]) != NULL)
			return true;
	return false;
}

/* ---- folders ---- */

static bool is_folder(int fd, const struct dirent *d)
{
	struct stat st;

	if (d->d_name[0] == '.')
		return false;
	if (d->d_type != DT_UNKNOWN)
		return d->d_type == DT_DIR;
	return fstatat(fd, d->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
}

static int remove_deep(int fd, const char *name, int depth)
{
	int sub, error = 0;
	struct dirent *d;
	DIR *dir;

	if (unlinkat(fd, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
		return 0;
	error = errno;
	sub = depth > 0 ? openat(fd, name, FOLDER) : -1;
	dir = sub >= 0 ? fdopendir(sub) : NULL;
	if (dir == NULL) {
		if (sub >= 0)
			close(sub);
		return error;
	}
	while ((d = readdir(dir)) != NULL)
		if (is_folder(sub, d))
			(void)remove_deep(sub, d->d_name, depth - 1);
	closedir(dir);
	return unlinkat(fd, name, AT_REMOVEDIR) == 0 || errno == ENOENT ? 0 : errno;
}

int cgroup_remove(int fd, const char *name)
{
	return remove_deep(fd, name, DEPTH_MAX);
}

struct walk {
	bool (*each)(pid_t pid, void *arg);
	void *arg;
	bool stopped;
};

static int walk_procs(int fd, struct walk *w)
{
	int f = openat(fd, "cgroup.procs", O_RDONLY | O_CLOEXEC);
	FILE *in = f >= 0 ? fdopen(f, "r") : NULL;
	int pid;

	if (in == NULL) {
		int error = errno;

		if (f >= 0)
			close(f);
		return error;
	}
	/* 0: one that this PID namespace does not show. */
	while (!w->stopped && fscanf(in, "%d", &pid) == 1)
		if (pid > 0 && !w->each((pid_t)pid, w->arg))
			w->stopped = true;
	fclose(in);
	return 0;
}

/* A process with the right to may have made groups in its group. */
static int walk_deep(int fd, const char *name, struct walk *w, int depth)
{
	int sub = openat(fd, name, FOLDER);
	struct dirent *d;
	struct stat st;
	int error;
	DIR *dir;

	if (sub < 0)
		return errno;
	error = walk_procs(sub, w);
	/* Two links: no folder in it. */
	if (error != 0 || w->stopped || depth == 0 || fstat(sub, &st) != 0 || st.st_nlink == 2 ||
	    (dir = fdopendir(sub)) == NULL) {
		close(sub);
		return error;
	}
	while (!w->stopped && (d = readdir(dir)) != NULL) {
		int below = is_folder(sub, d) ? walk_deep(sub, d->d_name, w, depth - 1) : 0;

		/* One that is gone by now is none. */
		if (below != 0 && below != ENOENT && below != ENODEV)
			error = below;
	}
	closedir(dir);
	return error;
}

int cgroup_walk(int fd, const char *name, bool (*each)(pid_t pid, void *arg), void *arg)
{
	struct walk w = {each, arg, false};

	return walk_deep(fd, name, &w, DEPTH_MAX);
}

/* ---- what dead agents left ---- */

/* Of groups in the folder, those in which nothing runs are removed, the others thawed: what is
 * frozen would stay so for ever. */
static void clean_folder(int fd)
{
	struct dirent *d;
	int again = dup(fd);
	DIR *dir = again >= 0 ? fdopendir(again) : NULL;
	char file[300];

	if (dir == NULL) {
		if (again >= 0)
			close(again);
		return;
	}
	while ((d = readdir(dir)) != NULL) {
		if (!is_folder(fd, d) || cgroup_remove(fd, d->d_name) == 0)
			continue;
		snprintf(file, sizeof(file), "%s/cgroup.freeze", d->d_name);
		(void)write_at(fd, file, "0");
		snprintf(file, sizeof(file), "%s/freezer.state", d->d_name);
		(void)write_at(fd, file, "THAWED");
	}
	closedir(dir);
}

static void remove_stale(int own)
{
	int again = dup(own);
	DIR *dir = again >= 0 ? fdopendir(again) : NULL;
	struct dirent *d;

	if (dir == NULL) {
		if (again >= 0)
			close(again);
		return;
	}
	while ((d = readdir(dir)) != NULL) {
		int fd;

		if (strncmp(d->d_name, PREFIX, PREFIX_LEN) != 0 || !is_folder(own, d))
			continue;
		fd = openat(own, d->d_name, FOLDER);
		if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0) {
			clean_folder(fd);
			if (cgroup_remove(own, d->d_name) == 0)
				log_debug(
				    "%s, left by an agent that is gone, is removed", d->d_name);
		}
		if (fd >= 0)
			close(fd);
	}
	closedir(dir);
}

/* ---- ours ---- */

static bool only_we(pid_t pid, void *arg)
{
	bool *others = arg;

	*others = *others || pid != getpid();
	return !*others;
}

/* Whether this part of the hierarchy was handed to us, to do in it as we like: systemd marks such,
 * and all that a container sees of it is one. */
static bool is_delegated(int own)
{
	struct statfs fs;
	char path[64], value[8];
	int above;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", own);
	if (getxattr(path, "trusted.delegate", value, sizeof(value)) > 0 ||
	    getxattr(path, "user.delegate", value, sizeof(value)) > 0)
		return true;
	above = openat(own, "..", FOLDER);
	if (above < 0)
		return false;
	if (fstatfs(above, &fs) != 0)
		fs.f_type = MAGIC_V2;
	close(above);
	return fs.f_type != MAGIC_V2;
}

#define LEAF_SIZE 40

static void leaf_name(char name[LEAF_SIZE])
{
	snprintf(name, LEAF_SIZE, PREFIX "%d-keeper", (int)getpid());
}

void cgroup_place_strip(char *own)
{
	char *last = strrchr(own, '/');
	char name[LEAF_SIZE];

	leaf_name(name);
	if (last != NULL && strcmp(last + 1, name) == 0)
		*last = '\0';
}

/* v2 lets a group have controllers for its children only when no process is in itself: we go into
 * a child. Only where the group is ours alone. */
static int move_into_leaf(int own)
{
	bool others = false;
	char name[LEAF_SIZE], pid[16], file[64];
	int error;

	if (!is_delegated(own) || cgroup_walk(own, ".", only_we, &others) != 0 || others)
		return EBUSY;
	leaf_name(name);
	snprintf(file, sizeof(file), "%s/cgroup.procs", name);
	snprintf(pid, sizeof(pid), "%d", (int)getpid());
	if (mkdirat(own, name, 0755) != 0 && errno != EEXIST)
		return errno;
	error = write_at(own, file, pid);
	if (error == 0)
		log_info("the agent moved into the control group %s", name);
	return error;
}

/* Hands the controllers down to our groups, as far as they are there and may be. */
static void enable_controllers(struct cgroup_place *p, int own)
{
	static const char *const enable[] = {"+memory", "+cpu", "+pids"};
	bool *const have[] = {&p->memory, &p->cpu, &p->pids};
	char available[512], enabled[512];
	int error;

	(void)read_at(own, "cgroup.controllers", available, sizeof(available));
	for (size_t i = 0; i < sizeof(enable) / sizeof(enable[0]); i++) {
		if (!has_word(available, enable[i] + 1))
			continue;
		error = write_at(own, "cgroup.subtree_control", enable[i]);
		if (error == EBUSY && move_into_leaf(own) == 0)
			error = write_at(own, "cgroup.subtree_control", enable[i]);
		if (error != 0)
			log_debug("%s: %s: %s", p->path, enable[i], strerror(error));
		(void)write_at(p->fd, "cgroup.subtree_control", enable[i]);
	}
	(void)read_at(p->fd, "cgroup.subtree_control", enabled, sizeof(enabled));
	for (size_t i = 0; i < sizeof(enable) / sizeof(enable[0]); i++)
		*have[i] = has_word(enabled, enable[i] + 1);
}

/* Makes the folder, or takes the one of that name that nobody holds: our own, before we executed a
 * new version. */
static int take_folder(struct cgroup_place *p, int own, const char *own_path, struct err *e)
{
	char name[40];

	for (int i = 0; i < NAMES_MAX; i++) {
		snprintf(
		    name, sizeof(name), i == 0 ? PREFIX "%d" : PREFIX "%d.%d", (int)getpid(), i);
		if (mkdirat(own, name, 0755) != 0 && errno != EEXIST)
			return err_sys(
			    e, errno, "cannot make the control group %s/%s", own_path, name);
		p->fd = openat(own, name, FOLDER);
		if (p->fd < 0)
			return err_sys(
			    e, errno, "cannot open the control group %s/%s", own_path, name);
		if (flock(p->fd, LOCK_EX | LOCK_NB) == 0) {
			clean_folder(p->fd);
			if (asprintf(&p->path, "%s/%s", own_path, name) >= 0)
				return 0;
			p->path = NULL;
			(void)unlinkat(own, name, AT_REMOVEDIR);
			close(p->fd);
			return err_set(e, TX_ENOMEM, "out of memory");
		}
		close(p->fd);
	}
	return err_set(e, TX_EEXIST, "other agents hold %s/" PREFIX "%d", own_path, (int)getpid());
}

/* Some hierarchies can be seen but not used: what we make there must take processes. */
static int check_usable(const struct cgroup_place *p, struct err *e)
{
	if (faccessat(p->fd, p->version == 1 ? "tasks" : "cgroup.procs", W_OK, AT_EACCESS) == 0)
		return 0;
	return err_sys(e, errno, "cannot use the control group %s", p->path);
}

int cgroup_place_open(struct cgroup_place *p, const char *own_path, struct err *e)
{
	struct statfs fs;
	int own = open(own_path, FOLDER);
	int rc = 0;

	*p = (struct cgroup_place){.fd = -1};
	if (own < 0 || fstatfs(own, &fs) != 0)
		rc = err_sys(e, errno, "%s", own_path);
	else if (fs.f_type == MAGIC_V1 || fs.f_type == MAGIC_V2)
		p->version = fs.f_type == MAGIC_V1 ? 1 : 2;
	else
		rc = err_set(e, TX_EINVAL, "%s is no control group", own_path);
	if (rc == 0) {
		rc = take_folder(p, own, own_path, e);
		if (rc != 0)
			p->fd = -1;
	}
	if (rc == 0) {
		remove_stale(own);
		if (p->version == 2)
			enable_controllers(p, own);
		rc = check_usable(p, e);
	}
	if (own >= 0)
		close(own);
	if (rc != 0) {
		if (p->fd >= 0)
			cgroup_place_close(p);
		p->version = 0;
	}
	return rc;
}

void cgroup_place_close(struct cgroup_place *p)
{
	int error;

	if (p->version == 0 || p->path == NULL)
		return;
	error = cgroup_remove(AT_FDCWD, p->path);
	if (error != 0)
		log_debug("%s stays: %s", p->path, strerror(error));
	close(p->fd);
	free(p->path);
	*p = (struct cgroup_place){.fd = -1};
}
