/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/files/copy_data.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/files/call.h"
#include "common/file_range.h"

#define STEP ((uint64_t)16 << 20) /* between two looks at the worker */

struct copying {
	int from, to;
	struct call *call;
	struct copy_data *out;
	uint8_t *buffer;
	bool by_hand; /* the kernel cannot */
};

/* What copy_file_range(2) says where it cannot: older kernels, between file systems, of files that
 * have no blocks. */
static bool is_unable(int error)
{
	return error == EXDEV || error == EINVAL || error == ENOSYS || error == EOPNOTSUPP ||
	       error == EPERM || error == ETXTBSY;
}

static int put(struct copying *c, const uint8_t *data, size_t len, uint64_t at)
{
	while (len > 0) {
		ssize_t n = pwrite(c->to, data, len, (off_t)at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			c->out->writing = true;
			return n < 0 ? errno : EIO;
		}
		data += n;
		at += (uint64_t)n;
		len -= (size_t)n;
	}
	return 0;
}

/* *done: how far it came; short of `to` only at the file's end. */
static int copy_by_hand(struct copying *c, uint64_t at, uint64_t to, uint64_t *done)
{
	int error = 0;

	if (c->buffer == NULL)
		c->buffer = malloc(FILE_RANGE_PIECE);
	if (c->buffer == NULL)
		return ENOMEM;
	while (error == 0 && at < to) {
		size_t len = to - at < FILE_RANGE_PIECE ? (size_t)(to - at) : FILE_RANGE_PIECE;
		ssize_t n = file_range_get(c->from, c->buffer, len, at);

		if (n < 0)
			return errno;
		if (n == 0)
			break;
		error = put(c, c->buffer, (size_t)n, at);
		at += (uint64_t)n;
	}
	*done = at;
	return error;
}

static int copy_step(struct copying *c, uint64_t at, uint64_t to, uint64_t *done)
{
	loff_t in = (loff_t)at, out = (loff_t)at;
	ssize_t n = 0;

	if (call_gone(c->call))
		return ECANCELED;
	while (!c->by_hand) {
		n = copy_file_range(c->from, &in, c->to, &out, (size_t)(to - at), 0);
		if (n >= 0 || errno != EINTR)
			break;
	}
	if (!c->by_hand && n > 0) {
		*done = at + (uint64_t)n;
		return 0;
	}
	if (!c->by_hand && n < 0 && !is_unable(errno)) {
		/* It does not say which of the two; a full disk is the copy's. */
		c->out->writing = errno == ENOSPC || errno == EDQUOT || errno == EFBIG;
		return errno;
	}
	/* 0 is the file's end, or a file that only read(2) reads. */
	c->by_hand = c->by_hand || n < 0;
	return copy_by_hand(c, at, to, done);
}

static int copy_part(struct copying *c, uint64_t at, uint64_t to, bool *ended)
{
	int error = 0;

	while (error == 0 && at < to && !*ended) {
		uint64_t until = to - at > STEP ? at + STEP : to, done = at;

		error = copy_step(c, at, until, &done);
		*ended = error == 0 && done == at;
		at = done;
	}
	if (error == 0 && at > c->out->bytes)
		c->out->bytes = at;
	return error;
}

static int copy_parts(struct copying *c, uint64_t size)
{
	bool ended = false, data;
	uint64_t at = 0, to;
	int error = 0;

	while (error == 0 && at < size && !ended) {
		file_range_part(c->from, at, size, &data, &to);
		if (data)
			error = copy_part(c, at, to, &ended);
		at = to;
	}
	/* A hole at the end is part of the size, unless the file was cut off meanwhile. */
	if (error == 0 && !ended && c->out->bytes < size) {
		c->out->bytes = size;
		if (ftruncate(c->to, (off_t)size) != 0) {
			c->out->writing = true;
			error = errno;
		}
	}
	return error;
}

int copy_data(int from, int to, struct call *call, struct copy_data *out)
{
	struct copying c = {.from = from, .to = to, .call = call, .out = out};
	bool ended = false;
	struct stat st;
	int error;

	*out = (struct copy_data){0};
	if (fstat(from, &st) != 0)
		return errno;
	if (st.st_size > 0 && ioctl(to, FICLONE, from) == 0) {
		if (fstat(to, &st) != 0)
			return errno;
		out->bytes = out->shared = (uint64_t)st.st_size;
		return 0;
	}
	(void)posix_fadvise(from, 0, 0, POSIX_FADV_SEQUENTIAL);
	error = copy_parts(&c, (uint64_t)st.st_size);
	/* What has no size may have contents all the same (/proc). */
	if (error == 0 && st.st_size == 0) {
		c.by_hand = true;
		error = copy_part(&c, 0, INT64_MAX, &ended);
	}
	free(c.buffer);
	return error;
}
