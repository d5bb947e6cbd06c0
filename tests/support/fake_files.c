/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Stands where telexd expects telex-files: says on its socket as whom and with what it runs, a line
 * each, then waits for the socket's end. One that is sent an "h" hangs: it does not end by itself.
 *
 * With --watch it says that on each of its connections, and how many of its kind had its store
 * before. Sent a "d" it closes its control socket, says so, and hangs; a "g" makes its store too
 * large; with an "m" that takes 2 MiB of memory, and it says so; after an "a" it sends the
 * watch_allow that it was told last.
 */
#include <dirent.h>
#include <fcntl.h>
#include <grp.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/files_frame.h"
#include "common/watch_control.h"

#define CONNECTIONS_MAX 64

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

static int describe(char *text, size_t size, int argc, char **argv)
{
	char folder[512] = "";
	mode_t mask = umask(0);
	int n;

	umask(mask);
	if (getcwd(folder, sizeof(folder)) == NULL)
		exit(2);
	n = snprintf(text, size,
	    "uid %u %u\ngid %u %u\ngroups %d\nsession %d\numask %03o\n"
	    "cwd %s\nprivs %d\nargs",
	    getuid(), geteuid(), getgid(), getegid(), getgroups(0, NULL), getsid(0) == getpid(),
	    mask, folder, prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
	for (int i = 1; i < argc; i++)
		n += snprintf(text + n, size - (size_t)n, " %s", argv[i]);
	n += snprintf(text + n, size - (size_t)n, "\nfds");
	return n + say_descriptors(text + n, size - (size_t)n);
}

static void hang(void)
{
	for (;;)
		pause();
}

/* ---- with --watch ---- */

struct watching {
	struct pollfd fds[1 + CONNECTIONS_MAX];
	nfds_t n;
	uint64_t taken, heirs;
	struct watch_allow allowed;
	char text[4096];
};

static void count_heirs(struct watching *w)
{
	if (pread(WATCH_STORE_FD, &w->heirs, sizeof(w->heirs), 0) != sizeof(w->heirs))
		w->heirs = 0;
	w->heirs++;
	if (pwrite(WATCH_STORE_FD, &w->heirs, sizeof(w->heirs), 0) != sizeof(w->heirs))
		exit(4);
}

static void take(struct watching *w)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} room;
	char text[sizeof(w->text) + 64];
	struct iovec v = {&w->allowed, sizeof(w->allowed)};
	struct msghdr m = {.msg_iov = &v,
	    .msg_iovlen = 1,
	    .msg_control = room.bytes,
	    .msg_controllen = sizeof(room.bytes)};
	const struct cmsghdr *c;
	int fd, n;

	if (recvmsg(WATCH_CONTROL_FD, &m, MSG_CMSG_CLOEXEC) != (ssize_t)sizeof(w->allowed))
		exit(0);
	c = CMSG_FIRSTHDR(&m);
	if (c == NULL)
		return;
	if (c->cmsg_type != SCM_RIGHTS || w->n == 1 + CONNECTIONS_MAX)
		exit(5);
	memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	n = snprintf(
	    text, sizeof(text), "%s\nheirs %llu\n.\n", w->text, (unsigned long long)w->heirs);
	if (send(fd, text, (size_t)n, MSG_NOSIGNAL) != n)
		exit(3);
	w->fds[w->n++] = (struct pollfd){.fd = fd, .events = POLLIN};
	w->taken++;
}

static void obey(struct watching *w, nfds_t i)
{
	const struct watch_idle idle = {w->taken};
	char byte;

	if (recv(w->fds[i].fd, &byte, 1, 0) != 1) {
		close(w->fds[i].fd);
		w->fds[i] = w->fds[--w->n];
		if (w->n == 1)
			(void)send(WATCH_CONTROL_FD, &idle, sizeof(idle), MSG_NOSIGNAL);
	} else if (byte == 'd') {
		close(WATCH_CONTROL_FD);
		(void)send(w->fds[i].fd, "d", 1, MSG_NOSIGNAL);
		hang();
	} else if (byte == 'm') {
		if (posix_fallocate(WATCH_STORE_FD, 0, 2 << 20) != 0)
			exit(7);
		(void)send(w->fds[i].fd, "m", 1, MSG_NOSIGNAL);
	} else if (byte == 'a') {
		(void)send(w->fds[i].fd, &w->allowed, sizeof(w->allowed), MSG_NOSIGNAL);
	} else if (byte == 'g') {
		if (ftruncate(WATCH_STORE_FD, (off_t)WATCH_STORE_MAX + 1) != 0)
			exit(6);
	} else {
		hang();
	}
}

static void watch(int argc, char **argv)
{
	static struct watching w = {.n = 1};

	w.fds[0] = (struct pollfd){.fd = WATCH_CONTROL_FD, .events = POLLIN};
	(void)describe(w.text, sizeof(w.text), argc, argv);
	count_heirs(&w);
	while (poll(w.fds, w.n, -1) > 0) {
		for (nfds_t i = w.n - 1; i > 0; i--)
			if (w.fds[i].revents != 0)
				obey(&w, i);
		if (w.fds[0].revents != 0)
			take(&w);
	}
}

int main(int argc, char **argv)
{
	char text[4096], byte;
	int n;

	if (argc > 1 &&
	    (strcmp(argv[1], WATCH_OPTION) == 0 || strcmp(argv[1], WATCH_WIDE_OPTION) == 0))
		watch(argc, argv);
	n = describe(text, sizeof(text), argc, argv);
	n += snprintf(text + n, sizeof(text) - (size_t)n, "\n.\n");
	if (send(FILES_FD, text, (size_t)n, MSG_NOSIGNAL) != n)
		return 3;
	while (recv(FILES_FD, &byte, 1, 0) == 1)
		if (byte == 'h')
			hang();
	return 0;
}
