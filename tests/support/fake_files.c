/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stands where telexd expects telex-files: says on its socket as whom and with what it runs, a line
 * each, then waits for the socket's end. One that is sent an "h" hangs: it does not end by itself.
 */
#include <dirent.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/files_frame.h"

static int say_descriptors(char *out, size_t size)
{
	DIR *dir = opendir("/proc/self/fd");
	const struct dirent *d;
	int used = 0;

	while (dir != NULL && (d = readdir(dir)) != NULL)
		if (d->d_name[0] != '.' && atoi(d->d_name) != dirfd(dir))
			used += snprintf(out + used, size - (size_t)used, " %s", d->d_name);
	if (dir != NULL)
		closedir(dir);
	return used;
}

int main(int argc, char **argv)
{
	char text[4096], folder[512] = "", byte;
	mode_t mask = umask(0);
	int n;

	if (getcwd(folder, sizeof(folder)) == NULL)
		return 2;
	n = snprintf(text, sizeof(text),
	    "uid %u %u\ngid %u %u\ngroups %d\nsession %d\numask %03o\n"
	    "cwd %s\nprivs %d\nargs",
	    getuid(), geteuid(), getgid(), getegid(), getgroups(0, NULL), getsid(0) == getpid(),
	    mask, folder, prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
	for (int i = 1; i < argc; i++)
		n += snprintf(text + n, sizeof(text) - (size_t)n, " %s", argv[i]);
	n += snprintf(text + n, sizeof(text) - (size_t)n, "\nfds");
	n += say_descriptors(text + n, sizeof(text) - (size_t)n);
	n += snprintf(text + n, sizeof(text) - (size_t)n, "\n.\n");
	if (send(FILES_FD, text, (size_t)n, MSG_NOSIGNAL) != n)
		return 3;
	while (recv(FILES_FD, &byte, 1, 0) == 1)
		if (byte == 'h')
			for (;;)
				pause();
	return 0;
}
