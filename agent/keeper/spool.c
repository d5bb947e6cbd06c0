/* SPDX-License-Identifier: Apache-2.0 */
/* See spool.h. A file never comes back to an offset: a spool that is begun again is another file,
 * so that a worker cannot mistake new bytes for old ones. */
#include "agent/keeper/spool.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "agent/keeper/state_io.h"

struct spool {
	int fd, reader;
	uint64_t base, oldest, end;
};

/* 0 or an errno. */
static int open_unnamed(struct spool *sp, int folder)
{
	char path[40];

	sp->fd = openat(folder, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
	if (sp->fd < 0)
		return errno;
	snprintf(path, sizeof(path), "/proc/self/fd/%d", sp->fd);
	sp->reader = open(path, O_RDONLY | O_CLOEXEC);
	if (sp->reader >= 0)
		return 0;
	close(sp->fd);
	sp->fd = -1;
	return EOPNOTSUPP;
}

/* Where the file system has no O_TMPFILE, or there is no /proc: the name goes at once. */
static int open_unlinked(struct spool *sp, int folder)
{
	static unsigned number;
	char name[40];
	int error = 0;

	snprintf(name, sizeof(name), "%d-%u", (int)getpid(), number++);
	(void)unlinkat(folder, name, 0);
	sp->fd = openat(folder, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (sp->fd < 0)
		return errno;
	sp->reader = openat(folder, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (sp->reader < 0)
		error = errno;
	(void)unlinkat(folder, name, 0);
	return error;
}

int spool_new(struct spool **out, int folder, uint64_t base, struct err *e)
{
	struct spool *sp = calloc(1, sizeof(*sp));
	int error;

	if (sp == NULL)
		return err_set(e, TX_ENOMEM, "out of memory");
	sp->fd = sp->reader = -1;
	sp->base = sp->oldest = sp->end = base;
	error = open_unnamed(sp, folder);
	if (error == EOPNOTSUPP || error == EISDIR || error == EINVAL || error == ENOENT)
		error = open_unlinked(sp, folder);
	if (error != 0) {
		spool_free(sp);
		return err_sys(e, error, "cannot make a file");
	}
	*out = sp;
	return 0;
}

void spool_free(struct spool *sp)
{
	if (sp == NULL)
		return;
	if (sp->reader >= 0)
		close(sp->reader);
	if (sp->fd >= 0) {
		/* A worker may hold it for longer; the disk is not to wait for that. */
		if (ftruncate(sp->fd, 0) != 0)
			(void)posix_fadvise(sp->fd, 0, 0, POSIX_FADV_DONTNEED);
		close(sp->fd);
	}
	free(sp);
}

size_t spool_append(struct spool *sp, const uint8_t *data, size_t len, struct err *e)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = pwrite(sp->fd, data + done, len - done, (off_t)(sp->end - sp->base));

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			(void)err_sys(e, n < 0 ? errno : ENOSPC, "cannot write");
			break;
		}
		done += (size_t)n;
		sp->end += (uint64_t)n;
	}
	return done;
}

int spool_drop(struct spool *sp, uint64_t offset, struct err *e)
{
	if (fallocate(sp->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0,
	        (off_t)(offset - sp->base)) != 0)
		return err_sys(e, errno, "cannot punch a hole");
	sp->oldest = offset;
	return 0;
}

int spool_fd(const struct spool *sp)
{
	return sp->reader;
}

uint64_t spool_base(const struct spool *sp)
{
	return sp->base;
}

uint64_t spool_oldest(const struct spool *sp)
{
	return sp->oldest;
}

uint64_t spool_end(const struct spool *sp)
{
	return sp->end;
}

/* ---- over an upgrade ---- */

void spool_save(struct state_out *o, const struct spool *sp)
{
	state_put_fd(o, sp->fd);
	state_put_fd(o, sp->reader);
	state_put(o, sp->base);
	state_put(o, sp->oldest);
	state_put(o, sp->end);
}

void spool_load(struct state_in *in, struct spool_saved *s)
{
	s->fd = state_get_fd(in);
	s->reader = state_get_fd(in);
	s->base = state_get(in);
	s->oldest = state_get(in);
	s->end = state_get(in);
	if (s->fd < 0 || s->reader < 0 || s->base > s->oldest || s->oldest > s->end)
		state_bad(in);
}

int spool_restore(struct spool **out, const struct spool_saved *s)
{
	struct spool *sp = calloc(1, sizeof(*sp));

	if (sp == NULL)
		return TX_ENOMEM;
	*sp = (struct spool){s->fd, s->reader, s->base, s->oldest, s->end};
	*out = sp;
	return 0;
}
