/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/keeper/state_dir.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "common/log.h"

int state_dir_take(const char *path, int *dir, int *lock, struct err *e)
{
	if (mkdir(path, 0700) != 0 && errno != EEXIST)
		return err_sys(e, errno, "cannot make state directory %s", path);
	*dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (*dir < 0)
		return err_sys(e, errno, "cannot open state directory %s", path);
	*lock = openat(*dir, "lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (*lock < 0)
		return err_sys(e, errno, "cannot open %s/lock", path);
	if (flock(*lock, LOCK_EX | LOCK_NB) != 0)
		return errno == EWOULDBLOCK
		           ? err_set(e, TX_EEXIST, "another telexd uses state directory %s", path)
		           : err_sys(e, errno, "cannot lock %s/lock", path);
	return 0;
}

int state_dir_spool(int dir, const char *path)
{
	int fd = -1;

	if (mkdirat(dir, "spool", 0700) == 0 || errno == EEXIST)
		fd = openat(dir, "spool", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		log_warn("%s/spool: %s; outputs are held in memory only", path, strerror(errno));
	return fd;
}
