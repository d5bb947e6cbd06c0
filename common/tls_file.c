/* SPDX-License-Identifier: Apache-2.0 */
/* Reads certificates and keys: whole regular files of a bounded size, wiped when they are let go.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/tls.h"

#define SIZE_MAX_OF_FILE ((size_t)1 << 20)

/* pread: the keeper gives the same open file to several workers, which share its offset. */
static int read_all(int fd, const char *name, char *text, size_t size, size_t *len, struct err *e)
{
	size_t done = 0;

	while (done < size) {
		ssize_t n = pread(fd, text + done, size - done, (off_t)done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_sys(e, errno, "cannot read %s", name);
		if (n == 0)
			break;
		done += (size_t)n;
	}
	*len = done;
	return 0;
}

int tls_read_fd(int fd, const char *name, char **text, size_t *len, struct err *e)
{
	struct stat st;
	char *buffer;
	size_t size, got = 0;
	int rc;

	if (fstat(fd, &st) != 0)
		return err_sys(e, errno, "cannot read %s", name);
	if (!S_ISREG(st.st_mode))
		return err_set(e, TX_EINVAL, "%s is not a regular file", name);
	if ((uintmax_t)st.st_size > SIZE_MAX_OF_FILE)
		return err_set(e, TX_ETOOBIG, "%s is larger than 1 MiB", name);
	size = (size_t)st.st_size;
	buffer = malloc(size + 1);
	if (buffer == NULL)
		return err_set(e, TX_ENOMEM, "out of memory");
	rc = read_all(fd, name, buffer, size, &got, e);
	if (rc != 0) {
		tls_text_free(buffer, size);
		return rc;
	}
	buffer[got] = '\0';
	*text = buffer;
	*len = got;
	return 0;
}

int tls_read_key_fd(int fd, const char *name, char **text, size_t *len, struct err *e)
{
	struct stat st;

	if (fstat(fd, &st) != 0)
		return err_sys(e, errno, "cannot read %s", name);
	if (S_ISREG(st.st_mode) && (st.st_mode & 077) != 0)
		return err_set(e, TX_EPERM,
		    "others may read or write %s, which is secret (mode %04o); type: chmod 600 %s",
		    name, (unsigned)st.st_mode & 07777, name);
	return tls_read_fd(fd, name, text, len, e);
}

int tls_read_file(const char *path, char **text, size_t *len, struct err *e)
{
	/* O_NONBLOCK: a named pipe must not hold us up. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	int rc;

	if (fd < 0)
		return err_sys(e, errno, "cannot open %s", path);
	rc = tls_read_fd(fd, path, text, len, e);
	close(fd);
	return rc;
}

void tls_text_free(char *text, size_t len)
{
	if (text == NULL)
		return;
	explicit_bzero(text, len);
	free(text);
}
