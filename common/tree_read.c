/* SPDX-License-Identifier: Apache-2.0 */
/* What the sender reads of a file before its entry goes: a small content, or a digest. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "common/tree_send_internal.h"

static int open_file(const struct tree_sender *s, const struct tree_name *n)
{
	int flags = O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;

	return openat(n->dir_fd, n->name, s->cfg.options->follow ? flags : flags | O_NOFOLLOW);
}

/* With its entry. */
static void put_content(struct tree_sender *s, Telex__V1__TreeEntry *e, uint8_t *data, size_t len)
{
	struct tree_note note = {.kind = TREE_NOTE_BYTES, .bytes = len};

	e->content = (ProtobufCBinaryData){len, data};
	e->has_content = true;
	s->contents_used += len;
	s->gathered += len;
	s->bytes += len;
	if (s->cfg.note != NULL)
		s->cfg.note(&note, s->cfg.arg);
}

int tree_read_content(struct tree_sender *s, const struct tree_name *n, Telex__V1__TreeEntry *e)
{
	int fd = open_file(s, n);
	uint8_t *to = s->contents + s->contents_used;
	size_t size = (size_t)n->st.st_size, at = 0;
	struct stat st;
	ssize_t got = 1;

	if (fd < 0)
		return errno;
	/* One byte more than there should be, to see that there is none. */
	while (got > 0 && at <= size) {
		got = read(fd, to + at, size + 1 - at);
		if (got < 0 && errno == EINTR)
			got = 1;
		else if (got > 0)
			at += (size_t)got;
	}
	if (got < 0 || fstat(fd, &st) != 0) {
		int saved = errno;

		close(fd);
		return saved;
	}
	close(fd);
	if (at != size || st.st_ino != n->st.st_ino || !tree_mtime_same(&st, &n->st))
		return EAGAIN;
	put_content(s, e, to, size);
	return 0;
}

/* Goes on at *at until there is no more, or `room` is full. 0 or an errno. */
static int read_on(int fd, uint8_t *to, size_t room, size_t *at)
{
	ssize_t got = 1;

	while (got != 0 && *at < room) {
		got = read(fd, to + *at, room - *at);
		if (got > 0)
			*at += (size_t)got;
		else if (got < 0 && errno != EINTR)
			return errno;
	}
	return 0;
}

/* What is more than `at` bytes, which were read already: all of it, allocated. 0 or an errno. */
static int read_held(int fd, const uint8_t *begin, size_t *at, uint8_t **out)
{
	uint8_t *held = NULL, *grown;
	size_t room = 2 * *at;
	int failed = 0;

	while (failed == 0 && *at <= TREE_HELD_ONE) {
		grown = realloc(held, room);
		if (grown == NULL) {
			failed = ENOMEM;
			break;
		}
		if (held == NULL)
			memcpy(grown, begin, *at);
		held = grown;
		failed = read_on(fd, held, room, at);
		if (*at < room)
			break;
		room = 2 * room < TREE_HELD_ONE ? 2 * room : TREE_HELD_ONE + 1;
	}
	if (failed == 0 && *at > TREE_HELD_ONE)
		failed = EFBIG;
	if (failed == 0)
		*out = held;
	else
		free(held);
	return failed;
}

int tree_read_unsized(struct tree_sender *s, const struct tree_name *n, Telex__V1__TreeEntry *e)
{
	uint8_t *to = s->contents + s->contents_used;
	int fd = open_file(s, n), failed;
	struct stat st = n->st;
	size_t at = 0;

	if (fd < 0)
		return errno;
	failed = read_on(fd, to, TREE_INLINE_MAX + 1, &at);
	if (failed == 0 && at > TREE_INLINE_MAX)
		failed = read_held(fd, to, &at, &s->unsized);
	if (failed == 0 && fstat(fd, &st) != 0)
		failed = errno;
	close(fd);
	if (failed != 0 || at == 0)
		return failed;
	tree_mtime_put(e, &st);
	e->size = at;
	if (at <= TREE_INLINE_MAX)
		put_content(s, e, to, at);
	return 0;
}

int tree_read_digest(
    const struct tree_sender *s, const struct tree_name *n, Telex__V1__TreeEntry *e)
{
	EVP_MD_CTX *sha = EVP_MD_CTX_new();
	int fd = open_file(s, n), rc = fd < 0 ? errno : 0;
	ssize_t got = 1;

	if (rc == 0 && (sha == NULL || EVP_DigestInit_ex(sha, EVP_sha256(), NULL) != 1))
		rc = ENOMEM;
	while (rc == 0 && got > 0) {
		got = read(fd, s->buffer, TREE_CHUNK);
		if (got < 0 && errno == EINTR)
			got = 1;
		else if (got < 0)
			rc = errno;
		else if (EVP_DigestUpdate(sha, s->buffer, (size_t)got) != 1)
			rc = ENOMEM;
	}
	e->sha256.data = rc == 0 ? malloc(32) : NULL;
	if (rc == 0 &&
	    (e->sha256.data == NULL || EVP_DigestFinal_ex(sha, e->sha256.data, NULL) != 1))
		rc = ENOMEM;
	e->sha256.len = rc == 0 ? 32 : 0;
	EVP_MD_CTX_free(sha);
	if (fd >= 0)
		close(fd);
	return rc;
}
