/* SPDX-License-Identifier: Apache-2.0 */
#include "common/ca_control.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

union space {
	char bytes[CMSG_SPACE(sizeof(int))];
	struct cmsghdr align;
};

static int error_of(int sys_errno)
{
	if (sys_errno == EAGAIN || sys_errno == ENOBUFS)
		return TX_EAGAIN;
	return sys_errno == EPIPE || sys_errno == ECONNRESET ? TX_ECLOSED : TX_ESYS;
}

int ca_packet_send(int link, const void *data, size_t len, int fd)
{
	struct iovec iov = {.iov_len = len};
	union space space = {{0}};
	struct msghdr msg = {.msg_iov = &iov, .msg_iovlen = 1};
	struct cmsghdr *c;
	ssize_t n;

	memcpy(&iov.iov_base, &data, sizeof(data));
	if (fd >= 0) {
		msg.msg_control = space.bytes;
		msg.msg_controllen = sizeof(space.bytes);
		c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(fd));
		memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	}
	do
		n = sendmsg(link, &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
	while (n < 0 && errno == EINTR);
	return n < 0 ? error_of(errno) : 0;
}

/* The one descriptor that came, or -1; `msg` has room for no more. */
static int fd_of(struct msghdr *msg)
{
	struct cmsghdr *c = CMSG_FIRSTHDR(msg);
	int fd = -1;

	if (c != NULL && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS &&
	    c->cmsg_len == CMSG_LEN(sizeof(fd)))
		memcpy(&fd, CMSG_DATA(c), sizeof(fd));
	return fd;
}

int ca_packet_receive(int link, void *data, size_t *len, int *fd)
{
	struct iovec iov = {.iov_base = data, .iov_len = *len};
	union space space = {{0}};
	struct msghdr msg = {.msg_iov = &iov,
	    .msg_iovlen = 1,
	    .msg_control = space.bytes,
	    .msg_controllen = sizeof(space.bytes)};
	ssize_t n;

	do
		n = recvmsg(link, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	while (n < 0 && errno == EINTR);
	if (n < 0)
		return error_of(errno);
	*fd = fd_of(&msg);
	*len = (size_t)n;
	/* Nobody sends an empty one. */
	if (n > 0 && (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)) == 0)
		return 0;
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
	return n == 0 ? TX_ECLOSED : TX_EPROTO;
}

int ca_control_send(int link, struct ca_control *m, int fd)
{
	m->version = CA_CONTROL_VERSION;
	return ca_packet_send(link, m, sizeof(*m), fd);
}

int ca_control_receive(int link, struct ca_control *m, int *fd)
{
	size_t len = sizeof(*m);
	int rc = ca_packet_receive(link, m, &len, fd);

	if (rc != 0)
		return rc;
	if (len == sizeof(*m) && m->version == CA_CONTROL_VERSION &&
	    memchr(m->text, '\0', sizeof(m->text)) != NULL)
		return 0;
	if (*fd >= 0)
		close(*fd);
	*fd = -1;
	return TX_EPROTO;
}
