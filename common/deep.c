/* SPDX-License-Identifier: Apache-2.0 */
#include "common/deep.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "common/beneath.h"

#define PATH_MOST ((size_t)32 << 20) /* of all names on the way */
#define PIECE     ((size_t)3800)     /* of a path that is opened at once */

static int look(struct deep_level *l)
{
	struct statx st;

	if (statx(l->fd, "", AT_EMPTY_PATH, STATX_INO | STATX_MNT_ID, &st) != 0)
		return errno;
	l->dev = makedev(st.stx_dev_major, st.stx_dev_minor);
	l->ino = st.stx_ino;
	l->mount = (st.stx_mask & STATX_MNT_ID) != 0 ? st.stx_mnt_id : 0;
	return 0;
}

bool deep_is_mount(int dir_fd, int fd)
{
	struct statx above, st;
	const unsigned mask = STATX_INO | STATX_MNT_ID;

	if (statx(dir_fd, "", AT_EMPTY_PATH, mask, &above) != 0 ||
	    statx(fd, "", AT_EMPTY_PATH, mask, &st) != 0)
		return true;
	if (above.stx_dev_major != st.stx_dev_major || above.stx_dev_minor != st.stx_dev_minor)
		return true;
	return (st.stx_mask & above.stx_mask & STATX_MNT_ID) != 0 &&
	       st.stx_mnt_id != above.stx_mnt_id;
}

int deep_init(struct deep *d, int top_fd, int flags)
{
	*d = (struct deep){.flags = flags | O_DIRECTORY, .top = {.fd = top_fd}};
	d->path_room = 1024;
	d->path = malloc(d->path_room);
	if (d->path == NULL)
		return ENOMEM;
	d->path[0] = '\0';
	return look(&d->top);
}

static void close_level(struct deep_level *l)
{
	if (l->fd >= 0)
		close(l->fd);
	l->fd = -1;
}

void deep_free(struct deep *d)
{
	while (d->n > 0)
		close_level(&d->levels[--d->n]);
	close_level(&d->top);
	free(d->levels);
	free(d->path);
	*d = (struct deep){.top = {.fd = -1}};
}

const struct deep_level *deep_last(const struct deep *d)
{
	return d->n > 0 ? &d->levels[d->n - 1] : &d->top;
}

/* ---- down ---- */

const char *deep_append(struct deep *d, const char *name)
{
	size_t len = strlen(name) + 1, at = deep_last(d)->end, need = at + 1 + len;
	char *more;

	if (need > PATH_MOST)
		return NULL;
	if (need > d->path_room) {
		more = realloc(d->path, 2 * need);
		if (more == NULL)
			return NULL;
		d->path = more;
		d->path_room = 2 * need;
	}
	if (at > 0)
		d->path[at++] = '/';
	memcpy(d->path + at, name, len);
	return d->path;
}

static const char *appended(const struct deep *d)
{
	size_t end = deep_last(d)->end;

	return d->path + end + (end > 0 ? 1 : 0);
}

static int make_room(struct deep *d)
{
	size_t room = d->room == 0 ? 32 : 2 * d->room;
	struct deep_level *more;

	if (d->n < d->room)
		return 0;
	more = reallocarray(d->levels, room, sizeof(*more));
	if (more == NULL)
		return ENOMEM;
	d->levels = more;
	d->room = room;
	return 0;
}

int deep_down(struct deep *d)
{
	struct deep_level l = {.end = strlen(d->path)};
	int error = make_room(d);

	if (error != 0)
		return error;
	l.fd = open_beneath(deep_last(d)->fd, appended(d), d->flags | O_NOFOLLOW);
	if (l.fd < 0)
		return errno;
	error = look(&l);
	if (error != 0) {
		close(l.fd);
		return error;
	}
	d->levels[d->n++] = l;
	if (d->n > DEEP_OPEN)
		close_level(&d->levels[d->n - 1 - DEEP_OPEN]);
	return 0;
}

/* ---- up ---- */

/* A part of the path, in one go. */
static int open_part(const struct deep *d, int fd, size_t from, size_t to, int flags)
{
	char part[PIECE + 1];

	if (d->path[from] == '/')
		from++;
	memcpy(part, d->path + from, to - from);
	part[to - from] = '\0';
	return open_beneath(fd, part, flags | O_NOFOLLOW);
}

/* Opens level k by its path from the top, in pieces. The descriptor, or -1 with errno. */
static int open_from_top(const struct deep *d, size_t k)
{
	int fd = d->top.fd;
	size_t from = 0;

	for (size_t i = 0; i <= k && fd >= 0; i++) {
		int next, saved;

		if (i < k && d->levels[i + 1].end - from < PIECE)
			continue;
		next = open_part(
		    d, fd, from, d->levels[i].end, i == k ? d->flags : O_PATH | O_DIRECTORY);
		saved = errno;
		if (fd != d->top.fd)
			close(fd);
		errno = saved;
		fd = next;
		from = d->levels[i].end;
	}
	return fd;
}

/* Whether it is what it was. */
static int accept_again(struct deep_level *l, int fd)
{
	struct deep_level now = {.fd = fd};
	int error = fd >= 0 ? look(&now) : errno;

	if (error == 0 && (now.dev != l->dev || now.ino != l->ino || now.mount != l->mount))
		error = ESTALE;
	if (error == 0)
		l->fd = fd;
	else if (fd >= 0)
		close(fd);
	return error;
}

/* Opens level k, and those above it that are held open, too. */
static int open_again(struct deep *d, size_t k)
{
	size_t first = k + 1 > DEEP_OPEN ? k + 1 - DEEP_OPEN : 0;
	int error = accept_again(&d->levels[first], open_from_top(d, first));

	for (size_t i = first + 1; i <= k && error == 0; i++)
		error = accept_again(
		    &d->levels[i], open_part(d, d->levels[i - 1].fd, d->levels[i - 1].end,
		                       d->levels[i].end, d->flags));
	return error;
}

int deep_up(struct deep *d)
{
	close_level(&d->levels[--d->n]);
	if (deep_last(d)->fd >= 0)
		return 0;
	return open_again(d, d->n - 1);
}
