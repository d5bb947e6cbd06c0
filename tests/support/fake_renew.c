/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stands where telexd expects telex-renew: writes the file MODE-answer of the folder that
 * TELEX_TEST_RENEW names, as it is, and does well; without that file it fails; with a file
 * MODE-hangs it stays. The mode "dates" is followed by - and the certificate's first word. The mode
 * "request" needs no file: it makes one; and without that "certificate" fails.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "common/renew_frame.h"

static const char *mode_of(const char *mode, char *buf, size_t size)
{
	char text[64] = "";

	if (strcmp(mode, "dates") != 0 || pread(3, text, sizeof(text) - 1, 0) < 0)
		return mode;
	snprintf(buf, size, "dates-%.*s", (int)strcspn(text, " "), text);
	return buf;
}

static const char text[] = "a request";

static bool has_request(void)
{
	char got[sizeof(text) + 1];

	return pread(RENEW_FD_REQUEST, got, sizeof(got), 0) == (ssize_t)sizeof(text) - 1 &&
	       memcmp(got, text, sizeof(text) - 1) == 0;
}

static int put_request(void)
{
	const struct renew_frame f = {.magic = RENEW_FRAME_MAGIC, .first = sizeof(text) - 1};

	return write(STDOUT_FILENO, &f, sizeof(f)) == (ssize_t)sizeof(f) &&
	               write(STDOUT_FILENO, text, f.first) == (ssize_t)f.first
	           ? 0
	           : 3;
}

int main(int argc, char **argv)
{
	const char *folder = getenv("TELEX_TEST_RENEW");
	char path[512], buf[65536], word[80];
	const char *mode;
	ssize_t n;
	int fd;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (folder == NULL || argc != 3)
		return 2;
	mode = mode_of(argv[1], word, sizeof(word));
	snprintf(path, sizeof(path), "%s/%s-hangs", folder, mode);
	while (access(path, F_OK) == 0)
		(void)nanosleep(&(const struct timespec){0, 10000000}, NULL);
	snprintf(path, sizeof(path), "%s/%s-answer", folder, mode);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0 && strcmp(mode, "request") == 0)
		return put_request();
	if (fd < 0 || (strcmp(mode, "certificate") == 0 && !has_request()))
		return 1;
	while ((n = read(fd, buf, sizeof(buf))) > 0)
		if (write(STDOUT_FILENO, buf, (size_t)n) != n)
			return 3;
	return 0;
}
