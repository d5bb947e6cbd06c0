/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stands where telexd expects telex-renew: writes the file MODE-answer of the folder that
 * TELEX_TEST_RENEW names, as it is, and does well; without that file it fails; with a file
 * MODE-hangs it stays.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	const char *folder = getenv("TELEX_TEST_RENEW");
	char path[512], buf[65536];
	ssize_t n;
	int fd;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (folder == NULL || argc != 3)
		return 2;
	snprintf(path, sizeof(path), "%s/%s-hangs", folder, argv[1]);
	while (access(path, F_OK) == 0)
		usleep(10000);
	snprintf(path, sizeof(path), "%s/%s-answer", folder, argv[1]);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 1;
	while ((n = read(fd, buf, sizeof(buf))) > 0)
		if (write(STDOUT_FILENO, buf, (size_t)n) != n)
			return 3;
	return 0;
}
