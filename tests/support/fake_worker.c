/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stands where telexd expects telex-worker, and lends its end of the pair to a test: it sends fd 3
 * and its pid over the socket that TELEX_TEST_SOCKET names, then waits until the test hangs up.
 * TELEX_TEST_FAIL: exits with that status at once.
 *
 * It also stands for a telexd that a keeper asks before an upgrade: with --check-state it copies
 * the state to the file that TELEX_TEST_STATE names, and says no.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "common/keeper_msg.h"

static int lend(int to, int fd)
{
	pid_t pid = getpid();
	struct iovec iov = {&pid, sizeof(pid)};
	union {
		struct cmsghdr align;
		char space[CMSG_SPACE(sizeof(int))];
	} control = {.space = {0}};
	struct msghdr mh = {.msg_iov = &iov,
	    .msg_iovlen = 1,
	    .msg_control = &control,
	    .msg_controllen = sizeof(control)};
	struct cmsghdr *cm = CMSG_FIRSTHDR(&mh);

	cm->cmsg_level = SOL_SOCKET;
	cm->cmsg_type = SCM_RIGHTS;
	cm->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(cm), &fd, sizeof(fd));
	return sendmsg(to, &mh, MSG_NOSIGNAL) < 0 ? -1 : 0;
}

static int copy_state(const char *to)
{
	static char buf[65536];
	int out = to != NULL ? open(to, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600) : -1;
	off_t at = 0;
	ssize_t n;

	while (out >= 0 && (n = pread(3, buf, sizeof(buf), at)) > 0) {
		if (write(out, buf, (size_t)n) != n)
			return 5;
		at += n;
	}
	fputs("telexd: no, thank you\n", stderr);
	return 1;
}

int main(int argc, char **argv)
{
	const char *path = getenv("TELEX_TEST_SOCKET");
	const char *fail = getenv("TELEX_TEST_FAIL");
	struct sockaddr_un sa = {.sun_family = AF_UNIX};
	char byte;
	int fd;

	if (argc > 1 && strcmp(argv[1], "--check-state") == 0)
		return copy_state(getenv("TELEX_TEST_STATE"));
	if (fail != NULL)
		return atoi(fail);
	if (path == NULL || strlen(path) >= sizeof(sa.sun_path))
		return 2;
	memcpy(sa.sun_path, path, strlen(path));
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, (struct sockaddr *)&sa, sizeof(sa)) != 0)
		return 3;
	if (lend(fd, KM_WORKER_FD) != 0)
		return 4;
	/* The test has it now; when this process dies, the link must end with the test's copy. */
	close(KM_WORKER_FD);
	while (read(fd, &byte, 1) > 0)
		;
	return 0;
}
