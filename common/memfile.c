/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A memfd from another process is believed only after its seals were read: what is frozen cannot
 * change between the check and the use. It is copied, never mapped, so that no fault can come from
 * it.
 */
#include "common/memfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/fd_io.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008U
#endif

int memfile_new(const char *name, int *fd, struct err *e)
{
	const unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
	int n = memfd_create(name, flags | MFD_NOEXEC_SEAL);

	if (n < 0 && errno == EINVAL)
		n = memfd_create(name, flags);
	if (n < 0)
		return err_sys(e, errno, "memfd %s", name);
	*fd = n;
	return 0;
}

int memfile_seal(int fd, int seals, struct err *e)
{
	if (fcntl(fd, F_ADD_SEALS, seals) != 0)
		return err_sys(e, errno, "cannot seal a memfd");
	return 0;
}

int memfile_freeze(const char *name, const void *data, size_t len, int *fd, struct err *e)
{
	int n = -1;
	int r = memfile_new(name, &n, e);
	int sys;

	if (r < 0)
		return r;
	sys = fd_write_all(n, data, len);
	r = sys != 0 ? err_sys(e, sys, "memfd %s", name)
	             : memfile_seal(n, MEMFILE_FROZEN | F_SEAL_SEAL, e);
	if (r < 0) {
		close(n);
		return r;
	}
	*fd = n;
	return 0;
}

static int freeze_private(
    const char *name, const uint8_t *data, size_t len, mode_t mode, int *fd, struct err *e)
{
	int n = -1;
	int rc = memfile_freeze(name, data, len, &n, e);

	if (rc == 0 && fchmod(n, mode) != 0) {
		rc = err_sys(e, errno, "memfd %s", name);
		close(n);
	}
	if (rc == 0)
		*fd = n;
	return rc;
}

int memfile_copy(const char *name, int from, size_t max, mode_t mode, int *fd, struct err *e)
{
	struct stat st;
	uint8_t *data;
	size_t size, len = 0;
	int rc, sys;

	if (fstat(from, &st) != 0)
		return err_sys(e, errno, "it cannot be read");
	if (!S_ISREG(st.st_mode))
		return err_set(e, TX_EINVAL, "it is not a regular file");
	if ((uintmax_t)st.st_size > max)
		return err_set(e, TX_ETOOBIG, "it is longer than %zu bytes", max);
	size = (size_t)st.st_size;
	data = malloc(size + 1);
	if (data == NULL)
		return err_set(e, TX_ENOMEM, "out of memory");
	sys = fd_read_all(from, data, size, &len);
	rc = sys != 0 ? err_sys(e, sys, "it cannot be read")
	              : freeze_private(name, data, len, mode, fd, e);
	explicit_bzero(data, size);
	free(data);
	return rc;
}

int memfile_load(int fd, size_t max, uint8_t **data, size_t *len, struct err *e)
{
	int seals = fcntl(fd, F_GET_SEALS);
	struct stat st;
	size_t got = 0;
	uint8_t *p;
	int r, sys;

	if (seals < 0)
		return err_set(e, TX_EPROTO, "the descriptor is not a memfd");
	if ((seals & MEMFILE_FROZEN) != MEMFILE_FROZEN)
		return err_set(e, TX_EPROTO, "the memfd is not sealed");
	if (fstat(fd, &st) != 0)
		return err_sys(e, errno, "cannot stat a memfd");
	if (st.st_size <= 0)
		return err_set(e, TX_EPROTO, "the memfd is empty");
	if ((uintmax_t)st.st_size > max)
		return err_set(e, TX_ETOOBIG, "the memfd holds more than %zu bytes", max);
	p = malloc((size_t)st.st_size);
	if (p == NULL)
		return err_set(e, TX_ENOMEM, "out of memory");
	sys = fd_read_all(fd, p, (size_t)st.st_size, &got);
	r = sys == 0 ? 0 : err_sys(e, sys, "cannot read a memfd");
	if (r == 0 && got < (size_t)st.st_size)
		r = err_set(e, TX_EPROTO, "a memfd is shorter than it says");
	if (r < 0) {
		free(p);
		return r;
	}
	*data = p;
	*len = (size_t)st.st_size;
	return 0;
}
