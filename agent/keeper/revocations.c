/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/keeper/revocations.h"
#include "common/file_put.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int path_of(char out[PATH_MAX], const struct config *c, struct err *e)
{
	int n = c->revocations != NULL
	            ? snprintf(out, PATH_MAX, "%s", c->revocations)
	            : snprintf(out, PATH_MAX, "%s/revocations.pem", c->state_directory);

	if (n < 0 || n >= PATH_MAX)
		return err_set(e, TX_ETOOBIG, "the path of the revocation list is too long");
	return 0;
}

int revocations_open(int *fd, const struct config *c, struct err *e)
{
	char path[PATH_MAX];
	int rc = path_of(path, c, e);

	if (rc != 0)
		return rc;
	*fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	/* Who may not look does not know that nobody is revoked. */
	return *fd >= 0 || errno == ENOENT ? 0 : err_sys(e, errno, "%s", path);
}

static int read_kept(const struct config *c, char **text, size_t *len, struct err *e)
{
	int fd = -1, rc = revocations_open(&fd, c, e);
	ssize_t n = 1;

	*len = 0;
	*text = rc == 0 ? malloc(REVOCATION_FILE_MAX) : NULL;
	if (rc == 0 && *text == NULL)
		rc = err_set(e, TX_ENOMEM, "out of memory");
	while (rc == 0 && fd >= 0 && n != 0 && *len < REVOCATION_FILE_MAX) {
		n = pread(fd, *text + *len, REVOCATION_FILE_MAX - *len, (off_t)*len);
		if (n > 0)
			*len += (size_t)n;
		else if (n < 0 && errno != EINTR)
			rc = err_sys(e, errno, "the revocation lists cannot be read");
	}
	if (fd >= 0)
		close(fd);
	return rc;
}

/* Whether it is kept already, to the byte. */
static bool is_kept(const char *text, size_t len, const struct revocation_record *list)
{
	struct revocation_record other;
	size_t at = 0;

	while (revocation_next(text, len, &at, &other))
		if (strcmp(other.issuer, list->issuer) == 0 && other.number == list->number &&
		    other.len == list->len && memcmp(other.pem, list->pem, list->len) == 0)
			return true;
	return false;
}

int revocations_put(const struct config *c, const struct revocation_record *list, struct err *e)
{
	char path[PATH_MAX], *kept = NULL, *merged = NULL;
	size_t kept_len = 0, len;
	bool written;
	int rc = path_of(path, c, e);

	if (rc == 0)
		rc = read_kept(c, &kept, &kept_len, e);
	written = rc == 0 && is_kept(kept, kept_len, list);
	if (rc == 0 && !written)
		rc = revocation_merge(&merged, &len, kept, kept_len, list, e);
	if (rc == 0 && !written)
		rc = file_put(path, merged, len, 0644, e);
	free(kept);
	free(merged);
	return rc;
}
