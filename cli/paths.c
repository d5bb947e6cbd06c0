/* SPDX-License-Identifier: Apache-2.0 */
/* Where telex keeps things. A relative XDG path is invalid by its specification and is passed over.
 */
#include "cli/paths.h"

#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/fd_io.h"
#include "common/mem.h"

/* HOME, or what the password file says. */
static const char *home(void)
{
	const char *path = getenv("HOME");
	const struct passwd *pw;

	if (path && path[0] == '/')
		return path;
	pw = getpwuid(getuid());
	return pw && pw->pw_dir && pw->pw_dir[0] == '/' ? pw->pw_dir : NULL;
}

static int xdg(const char *variable, const char *fallback, char **out, struct err *e)
{
	const char *base = getenv(variable), *at_home;

	if (base && base[0] == '/') {
		*out = xasprintf("%s/telex", base);
		return 0;
	}
	at_home = home();
	if (!at_home)
		return err_set(e, TX_ENOENT,
		    "there is no home folder to keep files in; set HOME or %s", variable);
	*out = xasprintf("%s/%s/telex", at_home, fallback);
	return 0;
}

int paths_config(char **out, struct err *e)
{
	const char *own = getenv("TELEX_CONFIG_HOME");

	if (own && own[0])
		return paths_absolute(own, out, e);
	return xdg("XDG_CONFIG_HOME", ".config", out, e);
}

int paths_state(char **out, struct err *e)
{
	return xdg("XDG_STATE_HOME", ".local/state", out, e);
}

int paths_absolute(const char *path, char **out, struct err *e)
{
	char *cwd;

	if (path[0] == '/') {
		*out = xstrdup(path);
		return 0;
	}
	cwd = getcwd(NULL, 0);
	if (!cwd)
		return err_sys(e, errno, "the working folder");
	*out = xasprintf("%s/%s", cwd, path);
	free(cwd);
	return 0;
}

int paths_make_folder(const char *path, struct err *e)
{
	char *copy = xstrdup(path);
	struct stat st;
	int r = 0, made_errno;

	for (char *p = copy + 1; r == 0; p++) {
		bool last = *p == '\0';

		if (!last && *p != '/')
			continue;
		*p = '\0';
		made_errno = mkdir(copy, 0700) < 0 ? errno : 0;
		if (made_errno && made_errno != EEXIST &&
		    (stat(copy, &st) < 0 || !S_ISDIR(st.st_mode)))
			r = err_sys(e, made_errno, "cannot make folder %s", copy);
		if (last)
			break;
		*p = '/';
	}
	if (r == 0 && (stat(path, &st) < 0 || !S_ISDIR(st.st_mode)))
		r = err_sys(e, ENOTDIR, "%s", path);
	free(copy);
	return r;
}

int paths_write(const char *path, const char *text, size_t len, struct err *e)
{
	char *temporary = xasprintf("%s.XXXXXX", path);
	int fd = mkostemp(temporary, O_CLOEXEC), r = 0, error; /* mode 0600 */

	if (fd < 0) {
		r = err_sys(e, errno, "cannot write %s", path);
		goto out;
	}
	error = fd_write_all(fd, text, len);
	if (error == 0 && fsync(fd) < 0)
		error = errno;
	if (close(fd) < 0 && error == 0)
		error = errno;
	if (error != 0)
		r = err_sys(e, error, "cannot write %s", path);
	if (r == 0 && rename(temporary, path) < 0)
		r = err_sys(e, errno, "cannot write %s", path);
	if (r != 0)
		unlink(temporary);
out:
	free(temporary);
	return r;
}

int paths_read(const char *path, size_t max, char **text, struct err *e)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY), r = 0;
	char *buffer = NULL;
	size_t len = 0;

	if (fd < 0)
		return errno == ENOENT ? err_set(e, TX_ENOENT, "%s is not there", path)
		                       : err_sys(e, errno, "cannot read %s", path);
	buffer = xmalloc(max + 2);
	while (len <= max) {
		ssize_t n = read(fd, buffer + len, max + 1 - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			r = err_sys(e, errno, "cannot read %s", path);
		if (n <= 0)
			break;
		len += (size_t)n;
	}
	if (r == 0 && len > max)
		r = err_set(e, TX_ETOOBIG, "%s is too large", path);
	close(fd);
	if (r != 0) {
		free(buffer);
		return r;
	}
	buffer[len] = '\0';
	*text = buffer;
	return 0;
}
