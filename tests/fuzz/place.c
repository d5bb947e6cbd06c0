/* SPDX-License-Identifier: Apache-2.0 */
#include "tests/fuzz/place.h"

#include <fcntl.h>
#include <ftw.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/fuzz/fuzz.h"
#include "tests/support/folder.h"

#define NOBODY    65534
#define FILE_SIZE ((uint64_t)16 << 20)

static bool is_root;

static void put(int dir_fd, const char *name, const char *text)
{
	int fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	size_t len = strlen(text);

	fuzz_require(fd >= 0 && write(fd, text, len) == (ssize_t)len);
	close(fd);
}

static void become_nobody(void)
{
	static bool grouped;

	if (geteuid() != 0)
		return;
	is_root = true;
	if (!grouped)
		fuzz_require(setgroups(0, NULL) == 0);
	grouped = true;
	fuzz_require(setegid(NOBODY) == 0 && seteuid(NOBODY) == 0);
}

static void become_root(void)
{
	if (!is_root)
		return;
	fuzz_require(seteuid(0) == 0 && setegid(0) == 0);
	/* For the search for leaks at the end. */
	fuzz_require(prctl(PR_SET_DUMPABLE, 1) == 0);
}

/* That which would be given next. */
static int next_fd(void)
{
	int fd = open("/", O_PATH | O_CLOEXEC);

	fuzz_require(fd >= 0);
	close(fd);
	return fd;
}

static uint64_t limit_files(uint64_t size)
{
	struct rlimit limit;
	uint64_t before;

	(void)signal(SIGXFSZ, SIG_IGN);
	fuzz_require(getrlimit(RLIMIT_FSIZE, &limit) == 0);
	before = limit.rlim_cur;
	limit.rlim_cur = size;
	fuzz_require(setrlimit(RLIMIT_FSIZE, &limit) == 0);
	return before;
}

void place_enter(struct fuzz_place *p)
{
	const char *base = getenv("TMPDIR");

	p->next_fd = next_fd();
	p->file_size = limit_files(FILE_SIZE);
	if (base == NULL)
		base = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";
	become_nobody();
	snprintf(p->top, sizeof(p->top), "%s/telex-fuzz-XXXXXX", base);
	fuzz_require(mkdtemp(p->top) != NULL);
	p->top_fd = open(p->top, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	fuzz_require(p->top_fd >= 0);
	fuzz_require(mkdirat(p->top_fd, "in", 0755) == 0 && mkdirat(p->top_fd, "out", 0755) == 0);
	put(p->top_fd, "out/secret", "secret\n");
	put(p->top_fd, "out/linked", "linked\n");
	put(p->top_fd, "in/f", "old\n");
	fuzz_require(mkdirat(p->top_fd, "in/d", 0755) == 0);
	put(p->top_fd, "in/d/x", "below\n");
	fuzz_require(symlinkat("../out", p->top_fd, "in/l") == 0);
	fuzz_require(symlinkat("f", p->top_fd, "in/s") == 0);
	fuzz_require(linkat(p->top_fd, "out/linked", p->top_fd, "in/h", 0) == 0);
	p->in_fd = openat(p->top_fd, "in", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	fuzz_require(p->in_fd >= 0);
}

void place_large(const struct fuzz_place *p, const char *name, size_t size)
{
	uint64_t x = 88172645463325252u, *data = malloc(size + sizeof(x));
	int fd = openat(p->in_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);

	fuzz_require(data != NULL && fd >= 0);
	for (size_t i = 0; i < size / sizeof(x) + 1; i++) {
		x ^= x << 13;
		x ^= x >> 7;
		x ^= x << 17;
		data[i] = x;
	}
	fuzz_require(write(fd, data, size) == (ssize_t)size);
	close(fd);
	free(data);
}

static void check(const struct fuzz_place *p, const char *name, const char *text)
{
	char content[32] = "";
	int fd = openat(p->top_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	ssize_t n;

	/* It may have another mode: by its second name it can be come to. */
	if (fd < 0 && fchmodat(p->top_fd, name, 0644, 0) == 0)
		fd = openat(p->top_fd, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	fuzz_require(fd >= 0);
	n = read(fd, content, sizeof(content) - 1);
	fuzz_require(n == (ssize_t)strlen(text) && strcmp(content, text) == 0);
	close(fd);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)st;
	(void)type;
	(void)at;
	return remove(path);
}

/* What a folder's mode keeps its owner from is no reason to leave it. */
static int open_up(const char *path, const struct stat *st, int type, struct FTW *at)
{
	(void)at;
	if (type == FTW_DNR || (type == FTW_D && (st->st_mode & 0700) != 0700))
		(void)chmod(path, 0700);
	return 0;
}

void place_leave(struct fuzz_place *p)
{
	char out[80];
	bool in;

	check(p, "out/secret", "secret\n");
	check(p, "out/linked", "linked\n");
	snprintf(out, sizeof(out), "%s/out", p->top);
	/* The folder itself may be gone: it is inside, too. */
	in = faccessat(p->top_fd, "in", F_OK, AT_SYMLINK_NOFOLLOW) == 0;
	fuzz_require(folder_count(out) == 2 && folder_count(p->top) == 1 + in);
	close(p->in_fd);
	close(p->top_fd);
	/* A pass opens one more level of what was closed. */
	for (int i = 0; i < 8 && nftw(p->top, remove_one, 16, FTW_DEPTH | FTW_PHYS) != 0; i++)
		(void)nftw(p->top, open_up, 16, FTW_PHYS);
	fuzz_require(access(p->top, F_OK) != 0);
	become_root();
	(void)limit_files(p->file_size);
	fuzz_require(next_fd() == p->next_fd);
}
