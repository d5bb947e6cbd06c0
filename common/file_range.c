/* SPDX-License-Identifier: Apache-2.0 */
#include "common/file_range.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static const uint8_t zeros[64 << 10];

ssize_t file_range_get(int fd, void *out, size_t len, uint64_t offset)
{
	uint8_t *at = out;
	size_t got = 0;

	if (offset > (uint64_t)INT64_MAX - len)
		return 0;
	while (got < len) {
		ssize_t n = pread(fd, at + got, len - got, (off_t)(offset + got));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && got == 0)
			return -1;
		if (n <= 0)
			break;
		got += (size_t)n;
	}
	return (ssize_t)got;
}

void file_range_part(int fd, uint64_t offset, uint64_t end, bool *data, uint64_t *to)
{
	off_t next = offset < INT64_MAX ? lseek(fd, (off_t)offset, SEEK_DATA) : -1;

	*data = true;
	*to = end;
	if (next < 0 && errno == ENXIO) {
		*data = false;
		return;
	}
	if (next < 0)
		return;
	if ((uint64_t)next > offset) {
		*data = false;
		*to = (uint64_t)next < end ? (uint64_t)next : end;
		return;
	}
	next = lseek(fd, (off_t)offset, SEEK_HOLE);
	if (next > (off_t)offset && (uint64_t)next < end)
		*to = (uint64_t)next;
}

/* ---- in pieces ---- */

struct reading {
	int fd;
	uint8_t *buffer;
	file_range_each *each;
	void *arg;
	uint64_t at, end; /* end: UINT64_MAX where nobody knows */
};

static int tell_zeros(struct reading *r, uint64_t to)
{
	int rc = 0;

	while (rc == 0 && r->at < to) {
		size_t len = sizeof(zeros);

		if (to - r->at < len)
			len = (size_t)(to - r->at);
		rc = r->each(zeros, len, r->arg);
		if (rc == 0)
			r->at += len;
	}
	return rc;
}

/* *ended: the file is shorter. */
static int tell_data(struct reading *r, uint64_t to, bool *ended)
{
	int rc = 0;

	while (rc == 0 && r->at < to && !*ended) {
		size_t len = FILE_RANGE_PIECE;
		ssize_t n;

		if (to - r->at < len)
			len = (size_t)(to - r->at);
		n = file_range_get(r->fd, r->buffer, len, r->at);
		if (n < 0)
			return errno;
		if (n > 0)
			rc = r->each(r->buffer, (size_t)n, r->arg);
		if (rc == 0)
			r->at += (uint64_t)n;
		*ended = n == 0;
	}
	return rc;
}

static int tell_all(struct reading *r)
{
	bool ended = false, data;
	uint64_t to, size;
	struct stat st;
	int rc = 0;

	while (rc == 0 && r->at < r->end && !ended) {
		if (fstat(r->fd, &st) != 0)
			return errno;
		size = (uint64_t)st.st_size < r->end ? (uint64_t)st.st_size : r->end;
		/* Behind the size there may be bytes all the same, as in /proc; a read will tell.
		 */
		if (r->at < size)
			file_range_part(r->fd, r->at, size, &data, &to);
		else {
			data = true;
			to = r->end;
		}
		rc = data ? tell_data(r, to, &ended) : tell_zeros(r, to);
	}
	return rc;
}

int file_range_read(
    int fd, uint64_t offset, uint64_t length, file_range_each *each, void *arg, uint64_t *done)
{
	struct reading r = {.fd = fd, .each = each, .arg = arg, .at = offset, .end = UINT64_MAX};
	int rc;

	*done = 0;
	if (length > 0 && __builtin_add_overflow(offset, length, &r.end))
		r.end = UINT64_MAX;
	if (posix_memalign((void **)&r.buffer, 4096, FILE_RANGE_PIECE) != 0)
		return ENOMEM;
	rc = tell_all(&r);
	*done = r.at - offset;
	free(r.buffer);
	return rc;
}
