/* SPDX-License-Identifier: Apache-2.0 */
/* Reads certificates and keys: whole regular files of a bounded size, wiped when they are let go.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/fd_io.h"
#include "common/file_put.h"
#include "common/tls.h"

#define SIZE_MAX_OF_FILE ((size_t)1 << 20)

int tls_read_fd(int fd, const char *name, char **text, size_t *len, struct err *e)
{
	struct stat st;
	char *buffer;
	size_t size, got = 0;
	int error;

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
	error = fd_read_all(fd, buffer, size, &got);
	if (error != 0) {
		tls_text_free(buffer, size);
		return err_sys(e, error, "cannot read %s", name);
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

int tls_read_pair(const char *certificate_path, char **certificate, size_t *certificate_len,
    const char *key_path, char **key, size_t *key_len, struct err *e)
{
	char *text = NULL;
	size_t len = 0;
	int fds[2];
	int rc = file_open_pair(certificate_path, key_path, fds, e);

	if (rc != 0)
		return rc;
	rc = tls_read_fd(fds[0], certificate_path, &text, &len, e);
	if (rc == 0)
		rc = tls_read_key_fd(fds[1], key_path, key, key_len, e);
	close(fds[0]);
	close(fds[1]);
	if (rc != 0) {
		tls_text_free(text, len);
		return rc;
	}
	*certificate = text;
	*certificate_len = len;
	return 0;
}

void tls_text_free(char *text, size_t len)
{
	if (text == NULL)
		return;
	explicit_bzero(text, len);
	free(text);
}
