/* SPDX-License-Identifier: Apache-2.0 */
#include "agent/watch/watch_marker.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <string.h>
#include <sys/fanotify.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#if !defined(SYS_close_range)
#define SYS_close_range 436
#endif

#define EVENTS                                                                                     \
	((uint64_t)(FAN_CREATE | FAN_DELETE | FAN_MODIFY | FAN_CLOSE_WRITE | FAN_ATTRIB |          \
	            FAN_DELETE_SELF | FAN_MOVE_SELF | FAN_RENAME | FAN_ONDIR))

bool watch_marker_knows(uint32_t type)
{
	static const uint32_t types[] = {
	    0x0000ef53, /* ext2, ext3, ext4 */
	    0x58465342, /* xfs */
	    0x9123683e, /* btrfs */
	    0x01021994, /* tmpfs */
	    0xf2f52010, /* f2fs */
	};

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (types[i] == type)
			return true;
	return false;
}

/* ---- the process ---- */

/* Nothing of telex-files' is kept open: it would not end for others. */
static void close_all_but(int a, int b)
{
	const unsigned low = (unsigned)(a < b ? a : b), high = (unsigned)(a < b ? b : a);

	if (low > 3)
		(void)syscall(SYS_close_range, 3u, low - 1, 0u);
	if (high > low + 1)
		(void)syscall(SYS_close_range, low + 1, high - 1, 0u);
	(void)syscall(SYS_close_range, high + 1, ~0u, 0u);
}

/* The folder that came with it, or -1. False: the socket has ended. */
static bool receive(int socket, uint8_t *add, int *fd)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} room;
	struct iovec v = {add, sizeof(*add)};
	struct msghdr m = {.msg_iov = &v,
	    .msg_iovlen = 1,
	    .msg_control = room.bytes,
	    .msg_controllen = sizeof(room.bytes)};
	const struct cmsghdr *c;
	ssize_t n;

	do
		n = recvmsg(socket, &m, MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	*fd = -1;
	if (n != (ssize_t)sizeof(*add))
		return false;
	c = CMSG_FIRSTHDR(&m);
	if (c != NULL && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
	    c->cmsg_len == CMSG_LEN(sizeof(int)))
		memcpy(fd, CMSG_DATA(c), sizeof(*fd));
	return true;
}

static int set_mark(int group, int fd, bool add)
{
	const unsigned how = add ? FAN_MARK_ADD : FAN_MARK_REMOVE;
	struct statfs s;

	if (fstatfs(fd, &s) != 0)
		return errno;
	if (!watch_marker_knows((uint32_t)s.f_type))
		return EOPNOTSUPP;
	return fanotify_mark(group, how | FAN_MARK_FILESYSTEM, EVENTS, fd, ".") == 0 ? 0 : errno;
}

static void serve(int socket, int group)
{
	uint8_t add;
	int fd, error;

	while (receive(socket, &add, &fd)) {
		error = set_mark(group, fd, add != 0);
		if (fd >= 0)
			close(fd);
		if (send(socket, &error, sizeof(error), MSG_NOSIGNAL) != (ssize_t)sizeof(error))
			return;
	}
}

int watch_marker_start(struct watch_marker *m, int group, int (*lock_in)(void))
{
	int pair[2];

	m->socket = -1;
	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
		return errno;
	m->pid = fork();
	if (m->pid == 0) {
		close_all_but(pair[1], group);
		(void)prctl(PR_SET_NAME, "telex-marks");
		if (lock_in == NULL || lock_in() == 0)
			serve(pair[1], group);
		_exit(0);
	}
	close(pair[1]);
	if (m->pid > 0) {
		m->socket = pair[0];
		return 0;
	}
	close(pair[0]);
	return EAGAIN;
}

/* ---- who asks it ---- */

void watch_marker_end(struct watch_marker *m)
{
	if (m->socket < 0)
		return;
	/* Another child may have its end by a fork, too. */
	(void)shutdown(m->socket, SHUT_RDWR);
	close(m->socket);
	m->socket = -1;
	while (waitpid(m->pid, NULL, 0) < 0 && errno == EINTR)
		;
}

int watch_marker_fd(const struct watch_marker *m)
{
	return m->socket;
}

/* It says nothing unasked. */
bool watch_marker_has_ended(struct watch_marker *m)
{
	struct pollfd p = {.fd = m->socket, .events = POLLIN};

	if (m->socket < 0 || poll(&p, 1, 0) != 1 || (p.revents & (POLLHUP | POLLERR)) == 0)
		return false;
	watch_marker_end(m);
	return true;
}

static bool send_request(int socket, bool add, int fd)
{
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} room;
	uint8_t byte = add ? 1 : 0;
	struct iovec v = {&byte, sizeof(byte)};
	struct msghdr m = {.msg_iov = &v,
	    .msg_iovlen = 1,
	    .msg_control = room.bytes,
	    .msg_controllen = sizeof(room.bytes)};
	struct cmsghdr *c;

	memset(&room, 0, sizeof(room));
	c = CMSG_FIRSTHDR(&m);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	return sendmsg(socket, &m, MSG_NOSIGNAL) == (ssize_t)sizeof(byte);
}

int watch_marker_set(const struct watch_marker *m, int fd, bool add)
{
	int error;
	ssize_t n;

	if (m->socket < 0 || !send_request(m->socket, add, fd))
		return EPIPE;
	do
		n = recv(m->socket, &error, sizeof(error), 0);
	while (n < 0 && errno == EINTR);
	return n == (ssize_t)sizeof(error) ? error : EPIPE;
}
