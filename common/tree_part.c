/* SPDX-License-Identifier: Apache-2.0 */
/* The temporary file that a content is gathered in: opened for one transfer alone, with what an
 * earlier try left in it. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "common/beneath.h"
#include "common/file_quota.h"
#include "common/file_room.h"
#include "common/tree_receive_internal.h"

#define LOCK_TRIES   100 /* of 50 ms: for one who was cut off to see that */
#define LOCK_WAIT_NS 50000000
#define READ_SIZE    ((size_t)262144)

/* ---- digests ---- */

static int digest_more(EVP_MD_CTX *sha, int fd, uint64_t from, uint64_t to, uint8_t *buffer)
{
	while (from < to) {
		size_t want = to - from < READ_SIZE ? (size_t)(to - from) : READ_SIZE;
		ssize_t n = pread(fd, buffer, want, (off_t)from);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0) {
			errno = n == 0 ? EIO : errno;
			return -1;
		}
		if (EVP_DigestUpdate(sha, buffer, (size_t)n) != 1) {
			errno = ENOMEM;
			return -1;
		}
		from += (uint64_t)n;
	}
	return 0;
}

static EVP_MD_CTX *new_sha(void)
{
	EVP_MD_CTX *sha = EVP_MD_CTX_new();

	if (sha != NULL && EVP_DigestInit_ex(sha, EVP_sha256(), NULL) == 1)
		return sha;
	EVP_MD_CTX_free(sha);
	errno = ENOMEM;
	return NULL;
}

int tree_part_digest(int fd, uint8_t digest[32])
{
	EVP_MD_CTX *sha = new_sha();
	uint8_t *buffer = malloc(READ_SIZE);
	struct stat st;
	int rc = -1;

	if (sha != NULL && buffer != NULL && fstat(fd, &st) == 0 &&
	    digest_more(sha, fd, 0, (uint64_t)st.st_size, buffer) == 0 &&
	    EVP_DigestFinal_ex(sha, digest, NULL) == 1)
		rc = 0;
	free(buffer);
	EVP_MD_CTX_free(sha);
	return rc;
}

/* ---- the part ---- */

static int lock_part(const struct tree_receiver *r, int fd)
{
	const struct timespec wait = {.tv_nsec = LOCK_WAIT_NS};

	for (int i = 0; flock(fd, LOCK_EX | LOCK_NB) != 0; i++) {
		if (errno != EWOULDBLOCK || !r->cfg.waits || i == LOCK_TRIES)
			return -1;
		nanosleep(&wait, NULL);
	}
	return 0;
}

/* The part, made where it is not there. What somebody else put there under its name could be
 * changed by him after it was checked: it is removed, and never written. errno on -1. */
static int own_part(int dir_fd, const char *name)
{
	const int flags = O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
	struct stat st;
	int fd = openat(dir_fd, name, flags);

	if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid() &&
	    st.st_nlink == 1)
		return fd;
	if (fd >= 0)
		close(fd);
	if (fd < 0 && errno == ENOENT)
		return openat(dir_fd, name, flags | O_CREAT | O_EXCL, 0600);
	if (unlinkat(dir_fd, name, 0) != 0 && errno != ENOENT)
		return -1;
	return openat(dir_fd, name, flags | O_CREAT | O_EXCL, 0600);
}

/* What there is too little of for what is to come of it, as far as that is known before: 0, ENOSPC
 * or EDQUOT. */
static int lack_of_room(const struct tree_wanted *w)
{
	const uint64_t need = w->entry->no_holes ? w->entry->size - w->offset : 0;
	struct file_quota quota;
	struct file_room room;

	if (file_room_of(&room, w->fd) && room.most < need)
		return ENOSPC;
	if (need == 0 || !file_quota_of(&quota, w->fd) || quota.left >= need)
		return 0;
	return file_quota_passes() ? 0 : EDQUOT;
}

/* It is another transfer's, which needs it yet: it is not removed with this one's. */
static int leave_part(struct tree_wanted *w)
{
	close(w->fd);
	w->fd = -1;
	errno = EWOULDBLOCK;
	return -1;
}

int tree_part_open(struct tree_receiver *r, struct tree_wanted *w)
{
	const char *name;
	struct stat st, named;

	w->folder = tree_folder_of(r, w->path, &name);
	if (w->folder == NULL)
		return -1;
	w->fd = own_part(w->folder->fd, w->temp);
	if (w->fd < 0)
		return -1;
	if (lock_part(r, w->fd) != 0)
		return errno == EWOULDBLOCK ? leave_part(w) : -1;
	if (fstat(w->fd, &st) != 0)
		return -1;
	/* The one who held it may have put it in its place meanwhile. */
	if (fstatat(w->folder->fd, w->temp, &named, AT_SYMLINK_NOFOLLOW) != 0) {
		errno = EWOULDBLOCK;
		return -1;
	}
	if (named.st_ino != st.st_ino || !S_ISREG(st.st_mode) || st.st_nlink != 1)
		return leave_part(w);
	w->sha = new_sha();
	if (w->sha == NULL || ftruncate(w->fd, (off_t)w->offset) != 0)
		return -1;
	errno = lack_of_room(w);
	if (errno != 0)
		return -1;
	w->at = w->sent_back = w->offset;
	r->total_bytes += w->offset;
	if (digest_more(w->sha, w->fd, 0, w->offset, r->unpacked) != 0)
		return -1;
	if (!w->delta)
		return 0;
	w->basis_fd = open_beneath(w->folder->fd, name, O_RDONLY | O_NONBLOCK);
	if (w->basis_fd < 0)
		return -1;
	errno = ENOMEM;
	return tree_patch_new(&w->patch, w->basis_fd) == 0 ? 0 : -1;
}
